"""The pipeline of `optimizer solve`: anchors, bounds, front, choice, certificates."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from optimizer.infeasible import Infeasible, NothingFound
from optimizer.memory_plan import with_arenas
from optimizer.plan import Certificate, Front, Plan
from optimizer.problem import Limits, Problem
from optimizer.search.certify import PROVEN_GAP, certificate, mark, plan_class
from optimizer.search.clashes import find_clashes
from optimizer.search.cpsat import Bound, Budget, Clock, prove
from optimizer.search.exact_front import enumerate_front
from optimizer.search.many_boards import fits_cpsat, prove_period
from optimizer.search.order_dp import order_dp_candidates
from optimizer.search.pool import OBJECTIVES, Pool, assignment_of, objective_values
from optimizer.search.pruning import safe_domains, simple_bound
from optimizer.search.replication import inherited, replicate

__all__ = ["PREFERENCES", "Progress", "SolveOptions", "solve"]

PREFERENCES = ("throughput", "latency", "energy", "knee")
Progress = Callable[[str, float], None]
"""Called with what is being done and the share of the work done (0 to 1)."""
_REFINE_SHARE = 0.35
"""Share of the time kept for what comes after the proofs: the grid and NSGA-II."""
_GRID = (0.0, 0.1, 0.3)
"""Points of the epsilon-grid: how far the limited objective may be from its best, as a share of the front's span."""
_MAX_FRONT = 60
_REPLICA_SHARE = 0.7
"""Share of the time left for plans with replicas."""


@dataclass(frozen=True)
class SolveOptions:
    """How to search. ``prefer`` chooses the plan of the front; ``objectives`` span the front."""

    objectives: tuple[str, ...] = OBJECTIVES
    prefer: str = "throughput"
    seed: int = 0
    time_limit_s: float = 60.0
    workers: int | None = None
    gap: float = 0.0
    """Each objective is good enough when it is within this share of its bound."""
    reproducible: bool = False
    """One worker and deterministic budgets: the same plans again with the same OR-Tools on the same architecture."""
    keep_on_interrupt: bool = False
    """Ctrl-C ends the search with the best plans so far, where there are any; else it is raised."""


def solve(
    problem: Problem, options: SolveOptions | None = None, progress: Progress | None = None
) -> Front | Infeasible | NothingFound:
    """The Pareto front of the problem's class of plans with certificates, or why there is none."""
    options = options or SolveOptions()
    tell = progress or (lambda text, share: None)
    run = _Run(problem, options)
    tell("cuts along the graph", 0.05)
    run.stage("order-DP", run.seed_pool)
    tell("every way to cut in two", 0.1)
    run.stage("exact front", run.enumerate)
    for number, objective in enumerate(options.objectives):
        tell(f"proving {objective}", 0.2 + 0.5 * number / len(options.objectives))
        run.stage(f"CP-SAT {objective}", partial(run.prove, objective))
    if problem.replicate:
        tell("replicas", 0.6)
        run.stage("replicas", run.replicate)
    if not run.pool.feasible():
        return run.none_found()
    if not run.exact and not options.gap and not run.done():
        tell("filling the front", 0.7)
        run.stage("epsilon-grid", run.grid)
        tell("refining the front", 0.85)
        run.stage("NSGA-II", run.refine)
    tell("done", 1.0)
    return run.front()


