"""Branch and bound over the precisions of processors: one front over all choices, with bounds that hold for all.

A node leaves some processors a choice. Solving its relaxed problem (see ``precision``) bounds every plan below it, and
its plans, at the precisions that suit them, are plans to measure others by. Where a known plan reaches everything that
a node promises, nothing below it is worth having; else it is parted by the processor about which its plan minds most.
Few combinations are solved one by one from the beginning. What time leaves unlooked at stays in the bounds.
"""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from optimizer.infeasible import Infeasible, NothingFound
from optimizer.memory_plan import with_arenas
from optimizer.objectives import check_objectives, held, objective_values
from optimizer.plan import Certificate, Front, Plan, PreferenceStep
from optimizer.precision import (
    Choice,
    at_precisions,
    energy_is_relaxed,
    open_choice,
    relaxed,
    settled,
    worth_trying,
)
from optimizer.precision_plans import RealPlans
from optimizer.preference import Preference, choose, parse_preference, within
from optimizer.problem import Problem
from optimizer.search.certify import PROVEN_GAP, certificate, mark, plan_class
from optimizer.search.cpsat import Bound, Budget, Clock
from optimizer.search.pool import Pool, assignment_of, dominates
from optimizer.solve_options import SolveOptions
from optimizer.start import Start
from optimizer.uncertainty import UNCERTAINTY_SHARE, assess

__all__ = ["solve_choices"]

_ONE_BY_ONE = 8
"""Combinations up to which all are solved, and none is bounded before."""
_NODE_SHARE = 0.2
"""Of the time left for one node; of few combinations each gets an even share."""
_LEAST_S = 0.2
_FRONT_SHARE = 0.6
"""Share of the time for the front where an order of preference is proven after it."""
_REALISED = 12
"""Plans of a relaxed problem that are tried at real precisions."""
_EXACT = 1e-9
_REPRODUCIBLE_NODES = 60
"""Nodes looked at where no wall time counts."""
Outcome = Front | Infeasible | NothingFound
SolveOne = Callable[[Problem, SolveOptions], Outcome]
Tell = Callable[[str, float], None]


@dataclass
class _Node:
    """``bounds``: lower bounds by objective over every plan below; inf where there is none."""

    choice: Choice
    bounds: dict[str, float]
    tries: int = 0
    closed: bool = False
    """Nothing better is left below it than what its bounds say."""
    minds: int = 0
    """The processor by which it is parted."""


