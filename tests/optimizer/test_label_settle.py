"""Fronts that label-DP claims with the help of CP-SAT: nothing is past them, whatever its lists and depths."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.errors import UnsatisfiedAssumption

from optimizer.objectives import objective_values
from optimizer.plan import Score
from optimizer.problem import Limits, Problem
from optimizer.search.cpsat import Budget
from optimizer.search.label_dp import label_front
from optimizer.search.pool import Pool
from tests.optimizer.builders import random_problem
from tests.optimizer.test_label_dp import ALL, KINDS, brute_force
from tests.optimizer.test_settle import every_score, plan_of

PAIRS = (ALL[:2], ("throughput", "energy"))
_ALIKE = 1 + 3e-6


def claimed(problem: Problem, objectives: tuple[str, ...]) -> Pool | None:
    """The pool with the front that label-DP claims; None where it claims none."""
    pool = Pool(problem, objectives)
    found = label_front(pool, time.monotonic() + 60, budget=Budget(time.monotonic() + 60, 1, 0))
    return pool if found is not None and not found.open else None


def reaches(pool: Pool, score: Score) -> bool:
    values = objective_values(score, pool.objectives)
    fronts = (objective_values(p.score, pool.objectives) for p in pool.front())
    return any(all(x <= v * _ALIKE for x, v in zip(point, values, strict=True)) for point in fronts)


@pytest.mark.parametrize("kind", KINDS)
def test_branches_seldom_keep_the_front_from_being_claimed(kind: str) -> None:
    alone = together = 0
    for seed, objectives in itertools.product(range(4), (ALL, *PAIRS[:1])):
        problem = random_problem(seed, 5, 2 + seed % 2, kind)
        found = label_front(Pool(problem, objectives), time.monotonic() + 60)
        alone += found is not None and not found.open
        pool = claimed(problem, objectives)
        if pool is not None:
            together += 1
            assert all(reaches(pool, plan.score) for plan in brute_force(problem, objectives).front())
    assert together == 8 > alone


@pytest.mark.parametrize("limits", [None, Limits(max_ram_bytes={"b0": 1500, "b1": 1500})])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(KINDS), objectives=st.sampled_from((ALL, *PAIRS)))
def test_no_schedule_at_all_is_past_a_claimed_front(
    limits: Limits | None, seed: int, kind: str, objectives: tuple[str, ...]
) -> None:
    problem = random_problem(seed, 3, 2, kind, limits)
    pool = claimed(problem, objectives)
    assume(pool is not None)
    assert pool is not None
    for places in itertools.product(range(2), repeat=3):
        plan = plan_of(problem, list(places))
        try:
            scores = [] if plan is None else list(every_score(problem, plan))
        except UnsatisfiedAssumption:
            continue  # too many to go through
        assert all(reaches(pool, score) for score in scores if not score.violations)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(KINDS), share=st.sampled_from([0.9, 1.0, 1.1]))
def test_a_limit_that_is_no_objective_is_no_reason_to_miss_a_schedule(seed: int, kind: str, share: float) -> None:
    free = brute_force(random_problem(seed, 3, 2, kind), ("latency",))
    limits = Limits(max_latency_s=free.best_value("latency") * share)
    problem = random_problem(seed, 3, 2, kind, limits)
    pool = claimed(problem, PAIRS[1])
    assume(pool is not None)
    assert pool is not None
    for places in itertools.product(range(2), repeat=3):
        plan = plan_of(problem, list(places))
        try:
            scores = [] if plan is None else list(every_score(problem, plan))
        except UnsatisfiedAssumption:
            continue
        assert all(reaches(pool, score) for score in scores if not score.violations)
