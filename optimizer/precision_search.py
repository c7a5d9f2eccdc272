"""Branch and bound over the precisions of processors: one front over all choices, with bounds that hold for all.

A node leaves some processors a choice. Solving its relaxed problem (see ``precision``) bounds every plan below it, and
its plans, at the precisions that suit them, are plans to measure others by. Where a known plan reaches everything that
a node promises, nothing below it is worth having; else it is parted by the processor about which its plan minds most.
Few combinations are solved one by one from the beginning. What time leaves unlooked at stays in the bounds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from optimizer.memory_plan import with_arenas
from optimizer.objectives import check_objectives, held, objective_values
from optimizer.plan import Front, Plan, PreferenceStep
from optimizer.precision import settled
from optimizer.precision_nodes import Outcome, PrecisionSearch, SolveOne
from optimizer.preference import Preference, choose, parse_preference, within
from optimizer.problem import Problem
from optimizer.search.certify import mark
from optimizer.search.cpsat import Budget, Clock
from optimizer.search.pool import Pool
from optimizer.solve_options import SolveOptions
from optimizer.uncertainty import UNCERTAINTY_SHARE, assess

__all__ = ["solve_choices"]

_FRONT_SHARE = 0.6
"""Share of the time for the front where an order of preference is proven after it."""
_EXACT = 1e-9
Tell = Callable[[str, float], None]


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
    search = PrecisionSearch(problem, options, objectives, solve_one, share * options.time_limit_s)
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


def _front(search: PrecisionSearch, preference: Preference, steps: tuple[PreferenceStep, ...], begin: float) -> Front:
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


def _in_order(search: PrecisionSearch, preference: Preference, seconds: float) -> tuple[PreferenceStep, ...]:
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
            inner = PrecisionSearch(tight, options, (step.objective,), search.solve_one, share)
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