class _Run:
    """The state of one search; one method a stage."""

    def __init__(self, problem: Problem, options: SolveOptions) -> None:
        self.problem, self.options = problem, options
        self.clock = Clock(deterministic=options.reproducible, keeps=options.keep_on_interrupt)
        self.begin = time.monotonic()
        self.deadline = self.clock.now() + options.time_limit_s
        self.pool = Pool(problem, options.objectives)
        self.bounds: dict[str, Bound] = {}
        self.exact = False
        self.stages: dict[str, float] = {}

    def stage(self, name: str, work: Callable[[], None]) -> None:
        if self.clock.interrupted:
            return
        start = time.monotonic()
        try:
            work()
        except KeyboardInterrupt:
            if not self.clock.keeps:
                raise
            self.clock.interrupted = True
        self.stages[name] = time.monotonic() - start

    def seed_pool(self) -> None:
        for assignment in order_dp_candidates(self.problem, self.options.objectives):
            self.pool.score(assignment)
            if self.clock.now() > self.deadline:
                return

    def enumerate(self) -> None:
        if self.problem.non_contiguous:
            return  # every way to cut in two is the contiguous plans only
        until = math.inf if self.options.reproducible else time.monotonic() + 0.3 * self._left()
        self.exact = enumerate_front(self.pool, until) is not None

    def _left(self) -> float:
        return max(0.0, self.deadline - self.clock.now())

    def _budget(self, seconds: float, gap: float = 0.0) -> Budget:
        return Budget(self.clock.now() + seconds, self._workers(), self.options.seed, gap, self.clock)

    def prove(self, objective: str) -> None:
        """Time is shared out over the objectives still to be proven, with some kept for the refinement."""
        still = len([o for o in self.options.objectives if o not in self.bounds])
        share = self._left() * (1.0 - (0.0 if self.exact else _REFINE_SHARE)) / still
        budget, used_s = self._budget(share, self.options.gap), self.clock.used_s
        known = simple_bound(self.problem, objective)
        bound = prove_period(self.pool, budget) if objective == "throughput" else None
        if bound is None:
            bound = Bound(known, False, "fastest processors and longest paths", 0.0)
        if not self._settled(objective, bound) and fits_cpsat(self.problem):
            bound = _tighter(bound, prove(self.pool, objective, budget, max(known, bound.value)))
        self.bounds[objective] = replace(bound, deterministic_s=round(self.clock.used_s - used_s, 6))

    def done(self) -> bool:
        """Whether the front is a single plan that is proven."""
        return len(self.bounds) == 1 and all(self._settled(o, b) for o, b in self.bounds.items())

    def _settled(self, objective: str, bound: Bound) -> bool:
        """Whether nothing better is worth looking for: the best plan meets the bound, or there is none at all."""
        best = self.pool.best_value(objective)
        if not bound.complete or math.isinf(bound.value) or math.isinf(best):
            return bound.complete and math.isinf(bound.value)
        return best - bound.value <= max(PROVEN_GAP, self.options.gap) * best

    def grid(self) -> None:
        """Epsilon-constraint points: one objective best, another held near its best, from the ends inwards."""
        until = self.clock.now() + 0.6 * self._left()
        pairs = [(a, b) for a in self.options.objectives for b in self.options.objectives if a != b]
        cases = [(share, held, free) for share in _GRID for held, free in pairs]
        for number, (share, held, free) in enumerate(cases):
            left = until - self.clock.now()
            if left <= 0 or self.clock.interrupted:
                return
            low = self.pool.best_value(held)
            high = max(objective_values(p.score, [held])[0] for p in self.pool.front())
            limited = replace(self.problem, limits=_tightened(self.problem.limits, held, low + share * (high - low)))
            corner = Pool(limited, self.options.objectives)
            for plan in self.pool.front():
                corner.score(assignment_of(self.problem, plan))
            prove(corner, free, self._budget(left / (len(cases) - number)), known_bound=self.bounds[free].value)
            best = corner.best(free)
            if best is not None:
                self.pool.score(assignment_of(self.problem, best))

    def _workers(self) -> int:
        return self.options.workers or len(os.sched_getaffinity(0))

    def refine(self) -> None:
        from optimizer.search.nsga2 import RefineOptions, refine  # pymoo takes a third of a second to import

        domains = safe_domains(self.pool, {o: b.value for o, b in self.bounds.items()})
        count = len(self.problem.processors)
        seeds = []
        for plan in self.pool.front():
            order = list(dict.fromkeys(self.problem.processor_index[s.processor] for s in plan.segments))
            order += [q for q in range(count) if q not in order]
            seeds.append((assignment_of(self.problem, plan), order))
        deadline = math.inf if self.options.reproducible else self.deadline
        refine(self.pool, domains, seeds, RefineOptions(deadline, self.options.seed))

    def replicate(self) -> None:
        """Plans with replicas, and what bounds them as well."""
        contiguous, used_s = self.bounds.get("throughput"), self.clock.used_s
        self.bounds, self.exact = inherited(self.problem, self.bounds), False
        bound = replicate(self.pool, contiguous, self._budget(_REPLICA_SHARE * self._left()))
        if "throughput" in self.bounds:
            self.bounds["throughput"] = replace(bound, deterministic_s=round(self.clock.used_s - used_s, 6))

    def none_found(self) -> Infeasible | NothingFound:
        seconds = time.monotonic() - self.begin
        if self.clock.interrupted:
            raise KeyboardInterrupt
        proven = [b for b in self.bounds.values() if math.isinf(b.value) and b.complete]
        if not proven:
            return NothingFound(seconds, self.pool.closest())
        clashes, minimal = find_clashes(
            self.problem, self.pool, self.options.time_limit_s, self.options.seed, self._workers()
        )
        seconds = time.monotonic() - self.begin
        return Infeasible(clashes, plan_class(self.problem), proven[0].method, seconds, minimal)

    def front(self) -> Front:
        plans_of = plan_class(self.problem)
        for objective in self.options.objectives:  # an interrupted search has not come to all of them
            easy = Bound(simple_bound(self.problem, objective), False, "interrupted before the proof", 0.0)
            self.bounds.setdefault(objective, easy)
        certificates = {
            o: certificate(o, self.pool.best_value(o), bound, plans_of, self.options.seed)
            for o, bound in self.bounds.items()
        }
        plans = _thin([mark(p, certificates, self.exact) for p in self.pool.front()], self.options.objectives)
        chosen = _choose(plans, self.options.prefer, certificates)
        plans[chosen] = with_arenas(self.problem, plans[chosen])
        return Front(
            plans=tuple(plans),
            certificates=certificates,
            chosen=chosen,
            prefer=self.options.prefer,
            seed=self.options.seed,
            seconds=time.monotonic() - self.begin,
            evaluations=self.pool.evaluations,
            stages=self.stages,
            interrupted=self.clock.interrupted,
            reproducible=self.options.reproducible,
        )


