"""Costs that are not quite as given: how much the chosen plan may lose, and whether the front's ranking survives.

**Scenarios.** Every processor has one factor for the times and active energies of all its work, every medium (a link,
or the links that share one) one for its setup, transmission and latency. All factors vary independently within
1 - u .. 1 + u. Powers, sizes and energies per byte stay.

**Regret** of a plan in a scenario: its value over the least value of any plan there, less 1. The other plans must
keep memory, boards and restrictions; limits on figures bind neither them nor the plan.

**Bound.** Periods, latencies and (without a rate) energies grow with every factor and scale with all of them, so no
regret exceeds (1 + u) / (1 - u) * value / bound - 1. For the period more is known. Let w be the loads of the plan's
resources, raised to (1 - u) / (1 + u) of its period, and k the period of its event graph with every duration divided
by the w of its resource: in every scenario f the period is at most k * max(f * w). A load f * w over the optimum is
largest where its own factor is high and all others are low, and the optimum there is bounded by solving. For all
three the factors of the resources that the plan uses are parted into boxes (see ``regret_boxes``), those of all others
are low: they do not touch the plan, and others gain most. Bounds that are quick to find hold at the corners.

With a rate the other plans are those that keep it at the costs as given, and energy counts its interval. With several
precisions a processor the other plans may have any of them.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from optimizer.cost_factors import Factors, scaled, unlimited
from optimizer.evaluate import Schedule, evaluate_batch
from optimizer.objectives import objective_values
from optimizer.plan import Flip, Front, Plan, Regret, Uncertainty
from optimizer.plan_loads import Loads, links_of, loads_of
from optimizer.precision import energy_is_relaxed, open_choice, relaxed, settled
from optimizer.problem import Problem
from optimizer.regret_boxes import worst_ratio
from optimizer.search.cpsat import Budget, prove
from optimizer.search.energy_bound import energy_bound
from optimizer.search.fluid import fluid_bound_s
from optimizer.search.latency_bound import latency_bound
from optimizer.search.many_boards import fits_cpsat, prove_period
from optimizer.search.order_dp import order_dp_candidates
from optimizer.search.pool import Pool, assignment_of
from optimizer.search.pruning import simple_bound

__all__ = ["UNCERTAINTY_SHARE", "assess"]

UNCERTAINTY_SHARE = 0.5
"""Of the time limit once more, for what follows from costs that are off."""
_UNCERTAIN = ("throughput", "latency", "energy")
_MAX_PAIRS = 300
"""Pairs of plans looked at closely; of a larger number the rest is open."""
_ROUNDING = 1e-9
_MAX_ALTERNATIVES = 20
_BOX_SHARE = 0.5
"""Share of the time left for the boxes of one objective."""
_REGRET_SHARE, _TRIAL_SHARE = 0.8, 0.4
"""Shares of the time for the regrets, the rest is for the ranking; and of a regret's for scenarios one by one."""
_BOUND_S = 0.2
"""Seconds for the least energy at one corner."""


def assess(problem: Problem, front: Front, share: float, budget: Budget) -> Uncertainty:
    """Regret of the front's chosen plan in the preferred objective (or in each), and pairs whose ranking may turn."""
    begin = time.monotonic()
    run = _Assessment(problem, front, share, budget)
    objectives = [front.prefer] if front.prefer in _UNCERTAIN else [o for o in front.certificates if o in _UNCERTAIN]
    regrets = []
    for left, objective in zip(range(len(objectives), 0, -1), objectives, strict=True):
        run.budget = _part(budget, _REGRET_SHARE / left)
        regrets.append(run.regret(objective))
    run.budget = budget
    ranked = [run.ranking(o) for o in objectives]
    return Uncertainty(
        share=share,
        regrets=tuple(regrets),
        flips=tuple(flip for flips, _, _ in ranked for flip in flips),
        firm_pairs=sum(firm for _, firm, _ in ranked),
        open_pairs=sum(left for _, _, left in ranked),
        seconds=0.0 if front.reproducible else time.monotonic() - begin,
    )


