"""What plans take of the boards: which of them they use, and their memory."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimizer.mcu_order import small_memory, small_parts
from optimizer.plan import MemoryUse, Schedule, Segment
from optimizer.problem import Problem
from optimizer.ragged import Floats, Ints
from optimizer.replicas import copies
from optimizer.segment_table import SegmentFigures, tensors_leaving

__all__ = ["Stands", "arena_tensors", "memory_use", "memory_uses", "used_boards"]


@dataclass(frozen=True)
class Stands:
    """What of many plans stands on which boards: segments, each replica by itself, and tensors in buffers."""

    plans: int
    segments: Sequence[Segment]
    figures: Sequence[SegmentFigures]
    plan: Ints
    """(s,) by segment."""
    processor: Ints
    share: Floats
    """(s,) of the frames that it takes."""
    tensor_plan: Ints
    """(t,) by board that a transfer touches."""
    tensor_board: Ints
    tensor_bytes: Ints
    """(t,) bytes of its buffers there."""
    used: npt.NDArray[np.bool_]
    """(plans, boards) that host a segment, relay, or are source or sink."""

    @classmethod
    def of(cls, problem: Problem, schedules: Sequence[Schedule]) -> Stands:
        table, index, boards = problem.segment_table, problem.processor_index, problem.board_index
        standing = [copies(s.segments) for s in schedules]
        segments = list(itertools.chain.from_iterable(standing))
        processor = np.array([index[s.processor] for s in segments], dtype=np.int64)
        plan = np.repeat(np.arange(len(schedules)), [len(x) for x in standing])
        share = np.ones(len(segments))
        if any(len(x) > len(s.segments) for x, s in zip(standing, schedules, strict=True)):
            share = 1.0 / np.array(
                [len(s.replicas or (0,)) for x in schedules for s in x.segments for _ in s.replicas or (0,)]
            )
        transfers = [t for s in schedules for t in s.transfers]
        touched = [t.boards for t in transfers]
        tensor_board = np.array([boards[name] for names in touched for name in names], dtype=np.int64)
        counts = [len(names) for names in touched]
        of_transfer = np.repeat(np.arange(len(schedules)), [len(s.transfers) for s in schedules])
        tensor_plan = np.repeat(of_transfer, counts)
        used = np.zeros((len(schedules), len(boards)), dtype=np.bool_)
        used[:, [boards[problem.system.source], boards[problem.system.sink]]] = True
        used[plan, problem.tables.board_of[processor]] = True
        used[tensor_plan, tensor_board] = True
        return cls(
            plans=len(schedules),
            segments=segments,
            figures=[table.figures(s) for s in segments],
            plan=plan,
            processor=processor,
            share=share,
            tensor_plan=tensor_plan,
            tensor_board=tensor_board,
            tensor_bytes=np.repeat(np.array([t.depth for t in transfers], dtype=np.int64), counts)
            * _block_bytes(
                problem, np.repeat(np.array([t.size_bytes for t in transfers], dtype=np.int64), counts), tensor_board
            ),
            used=used,
        )


def _block_bytes(problem: Problem, sizes: Ints, board: Ints) -> Ints:
    """What a buffer takes of a board."""
    small = {problem.board_index[p.board.name]: p.runtime for p in problem.small_processors.values()}
    if not small:
        return sizes
    rows = zip(sizes.tolist(), board.tolist(), strict=True)
    return np.array([small[b].block(size) if b in small else size for size, b in rows], dtype=np.int64)


def used_boards(problem: Problem, schedule: Schedule) -> set[str]:
    """Boards that host a segment, relay, or are source or sink."""
    (used,) = Stands.of(problem, [schedule]).used.tolist()
    return {name for name, b in problem.board_index.items() if used[b]}


def arena_tensors(problem: Problem, segment: Segment, leaving: Collection[int]) -> dict[int, int]:
    """Bytes of the tensors that live in a segment's arena: made there and not leaving."""
    q = problem.processor_index[segment.processor]
    sizes = problem.tables.tensor_bytes
    operators = problem.graph.operators
    return {t: int(sizes[t, q]) for v in segment.operators for t in operators[v].outputs if t not in leaving}


