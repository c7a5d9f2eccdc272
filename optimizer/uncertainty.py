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
largest where its own factor is high and all others are low, and the optimum there is bounded by solving.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from optimizer.costs import BoundaryCost, CostTable, LinkCost, OperatorCost
from optimizer.cycle_ratio import maximum_cycle_ratio
from optimizer.evaluate import Schedule, data_arcs, depth_arcs, evaluate_batch, order_arcs
from optimizer.events import build_events
from optimizer.objectives import objective_values
from optimizer.plan import Flip, Front, Plan, Regret, Uncertainty
from optimizer.problem import Problem
from optimizer.search.cpsat import Budget, prove
from optimizer.search.many_boards import fits_cpsat, prove_period
from optimizer.search.order_dp import order_dp_candidates
from optimizer.search.pool import Pool, assignment_of
from optimizer.search.pruning import simple_bound

__all__ = ["assess", "scaled", "uncertainty_words"]

_UNCERTAIN = ("throughput", "latency", "energy")
_MAX_PAIRS = 300
"""Pairs of plans looked at closely; of a larger number the rest is open."""
_ROUNDING = 1e-9
_MAX_ALTERNATIVES = 20

Factors = Mapping[str, float]
"""By processor key and medium."""


def scaled(problem: Problem, factors: Factors) -> Problem:
    """The problem with every processor's and every medium's costs multiplied, and without limits on figures."""
    costs = problem.costs
    operators = {
        key: OperatorCost(c.time_s * factors[key[1]], c.energy_j * factors[key[1]], c.provenance)
        for key, c in costs.operators.items()
        if key[1] in factors
    }
    boundaries = {
        key: BoundaryCost(b.s_per_byte * factors[key], b.segment_s * factors[key], b.provenance)
        for key, b in costs.boundaries.items()
        if key in factors
    }
    links = {
        link.name: LinkCost(
            link.bandwidth_bytes_per_s / factors[link.medium],
            link.setup_s * factors[link.medium],
            link.latency_s * factors[link.medium],
            link.send_s_per_byte * factors[link.medium],
            link.receive_s_per_byte * factors[link.medium],
            "scaled",
        )
        for link in problem.links
    }
    return replace(_unlimited(problem), costs=CostTable(operators, boundaries, links, costs.model_sha256))


def _unlimited(problem: Problem) -> Problem:
    limits = replace(
        problem.limits,
        max_latency_s=None,
        min_throughput_per_s=None,
        max_energy_j=None,
        max_link_bytes=None,
        max_accuracy_loss=None,
    )
    return replace(problem, limits=limits)


def assess(problem: Problem, front: Front, share: float, budget: Budget) -> Uncertainty:
    """Regret of the front's chosen plan in the preferred objective (or in each), and pairs whose ranking may turn."""
    begin = time.monotonic()
    run = _Assessment(problem, front, share, budget)
    objectives = [front.prefer] if front.prefer in _UNCERTAIN else [o for o in front.certificates if o in _UNCERTAIN]
    regrets = tuple(run.regret(o) for o in objectives)
    ranked = [run.ranking(o) for o in objectives]
    return Uncertainty(
        share=share,
        regrets=regrets,
        flips=tuple(flip for flips, _, _ in ranked for flip in flips),
        firm_pairs=sum(firm for _, firm, _ in ranked),
        open_pairs=sum(left for _, _, left in ranked),
        seconds=0.0 if front.reproducible else time.monotonic() - begin,
    )


@dataclass(frozen=True)
class _Loads:
    """``weights``: w by resource that may set the period; ``excess``: k. See the module's text."""

    weights: Mapping[str, float]
    excess: float
    floor_s: float


