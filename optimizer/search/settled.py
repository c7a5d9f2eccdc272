"""Whether a plan's refusal speaks for its assignment, or only for the schedule that we made for it."""

from __future__ import annotations

from optimizer.events import build_events
from optimizer.plan import Plan
from optimizer.problem import Problem
from optimizer.schedule import longest_path_s

__all__ = ["schedule_is_settled"]

_TIGHT = 1 + 1e-9


def schedule_is_settled(problem: Problem, plan: Plan) -> bool:
    """False where a better schedule of the same assignment might keep a limit on period, energy or latency.

    No schedule has a period below the busiest resource, nor a latency below the longest path of a frame.
    """
    limits, score = problem.limits, plan.score
    period_is_least = score.period_s <= max(score.occupancy_s.values(), default=0.0) * _TIGHT
    too_slow = limits.max_period_s is not None and score.period_s > limits.max_period_s
    too_dear = limits.max_energy_j is not None and score.energy_j > limits.max_energy_j
    if (too_slow or too_dear) and not period_is_least:
        return False
    if limits.max_latency_s is not None and score.latency_s > limits.max_latency_s:
        events = build_events(problem, plan.segments, plan.transfers)
        return score.latency_s <= longest_path_s(events) * _TIGHT
    return True