@dataclass
class _Certified:
    """Over what was looked at so far: methods by objective, and what the parts took."""

    methods: dict[str, list[str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    deterministic_s: dict[str, float] = field(default_factory=dict)

    def take(self, front: Front) -> None:
        for objective, c in front.certificates.items():
            self.methods.setdefault(objective, [])
            if c.method not in self.methods[objective]:
                self.methods[objective].append(c.method)
            self.seconds[objective] = self.seconds.get(objective, 0.0) + c.seconds
            used_s = self.deterministic_s.get(objective, 0.0) + (c.deterministic_s or 0.0)
            self.deterministic_s[objective] = round(used_s, 6)


def solve_choices(problem: Problem, options: SolveOptions, solve_one: SolveOne, tell: Tell) -> Outcome:
    """One front over all choices of precision. ``solve_one``: solves a problem without choices.

    Raises LimitError as ``solve`` does.
    """
    begin = time.monotonic()
    preference = parse_preference(options.prefer)
    objectives = options.spanning
    check_objectives(objectives, problem)
    ordered = len(preference.steps) > 1
    share = _FRONT_SHARE if ordered else 1.0
    search = _Search(problem, options, objectives, solve_one, share * options.time_limit_s)
    search.run(lambda done: tell("precisions", 0.05 + 0.9 * share * done))
    if not search.plans:
        return search.none(time.monotonic() - begin)
    steps: tuple[PreferenceStep, ...] = ()
    if ordered and not search.interrupted:
        steps = _in_order(search, preference, (1 - share) * options.time_limit_s)
    front = _front(search, preference, steps, begin)
    if options.cost_uncertainty is None or front.interrupted:
        return front
    clock = Clock(deterministic=options.reproducible)
    workers = options.workers or len(os.sched_getaffinity(0))
    deadline = clock.now() + UNCERTAINTY_SHARE * options.time_limit_s
    budget = Budget(deadline, workers, options.seed, clock=clock)
    return replace(front, uncertainty=assess(problem, front, options.cost_uncertainty, budget))


def _front(search: _Search, preference: Preference, steps: tuple[PreferenceStep, ...], begin: float) -> Front:
    problem, options, objectives = search.problem, search.options, search.objectives
    certificates = {o: search.certificate(o) for o in objectives}
    exact = search.exact and not search.open
    best = [mark(p, certificates, exact) for p in search.front()]
    choice = choose(best, preference, objectives)
    if not options.part:
        best[choice.index] = with_arenas(settled(problem, best[choice.index]), best[choice.index])
    return Front(
        plans=tuple(best),
        certificates=certificates,
        chosen=choice.index,
        prefer=preference.text,
        seed=options.seed,
        seconds=time.monotonic() - begin,
        evaluations=search.evaluations,
        stages=search.stages,
        interrupted=search.interrupted,
        reproducible=options.reproducible,
        gap=options.gap,
        chosen_because=choice.words,
        steps=steps,
    )


class _Search:
    """The state of one search; ``run`` fills ``plans`` and what ``certificate`` says."""

    def __init__(
        self, problem: Problem, options: SolveOptions, objectives: tuple[str, ...], solve_one: SolveOne, seconds: float
    ) -> None:
        self.problem, self.options, self.objectives, self.solve_one = problem, options, objectives, solve_one
        self.seconds, self.used_s, self.begin = seconds, 0.0, time.monotonic()
        self.worth = worth_trying(problem)
        self.count = math.prod(len(allowed) for allowed in self.worth)
        self.plans: list[Plan] = []
        self.certified = _Certified()
        self.exact = True
        self.interrupted = False
        self.evaluations = self.looked_at = 0
        self.stages: dict[str, float] = {}
        self.nodes = [_Node(c, dict.fromkeys(objectives, 0.0)) for c in self._first()]
        self.real = RealPlans(problem, self.worth, objectives)

    @property
    def open(self) -> list[_Node]:
        return [n for n in self.nodes if not n.closed]

    @property
    def left_s(self) -> float:
        used_s = self.used_s if self.options.reproducible else time.monotonic() - self.begin
        return self.seconds - used_s

    def _first(self) -> Iterator[Choice]:
        if self.count > _ONE_BY_ONE:
            yield self.worth
            return
        for vector in itertools.product(*self.worth):
            yield tuple((p,) for p in vector)

    def run(self, tell: Callable[[float], None]) -> None:
        while not self.interrupted and (self.looked_at == 0 or self.left_s > 0):
            if self.options.reproducible and self.looked_at >= _REPRODUCIBLE_NODES:
                return
            for node in self.open:
                self._drop(node)
            chosen = self._next()
            if chosen is None:
                return
            self._look(chosen)
            tell(min(1.0, 1.0 - self.left_s / self.seconds))

    def _next(self) -> _Node | None:
        """The open node that holds the widest gap open; where all gaps are closed, one that may add to the front."""
        still = self.open
        if not still:
            return None
        gap, objective = max((self._gap(o), o) for o in self.objectives)
        if gap > max(PROVEN_GAP, self.options.gap):
            return min(still, key=lambda n: (n.bounds[objective], n.tries))
        if self.options.gap or len(self.objectives) == 1:
            return None
        scale = {o: max(self.best(o), 1e-300) for o in self.objectives}
        return min(still, key=lambda n: (n.tries, sum(n.bounds[o] / scale[o] for o in self.objectives)))

    def _gap(self, objective: str) -> float:
        best = self.best(objective)
        if math.isinf(best):
            return math.inf
        return (best - self.bound(objective)) / best if best > 0 else 0.0

    def best(self, objective: str) -> float:
        return min((objective_values(p.score, [objective])[0] for p in self.plans), default=math.inf)

    def bound(self, objective: str) -> float:
        return min(n.bounds[objective] for n in self.nodes)

    def _drop(self, node: _Node) -> None:
        """Close a node below which nothing is left that known plans do not reach."""
        promised = [node.bounds[o] for o in self.objectives]
        if any(math.isinf(b) for b in promised):
            node.closed = True
            return
        for plan in self.plans:
            values = objective_values(plan.score, self.objectives)
            if all(v <= b * (1 + max(PROVEN_GAP, self.options.gap)) for v, b in zip(values, promised, strict=True)):
                node.closed = True
                self.exact &= all(v <= b * (1 + _EXACT) for v, b in zip(values, promised, strict=True))
                return

    def _look(self, node: _Node) -> None:
        """Solve a node's problem; what stays open of it is parted, or tried again with more time."""
        real = not open_choice(node.choice)
        share = 1.0 / len(self.open) if self.count <= _ONE_BY_ONE else _NODE_SHARE
        seconds = max(_LEAST_S, min(1.0, share * 2**node.tries) * self.left_s)
        gap = self.options.gap if real else max(PROVEN_GAP / 2, self.options.gap)
        options = replace(
            self.options, objectives=self.objectives, prefer=self.objectives[0], time_limit_s=seconds, gap=gap,
            start=_without_bounds(self.options), cost_uncertainty=None, part=True,
        )  # fmt: skip
        outcome = self.solve_one(relaxed(self.problem, node.choice), options)
        self.looked_at += 1
        node.tries += 1
        if isinstance(outcome, Infeasible):
            node.bounds = dict.fromkeys(self.objectives, math.inf)
            node.closed = True
        elif isinstance(outcome, Front):
            self._take(node, outcome, real)
        self._drop(node)
        if not real and not node.closed:
            self._part(node)

    def _take(self, node: _Node, front: Front, real: bool) -> None:
        self.certified.take(front)
        self.evaluations += front.evaluations
        self.interrupted = front.interrupted
        self.used_s += sum(c.deterministic_s or 0.0 for c in front.certificates.values())
        for name, seconds in front.stages.items():
            self.stages[name] = self.stages.get(name, 0.0) + seconds
        for objective, c in front.certificates.items():
            if objective == "energy" and not real and not energy_is_relaxed(self.problem):
                continue
            node.bounds[objective] = max(node.bounds[objective], c.bound or 0.0)
        if real:
            self.plans += front.plans
            whole = all(p.status != "heuristic" for p in front.plans)
            proven = all(c.status == "proven" for c in front.certificates.values())
            node.closed = whole or proven
            self.exact &= whole
        else:
            node.minds = self.real.minds(node.choice, assignment_of(self.problem, front.plans[front.chosen]))
            for plan in front.plans[:_REALISED]:
                self.plans += self.real.plans(node.choice, assignment_of(self.problem, plan))
        self.plans = self.front()

    def front(self) -> list[Plan]:
        rows = sorted((objective_values(p.score, self.objectives), i) for i, p in enumerate(self.plans))
        kept: list[tuple[tuple[float, ...], int]] = []
        for values, i in rows:
            if not any(k == values or dominates(k, values) for k, _ in kept):
                kept.append((values, i))
        return [self.plans[i] for _, i in kept]

    def _part(self, node: _Node) -> None:
        """Its children in its place: one for each precision of the processor that it minds."""
        self.nodes.remove(node)
        q = node.minds
        if len(node.choice[q]) == 1:  # nothing was found to tell by
            q = max(range(len(node.choice)), key=lambda p: (len(node.choice[p]), -p))
        before, behind = node.choice[:q], node.choice[q + 1 :]
        for precision in node.choice[q]:
            self.nodes.append(_Node((*before, (precision,), *behind), dict(node.bounds)))

    def certificate(self, objective: str, plans: Sequence[Plan] | None = None) -> Certificate:
        """The certificate of the best plan of all choices: none goes below the least bound of the nodes.

        ``plans``: those that count, all unless given.
        """
        done = self.certified
        methods = "; ".join(done.methods.get(objective, []))
        bound = Bound(
            value=self.bound(objective),
            complete=True,
            method=f"{self._how()}: {methods}" if methods else self._how(),
            seconds=done.seconds.get(objective, 0.0),
            deterministic_s=done.deterministic_s.get(objective, 0.0),
        )
        counted = self.plans if plans is None else plans
        best = min((objective_values(p.score, [objective])[0] for p in counted), default=math.inf)
        text = f"{plan_class(self.problem)}, any allowed precision of a processor"
        return certificate(objective, best, bound, text, self.options.seed)

    def _how(self) -> str:
        if self.count <= _ONE_BY_ONE:
            return f"each of {self.count} choices of precision"
        return f"branch and bound over {self.count} choices of precision, {self.looked_at} nodes looked at"

    def none(self, seconds: float) -> Outcome:
        """Why there is no plan; which limits clash is said of the first choice."""
        if self.interrupted:
            raise KeyboardInterrupt
        if any(not math.isinf(n.bounds[self.objectives[0]]) for n in self.nodes):
            return NothingFound(seconds, self.real.closest())
        vector = [allowed[0] for allowed in self.worth]
        options = replace(self.options, start=_without_bounds(self.options), cost_uncertainty=None)
        first = self.solve_one(at_precisions(self.problem, vector), options)
        if not isinstance(first, Infeasible):
            return NothingFound(seconds, "")
        method = f"{self._how()}; what follows is of the first: {first.method}"
        return replace(first, method=method, seconds=seconds, minimal=first.minimal and self.count == 1)


def _without_bounds(options: SolveOptions) -> Start | None:
    """The start's plans; its bounds are those of one choice of precisions."""
    return None if options.start is None else replace(options.start, bounds={})


def _in_order(search: _Search, preference: Preference, seconds: float) -> tuple[PreferenceStep, ...]:
    """An order of preference over all choices: each step is searched again with the ones before it held."""
    steps: list[PreferenceStep] = []
    for number, step in enumerate(preference.steps):
        left = [p for p in search.plans if _keeps(p, steps)]
        if number == 0:
            found = search.certificate(step.objective)
        else:
            tight = search.problem
            for before in steps:
                tight = held(tight, before.objective, before.limit)
            options = replace(search.options, objectives=(step.objective,), prefer=step.objective, start=None)
            share = seconds / (len(preference.steps) - number)
            inner = _Search(tight, options, (step.objective,), search.solve_one, share)
            inner.plans = left[:]
            inner.run(lambda done: None)
            seconds -= min(share, time.monotonic() - inner.begin)
            fresh = [Pool(settled(search.problem, p), search.objectives).add(p) for p in inner.plans]
            search.plans += [p for p in fresh if p not in search.plans]
            left = [p for p in search.plans if _keeps(p, steps)]
            found = inner.certificate(step.objective, left)
        steps.append(PreferenceStep(step.objective, within(left, step)[0], found))
    return tuple(steps)


def _keeps(plan: Plan, steps: Sequence[PreferenceStep]) -> bool:
    values = objective_values(plan.score, [s.objective for s in steps])
    return all(v <= s.limit * (1 + _EXACT) for v, s in zip(values, steps, strict=True))
