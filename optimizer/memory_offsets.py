"""Where each buffer of an arena stands: offsets such that no two live buffers overlap, in as few bytes as possible.

The live-range peak is a lower bound. Greedy placement meets it on most networks, again and again with the buffers that
stood out placed first on more of them; where it does not, CP-SAT packs the rectangles (live range x bytes) with the
peak as the target.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ortools.sat.python import cp_model

from optimizer.memory import LiveRange
from optimizer.plan import ArenaLayout

__all__ = ["Packing", "greedy_by_size", "layout_faults", "live_peak_bytes", "pack", "pack_arena"]

_ROUNDS = 12
"""Greedy placements tried before CP-SAT."""
_MAX_EXACT = 400
"""More buffers than this are left to the greedy placements."""


@dataclass(frozen=True)
class Packing:
    """Offset by buffer, and the bytes they span. ``seconds``: CP-SAT's deterministic time, 0 where it was not run."""

    offsets: tuple[int, ...]
    size_bytes: int
    seconds: float = 0.0


def pack_arena(buffers: Sequence[LiveRange], alignment: int = 1, budget_s: float = 0.1) -> ArenaLayout:
    """Layout of a segment's arena; tensors that share a buffer share its offset.

    ``alignment``: offsets are multiples of it, and buffers count rounded up to it. ``budget_s``: CP-SAT's deterministic
    time. Raises ValueError for an alignment below 1.
    """
    if alignment < 1:
        raise ValueError(f"alignment {alignment} is not a positive number of bytes")
    sizes = [-(-b.size_bytes // alignment) * alignment for b in buffers]
    packing = pack(buffers, sizes, budget_s)
    return ArenaLayout(
        size_bytes=packing.size_bytes,
        peak_bytes=live_peak_bytes(buffers, sizes),
        alignment=alignment,
        offsets={t: at for b, at in zip(buffers, packing.offsets, strict=True) for t in b.tensors},
    )


def layout_faults(buffers: Sequence[LiveRange], layout: ArenaLayout) -> Iterator[str]:
    """What is wrong with a layout of these buffers, in words."""
    if layout.alignment < 1 or set(layout.offsets) != {t for b in buffers for t in b.tensors}:
        yield "has another alignment or other tensors than the segment"
        return
    sizes = [-(-b.size_bytes // layout.alignment) * layout.alignment for b in buffers]
    offsets = [layout.offsets[b.tensors[0]] for b in buffers]
    if any(layout.offsets[t] != at for b, at in zip(buffers, offsets, strict=True) for t in b.tensors):
        yield "moves a tensor that is worked in place"
    if layout.peak_bytes != live_peak_bytes(buffers, sizes):
        yield f"has a live peak of {live_peak_bytes(buffers, sizes)} B, not {layout.peak_bytes} B"
    for i, (b, at) in enumerate(zip(buffers, offsets, strict=True)):
        if at < 0 or at % layout.alignment or at + sizes[i] > layout.size_bytes:
            yield f"has a tensor at {at} B of {layout.size_bytes} B, not aligned or outside"
        for j in range(i):
            together = b.first <= buffers[j].last and buffers[j].first <= b.last
            if together and at < offsets[j] + sizes[j] and offsets[j] < at + sizes[i]:
                yield f"has two live tensors at {max(at, offsets[j])} B"


def live_peak_bytes(buffers: Sequence[LiveRange], sizes: Sequence[int]) -> int:
    """Largest sum of live sizes: no arena can be smaller."""
    change: dict[int, int] = {}
    for b, size in zip(buffers, sizes, strict=True):
        change[b.first] = change.get(b.first, 0) + size
        change[b.last + 1] = change.get(b.last + 1, 0) - size
    peak = held = 0
    for position in sorted(change):
        held += change[position]
        peak = max(peak, held)
    return peak


def pack(buffers: Sequence[LiveRange], sizes: Sequence[int], budget_s: float) -> Packing:
    """The smallest packing found: greedy by size, then with what stood out placed first, then CP-SAT."""
    peak = live_peak_bytes(buffers, sizes)
    order = _by_size(buffers, sizes)
    best = greedy_by_size(buffers, sizes)
    for _ in range(_ROUNDS):
        packing = _first_fit(buffers, sizes, order)
        best = min(best, packing, key=lambda p: p.size_bytes)
        if best.size_bytes <= peak:
            return best
        out = {i for i in order if packing.offsets[i] + sizes[i] > peak}
        order = [i for i in order if i in out] + [i for i in order if i not in out]
    if budget_s <= 0 or len(buffers) > _MAX_EXACT:
        return best
    return _exact(buffers, sizes, peak, best, budget_s)


def greedy_by_size(buffers: Sequence[LiveRange], sizes: Sequence[int]) -> Packing:
    """Largest buffer first, each into the lowest gap that is free while it lives (as TFLite Micro does)."""
    return _first_fit(buffers, sizes, _by_size(buffers, sizes))


def _by_size(buffers: Sequence[LiveRange], sizes: Sequence[int]) -> list[int]:
    return sorted(range(len(buffers)), key=lambda i: (-sizes[i], buffers[i].first))


def _first_fit(buffers: Sequence[LiveRange], sizes: Sequence[int], order: Sequence[int]) -> Packing:
    offsets = [0] * len(buffers)
    placed: list[int] = []
    for i in order:
        at = 0
        for j in placed:  # by offset
            if sizes[j] and buffers[j].first <= buffers[i].last and buffers[i].first <= buffers[j].last:
                if offsets[j] - at >= sizes[i]:
                    break
                at = max(at, offsets[j] + sizes[j])
        offsets[i] = at
        placed.append(i)
        placed.sort(key=offsets.__getitem__)
    return Packing(tuple(offsets), max((o + s for o, s in zip(offsets, sizes, strict=True)), default=0))


def _exact(buffers: Sequence[LiveRange], sizes: Sequence[int], peak: int, known: Packing, budget_s: float) -> Packing:
    """No-overlap in two dimensions (time x bytes), counted in the largest unit that divides all sizes."""
    unit = math.gcd(*sizes)
    model = cp_model.CpModel()
    height = model.new_int_var(peak // unit, known.size_bytes // unit, "height")
    starts, times, places = [], [], []
    for i, (b, size) in enumerate(zip(buffers, sizes, strict=True)):
        start = model.new_int_var(0, (known.size_bytes - size) // unit, "")
        model.add(start + size // unit <= height)
        starts.append(start)
        times.append(model.new_fixed_size_interval_var(b.first, b.last - b.first + 1, ""))
        places.append(model.new_fixed_size_interval_var(start, size // unit, ""))
        model.add_hint(start, known.offsets[i] // unit)
    model.add_no_overlap_2d(times, places)
    model.minimize(height)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1  # and deterministic time: the same offsets again
    solver.parameters.max_deterministic_time = budget_s
    status = solver.solve(model)
    seconds = float(solver.response_proto.deterministic_time)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Packing(known.offsets, known.size_bytes, seconds)
    offsets = tuple(solver.value(start) * unit for start in starts)
    return Packing(offsets, max(o + s for o, s in zip(offsets, sizes, strict=True)), seconds)
