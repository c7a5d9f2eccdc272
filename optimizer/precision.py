"""Precision of each processor as a decision: every choice of one precision a processor is a problem of its own.

A plan uses a processor at one precision. The choices are solved one by one, and their plans make one front; the least
of their bounds bounds the plans of all of them, so that a proof of the whole is the proofs of its parts. There are as
many choices as combinations, which suits a few processors.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from boards.board import System
from optimizer.errors import LimitError
from optimizer.infeasible import Infeasible, NothingFound
from optimizer.memory_plan import with_arenas
from optimizer.objectives import check_objectives, held, objective_values
from optimizer.plan import Certificate, Front, Plan, PreferenceStep
from optimizer.preference import Preference, choose, parse_preference, within
from optimizer.problem import Problem
from optimizer.search.certify import certificate, mark, plan_class
from optimizer.search.cpsat import Bound
from optimizer.search.pool import Pool, dominates

if TYPE_CHECKING:
    from optimizer.solve_options import SolveOptions

__all__ = ["MAX_CHOICES", "choices", "parse_precisions", "settled", "solve_choices", "worth_trying"]

MAX_CHOICES = 64
_ANY = "any"
_FRONT_SHARE = 0.6
"""Share of the time for the front where an order of preference is proven after it."""
Outcome = Front | Infeasible | NothingFound
SolveOne = Callable[[Problem, "SolveOptions"], Outcome]


def parse_precisions(texts: Sequence[str], system: System) -> dict[str, tuple[str, ...]]:
    """Allowed precisions by processor key, of texts such as "left=int8", "left/cpu=fp32|int8", "right=any".

    Raises LimitError for boards that are not there and for what a processor does not offer.
    """
    allowed: dict[str, tuple[str, ...]] = {}
    for text in texts:
        target, _, listed = text.partition("=")
        refs = [r for r in system.processors if target in (r.key, r.board.name)]
        if not refs or not listed:
            known = sorted({*(r.key for r in system.processors), *(r.board.name for r in system.processors)})
            raise LimitError(
                "--precision is not usable",
                expected=f"BOARD=PRECISION[|PRECISION...] or BOARD=any, with a board among {', '.join(known)}",
                got=text,
                option="precision",
            )
        for ref in refs:
            offered = tuple(ref.processor.macs_per_s)
            wanted = offered if listed == _ANY else tuple(dict.fromkeys(p.strip() for p in listed.split("|")))
            for precision in wanted:
                if precision not in offered:
                    raise LimitError(
                        f"{ref.key} does not work at {precision}",
                        where=f"--precision {text}",
                        expected=f"some of {', '.join(offered)}, or any",
                        got=precision,
                        option="precision",
                    )
            allowed[ref.key] = wanted
    return allowed


def choices(problem: Problem) -> Iterator[Problem]:
    """The problem at every combination of the precisions that are worth trying (see ``worth_trying``)."""
    for vector in itertools.product(*worth_trying(problem)):
        yield _at(problem, vector)


def _at(problem: Problem, vector: Sequence[str]) -> Problem:
    keys = [ref.key for ref in problem.processors]
    return replace(problem, precisions_allowed={k: (p,) for k, p in zip(keys, vector, strict=True)})


def worth_trying(problem: Problem) -> tuple[tuple[str, ...], ...]:
    """Allowed precisions by processor, without those that another one betters or equals in every plan.

    That is so where no operator takes longer, more energy beyond idling or more bytes, or loses more accuracy: then
    no schedule is slower, dearer or larger for the change. (Where hops hold processors, all are tried: shorter hops
    leave more time to idle, which may cost more.)
    """
    if not _less_is_better(problem):
        return problem.precision_choices
    found = []
    for q, allowed in enumerate(problem.precision_choices):
        figures = [_figures(problem, q, p) for p in allowed]
        kept: list[int] = []
        for i, own in enumerate(figures):
            others = [j for j in range(len(figures)) if j != i and bool((figures[j] <= own).all())]
            if not any(j < i or not bool((own <= figures[j]).all()) for j in others):
                kept.append(i)
        found.append(tuple(allowed[i] for i in kept))
    return tuple(found)


def _less_is_better(problem: Problem) -> bool:
    """Whether an activity that takes less time never costs more energy."""
    idles = all(r.processor.idle_power_w <= r.processor.active_power_w for r in problem.processors)
    return idles and all(link.overlap for link in problem.links)


def _figures(problem: Problem, q: int, precision: str) -> npt.NDArray[np.float64]:
    """All that the tables say of one processor at one precision; less is better, one by one."""
    vector = [p[0] for p in problem.precision_choices]
    vector[q] = precision
    tables = _at(problem, vector).tables
    idle_w = problem.processors[q].processor.idle_power_w
    losses = [] if tables.loss is None else [tables.loss[:, q]]
    columns = [
        tables.time_s[:, q],
        tables.energy_j[:, q] - idle_w * tables.time_s[:, q],
        tables.tensor_bytes[:, q].astype(np.float64),
        tables.initializer_bytes[:, q].astype(np.float64),
        *losses,
    ]
    return np.concatenate(columns)


def settled(problem: Problem, plan: Plan) -> Problem:
    """The problem at the precisions that a plan uses; processors it does not use keep their first."""
    used = {key: s.precision for s in plan.segments for key in (s.processor, *s.replicas)}
    keys = [ref.key for ref in problem.processors]
    return replace(
        problem,
        precisions_allowed={
            k: (used.get(k, offered[0]),) for k, offered in zip(keys, problem.precision_choices, strict=True)
        },
    )


def solve_choices(problem: Problem, options: SolveOptions, solve_one: SolveOne) -> Outcome:
    """One front over all choices of precision. Raises LimitError where there are more than MAX_CHOICES."""
    begin = time.monotonic()
    count = math.prod(len(offered) for offered in worth_trying(problem))
    if count > MAX_CHOICES:
        raise LimitError(
            f"{count} combinations of precisions are too many to prove one by one",
            expected=f"at most {MAX_CHOICES}",
            got=str(count),
            hint="Settle some boards with --precision BOARD=PRECISION.",
        )
    if options.cost_uncertainty is not None:
        raise LimitError(
            "--cost-uncertainty needs one precision a processor",
            expected="no --precision with several precisions",
            hint="Settle the precisions, those of the best plan for example.",
        )
    preference = parse_preference(options.prefer)
    objectives = tuple(dict.fromkeys([*options.objectives, *preference.objectives]))
    check_objectives(objectives, problem)
    problems = list(choices(problem))
    ordered = len(preference.steps) > 1
    seconds = options.time_limit_s * (_FRONT_SHARE if ordered else 1.0) / count
    single = replace(options, objectives=objectives, prefer=objectives[0], time_limit_s=seconds)
    outcomes = [solve_one(p, single) for p in problems]
    fronts = [o for o in outcomes if isinstance(o, Front)]
    if not fronts:
        return _none(outcomes, count, time.monotonic() - begin)
    certificates = {o: _joint(problem, o, outcomes, options.seed) for o in objectives}
    plans = [p for front in fronts for p in front.plans]
    steps: tuple[PreferenceStep, ...] = ()
    if ordered:
        seconds = options.time_limit_s * (1 - _FRONT_SHARE) / (count * (len(preference.steps) - 1))
        order = _Order(problem, problems, replace(options, time_limit_s=seconds), solve_one, plans)
        steps = order.prove(preference, certificates)
        plans = order.plans
    return _front(problem, options, preference, objectives, fronts, plans, certificates, steps, begin)


def _front(
    problem: Problem, options: SolveOptions, preference: Preference, objectives: tuple[str, ...],
    fronts: Sequence[Front], plans: Sequence[Plan], certificates: Mapping[str, Certificate],
    steps: tuple[PreferenceStep, ...], begin: float,
) -> Front:  # fmt: skip
    exact = all(p.status != "heuristic" for front in fronts for p in front.plans)
    best = [mark(p, certificates, exact) for p in _non_dominated(plans, objectives)]
    choice = choose(best, preference, objectives)
    best[choice.index] = with_arenas(settled(problem, best[choice.index]), best[choice.index])
    stages: dict[str, float] = {}
    for front in fronts:
        for name, seconds in front.stages.items():
            stages[name] = stages.get(name, 0.0) + seconds
    return replace(
        fronts[0],
        plans=tuple(best),
        certificates=dict(certificates),
        chosen=choice.index,
        prefer=preference.text,
        seed=options.seed,
        seconds=time.monotonic() - begin,
        evaluations=sum(f.evaluations for f in fronts),
        stages=stages,
        interrupted=any(f.interrupted for f in fronts),
        chosen_because=choice.words,
        steps=steps,
    )


def _non_dominated(plans: Sequence[Plan], objectives: Sequence[str]) -> list[Plan]:
    rows = sorted(((objective_values(p.score, objectives), i) for i, p in enumerate(plans)))
    kept: list[tuple[tuple[float, ...], int]] = []
    for values, i in rows:
        if not any(k == values or dominates(k, values) for k, _ in kept):
            kept.append((values, i))
    return [plans[i] for _, i in kept]


def _joint(
    problem: Problem, objective: str, outcomes: Sequence[Outcome], seed: int, known: float = math.inf
) -> Certificate:
    """The certificate of the best plan of all choices: no choice goes below the least of their bounds.

    ``known``: the value of a plan found elsewhere.
    """
    parts = [o.certificates[objective] for o in outcomes if isinstance(o, Front)]
    bounds = [c.bound for c in parts]
    open_ = any(isinstance(o, NothingFound) for o in outcomes) or any(b is None for b in bounds)
    least = 0.0 if open_ else min((b for b in bounds if b is not None), default=math.inf)
    methods = list(dict.fromkeys(c.method for c in parts))
    bound = Bound(
        value=least,
        complete=not open_,
        method=f"each of {len(outcomes)} choices of precision: {'; '.join(methods)}",
        seconds=sum(c.seconds for c in parts),
        deterministic_s=round(sum(c.deterministic_s or 0.0 for c in parts), 6),
    )
    plans = f"{plan_class(problem)}, any allowed precision of a processor"
    return certificate(objective, min([known, *(c.value for c in parts)]), bound, plans, seed)


def _none(outcomes: Sequence[Outcome], count: int, seconds: float) -> Outcome:
    for outcome in outcomes:
        if isinstance(outcome, NothingFound):
            return NothingFound(seconds, outcome.closest)
    first = outcomes[0]
    if not isinstance(first, Infeasible):
        return first
    method = f"each of {count} choices of precision on its own; what follows is of the first: {first.method}"
    return replace(first, method=method, seconds=seconds, minimal=first.minimal and count == 1)


class _Order:
    """An order of preference over all choices: each step is solved again at every choice, with the ones before held."""

    def __init__(
        self, problem: Problem, problems: Sequence[Problem], options: SolveOptions, solve_one: SolveOne,
        plans: Sequence[Plan],
    ) -> None:  # fmt: skip
        self.problem, self.problems, self.options, self.solve_one = problem, problems, options, solve_one
        self.plans = list(plans)

    def prove(self, preference: Preference, certificates: Mapping[str, Certificate]) -> tuple[PreferenceStep, ...]:
        steps: list[PreferenceStep] = []
        left = self.plans
        for step in preference.steps:
            found = certificates[step.objective] if not steps else self._step(step.objective, steps)
            left = [p for p in self.plans if self._keeps(p, steps)]
            steps.append(PreferenceStep(step.objective, within(left, step)[0], found))
        return tuple(steps)

    def _keeps(self, plan: Plan, steps: Sequence[PreferenceStep]) -> bool:
        values = objective_values(plan.score, [s.objective for s in steps])
        return all(v <= s.limit * (1 + 1e-9) for v, s in zip(values, steps, strict=True))

    def _step(self, objective: str, steps: Sequence[PreferenceStep]) -> Certificate:
        options = replace(self.options, objectives=(objective,), prefer=objective, start=None)
        outcomes = []
        for problem in self.problems:
            tight = problem
            for step in steps:
                tight = held(tight, step.objective, step.limit)
            outcome = self.solve_one(tight, options)
            outcomes.append(outcome)
            if isinstance(outcome, Front):
                self.plans += [Pool(problem).add(p) for p in outcome.plans]
        known = min(objective_values(p.score, [objective])[0] for p in self.plans if self._keeps(p, steps))
        return _joint(self.problem, objective, outcomes, self.options.seed, known)
