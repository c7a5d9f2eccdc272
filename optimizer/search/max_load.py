"""The least max load of an instance in either class, with proof: coarsen, order-DP, downset DP, CP-SAT, covers."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Literal

from optimizer.max_load import MaxLoadProblem, MaxLoadResult, PlanClass, max_load, violations
from optimizer.search.cpsat.max_load import search
from optimizer.search.cpsat.max_load_cover import cover_bound
from optimizer.search.cpsat.solver import Budget
from optimizer.search.max_load_downsets import downset_plan, downsets
from optimizer.search.max_load_groups import Groups, coarsen
from optimizer.search.max_load_order import order_plan, orders

__all__ = ["OPTIMAL_GAP", "solve_max_load"]

OPTIMAL_GAP = 1e-5
"""Largest relative gap called optimal: what integer costs and sums of floats may lose."""
_FLOAT_SHARE = 1e-9
"""A plan counts as better if it is so by this share: sums of floats depend on their order."""
_MOST_DOWNSETS = 100_000
_FIRST_SHARE = 0.3
"""Of the time, for CP-SAT before the priced covers: what it proves at all it mostly proves soon."""
_COVER_SHARE = 0.6
"""Of the time left then."""
_CLOSE_GAP = 1e-3
"""With less, the time goes to better plans."""


def solve_max_load(
    problem: MaxLoadProblem,
    plan_class: PlanClass,
    *,
    time_limit_s: float = 60.0,
    workers: int = 2,
    seed: int = 0,
    most_downsets: int = _MOST_DOWNSETS,
) -> MaxLoadResult:
    """The best plan found and a bound that holds for every plan of the class.

    "infeasible" is a result, proven; "unknown" means that the time was too short to find any plan.
    """
    begin = time.monotonic()
    budget = Budget(begin + time_limit_s, workers, seed)
    best = _first_plans(problem, plan_class, budget)
    bound, method = _prove(best, most_downsets, budget)
    if best.value is not None:
        bound = min(bound, best.value)
    return MaxLoadResult(
        plan_class=plan_class,
        value_ms=best.value,
        bound_ms=bound,
        status=_status(best.value, bound),
        placement=best.placement,
        method=method,
        seconds=time.monotonic() - begin,
    )


@dataclass
class _Best:
    """The best plan so far, always of the class and within the limits, scored by ``max_load``."""

    coarse: Groups
    plan_class: PlanClass
    value: float | None = None
    devices: list[int] = field(default_factory=list)

    @property
    def placement(self) -> tuple[int, ...] | None:
        return None if self.value is None else self.coarse.placement(self.devices)

    def offer(self, devices: list[int]) -> bool:
        """Keep it if it is better; whether it may be used at all."""
        placement = self.coarse.placement(devices)
        if violations(self.coarse.problem, placement, self.plan_class):
            return False
        value = max_load(self.coarse.problem, placement)
        if self.value is None or value < self.value:
            self.value, self.devices = value, devices
        return True


def _first_plans(problem: MaxLoadProblem, plan_class: PlanClass, budget: Budget) -> _Best:
    """Plans along a few orders. A contiguous plan keeps the groups of the non-contiguous problem together, too."""
    narrow = _Best(coarsen(problem, "contiguous"), "contiguous")
    for order in orders(narrow.coarse):
        found = order_plan(narrow.coarse, order, math.inf if narrow.value is None else narrow.value)
        if found:
            narrow.offer(found[1])
        if budget.left_s <= 0:
            break
    if plan_class == "contiguous":
        return narrow
    free = _Best(coarsen(problem, "non-contiguous"), "non-contiguous")
    placement = narrow.placement
    if placement is not None:
        free.offer(free.coarse.devices(placement))
    return free


def _prove(best: _Best, most_downsets: int, budget: Budget) -> tuple[float, str]:
    """A bound for all plans of the class, and the method; improves ``best`` on the way."""
    contiguous = best.plan_class == "contiguous"
    if best.value == 0.0:
        return 0.0, "no load can be below 0"
    if contiguous:
        # half of the time, so that CP-SAT has the other if this does not end
        deadline = time.monotonic() + max(0.0, budget.left_s) / 2
        sets = downsets(best.coarse, most_downsets, deadline)
        below = math.inf if best.value is None else best.value * (1 - _FLOAT_SHARE)
        proof = None if sets is None else downset_plan(sets, below, deadline)
        if proof is not None and (proof[1] is None or best.offer(proof[1])):
            return proof[0] * (1 - _FLOAT_SHARE), "downset DP"
    bound, method = _simple_bound(best.coarse, best.value), "fluid or pigeonhole bound"
    if not contiguous:
        bound, method = max(
            (bound, method), (_search(best, _share(budget, _FIRST_SHARE), bound), "CP-SAT"), key=itemgetter(0)
        )
        if best.value is not None and bound < best.value * (1 - _CLOSE_GAP):
            deadline = _share(budget, _COVER_SHARE).deadline
            covered = cover_bound(best.coarse, best.value, bound, deadline)
            bound, method = max((bound, method), (covered, "priced covers"), key=itemgetter(0))
    if math.isfinite(bound) and (best.value is None or bound < best.value * (1 - OPTIMAL_GAP)):
        bound, method = max((bound, method), (_search(best, budget, bound), "CP-SAT"), key=itemgetter(0))
    return bound, method


def _share(budget: Budget, share: float) -> Budget:
    return replace(budget, deadline=time.monotonic() + share * max(0.0, budget.left_s))


def _search(best: _Best, budget: Budget, at_least_ms: float) -> float:
    """CP-SAT's bound, inf where there is no plan; it improves ``best`` on the way."""
    known = None if best.value is None else (best.value, best.devices)
    found = search(best.coarse, best.plan_class == "contiguous", known, best.offer, budget, at_least_ms)
    return best.value if found.status == "infeasible" and best.value is not None else found.bound_ms


def _simple_bound(coarse: Groups, known: float | None) -> float:
    """The better of the fluid bound (transfers free, groups divisible) and the pigeonhole bound."""
    problem = coarse.problem
    least = [
        min(
            g.cpu_ms if problem.cpus else math.inf,
            g.accelerator_ms if problem.accelerators and g.supported else math.inf,
        )
        for g in coarse.groups
    ]
    fluid = max(*least, sum(least) / problem.devices)
    return max(fluid, _pigeonhole(coarse, math.inf if known is None else known)) * (1 - _FLOAT_SHARE)


def _pigeonhole(coarse: Groups, known: float) -> float:
    """Of the q dearest groups that no CPU could run in less than ``known``, one of k accelerators has q / k or more.

    So its load is at least the sum of the q / k cheapest of them; the bound holds for plans better than ``known``,
    and is never more than ``known``.
    """
    problem = coarse.problem
    if problem.accelerators == 0:
        return 0.0
    times = sorted(
        (g.accelerator_ms for g in coarse.groups if g.supported and (problem.cpus == 0 or g.cpu_ms >= known)),
        reverse=True,
    )
    bounds = [
        math.fsum(times[count - share : count])
        for share in range(1, len(times) // problem.accelerators + 2)
        if (count := (share - 1) * problem.accelerators + 1) <= len(times)
    ]
    return min(known, max(bounds, default=0.0))


def _status(value: float | None, bound: float) -> Literal["optimal", "feasible", "infeasible", "unknown"]:
    if value is None:
        return "infeasible" if math.isinf(bound) else "unknown"
    return "optimal" if bound >= value * (1 - OPTIMAL_GAP) else "feasible"