def _tighter(quick: Bound, searched: Bound) -> Bound:
    """What the search says, and the name of the quick method where its bound still stands."""
    if searched.value > quick.value * (1 + 1e-9) or quick.value <= 0:
        return searched
    return replace(searched, method=f"{quick.method}; {searched.method}", seconds=quick.seconds + searched.seconds)


def _tightened(limits: Limits, objective: str, value: float) -> Limits:
    """The limits with the minimised quantity of an objective held at ``value`` (and a whisker for rounding)."""
    value *= 1 + 1e-9
    if objective == "throughput":
        return replace(limits, min_throughput_per_s=1.0 / value)
    if objective == "latency":
        return replace(limits, max_latency_s=value)
    return replace(limits, max_energy_j=value)


def _thin(plans: list[Plan], objectives: tuple[str, ...]) -> list[Plan]:
    """At most ``_MAX_FRONT`` points: the ends of every objective and an even spread of the rest."""
    if len(plans) <= _MAX_FRONT:
        return plans
    keep = {min(range(len(plans)), key=lambda i: objective_values(plans[i].score, [o])) for o in objectives}
    step = (len(plans) - 1) / (_MAX_FRONT - len(keep) - 1)
    keep |= {round(i * step) for i in range(_MAX_FRONT - len(keep))}
    return [p for i, p in enumerate(plans) if i in keep]


def _choose(plans: list[Plan], prefer: str, certificates: Mapping[str, Certificate]) -> int:
    if prefer != "knee":
        rest = [o for o in OBJECTIVES if o != prefer]
        return min(range(len(plans)), key=lambda i: objective_values(plans[i].score, [prefer, *rest]))
    objectives = [o for o in OBJECTIVES if o in certificates]
    values = [objective_values(p.score, objectives) for p in plans]
    low = [min(column) for column in zip(*values, strict=True)]
    high = [max(column) for column in zip(*values, strict=True)]

    def distance(i: int) -> float:
        return sum(
            ((v - lo) / (hi - lo)) ** 2 if hi > lo else 0.0 for v, lo, hi in zip(values[i], low, high, strict=True)
        )

    return min(range(len(plans)), key=distance)


def with_preference(front: Front, prefer: str) -> Front:
    """The same front with another plan chosen."""
    return replace(front, chosen=_choose(list(front.plans), prefer, front.certificates), prefer=prefer)
