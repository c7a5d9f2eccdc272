"""Energy of one inference in the steady state, and the bytes that it sends over the links."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from optimizer.events import Events
from optimizer.plan import Schedule
from optimizer.problem import Problem
from optimizer.replicas import every_frame

__all__ = ["energy_and_wire_bytes"]


def energy_and_wire_bytes(
    problem: Problem,
    schedule: Schedule,
    events: Events,
    occupancy_s: Mapping[str, float],
    interval_s: float,
    used: Collection[str],
) -> tuple[float, int]:
    """Joules and wire bytes of one inference, on average over the frames of a turn; ``used``: boards."""
    joules, wire = _over_links(problem, schedule)
    return _in_processors(problem, schedule, events, occupancy_s, interval_s, used) + joules, round(wire)


def _in_processors(
    problem: Problem,
    schedule: Schedule,
    events: Events,
    occupancy_s: Mapping[str, float],
    interval_s: float,
    used: Collection[str],
) -> float:
    frames = events.frames
    active = 0.0
    in_operators: dict[str, float] = {}
    for segment in every_frame(schedule.segments, frames):
        figures = problem.segment_table.figures(segment)
        active += figures.energy_j
        in_operators[segment.processor] = in_operators.get(segment.processor, 0.0) + figures.time_s / frames
    compute: dict[str, float] = {}
    for resources, seconds in zip(events.resources, events.compute_s, strict=True):
        if seconds > 0:
            compute[resources[0]] = compute.get(resources[0], 0.0) + seconds / frames
    active /= frames
    idle = 0.0
    for ref in problem.processors:
        key = ref.key
        beside = compute.get(key, 0.0) - in_operators.get(key, 0.0)
        active += ref.processor.active_power_w * max(0.0, beside)
        if ref.board.name in used:
            idle += ref.processor.idle_power_w * max(0.0, interval_s - occupancy_s.get(key, 0.0))
        elif not ref.board.removable:
            idle += ref.processor.idle_power_w * interval_s
    return active + idle


def _over_links(problem: Problem, schedule: Schedule) -> tuple[float, float]:
    """(joules, bytes on the wire) of one inference over all hops."""
    wire = joules = 0.0
    over = problem.ways.wire
    for t in schedule.transfers:
        for hop in t.hops:
            hop_bytes, hop_j = over(hop.link, t.size_bytes)
            wire += hop_bytes / t.every
            joules += hop_j / t.every
    return joules, wire
