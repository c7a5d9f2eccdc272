"""Limits on link bytes and on the loss of accuracy that cannot be met: what would be enough, against brute force."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.explain import margins
from optimizer.infeasible import Infeasible
from optimizer.objectives import objective_values
from optimizer.plan import Front
from optimizer.problem import Limits, Problem
from optimizer.search.pool import Pool
from optimizer.solve import SolveOptions, solve
from tests.optimizer.precision_samples import mixed_problem


def least(problem: Problem, objective: str) -> float:
    pool = Pool(problem)
    for places in itertools.product(range(2), repeat=len(problem.graph.operators)):
        pool.score(np.array(places))
    return min(objective_values(p.score, [objective])[0] for p in pool.feasible())


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(["mesh", "line", "shared"]))
def test_the_least_relaxation_is_what_brute_force_finds(seed: int, kind: str) -> None:
    problem = mixed_problem(seed, n=5, k=2, kind=kind)
    for objective, field, option in (
        ("link-bytes", "max_link_bytes", "--max-link-bytes"),
        ("accuracy-loss", "max_accuracy_loss", "--max-accuracy-loss"),
    ):
        best = least(problem, objective)
        if best <= 0:
            continue
        limit = int(best) - 1 if objective == "link-bytes" else best / 2
        limits = Limits(**{field: limit})  # type: ignore[arg-type]
        outcome = solve(replace(problem, limits=limits), SolveOptions(time_limit_s=6.0, workers=1))
        assert isinstance(outcome, Infeasible)
        assert [c.limit for c in outcome.clashes] == [option]
        assert outcome.clashes[0].best == pytest.approx(best, rel=1e-4)
        lever = outcome.clashes[0].lever.removeprefix(f"{option} ").removesuffix("B")
        relaxed = Limits(**{field: int(lever) if objective == "link-bytes" else float(lever)})  # type: ignore[arg-type]
        assert isinstance(solve(replace(problem, limits=relaxed), SolveOptions(time_limit_s=6.0, workers=1)), Front)


def test_limits_that_are_met_say_what_can_be_reached() -> None:
    problem = mixed_problem(3, n=5, k=2, limits=Limits(max_link_bytes=10**6, max_accuracy_loss=100.0))
    front = solve(problem, SolveOptions(time_limit_s=6.0, workers=1))
    assert isinstance(front, Front)
    found = {m.limit: m for m in margins(problem, front)}
    assert found["--max-link-bytes"].best == min(p.score.link_bytes for p in front.plans)
    assert found["--max-accuracy-loss"].best == min(p.score.accuracy_loss or 0.0 for p in front.plans)
