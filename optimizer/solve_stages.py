"""The stages of `optimizer solve`: what each of them does, and the state that they work on."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import replace

from optimizer.infeasible import Infeasible, NothingFound
from optimizer.memory_plan import with_arenas
from optimizer.objectives import held, objective_values
from optimizer.plan import Front, Plan, PreferenceStep
from optimizer.preference import choose, parse_preference, within
from optimizer.problem import Problem
from optimizer.search.certify import PROVEN_GAP, certificate, mark, plan_class
from optimizer.search.clashes import find_clashes, helpful_precisions
from optimizer.search.cpsat import Bound, Budget, Clock, prove
from optimizer.search.exact_front import enumerate_front
from optimizer.search.front_seeds import score_promising, seed_front
from optimizer.search.label_dp import MAX_LABELS, label_front
from optimizer.search.many_boards import fits_cpsat, prove_period
from optimizer.search.many_boards_chain import is_chain
from optimizer.search.order_dp import order_dp_candidates
from optimizer.search.pool import Pool, assignment_of
from optimizer.search.pruning import safe_domains, simple_bound
from optimizer.search.replication import inherited, prove_step, replicate
from optimizer.solve_options import SolveOptions
from optimizer.start import seed_pool
from optimizer.uncertainty import UNCERTAINTY_SHARE, assess

__all__ = ["Run"]

_REFINE_SHARE = 0.35
"""Share of the time kept for what comes after the proofs: the grid and NSGA-II."""
_PERIOD_SHARE = 0.6
"""Share of the time left that the DPs of the period may take: they end as soon as they are through."""
_FILL_SHARE = 0.15
"""Share of the time limit for the front between its ends, once these are proven."""
_GRID = (0.0, 0.1, 0.3)
"""Points of the epsilon-grid: how far the limited objective may be from its best, as a share of the front's span."""
_MAX_FRONT = 60
_REPRODUCIBLE_LABELS = 200_000
"""Labels made for an exact front where no wall time counts: some ten seconds."""
_FRONT_SHARE = 0.3
"""Share of the time left in which a front of two processors is looked for among all cuts."""
_LABEL_SHARE, _LABEL_S = 0.12, 2.0
"""Share of the time left for the front by label-DP, and seconds for which more is taken, up to ``_FRONT_SHARE``: it is
mostly through in a second or two, or not at all, and the proofs of its ends should not wait for it."""
_SEED_SHARE = 0.1
"""Share of the time left for plans near the front where the exact front is not cheap; else like ``_LABEL_SHARE``."""
_FRONT_ROUNDING = 1e-6
"""How far a plan may miss the figures that an exact front was proven with."""
_REPLICA_SHARE = 0.7
"""Share of the time left for plans with replicas."""
_START_SHARE, _START_S = 0.1, 1.0
"""Share of the time left, and seconds at most, for NSGA-II around the plans of a start, before the proofs."""
_NEAR = 1.25
"""How near to their bounds the plans of a start make the search for first plans superfluous."""
_ORDER_SHARE = 0.6
"""Share of the time left after the proofs for the steps of a preference that is an order."""
_PRECISION_SHARE = 0.3
"""Of the time limit once more, where nothing is feasible, for precisions that would help."""