class _Assessment:
    def __init__(self, problem: Problem, front: Front, share: float, budget: Budget) -> None:
        self.problem, self.front, self.share, self.budget = problem, front, share, budget
        self.low, self.high = 1 - share, 1 + share
        self.resources = [
            *(ref.key for ref in problem.processors),
            *dict.fromkeys(link.medium for link in problem.links),
        ]
        self.chosen = front.plans[front.chosen]
        self._problems: dict[frozenset[str], Problem] = {}

    def scenario(self, high: frozenset[str]) -> Problem:
        """These resources at the high end, all others at the low end."""
        if high not in self._problems:
            factors = {r: self.high if r in high else self.low for r in self.resources}
            self._problems[high] = scaled(self.problem, factors)
        return self._problems[high]

    def values(self, high: frozenset[str], plans: Sequence[Plan], objective: str) -> list[float]:
        scores = evaluate_batch(self.scenario(high), [Schedule.of(p) for p in plans])
        return [objective_values(s, [objective])[0] for s in scores]

    def regret(self, objective: str) -> Regret:
        trials = {frozenset((r,)) for r in self._busy(self.chosen)} if objective == "throughput" else set()
        trials |= {_dearer(self.chosen, other) for other in self.front.plans[:_MAX_ALTERNATIVES]}
        worst, where = 0.0, frozenset[str]()
        for high in sorted(trials, key=sorted):
            pool = self._pool(high)
            found = self.values(high, [self.chosen], objective)[0] / max(pool.best_value(objective), 1e-300) - 1
            if found > worst:
                worst, where = found, high
        at_most, method = self._at_most(objective)
        return Regret(objective, at_most, worst, self._told(where), method)

    def _busy(self, plan: Plan) -> list[str]:
        """Resources that can set the period: those with loads near it."""
        floor = self.low / self.high * plan.score.period_s
        return [r for r, load in plan.score.occupancy_s.items() if load > floor]

    def _pool(self, high: frozenset[str]) -> Pool:
        """Plans for a scenario: the front's, and cuts along an order."""
        pool = Pool(self.scenario(high), tuple(o for o in self.front.certificates if o in _UNCERTAIN))
        for plan in self.front.plans[:_MAX_ALTERNATIVES]:
            pool.score(assignment_of(self.problem, plan))
        for assignment in order_dp_candidates(pool.problem, pool.objectives):
            pool.score(assignment)
        return pool

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
        loads = self._loads(self.chosen) if objective == "throughput" else None
        if loads is None:
            return simple * (1 + _ROUNDING), "every cost at its worst for the plan, at its best for all others"
        ratios = [loads.excess * value / least]
        for done, (resource, weight) in enumerate(loads.weights.items()):
            bound = max(self.low * least, self._period_bound(frozenset((resource,)), len(loads.weights) - done))
            ratios.append(loads.excess * self.high * weight / bound)
        return max(0.0, min(simple, max(ratios) - 1)) * (1 + _ROUNDING), "each busy resource at its worst, solved anew"

    def _least(self, objective: str) -> float:
        """A lower bound on the objective over the plans that a scenario leaves, for the costs as given."""
        free = _unlimited(self.problem)
        certificate = self.front.certificates[objective]
        if free.limits == self.problem.limits and certificate.bound is not None:
            return certificate.bound
        return simple_bound(free, objective)

    def _scales(self, objective: str) -> bool:
        """Whether the objective grows with every factor and scales with all of them."""
        if self.problem.limits.rate_per_s is not None:
            return False
        if objective != "energy":
            return True
        tables = self.problem.tables
        idle = [ref.processor.idle_power_w for ref in self.problem.processors]
        return (
            all(ref.processor.active_power_w >= ref.processor.idle_power_w for ref in self.problem.processors)
            and bool((tables.energy_j >= tables.time_s * idle * (1 - _ROUNDING)).all())
            and all(link.overlap for link in self.problem.links)
        )

    def _loads(self, plan: Plan) -> _Loads | None:
        """None where work on one resource has the factor of another, or replicas take turns."""
        used = {h.link for t in plan.transfers for h in t.hops}
        links = [self.problem.link_by_name[name] for name in used]
        if any(not x.overlap or x.send_s_per_byte or x.receive_s_per_byte for x in links):
            return None
        if any(s.replicas for s in plan.segments):
            return None
        floor = self.low / self.high * plan.score.period_s
        weight = {r: max(load, floor) for r, load in plan.score.occupancy_s.items()}
        if floor <= 0:
            return None
        events = build_events(self.problem, plan.segments, plan.transfers)
        per = [weight.get(names[0], floor) for names in events.resources]
        shrunk = replace(
            events,
            duration_s=tuple(d / w for d, w in zip(events.duration_s, per, strict=True)),
            held_s=tuple(h / w for h, w in zip(events.held_s, per, strict=True)),
            arcs=tuple((i, j, lag / per[i]) for i, j, lag in events.arcs),
            depth_arcs=tuple((i, j, lag / per[i], t) for i, j, lag, t in events.depth_arcs),
        )
        arcs = data_arcs(shrunk) + order_arcs(shrunk, plan.orders)
        arcs += depth_arcs(shrunk, [t.depth for t in plan.transfers])
        excess = maximum_cycle_ratio(len(events.names), arcs) * (1 + _ROUNDING)
        return _Loads({r: w for r, w in weight.items() if w > floor}, max(1.0, excess), floor)

    def _period_bound(self, high: frozenset[str], of: int) -> float:
        """A proven bound on the period in a scenario."""
        problem = self.scenario(high)
        seconds = self.budget.left_s / of
        known = simple_bound(problem, "throughput")
        if seconds <= 0 or problem.replicate:
            return known
        pool = self._pool(high)
        budget = replace(self.budget, deadline=self.budget.clock.now() + seconds)
        bound = prove_period(pool, budget)
        if bound is None and fits_cpsat(problem):
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
            verdict = None if looked > _MAX_PAIRS else self._turns(objective, a, b)
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


def _dearer(one: Plan, two: Plan) -> frozenset[str]:
    """Resources on which the first plan works longer than the second."""
    other = two.score.occupancy_s
    return frozenset(r for r, load in one.score.occupancy_s.items() if load > other.get(r, 0.0))


def _by_closeness(order: Sequence[int], value: Sequence[float]) -> Iterator[tuple[int, int]]:
    """(better, worse) pairs, those with the most similar values first."""

    def ratio(pair: tuple[int, int]) -> float:
        return value[pair[1]] / value[pair[0]] if value[pair[0]] > 0 else math.inf

    yield from sorted(itertools.combinations(order, 2), key=ratio)


def uncertainty_words(found: Uncertainty) -> Iterator[str]:
    """What was found, a sentence a line."""
    share = f"{100 * found.share:g} %"
    for r in found.regrets:
        bound = "without a proven bound" if r.at_most is None else f"proven at most {_percent(r.at_most)}"
        yield (
            f"Costs within {share}: regret in {r.objective} {bound}; "
            f"found {_percent(r.attained)} ({r.scenario}; {r.method})."
        )
    pairs = len(found.flips) + found.firm_pairs + found.open_pairs
    if found.flips:
        first = found.flips[0]
        yield (
            f"The ranking of {len(found.flips)} of {pairs} pairs of plans can turn round, for example plan "
            f"{first.worse} beats plan {first.better} in {first.objective} with {first.scenario}."
        )
    elif found.open_pairs == 0:
        yield f"The ranking of all {pairs} pairs of plans of the front survives: proven."
    if found.open_pairs:
        yield f"For {found.open_pairs} of {pairs} pairs no such case was found, and none is ruled out."


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
