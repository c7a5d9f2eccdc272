"""Labels that the first schedule of their assignment misses: another schedule attains them, or none is worth having.

With who runs what given, energy hangs on the period alone. So the known plans leave a staircase of periods and
latencies below which a schedule would be new; each of its steps is a question to CP-SAT.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from optimizer.evaluate import Schedule, evaluate
from optimizer.objectives import held, objective_values
from optimizer.plan import Plan
from optimizer.search.cpsat import Budget
from optimizer.search.cpsat.settle import Settled, Settler
from optimizer.search.label_known import KnownFront
from optimizer.search.pool import Pool

__all__ = ["TIGHT", "LabelSettler", "Promise"]

TIGHT = 1e-6
"""Share by which a plan may miss its label, and by which a new one must be better than the known ones to count."""
_SLACK = 1e-9
_MAX_QUESTIONS = 30
"""About one assignment; with that many schedules of it worth having, the question is left open."""


@dataclass(frozen=True)
class Promise:
    """What no schedule of an assignment betters. ``idle_w``: joules a second of a longer period adds."""

    period_s: float
    latency_s: float
    energy_j: float
    idle_w: float


class LabelSettler:
    """Asks for schedules of one assignment at a time; what it finds goes into the pool and among the known."""

    def __init__(self, pool: Pool, known: KnownFront, budget: Budget) -> None:
        self.pool, self.known, self.budget = pool, known, budget

    def attain(self, plan: Plan, promise: Promise) -> Plan | None:
        """A schedule of the plan's assignment with the promised period and latency, where one is found."""
        answer = self._ask(plan, promise.period_s * (1 + TIGHT / 2), promise.latency_s * (1 + TIGHT / 2))
        return None if answer.plan is None else self._keep(answer.plan)

    def exhaust(self, plan: Plan, promise: Promise) -> bool:
        """Find schedules of the plan's assignment until no other is past the known plans; whether that is proven."""
        refused: list[tuple[float, float]] = []
        for _ in range(_MAX_QUESTIONS):
            steps = (s for s in self._steps(promise) if not any(s[0] <= p and s[1] <= x for p, x in refused))
            step = next(steps, None)
            if step is None:
                return True
            answer = self._ask(plan, *step)
            if answer.plan is not None:
                self._keep(answer.plan)
            elif answer.impossible:
                refused.append(step)
            else:
                return False
        return False

    def _steps(self, promise: Promise) -> Iterator[tuple[float, float]]:
        """(period, latency) below which no known plan reaches a schedule of the assignment."""
        latency = math.inf
        ends = sorted((self._reached_from(promise, point), point[1]) for point in self.known.points.tolist())
        for period, next_latency in [*ends, (math.inf, 0.0)]:
            step = period * (1 - TIGHT), latency * (1 - TIGHT)
            if promise.period_s < step[0] and (promise.latency_s < step[1] or math.isinf(latency)):
                yield step
            latency = min(latency, next_latency)

    def _reached_from(self, promise: Promise, point: list[float]) -> float:
        """From which period on a schedule of the assignment is no better than the point, but for latency."""
        period, _, energy = point
        spare_j = energy - promise.energy_j
        if "energy" not in self.pool.objectives or spare_j <= _SLACK * energy:
            return period
        return max(period, promise.period_s + spare_j / promise.idle_w) if promise.idle_w > 0 else math.inf

    def _ask(self, plan: Plan, period_s: float, latency_s: float) -> Settled:
        problem, limits = self.pool.problem, self.pool.problem.limits
        if math.isfinite(period_s) and (period_s > 0 or "throughput" in self.pool.objectives):
            problem = held(problem, "throughput", period_s)
        if math.isfinite(latency_s) and ("latency" in self.pool.objectives or limits.max_latency_s is not None):
            problem = held(problem, "latency", latency_s)
        scored = replace(plan, score=evaluate(problem, Schedule.of(plan)))
        return Settler(problem).settle(scored, "throughput", math.inf, self.budget)

    def _keep(self, found: Plan) -> Plan:
        plan = self.pool.add(found)
        if not plan.score.violations:
            self.known.add(self.known.point(objective_values(plan.score, self.pool.objectives)))
        return plan
