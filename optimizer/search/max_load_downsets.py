"""Downset DP: the contiguous optimum, exactly, where the graph has few downsets.

A contiguous plan is a chain of downsets, a device for each difference. Given a plan of value T, only downsets matter
whose work can be done by the devices so far, and whose rest by the devices left, each in less than T: on the known
instances that leaves a few per cent. All arithmetic is in floating point, as in ``max_load``.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from optimizer.max_load import MEMORY_TOLERANCE
from optimizer.search.max_load_groups import Groups

__all__ = ["Downsets", "downset_plan", "downsets"]

_Flags = npt.NDArray[np.bool_]
_Floats = npt.NDArray[np.float64]
_Indices = npt.NDArray[np.int64]
_SLACK = 1e-9
"""Relative room for the rounding of sums in the windows and the memory test."""


@dataclass(frozen=True)
class Downsets:
    """All downsets of the groups, by ascending work. Shapes: m downsets, n groups, h nets."""

    coarse: Groups
    member: _Flags
    """(m, n)"""
    open: _Flags
    """(m, h): the producer is in, some consumer is not."""
    work: _Floats
    """(m,) accelerator milliseconds of the groups that an accelerator can run."""
    cpu: _Floats
    size: _Floats
    unsupported: _Floats
    """(m,) number of groups that only a CPU can run."""
    transfers: _Floats
    """(m,) milliseconds of the open outputs."""

    @cached_property
    def empty(self) -> int:
        return int(np.flatnonzero(~self.member.any(axis=1))[0])

    @cached_property
    def full(self) -> int:
        return int(np.flatnonzero(self.member.all(axis=1))[0])


def downsets(coarse: Groups, most: int, deadline: float) -> Downsets | None:
    """All of them, or None if there are more than ``most``, time is up, or an output does not follow the order."""
    if not _follows_order(coarse):
        return None
    found = _enumerate(coarse, most, deadline)
    if found is None:
        return None
    groups = coarse.groups
    width = (len(groups) + 7) // 8
    packed = np.frombuffer(b"".join(s.to_bytes(width, "little") for s in found), dtype=np.uint8)
    bits = np.unpackbits(packed.reshape(len(found), width), axis=1, bitorder="little")[:, : len(groups)]
    work = bits @ np.array([g.accelerator_ms if g.supported else 0.0 for g in groups])
    member: _Flags = np.asfortranarray(bits[np.argsort(work, kind="stable")].astype(np.bool_))
    opened: _Flags = np.zeros((len(member), len(coarse.nets)), dtype=np.bool_, order="F")
    for h, net in enumerate(coarse.nets):
        opened[:, h] = member[:, net.ends[0]] & ~member[:, list(net.ends[1:])].all(axis=1)
    return Downsets(
        coarse,
        member,
        opened,
        np.sort(work, kind="stable"),
        member @ np.array([g.cpu_ms for g in groups]),
        member @ np.array([g.size_bytes for g in groups]),
        member @ np.array([0.0 if g.supported else 1.0 for g in groups]),
        np.asarray(opened @ np.array([net.ms for net in coarse.nets]), dtype=np.float64),
    )


def _follows_order(coarse: Groups) -> bool:
    """Whether every consumer must come after its producer (false with the backward nodes of training)."""
    bound = set(coarse.precedences)
    return all((net.ends[0], user) in bound for net in coarse.nets for user in net.ends[1:])


def _enumerate(coarse: Groups, most: int, deadline: float) -> list[int] | None:
    """Downsets as bit masks, level by level; None if too many or too late."""
    count = len(coarse.groups)
    needs = [0] * count
    after: list[list[int]] = [[] for _ in range(count)]
    for u, v in coarse.precedences:
        needs[v] |= 1 << u
        after[u].append(v)
    ready = sum(1 << v for v in range(count) if needs[v] == 0)
    level = {0: ready}
    found = [0]
    while level:
        following: dict[int, int] = {}
        for downset, candidates in level.items():
            left = candidates
            while left:
                bit = left & -left
                left ^= bit
                larger = downset | bit
                if larger not in following:
                    opened = sum(1 << v for v in after[bit.bit_length() - 1] if needs[v] & larger == needs[v])
                    following[larger] = candidates ^ bit | opened
        found.extend(following)
        if len(found) > most or time.monotonic() > deadline:
            return None
        level = following
    return found


@dataclass(frozen=True)
class _Layer:
    """What can be reached with so many accelerators and CPUs: best value and where it came from, by downset."""

    value: _Floats
    source: _Indices
    """(m, 2): downset before, and 0 for an accelerator, 1 for a CPU."""


def downset_plan(sets: Downsets, below: float, deadline: float) -> tuple[float, list[int] | None] | None:
    """The best plan better than ``below``, as (max load in ms, device by group).

    (``below``, None) if there is none: that is a proof. None if time ran out. ``below`` may be inf.
    """
    problem = sets.coarse.problem
    total = len(sets.work)
    layers: dict[tuple[int, int], _Layer] = {}
    for a in range(problem.accelerators + 1):
        for c in range(problem.cpus + 1):
            layers[a, c] = _Layer(np.full(total, math.inf), np.full((total, 2), -1, dtype=np.int64))
    layers[0, 0].value[sets.empty] = 0.0
    limit = below
    finish: tuple[int, int] | None = None
    for a, c in sorted(layers, key=sum):
        layer = layers[a, c]
        if layer.value[sets.full] < limit:
            limit, finish = float(layer.value[sets.full]), (a, c)
        targets = [((a + 1, c), 0), ((a, c + 1), 1)]
        for key, kind in targets:
            if key in layers and not _advance(sets, layer, layers[key], kind, key, limit, deadline):
                return None
    if finish is None:
        return below, None
    return limit, _trace(sets, layers, finish)


def _advance(
    sets: Downsets, layer: _Layer, into: _Layer, kind: int, key: tuple[int, int], limit: float, deadline: float
) -> bool:
    """Let one more device of the kind take every difference that it can; False if time ran out."""
    low = _least_work(sets, key, limit)
    starts = np.flatnonzero(layer.value < limit)
    first = int(np.searchsorted(sets.work, low, side="left"))
    for index in starts:
        if time.monotonic() > deadline:
            return False
        begin = int(index)
        ends, loads = _differences(sets, begin, first, kind, limit)
        values = np.maximum(loads, layer.value[begin])
        better = (values < limit) & (values < into.value[ends])
        chosen = ends[better]
        into.value[chosen] = values[better]
        into.source[chosen] = (begin, kind)
    return True


def _least_work(sets: Downsets, key: tuple[int, int], limit: float) -> float:
    """Work that must be done before the devices left take over, each of them in less than ``limit``."""
    problem = sets.coarse.problem
    accelerators, cpus = problem.accelerators - key[0], problem.cpus - key[1]
    total = float(sets.work[-1])
    if math.isinf(limit):
        return 0.0
    done_by_cpu = 0.0
    if cpus:
        ratio = 0.0
        for group in sets.coarse.groups:
            if group.supported and group.accelerator_ms > 0:
                ratio = max(ratio, math.inf if group.cpu_ms == 0 else group.accelerator_ms / group.cpu_ms)
        done_by_cpu = cpus * limit * ratio
    return total - accelerators * limit - done_by_cpu - _SLACK * total


def _differences(sets: Downsets, begin: int, first: int, kind: int, limit: float) -> tuple[_Indices, _Floats]:
    """Supersets that one device of the kind can add up to, each with the device's load."""
    slack = _SLACK * float(sets.work[-1])
    ends: _Indices
    if kind == 0:
        last = int(np.searchsorted(sets.work, sets.work[begin] + limit + slack, side="right"))
        room = sets.coarse.problem.memory_bytes * (1 + MEMORY_TOLERANCE)
        rows = slice(max(first, int(np.searchsorted(sets.work, sets.work[begin] - slack))), last)
        keep = (sets.unsupported[rows] == sets.unsupported[begin]) & (sets.size[rows] - sets.size[begin] <= room)
    else:
        rows = slice(max(first, int(np.searchsorted(sets.work, sets.work[begin] - slack))), len(sets.work))
        keep = sets.cpu[rows] - sets.cpu[begin] < limit + _SLACK * sets.cpu[sets.full]
    ends = np.flatnonzero(keep) + rows.start
    required = np.flatnonzero(sets.member[begin])
    ends = ends[sets.member[ends[:, None], _last_members(sets, begin, required)].all(axis=1)]
    if kind == 1:
        return ends, sets.cpu[ends] - sets.cpu[begin]
    return ends, sets.work[ends] - sets.work[begin] + _crossing(sets, begin, ends)


