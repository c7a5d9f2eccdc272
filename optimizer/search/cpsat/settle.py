"""What a refused plan says of its assignment: another schedule of it that will do, or that there is none.

``complete()`` makes one schedule an assignment, which need not be the best: buffers given up for RAM, lists that
trade latency for period. Only an assignment none of whose schedules will do may be cut off as impossible.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

from optimizer.evaluate import Schedule, evaluate, resource_occupancy_s, used_boards
from optimizer.events import Events, build_events
from optimizer.list_schedule import longest_path_s
from optimizer.memory_plan import lowest_order, with_lowest_peaks
from optimizer.objectives import held, objective_values
from optimizer.plan import Plan
from optimizer.problem import Problem
from optimizer.search.cpsat.schedule_model import ScheduleLimits, find_schedule
from optimizer.search.cpsat.solver import Budget
from optimizer.search.relax import limit_items, without

__all__ = ["Settled", "Settler"]

_TOLERANCE = 1e-9
_MAX_CALL_S = 5.0
"""Seconds by the budget's clock for one assignment."""
_OF_SCHEDULE = ("RAM", "--max-latency", "--min-throughput", "--rate", "--max-energy")
"""Limits that hang on lists and depths; all others hang on who runs what alone."""


@dataclass(frozen=True)
class Settled:
    """``plan``: a schedule that will do. ``impossible``: proven that the assignment has none.

    Neither: not settled in time, or settled for these segments only where others may run the same assignment.
    """

    plan: Plan | None = None
    impossible: bool = False


class Settler:
    """Decides whether an assignment has a schedule within the limits of a problem and a target."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    @cached_property
    def _loosened(self) -> Problem:
        """Only the limits that no schedule can help."""
        return without(self.problem, [i for i in limit_items(self.problem) if i.kind in _OF_SCHEDULE])

    def settle(self, plan: Plan, objective: str, target: float, budget: Budget) -> Settled:
        """``plan``: any schedule of the assignment; ``target``: the objective's quantity must be at most that."""
        if objective == "memory":
            return self._within_memory(plan, target, budget)
        events = build_events(self.problem, plan.segments, plan.transfers)
        if events.frames > 1:
            return Settled()  # replicas: lists of several frames
        limits = self._limits(plan, objective, target)
        if limits is None or _clearly_beyond(events, limits):
            return self._no_schedule()
        seconds = min(_MAX_CALL_S, budget.left_s)
        if seconds <= 0:
            return Settled()
        found, impossible = find_schedule(events, plan.transfers, limits, replace(budget, gap=0.0), seconds)
        if found is None:
            return self._no_schedule() if impossible else Settled()
        transfers = tuple(replace(t, depth=d) for t, d in zip(plan.transfers, found.depths, strict=True))
        schedule = Schedule(plan.segments, transfers, found.orders)
        schedule = with_lowest_peaks(self.problem, schedule, list(self.problem.board_index))
        score = evaluate(self.problem, schedule)
        if score.violations or objective_values(score, [objective])[0] > target * (1 + _TOLERANCE):
            return Settled()  # by a rounding, or by an arena whose least peak is not known
        return Settled(plan=Plan(schedule.segments, schedule.transfers, schedule.orders, score))

    def _within_memory(self, plan: Plan, target: float, budget: Budget) -> Settled:
        """Whether the assignment can do with that share of every board's RAM."""
        tight = held(self.problem, "memory", target)
        scored = replace(plan, score=evaluate(tight, Schedule.of(plan)))
        return Settler(tight).settle(scored, "throughput", math.inf, budget)

    def _no_schedule(self) -> Settled:
        return Settled(impossible=not self.problem.non_contiguous)

    def _limits(self, plan: Plan, objective: str, target: float) -> ScheduleLimits | None:
        """What lists and depths must keep; None where who runs what breaks a limit already."""
        given = self.problem.limits
        limits = {"throughput": given.max_period_s, "latency": given.max_latency_s, "energy": given.max_energy_j}
        wanted = {o: math.inf if limit is None else limit for o, limit in limits.items()}
        if objective in wanted:
            wanted[objective] = min(wanted[objective], target)
        elif objective_values(plan.score, [objective])[0] > target:
            return None
        room = self._room(plan)
        fixed = evaluate(self._loosened, Schedule.of(plan)).violations if plan.score.violations else ()
        if room is None or (fixed and math.isfinite(plan.score.period_s)):
            return None
        period_s = min(wanted["throughput"], self._period_of_energy(plan, wanted["energy"]))
        return ScheduleLimits(period_s, wanted["latency"], room)

    def _room(self, plan: Plan) -> dict[str, int] | None:
        """Bytes for buffers by board beside the least arenas there may be; None where one buffer each is too much."""
        problem = self.problem
        arenas: dict[str, dict[str, int]] = {}
        for segment in plan.segments:
            board = problem.processors[problem.processor_index[segment.processor]].board.name
            of = arenas.setdefault(board, {})
            least = lowest_order(problem, segment, plan).bound_bytes
            of[segment.processor] = max(of.get(segment.processor, 0), least)
        room = {}
        for name, use in plan.score.memory_bytes.items():
            fixed = use.ram_bytes - use.arena_bytes - use.buffer_bytes
            room[name] = use.ram_available_bytes - fixed - sum(arenas.get(name, {}).values())
            if sum(t.size_bytes for t in plan.transfers if name in t.boards) > room[name]:
                return None
        return room

    def _period_of_energy(self, plan: Plan, energy_j: float) -> float:
        """The longest period that keeps the energy: idle power runs on until the next frame."""
        if math.isinf(energy_j) or not math.isfinite(plan.score.energy_j):
            return math.inf
        idle_w = self._idle_power_w(plan)
        spare_j = energy_j * (1 + _TOLERANCE) - plan.score.energy_j
        if idle_w <= 0:
            return math.inf if spare_j >= 0 else 0.0
        return plan.score.period_s + spare_j / idle_w

    def _idle_power_w(self, plan: Plan) -> float:
        """What a longer period adds to the energy, a second; nothing where the interval of frames is given."""
        if self.problem.limits.rate_per_s is not None:
            return 0.0
        used = used_boards(self.problem, Schedule.of(plan))
        counted = [ref for ref in self.problem.processors if ref.board.name in used or not ref.board.removable]
        return math.fsum(ref.processor.idle_power_w for ref in counted)


def _clearly_beyond(events: Events, limits: ScheduleLimits) -> bool:
    """Whether the busiest resource or the longest path alone are too much."""
    busiest = max(resource_occupancy_s(events).values(), default=0.0)
    too_slow = busiest > limits.period_s * (1 + _TOLERANCE) or limits.period_s <= 0
    return too_slow or longest_path_s(events) > limits.latency_s * (1 + _TOLERANCE)
