"""Which stages get how many identical boards: plans with replicas, and what bounds them.

Every way to make sets of identical boards gives a problem without replicas in which a set is one fast board; its
bound holds for the plans with these sets, and its best plan is the candidate. Few boards have few ways, and then the
least of the bounds holds for all of them; of many boards only the counts are varied, and the bound is weak.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from optimizer.objectives import objective_values
from optimizer.problem import Problem
from optimizer.replicas import alike
from optimizer.search.certify import PROVEN_GAP
from optimizer.search.cpsat import Bound, Budget, prove
from optimizer.search.fluid import METHOD as FLUID_METHOD
from optimizer.search.fluid import fluid_bound_s
from optimizer.search.many_boards import fits_cpsat, is_proven_bound, prove_period
from optimizer.search.order_dp import order_dp_candidates
from optimizer.search.pool import Assignment, Pool, assignment_of
from optimizer.search.pruning import simple_bound
from optimizer.search.replication_chain import chain_bound, real_plan
from optimizer.search.replication_relaxed import Configuration, Relaxed, relax_sets

__all__ = ["configurations", "identical_boards", "inherited", "prove_step", "proves_sets_impossible", "replicate"]

_MAX_SETS = 80
"""Ways to make sets of identical boards up to which all of them are looked at."""
_CLOSE = 1e-5
"""A plan must be better by this share to matter; far below what prints as gap 0."""
_STEP_SHARE = 0.5
"""Share of the time of a step for plans without replicas."""
_FRONT_SHARE = 0.3
"""Share of the time for points of a front at every way to make sets, beside the shortest period."""
_TRIED = 3
"""Plans of a relaxed problem that are tried as real ones, before and after its proof."""


def identical_boards(problem: Problem) -> list[list[int]]:
    """Processors that may be replicas of each other, in declared order; groups of two or more.

    Boards with several processors are left as they are.
    """
    groups: list[list[int]] = []
    for q, ref in enumerate(problem.processors):
        if len(ref.board.processors) > 1:
            continue
        group = next((g for g in groups if alike(problem, g[0], q)), None)
        if group is None:
            groups.append([q])
        else:
            group.append(q)
    return [g for g in groups if len(g) > 1]


def configurations(problem: Problem) -> tuple[list[Configuration], bool]:
    """Ways to make sets of identical boards, without the one that makes none, and whether these are all of them."""
    groups = identical_boards(problem)
    every = all(len(g) <= 6 for g in groups) and math.prod(len(list(_partitions(g))) for g in groups) <= _MAX_SETS
    ways = [list(_partitions(g) if every else _by_count(g)) for g in groups]
    chosen = itertools.islice(itertools.product(*ways), None if every else _MAX_SETS)
    found = [tuple(s for way in choice for s in way if len(s) > 1) for choice in chosen]
    return [c for c in found if c], every


def _partitions(members: Sequence[int]) -> Iterator[Configuration]:
    """Every way to part the members into sets."""
    if not members:
        yield ()
        return
    first, *rest = members
    for way in _partitions(rest):
        yield ((first,), *way)
        for i, group in enumerate(way):
            yield (*way[:i], (first, *group), *way[i + 1 :])


def _by_count(members: Sequence[int]) -> Iterator[Configuration]:
    """Every way to part so many members, with those of a set next to each other as declared; the largest first."""

    def sizes(left: int, largest: int) -> Iterator[tuple[int, ...]]:
        if left == 0:
            yield ()
        for size in range(min(left, largest), 0, -1):
            for rest in sizes(left - size, size):
                yield (size, *rest)

    for counts in sizes(len(members), len(members)):
        ends = list(itertools.accumulate(counts))
        yield tuple(tuple(members[e - c : e]) for c, e in zip(counts, ends, strict=True))


def inherited(problem: Problem, bounds: Mapping[str, Bound]) -> dict[str, Bound]:
    """What bounds of plans without replicas say of those with them.

    Each frame of a plan with replicas is a plan without them that is no better, except that its period, and with it
    its idle energy, may be longer: so nothing is left of bounds on these, nor of others where these are limited.
    """
    limits = problem.limits
    free = limits.max_period_s is None and limits.max_energy_j is None
    found = {}
    for objective, bound in bounds.items():
        if objective == "throughput":
            found[objective] = Bound(fluid_bound_s(problem), True, FLUID_METHOD, bound.seconds)
        elif objective == "energy" or not free:
            found[objective] = Bound(simple_bound(problem, objective), True, "what every plan needs", bound.seconds)
        else:
            found[objective] = bound
    return found


@dataclass
class _Least:
    """The least bound of the ways looked at so far."""

    value: float
    complete: bool

    def take(self, value: float, *, complete: bool) -> None:
        self.value = min(self.value, value)
        self.complete = self.complete and complete


def replicate(pool: Pool, without: Bound | None, budget: Budget) -> Bound:
    """Add plans with replicas to the pool, and bound the period over all plans with and without them.

    ``without``: the bound for plans without replicas, where there is one; for plans that come back to a processor as
    well where the problem's may.
    """
    without = without or Bound(0.0, False, "", 0.0)
    if not pool.problem.non_contiguous:
        return _met(pool, _replicate(pool, without, budget))
    inner = Pool(replace(pool.problem, non_contiguous=False), pool.objectives)
    for plan in pool.feasible():
        if len({s.processor for s in plan.segments}) == len(plan.segments):
            inner.add(plan)
    found = _replicate(inner, without, budget)
    for plan in inner.front():
        pool.add(plan)
    method = found.method if without.method in found.method else f"{without.method}; {found.method}"
    least = Bound(min(without.value, found.value), without.complete and found.complete, method, found.seconds)
    return _met(pool, least)


def _met(pool: Pool, bound: Bound) -> Bound:
    """The bound, which ends the proof where a plan meets it, whatever time has left open."""
    met = pool.best_value("throughput") <= bound.value * (1 + PROVEN_GAP / 2)
    return replace(bound, complete=bound.complete or met)


def proves_sets_impossible(problem: Problem, period_s: float, budget: Budget) -> bool:
    """Whether DPs show, for every way to make sets of identical boards and for none, that no plan has a shorter period.

    False says nothing.
    """
    ways, every = configurations(problem)
    if not every or not is_proven_bound(problem, period_s, budget):
        return False
    relaxed = (relax_sets(problem, way) for way in ways)
    return all(r is None or is_proven_bound(r.problem, period_s, budget) for r in relaxed)


def prove_step(pool: Pool, objective: str, budget: Budget, known_bound: float = 0.0) -> Bound:
    """``prove`` for plans with and without replicas; ``known_bound``: one that holds for both.

    Each frame of a plan with replicas is a plan without them that is no worse, but for its period and its idle energy:
    so what is neither is bounded over the plans without replicas, whatever their period and energy.
    """
    if objective in ("throughput", "energy"):
        half = replace(budget, deadline=budget.clock.now() + _STEP_SHARE * max(0.0, budget.left_s))
        without = prove(pool, objective, half, known_bound if objective == "energy" else 0.0)
        if objective == "throughput":
            return replicate(pool, without, budget)
        least = max(known_bound, simple_bound(pool.problem, objective))
        return replace(without, value=min(least, without.value), method="what every plan needs")
    limits = replace(pool.problem.limits, min_throughput_per_s=None, rate_per_s=None, max_energy_j=None)
    free = Pool(replace(pool.problem, limits=limits, replicate=False), pool.objectives)
    for plan in pool.seen():
        if not any(s.replicas for s in plan.segments):
            free.add(plan)
    bound = prove(free, objective, budget, known_bound)
    for plan in free.front():
        pool.add(plan)
    return bound


def _replicate(pool: Pool, contiguous: Bound, budget: Budget) -> Bound:
    """Over contiguous plans; ``contiguous`` bounds those without replicas."""
    begin, problem = time.monotonic(), pool.problem
    ways, every = configurations(problem)
    least = _Least(contiguous.value, contiguous.complete)
    floor_s = fluid_bound_s(problem)
    chain = chain_bound(pool, budget, floor_s)
    if chain is not None:
        floor_s = max(floor_s, chain.value)
    cases = _cases(problem, ways, floor_s)
    tried: dict[Configuration, set[bytes]] = {way: set() for _, way in cases}
    until = budget.clock.now() + _FRONT_SHARE * max(0.0, budget.left_s)
    for number, (quick_s, way) in enumerate(cases):
        shorter = quick_s < _goal_s(pool) and (budget.left_s > 0 or number < _TRIED)
        if shorter or (_makes_front(pool) and budget.clock.now() < until):
            _seed(pool, relax_sets(problem, way), tried[way])
    for number, (quick_s, way) in enumerate(cases):
        goal_s = _goal_s(pool)
        relaxed = relax_sets(problem, way, goal_s)
        if quick_s >= goal_s or relaxed is None:
            least.take(quick_s, complete=True)
        elif budget.left_s <= 0:
            least.take(quick_s, complete=False)
        else:
            seconds = budget.left_s / (len(cases) - number)
            case = replace(budget, deadline=budget.clock.now() + seconds)
            found = _close(pool, relaxed, case, quick_s, tried[way])
            least.take(max(quick_s, min(found.value, goal_s)), complete=found.complete)
    method = f"{contiguous.method}; with replicas: every set of identical boards as one fast board ({len(ways)})"
    if not every:
        least.take(floor_s, complete=False)
        method = FLUID_METHOD
    if chain is not None and least.value <= floor_s:
        least, method = _Least(floor_s, chain.complete), chain.method
    value = min(max(least.value, floor_s), pool.best_value("throughput"))
    return Bound(value, least.complete, method, time.monotonic() - begin)


def _goal_s(pool: Pool) -> float:
    """Only plans with a shorter period matter."""
    limit = pool.problem.limits.max_period_s
    return min(pool.best_value("throughput") * (1 - _CLOSE), math.inf if limit is None else limit * (1 + _CLOSE))


def _cases(problem: Problem, ways: Sequence[Configuration], floor_s: float) -> list[tuple[float, Configuration]]:
    """Ways that some plan may take, each with a bound that costs nothing; the most promising first."""
    relaxed = [(way, relax_sets(problem, way)) for way in ways]
    return sorted((max(floor_s, fluid_bound_s(r.problem)), way) for way, r in relaxed if r is not None)


def _objectives(pool: Pool) -> tuple[str, ...]:
    """Those of which a problem with sets of boards says enough for plans to be sought by them; the period first."""
    return ("throughput", *(o for o in ("latency", "energy") if o in pool.objectives))


def _makes_front(pool: Pool) -> bool:
    return len(_objectives(pool)) > 1 and not pool.problem.limits.rate_per_s


def _seed(pool: Pool, relaxed: Relaxed | None, tried: set[bytes]) -> Pool | None:
    """Score what cuts along a few orders of the operators give; the pool of the relaxed problem."""
    if relaxed is None:
        return None
    inner = Pool(relaxed.problem, _objectives(pool))
    for assignment in order_dp_candidates(relaxed.problem, inner.objectives):
        inner.score(assignment)
    _try(pool, relaxed, inner, tried)
    return inner


def _close(pool: Pool, relaxed: Relaxed, budget: Budget, quick_s: float, tried: set[bytes]) -> Bound:
    """Try the best plans of the relaxed problem as real ones, and bound their period."""
    inner = _seed(pool, relaxed, tried) or Pool(relaxed.problem, _objectives(pool))
    bound = prove_period(inner, budget) or Bound(quick_s, False, "", 0.0)
    if not bound.complete and fits_cpsat(relaxed.problem):
        bound = prove(inner, "throughput", budget, max(quick_s, bound.value))
    _try(pool, relaxed, inner, tried)
    return bound


def _try(pool: Pool, relaxed: Relaxed, inner: Pool, tried: set[bytes]) -> None:
    """Score the best plans of the relaxed problem, by each objective, as what they stand for."""
    promising = [
        plan
        for o in inner.objectives
        for plan in sorted(inner.seen(), key=lambda p: (bool(p.score.violations), objective_values(p.score, [o])))[
            :_TRIED
        ]
    ]
    for plan in promising:
        assignment: Assignment = assignment_of(relaxed.problem, plan)
        key = assignment.tobytes()
        if key in tried:
            continue
        tried.add(key)
        segments = relaxed.segments(assignment)
        real = None if segments is None else real_plan(pool.problem, segments)
        if real is not None and math.isfinite(real.score.period_s):
            pool.add(real)