def _last_members(sets: Downsets, begin: int, required: _Indices) -> _Indices:
    """The maximal members: a downset that holds them holds all."""
    inside = sets.member[begin]
    covered = {u for u, v in sets.coarse.precedences if inside[v]}
    return np.array([g for g in required if int(g) not in covered], dtype=np.int64)


def _crossing(sets: Downsets, begin: int, ends: _Indices) -> _Floats:
    """Transfers of an accelerator that holds the difference: what it reads from before and what it leaves open."""
    nets = sets.coarse.nets
    cost = sets.transfers[ends].copy()
    for h in np.flatnonzero(sets.open[begin]):
        net = nets[h]
        waiting = [user for user in net.ends[1:] if not sets.member[begin, user]]
        reads = sets.member[ends[:, None], waiting].any(axis=1)
        cost += net.ms * (reads.astype(np.float64) - sets.open[ends, h])
    return cost


def _trace(sets: Downsets, layers: dict[tuple[int, int], _Layer], finish: tuple[int, int]) -> list[int]:
    devices = [0] * len(sets.coarse.groups)
    a, c = finish
    chain = [sets.full]
    kinds = []
    while (a, c) != (0, 0):
        before, kind = (int(x) for x in layers[a, c].source[chain[-1]])
        chain.append(before)
        kinds.append(a - 1 if kind == 0 else sets.coarse.problem.accelerators + c - 1)
        a, c = (a - 1, c) if kind == 0 else (a, c - 1)
    for (end, begin), device in zip(pairwise(chain), kinds, strict=True):
        for group in np.flatnonzero(sets.member[end] & ~sets.member[begin]):
            devices[int(group)] = device
    return devices