def memory_use(problem: Problem, schedule: Schedule) -> dict[str, MemoryUse]:
    """Memory of every board, unused ones included (they hold nothing of ours)."""
    return memory_uses(problem, [schedule], Stands.of(problem, [schedule]))[0]


def memory_uses(
    problem: Problem, schedules: Sequence[Schedule], stands: Stands, *, with_arenas: bool = True
) -> list[dict[str, MemoryUse]]:
    """``memory_use`` of many plans."""
    boards, tables = problem.system.boards, problem.tables
    count = len(boards)
    weights_bytes = np.array([f.weights_bytes for f in stands.figures], dtype=np.int64)
    claims = np.zeros((stands.plans, len(problem.processors)), dtype=np.int64)
    if with_arenas:
        peaks = _peaks(problem, schedules, stands)
        for i, claimed, image in _small(problem, schedules, stands):
            peaks[i], weights_bytes[i] = claimed, image
        np.maximum.at(claims, (stands.plan, stands.processor), peaks)
    arenas = np.zeros((stands.plans, count), dtype=np.int64)
    for q, b in enumerate(tables.board_of.tolist()):  # processors of a board work at the same time
        arenas[:, b] += claims[:, q]
    weights = _sums(stands.plans, count, stands.plan, tables.board_of[stands.processor], weights_bytes)
    _add_shared(problem, stands, weights)
    buffers = _sums(stands.plans, count, stands.tensor_plan, stands.tensor_board, stands.tensor_bytes)
    runtime = np.where(stands.used, np.array([b.runtime_ram_bytes for b in boards], dtype=np.int64), 0)
    in_ram = weights * np.array([b.weights_in == "ram" for b in boards])
    ram = arenas + buffers + runtime + in_ram
    ram_limit, flash_limit = tables.ram_limit.tolist(), tables.flash_limit
    names = [b.name for b in boards]
    found = []
    for rows in zip(*(x.tolist() for x in (ram, weights, arenas, buffers, runtime)), strict=True):
        by_board = zip(names, ram_limit, flash_limit, *rows, strict=True)
        found.append({n: MemoryUse(r, limit, w, flash, w, a, b, t) for n, limit, flash, r, w, a, b, t in by_board})
    return found


def _sums(plans: int, boards: int, plan: Ints, board: Ints, values: Ints) -> Ints:
    """(plans, boards) sums of bytes: whole numbers, so that they are exact."""
    return np.bincount(plan * boards + board, values, plans * boards).astype(np.int64).reshape(plans, boards)


def _peaks(problem: Problem, schedules: Sequence[Schedule], stands: Stands) -> Ints:
    leaving = [tensors_leaving(s.transfers) for s in schedules]
    rows = zip(stands.segments, stands.figures, stands.plan.tolist(), strict=True)
    asked = [(segment, figures, leaving[g].get(segment.name, ())) for segment, figures, g in rows]
    return np.array(problem.segment_table.peaks(asked), dtype=np.int64)


def _small(problem: Problem, schedules: Sequence[Schedule], stands: Stands) -> list[tuple[int, int, int]]:
    """(position, RAM, flash) of segments on microcontroller boards."""
    if not problem.small_processors:
        return []
    parts = [small_parts(problem, s.segments, s.transfers) for s in schedules]
    found = []
    for i, (segment, g) in enumerate(zip(stands.segments, stands.plan.tolist(), strict=True)):
        if segment.name in parts[g]:
            memory = small_memory(problem, segment.processor, parts[g][segment.name])
            found.append((i, memory.claimed_bytes, memory.image_bytes))
    return found


def _add_shared(problem: Problem, stands: Stands, weights: Ints) -> None:
    """Initializers of several operators count once a board, at the size of the processor that holds the most."""
    held: dict[tuple[int, int, int], int] = {}
    for i, figures in enumerate(stands.figures):
        if not figures.shared:
            continue
        q = int(stands.processor[i])
        if q in problem.small_processors:
            continue
        b = int(problem.tables.board_of[q])
        for initializer, size in figures.shared:
            key = (int(stands.plan[i]), b, initializer)
            held[key] = max(held.get(key, 0), size)
    for (g, b, _), size in held.items():
        weights[g, b] += size
