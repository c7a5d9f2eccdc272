"""Memory of whole plans: segments reordered where that lowers their peaks, and arenas with offsets."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from boards.board import Board
from optimizer.evaluate import Schedule, arena_tensors, memory_use
from optimizer.mcu_memory import SegmentPart, scratch_ranges, small_buffers
from optimizer.mcu_order import small_memory, small_order, small_parts
from optimizer.memory import LiveRange, arena_peak_bytes, live_ranges
from optimizer.memory_offsets import layout_faults, pack_arena
from optimizer.memory_order import OrderFound, lowest_peak_order
from optimizer.plan import ArenaLayout, Plan, Segment, Transfer
from optimizer.problem import Problem

__all__ = ["arena_faults", "lowest_order", "peaks_are_settled", "with_arenas", "with_lowest_peaks"]

_PACKING_S = 0.05
"""Deterministic seconds of CP-SAT for all arenas of a plan."""


def lowest_order(problem: Problem, segment: Segment, plan: Plan | Schedule) -> OrderFound:
    """The order of a segment's operators with the lowest arena peak that we find, remembered."""
    part = small_parts(problem, plan.segments, plan.transfers).get(segment.name)
    if part is not None:
        return small_order(problem, segment.processor, part)
    transfers = plan.transfers
    leaving = tuple(t.tensor for t in transfers if t.producer == segment.name)
    key = (segment.processor, tuple(sorted(segment.operators)), leaving)
    if key not in problem.lowest_orders:
        problem.lowest_orders[key] = lowest_peak_order(
            problem.graph,
            problem.always_live,
            segment.operators,
            arena_tensors(problem, segment, leaving),
            in_place=_board(problem, segment).in_place,
        )
    return problem.lowest_orders[key]


def with_lowest_peaks(problem: Problem, schedule: Schedule, boards: Collection[str]) -> Schedule:
    """The schedule with the segments on these boards in the order with the lowest peak."""
    segments = [_lowered(problem, s, schedule) if _board(problem, s).name in boards else s for s in schedule.segments]
    return replace(schedule, segments=tuple(segments))


def _lowered(problem: Problem, segment: Segment, plan: Plan | Schedule) -> Segment:
    """The segment in the order with the lowest peak; as it is where that is no lower."""
    found = lowest_order(problem, segment, plan)
    if problem.processor_index[segment.processor] in problem.small_processors:
        return replace(segment, operators=found.operators)
    leaving = [t.tensor for t in plan.transfers if t.producer == segment.name]
    sizes = arena_tensors(problem, segment, leaving)
    in_place = _board(problem, segment).in_place
    if found.peak_bytes >= arena_peak_bytes(problem.graph, segment.operators, sizes, in_place=in_place):
        return segment
    return replace(segment, operators=found.operators)


def _board(problem: Problem, segment: Segment) -> Board:
    return problem.processors[problem.processor_index[segment.processor]].board


def peaks_are_settled(problem: Problem, plan: Plan) -> bool:
    """Whether no other order of operators inside the segments needs less RAM on a board that lacks it.

    Only then does a plan's lack of RAM speak for all plans with its assignment.
    """
    short = {name for name, use in plan.score.memory_bytes.items() if use.ram_bytes > use.ram_available_bytes}
    return all(lowest_order(problem, s, plan).proven for s in plan.segments if _board(problem, s).name in short)


def with_arenas(problem: Problem, plan: Plan) -> Plan:
    """The plan as it is reported: segments in the order with the lowest peak, arenas with offsets.

    Nothing but memory changes, and that only for the better.
    """
    segments = tuple(_lowered(problem, s, plan) for s in plan.segments)
    parts = small_parts(problem, segments, plan.transfers)
    arenas = {s.name: _layout(problem, s, plan.transfers, parts, _PACKING_S / len(segments)) for s in segments}
    memory = memory_use(problem, Schedule(segments, plan.transfers, plan.orders))
    return replace(plan, segments=segments, arenas=arenas, score=replace(plan.score, memory_bytes=memory))


def _layout(
    problem: Problem,
    segment: Segment,
    transfers: Sequence[Transfer],
    parts: Mapping[str, SegmentPart],
    budget_s: float,
) -> ArenaLayout:
    if segment.name in parts:
        return small_memory(problem, segment.processor, parts[segment.name]).layout
    return pack_arena(_buffers(problem, segment, transfers), budget_s=budget_s)


def _buffers(problem: Problem, segment: Segment, transfers: Sequence[Transfer]) -> list[LiveRange]:
    sizes = arena_tensors(problem, segment, [t.tensor for t in transfers if t.producer == segment.name])
    return live_ranges(problem.graph, segment.operators, sizes, in_place=_board(problem, segment).in_place)


def arena_faults(problem: Problem, plan: Plan) -> Iterator[str]:
    """Where the plan's arenas break their word: tensors missing or in each other's way, other sizes than said."""
    if set(plan.arenas) != {s.name for s in plan.segments}:
        yield "the arenas are not those of the plan's segments"
        return
    parts = small_parts(problem, plan.segments, plan.transfers)
    for segment in plan.segments:
        layout = plan.arenas[segment.name]
        buffers = (
            _small_buffers(problem, segment, parts[segment.name])
            if segment.name in parts
            else _buffers(problem, segment, plan.transfers)
        )
        yield from (f"the arena of {segment.name} {fault}" for fault in layout_faults(buffers, layout))


def _small_buffers(problem: Problem, segment: Segment, part: SegmentPart) -> list[LiveRange]:
    q = problem.processor_index[segment.processor]
    small, sizes = problem.small_processors[q], problem.tables.tensor_bytes[:, q]
    return [*small_buffers(problem.graph, small, part, sizes), *scratch_ranges(problem.graph, small, part)]