class Run:
    """The state of one search; one method a stage."""

    def __init__(self, problem: Problem, options: SolveOptions) -> None:
        self.problem, self.options = problem, options
        self.preference = parse_preference(options.prefer)
        self.objectives = options.spanning
        self.clock = Clock(deterministic=options.reproducible, keeps=options.keep_on_interrupt)
        self.begin = time.monotonic()
        self.deadline = self.clock.now() + options.time_limit_s
        self.pool = Pool(problem, self.objectives)
        self.bounds: dict[str, Bound] = {}
        self.exact = False
        self.starts_well = False
        """Whether there was a start, with plans near their bounds."""
        self.front_method = ""
        self.steps: list[PreferenceStep] = []
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
        if self.options.start is not None:
            seed_pool(self.pool, self.options.start)
            self.starts_well = self._starts_well()
            if self.starts_well:
                return  # the exact front or the proof may find all the rest
        self._cut_along_orders()

    def _cut_along_orders(self) -> None:
        drawn = []
        for assignment in order_dp_candidates(self.problem, self.objectives):
            drawn.append(assignment)
            if self.clock.now() > self.deadline:
                break
        score_promising(self.pool, drawn)
        if not self.pool.feasible():  # plans that break a limit say by how much
            for assignment in drawn:
                self.pool.score(assignment)

    def _starts_well(self) -> bool:
        """Whether cuts along one order would hardly better the plans of the start, or the proof finds better ones."""
        if self._is_period_of_chain() and self.pool.feasible():
            return True
        return all(self.pool.best_value(o) <= _NEAR * self._quick_bound(o).value for o in self.objectives)

    def _is_period_of_chain(self) -> bool:
        return self.objectives == ("throughput",) and is_chain(self.problem)

    def enumerate(self) -> None:
        self._whole_front()
        if self.options.start is None or self.exact or self._is_period_of_chain():
            return
        if self.starts_well:
            self._cut_along_orders()  # which a good start has put off
        if not self.options.reproducible and self.pool.feasible():  # what is near the start's plans comes first
            self._refine(self.clock.now() + min(_START_S, _START_SHARE * self._left()))

    def _whole_front(self) -> None:
        if self.problem.non_contiguous:
            return  # every way to cut in two is the contiguous plans only
        if self.options.reproducible and "memory" in self.objectives:
            return  # bounds on memory are seldom met, so that all plans would be scored, however long that takes
        if enumerate_front(self.pool, self._until(_FRONT_SHARE)) is not None:
            self.exact, self.front_method = True, "the whole front: every way to cut in two"
            return
        if self.objectives == ("throughput",):
            return  # prove_period is quicker
        if self.options.gap and self.pool.feasible():
            return  # the ends are asked for, not what lies between
        labels = _REPRODUCIBLE_LABELS if self.options.reproducible else MAX_LABELS
        until, budget = self._until(_LABEL_SHARE), self._budget(_FRONT_SHARE * self._left())
        found = label_front(self.pool, until, max_labels=labels, budget=budget, seeded=self.starts_well)
        if found is not None and not found.open and self.pool.feasible():
            self.exact, self.front_method = True, "the whole front: label-DP"
            return
        seed_front(self.pool, self._until(_SEED_SHARE))

    def _until(self, share: float) -> float:
        """When (time.monotonic) a part of the search for the front ends; never where no wall time counts."""
        if self.options.reproducible:
            return math.inf
        left = self._left()
        return time.monotonic() + max(share * left, min(_LABEL_S, _FRONT_SHARE * left))

    def _left(self) -> float:
        return max(0.0, self.deadline - self.clock.now())

    def _budget(self, seconds: float, gap: float = 0.0) -> Budget:
        return Budget(self.clock.now() + seconds, self._workers(), self.options.seed, gap, self.clock)

    def prove(self, objective: str) -> None:
        """Time is shared out over the objectives still to be proven, with some kept for the refinement."""
        if self.exact and self.pool.feasible():
            least = self.pool.best_value(objective) * (1 - _FRONT_ROUNDING)
            self.bounds[objective] = Bound(least, True, self.front_method, 0.0)
            return
        still = len([o for o in self.objectives if o not in self.bounds])
        kept = 0.0 if self.exact else _REFINE_SHARE
        share = self._left() * (1.0 - kept) / still
        budget, used_s = self._budget(share, self.options.gap), self.clock.used_s
        quick = self._quick_bound(objective)
        known = quick.value
        bound = None
        if not self._settled(objective, quick) and objective == "throughput":
            more = share if self.options.start is not None else max(share, _PERIOD_SHARE * self._left())
            bound = prove_period(self.pool, self._budget(more, self.options.gap), quick)
        bound = quick if bound is None else bound
        if not self._settled(objective, bound) and fits_cpsat(self.problem):
            period_s = self.bounds["throughput"].value if "throughput" in self.bounds else 0.0
            bound = _tighter(bound, prove(self.pool, objective, budget, max(known, bound.value), period_s))
        self.bounds[objective] = replace(bound, deterministic_s=round(self.clock.used_s - used_s, 6))

    def _quick_bound(self, objective: str) -> Bound:
        """What is known without a search, by the problem itself or by the start."""
        value, method = simple_bound(self.problem, objective), "what every plan needs"
        start = self.options.start
        if start is not None and start.bounds.get(objective, 0.0) > value:
            value, method = start.bounds[objective], "the start plan's bound, scaled to the new costs"
        met = self.pool.best_value(objective) <= value * (1 + PROVEN_GAP)
        return Bound(value, met, method, 0.0)

    def done(self) -> bool:
        """Whether the front is a single plan that is proven."""
        return len(self.bounds) == 1 and all(self._settled(o, b) for o, b in self.bounds.items())

    def _settled(self, objective: str, bound: Bound) -> bool:
        """Whether nothing better is worth looking for: the best plan meets the bound, or there is none at all."""
        best = self.pool.best_value(objective)
        if not bound.complete or math.isinf(bound.value) or math.isinf(best):
            return bound.complete and math.isinf(bound.value)
        return best - bound.value <= max(PROVEN_GAP, self.options.gap) * best

    def prefer_in_order(self) -> None:
        """The best of each objective with those before it held at their best and a tolerance, proven one by one."""
        problem, until = self.problem, self.clock.now() + _ORDER_SHARE * self._left()
        for number, step in enumerate(self.preference.steps):
            objective, bound = step.objective, self.bounds[step.objective]
            corner = self._corner(problem)
            if number > 0 and not self.exact:
                seconds = (until - self.clock.now()) / (len(self.preference.steps) - number)
                work = prove_step if problem.replicate else prove
                bound = work(corner, objective, self._budget(max(0.0, seconds)), known_bound=bound.value)
                self._keep(corner, objective)
            elif number > 0:
                bound = Bound(corner.best_value(objective), True, "the whole front", 0.0)
            found = certificate(
                objective, corner.best_value(objective), bound, plan_class(self.problem), self.options.seed
            )
            limit = within(corner.feasible(), step)[0]
            self.steps.append(PreferenceStep(objective, limit, found))
            problem = held(problem, objective, limit)

    def _corner(self, problem: Problem) -> Pool:
        """A pool for the same problem with tighter limits, with the plans known so far."""
        corner = Pool(problem, self.objectives)
        for plan in self.pool.front():
            corner.add(plan)
        return corner

    def _keep(self, corner: Pool, objective: str) -> None:
        """Take the best plan of a tighter problem over: as it is, and with the schedule that suits the wider one."""
        best = corner.best(objective)
        if best is not None:
            if not any(s.replicas for s in best.segments):
                self.pool.score(assignment_of(self.problem, best))
            self.pool.add(best)

    def grid(self) -> None:
        """Epsilon-constraint points: one objective best, another held near its best, from the ends inwards."""
        if all(self._settled(o, b) for o, b in self.bounds.items()):
            self.deadline = min(self.deadline, self.clock.now() + _FILL_SHARE * self.options.time_limit_s)
        until = self.clock.now() + 0.6 * self._left()
        pairs = [(a, b) for a in self.objectives for b in self.objectives if a != b]
        cases = [(share, fixed, free) for share in _GRID for fixed, free in pairs]
        for number, (share, fixed, free) in enumerate(cases):
            left = until - self.clock.now()
            if left <= 0 or self.clock.interrupted:
                return
            low = self.pool.best_value(fixed)
            high = max(objective_values(p.score, [fixed])[0] for p in self.pool.front())
            corner = self._corner(held(self.problem, fixed, low + share * (high - low)))
            prove(corner, free, self._budget(left / (len(cases) - number)), known_bound=self.bounds[free].value)
            self._keep(corner, free)

    def _workers(self) -> int:
        return self.options.workers or len(os.sched_getaffinity(0))

    def refine(self) -> None:
        self._refine(math.inf if self.options.reproducible else self.deadline)

    def _refine(self, deadline: float) -> None:
        from optimizer.search.nsga2 import RefineOptions, refine  # pymoo takes a third of a second to import

        domains = safe_domains(self.pool, {o: b.value for o, b in self.bounds.items()})
        count = len(self.problem.processors)
        seeds = []
        for plan in self.pool.front():
            order = list(dict.fromkeys(self.problem.processor_index[s.processor] for s in plan.segments))
            order += [q for q in range(count) if q not in order]
            seeds.append((assignment_of(self.problem, plan), order))
        refine(self.pool, domains, seeds, RefineOptions(deadline, self.options.seed))

    def replicate(self) -> None:
        """Plans with replicas, and what bounds them as well."""
        without, used_s = self.bounds.get("throughput"), self.clock.used_s
        self.bounds, self.exact = inherited(self.problem, self.bounds), False
        bound = replicate(self.pool, without, self._budget(_REPLICA_SHARE * self._left()))
        if "throughput" in self.bounds:
            self.bounds["throughput"] = replace(bound, deterministic_s=round(self.clock.used_s - used_s, 6))

    def with_uncertainty(self, front: Front, share: float) -> Front:
        budget = self._budget(UNCERTAINTY_SHARE * self.options.time_limit_s)
        return replace(front, uncertainty=assess(self.problem, front, share, budget))

    def none_found(self) -> Infeasible | NothingFound:
        seconds = time.monotonic() - self.begin
        if self.clock.interrupted:
            raise KeyboardInterrupt
        proven = [b for b in self.bounds.values() if math.isinf(b.value) and b.complete]
        if not proven:
            return NothingFound(seconds, self.pool.closest())
        if self.options.part:
            return Infeasible((), plan_class(self.problem), proven[0].method, seconds)
        limit_s, seed, workers = self.options.time_limit_s, self.options.seed, self._workers()
        clashes, minimal = find_clashes(self.problem, self.pool, limit_s, seed, workers)
        precisions = helpful_precisions(self.problem, self.pool, _PRECISION_SHARE * limit_s, seed, workers)
        seconds = time.monotonic() - self.begin
        return Infeasible(clashes, plan_class(self.problem), proven[0].method, seconds, minimal, precisions)

    def front(self) -> Front:
        plans_of = plan_class(self.problem)
        for objective in self.objectives:  # an interrupted search has not come to all of them
            easy = Bound(simple_bound(self.problem, objective), False, "interrupted before the proof", 0.0)
            self.bounds.setdefault(objective, easy)
        certificates = {
            o: certificate(o, self.pool.best_value(o), self.bounds[o], plans_of, self.options.seed)
            for o in self.objectives
        }
        found = self.pool.front()
        choice = choose(found, self.preference, self.objectives)
        best = found[choice.index]
        plans = _thin(found, self.objectives, best)
        chosen = next(i for i, p in enumerate(plans) if p is best)
        marked = [mark(p, certificates, self.exact) for p in plans]
        if not self.options.part:
            marked[chosen] = with_arenas(self.problem, marked[chosen])
        return Front(
            plans=tuple(marked),
            certificates=certificates,
            chosen=chosen,
            prefer=self.preference.text,
            seed=self.options.seed,
            seconds=time.monotonic() - self.begin,
            evaluations=self.pool.evaluations,
            stages=self.stages,
            interrupted=self.clock.interrupted,
            reproducible=self.options.reproducible,
            gap=self.options.gap,
            chosen_because=choice.words,
            steps=tuple(self.steps),
            progress={o: tuple((at_s - self.begin, v) for at_s, v in p) for o, p in self.pool.progress.items()},
        )


def _tighter(quick: Bound, searched: Bound) -> Bound:
    """What the search says, and the name of the quick method where its bound still stands."""
    if searched.value > quick.value * (1 + 1e-9) or quick.value <= 0:
        return searched
    return replace(searched, method=f"{quick.method}; {searched.method}", seconds=quick.seconds + searched.seconds)


def _thin(plans: list[Plan], objectives: tuple[str, ...], chosen: Plan) -> list[Plan]:
    """At most ``_MAX_FRONT`` points: the ends of every objective, the chosen one and an even spread of the rest."""
    if len(plans) <= _MAX_FRONT:
        return plans
    keep = {min(range(len(plans)), key=lambda i: objective_values(plans[i].score, [o])) for o in objectives}
    keep |= {i for i, p in enumerate(plans) if p is chosen}
    step = (len(plans) - 1) / (_MAX_FRONT - len(keep) - 1)
    keep |= {round(i * step) for i in range(_MAX_FRONT - len(keep))}
    return [p for i, p in enumerate(plans) if i in keep]