class _Assessment:
    """``budget``: of the question that is being answered. Without time left plans are compared as they are."""

    def __init__(self, problem: Problem, front: Front, share: float, budget: Budget) -> None:
        self.problem, self.front, self.share, self.budget = problem, front, share, budget
        self.low, self.high = 1 - share, 1 + share
        self.resources = [
            *(ref.key for ref in problem.processors),
            *dict.fromkeys(link.medium for link in problem.links),
        ]
        self.chosen = front.plans[front.chosen]
        self.chooses = open_choice(problem.precision_choices)
        self._problems: dict[tuple[frozenset[str], tuple[str, ...]], Problem] = {}

    def factors(self, high: frozenset[str]) -> dict[str, float]:
        """These resources at the high end, all others at the low end."""
        return {r: self.high if r in high else self.low for r in self.resources}

    def at_precisions_of(self, plan: Plan) -> Problem:
        return settled(self.problem, plan) if self.chooses else self.problem

    def scenario(self, high: frozenset[str], plan: Plan) -> Problem:
        """With ``factors``, at the precisions of a plan."""
        base = self.at_precisions_of(plan)
        key = (high, base.precisions)
        if key not in self._problems:
            self._problems[key] = scaled(base, self.factors(high))
        return self._problems[key]

    def easier(self, factors: Factors, objective: str) -> Problem:
        """A problem whose bounds hold in a scenario for all plans of any allowed precision."""
        problem = scaled(self.problem, factors)
        if objective != "energy":
            problem = replace(problem, limits=replace(problem.limits, rate_per_s=None))
        return relaxed(problem, problem.precision_choices) if self.chooses else problem

    def values(self, high: frozenset[str], plans: Sequence[Plan], objective: str) -> list[float]:
        found = [0.0] * len(plans)
        by_problem: dict[int, tuple[Problem, list[int]]] = {}
        for i, plan in enumerate(plans):
            problem = self.scenario(high, plan)
            by_problem.setdefault(id(problem), (problem, []))[1].append(i)
        for problem, rows in by_problem.values():
            for i, score in zip(rows, evaluate_batch(problem, [Schedule.of(plans[i]) for i in rows]), strict=True):
                found[i] = objective_values(score, [objective])[0]
        return found

    def regret(self, objective: str) -> Regret:
        trials = {frozenset((r,)) for r in self._busy(self.chosen)} if objective == "throughput" else set()
        trials |= {_dearer(self.chosen, other) for other in self.front.plans[:_MAX_ALTERNATIVES]}
        worst, where = 0.0, frozenset[str]()
        trying = _part(self.budget, _TRIAL_SHARE)
        for number, high in enumerate(sorted(trials, key=sorted)):
            if number and trying.left_s <= 0:
                break
            value, *others = self.values(high, [self.chosen, *self.front.plans[:_MAX_ALTERNATIVES]], objective)
            least = min(self._best_value(high, objective, _part(trying, 1 / (len(trials) - number))), *others)
            found = value / max(least, 1e-300) - 1
            if found > worst:
                worst, where = found, high
        at_most, method = self._at_most(objective)
        return Regret(objective, at_most, worst, self._told(where), method)

    def _busy(self, plan: Plan) -> list[str]:
        """Resources that can set the period: those with loads near it."""
        floor = self.low / self.high * plan.score.period_s
        return [r for r, load in plan.score.occupancy_s.items() if load > floor]

    def _best_value(self, high: frozenset[str], objective: str, budget: Budget) -> float:
        """Of plans for a scenario at the chosen plan's precisions: the front's, anew as well, and cuts along an order,
        as long as there is time."""
        problem = self.scenario(high, self.chosen)
        pool = Pool(problem, tuple(o for o in self.front.certificates if o in _UNCERTAIN))
        for plan in self.front.plans[:_MAX_ALTERNATIVES]:
            if self.at_precisions_of(plan).precisions == problem.precisions and budget.left_s > 0:
                pool.add(plan)
                if not any(s.replicas for s in plan.segments):
                    pool.score(assignment_of(self.problem, plan))
        _cut_along_an_order(pool, budget)
        return pool.best_value(objective)

    def _told(self, high: frozenset[str]) -> str:
        if not high:
            return "the costs as given"
        up, down = f"+{100 * self.share:g} %", f"-{100 * self.share:g} %"
        return f"{', '.join(sorted(high))} {up}, everything else {down}"

    def _at_most(self, objective: str) -> tuple[float | None, str]:
        """A proven bound on the regret, and how it was found."""
        least = self._least(objective)
        if least <= 0 or not self._scales(objective):
            return None, "nothing is proven"
        value = objective_values(self.chosen.score, [objective])[0]
        simple = self.high / self.low * value / least - 1
        boxes = self._over_boxes(objective, least) - 1
        worst, method = min(
            (simple, "every cost at its worst for the plan, at its best for all others"),
            (boxes, "boxes of factors, the plan at the upper corner over bounds at the lower"),
        )
        worst *= 1 + _ROUNDING
        loads = self._loads(self.chosen) if objective == "throughput" else None
        if loads is None:
            return max(0.0, worst), method
        ratios = [loads.excess * value / least]
        for done, (resource, weight) in enumerate(loads.weights.items()):
            bound = max(self.low * least, self._period_bound(frozenset((resource,)), len(loads.weights) - done))
            ratios.append(loads.excess * self.high * weight / bound)
        if max(ratios) - 1 < worst:
            worst, method = (max(ratios) - 1) * (1 + _ROUNDING), "each busy resource at its worst, solved anew"
        return max(0.0, worst), method

    def _over_boxes(self, objective: str, least: float) -> float:
        """No scenario has a larger ratio of the plan's value to the least of any plan."""
        weights = {h.medium: 0.0 for h in links_of(self.problem, self.chosen)}
        weights |= {r: load for r, load in self.chosen.score.occupancy_s.items() if load > 0}
        base = self.at_precisions_of(self.chosen)
        until = self.budget.clock.now() + _BOX_SHARE * self.budget.left_s
        low = dict.fromkeys(self.resources, self.low)

        def value(factors: Factors) -> float:
            (score,) = evaluate_batch(scaled(base, {**low, **factors}), [Schedule.of(self.chosen)])
            return objective_values(score, [objective])[0]

        def bound(factors: Factors) -> float:
            every = {**low, **factors}
            return max(min(every.values()) * least, self._quick(self.easier(every, objective), objective))

        def time_left() -> bool:
            return not self.budget.clock.deterministic and self.budget.clock.now() < until

        return worst_ratio(value, bound, weights, (self.low, self.high), time_left)

    def _quick(self, problem: Problem, objective: str) -> float:
        """A bound on what any plan of a scenario has, found without a search."""
        if objective == "throughput":
            return fluid_bound_s(problem)
        known = simple_bound(problem, objective)
        if objective == "latency":
            found = latency_bound(problem)
            return known if found is None else max(known, found.bound_s)
        if problem.replicate:
            return known  # a frame may take a processor for longer than the period
        until = math.inf if self.budget.clock.deterministic else time.monotonic() + _BOUND_S
        least = energy_bound(problem, fluid_bound_s(problem), math.inf, until)
        return known if least is None else max(known, least.bound_j)

    def _least(self, objective: str) -> float:
        """A lower bound on the objective over the plans that a scenario leaves, for the costs as given."""
        free = unlimited(self.problem)
        certificate = self.front.certificates[objective]
        if free.limits == self.problem.limits and certificate.bound is not None:
            return certificate.bound
        return simple_bound(relaxed(free, free.precision_choices) if self.chooses else free, objective)

    def _scales(self, objective: str) -> bool:
        """Whether the objective grows with every factor, and by no larger a share than the factors."""
        if objective != "energy":
            return True
        if self.chooses:
            return energy_is_relaxed(self.problem)
        tables = self.problem.tables
        idle = [ref.processor.idle_power_w for ref in self.problem.processors]
        return (
            all(ref.processor.active_power_w >= ref.processor.idle_power_w for ref in self.problem.processors)
            and bool((tables.energy_j >= tables.time_s * idle * (1 - _ROUNDING)).all())
            and all(link.overlap for link in self.problem.links)
        )

    def _loads(self, plan: Plan) -> Loads | None:
        return loads_of(self.at_precisions_of(plan), plan, self.low / self.high * plan.score.period_s)

    def _period_bound(self, high: frozenset[str], of: int) -> float:
        """A proven bound on the period in a scenario."""
        problem = self.easier(self.factors(high), "throughput")
        known = simple_bound(problem, "throughput")
        if self.budget.left_s <= 0 or problem.replicate:
            return known
        pool = Pool(problem, ("throughput",))
        budget = _part(self.budget, 1 / of)
        _cut_along_an_order(pool, budget)
        bound = prove_period(pool, budget)
        if bound is None and budget.left_s > 0 and fits_cpsat(problem):
            bound = prove(pool, "throughput", budget, known)
        return known if bound is None else max(known, bound.value)

    def ranking(self, objective: str) -> tuple[list[Flip], int, int]:
        """Pairs whose ranking turns round, how many surely keep it, and how many are left open."""
        plans = self.front.plans
        value = [objective_values(p.score, [objective])[0] for p in plans]
        order = sorted(range(len(plans)), key=lambda i: value[i])
        flips: list[Flip] = []
        firm = left = looked = 0
        for a, b in _by_closeness(order, value):
            if self._scales(objective) and self.high * value[a] < self.low * value[b]:
                firm += 1
                continue
            looked += 1
            late = looked > _MAX_PAIRS or self.budget.left_s <= 0
            verdict = None if late else self._turns(objective, a, b)
            if isinstance(verdict, str):
                flips.append(Flip(objective, a, b, verdict))
            firm, left = (firm + 1, left) if verdict is False else (firm, left + (verdict is None))
        return flips, firm, left

    def _turns(self, objective: str, a: int, b: int) -> str | bool | None:
        """A scenario in which plan b beats plan a; False where there is surely none; None where that is open."""
        one, two = self.front.plans[a], self.front.plans[b]
        trials = {_dearer(one, two)}
        if objective == "throughput":
            trials |= {frozenset((r,)) for r in self._busy(one)}
        for high in sorted(trials, key=sorted):
            first, second = self.values(high, [one, two], objective)
            if first > second * (1 + _ROUNDING):
                return self._told(high)
        loads = self._loads(one) if objective == "throughput" and self._scales(objective) else None
        if loads is None:
            return None
        ratios = [loads.excess * one.score.period_s / two.score.period_s]
        for resource, weight in loads.weights.items():
            other = self.values(frozenset((resource,)), [two], objective)[0]
            ratios.append(loads.excess * self.high * weight / other)
        return False if max(ratios) < 1 else None


def _part(budget: Budget, share: float) -> Budget:
    """A share of the time left."""
    return replace(budget, deadline=budget.clock.now() + share * max(0.0, budget.left_s))


def _cut_along_an_order(pool: Pool, budget: Budget) -> None:
    """Score what cuts along an order of the operators give, until time is up."""
    if budget.left_s > 0:
        for assignment in order_dp_candidates(pool.problem, pool.objectives):
            pool.score(assignment)
            if budget.left_s <= 0:
                return


def _dearer(one: Plan, two: Plan) -> frozenset[str]:
    """Resources on which the first plan works longer than the second."""
    other = two.score.occupancy_s
    return frozenset(r for r, load in one.score.occupancy_s.items() if load > other.get(r, 0.0))


def _by_closeness(order: Sequence[int], value: Sequence[float]) -> Iterator[tuple[int, int]]:
    """(better, worse) pairs, those with the most similar values first."""

    def ratio(pair: tuple[int, int]) -> float:
        return value[pair[1]] / value[pair[0]] if value[pair[0]] > 0 else math.inf

    yield from sorted(itertools.combinations(order, 2), key=ratio)
