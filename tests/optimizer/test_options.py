"""Options of a search: gap, limits, preferences, warm start."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.objectives import DEFAULT_OBJECTIVES
from optimizer.problem import Problem
from optimizer.search.cpsat import Budget, prove
from optimizer.search.pool import Pool
from tests.optimizer.builders import random_problem

SEEDS = st.integers(0, 10**6)
KINDS = ("mesh", "line", "switch", "shared", "polled")


def brute_force(problem: Problem) -> Pool:
    """Every contiguous plan."""
    pool = Pool(problem)
    for places in itertools.product(range(len(problem.processors)), repeat=len(problem.graph.operators)):
        pool.score(np.array(places))
    return pool


@settings(max_examples=12, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(KINDS[:4]), objective=st.sampled_from(["throughput", "energy"]))
def test_a_gap_is_kept_and_its_bound_holds(seed: int, kind: str, objective: str) -> None:
    problem = random_problem(seed, n=6, k=3, kind=kind)
    pool = Pool(problem)
    bound = prove(pool, objective, Budget(time.monotonic() + 20.0, 1, 0, gap=0.2))
    assert bound.complete
    assert pool.best_value(objective) * (1 - 0.2001) <= bound.value
    assert bound.value <= brute_force(problem).best_value(objective) * (1 + 1e-9)


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(KINDS), objective=st.sampled_from(DEFAULT_OBJECTIVES))
def test_a_gap_of_one_finds_any_plan_or_proves_that_there_is_none(seed: int, kind: str, objective: str) -> None:
    free = random_problem(seed, n=6, k=2, kind=kind)
    limits = free.limits.__class__(max_ram_bytes={"b0": 700, "b1": 900})
    problem = random_problem(seed, n=6, k=2, kind=kind, limits=limits)
    pool = Pool(problem)
    bound = prove(pool, objective, Budget(time.monotonic() + 20.0, 1, 0, gap=1.0))
    assert bound.complete
    assert bool(pool.feasible()) == bool(brute_force(problem).feasible())
    assert (bound.value == float("inf")) == (not pool.feasible())


def test_without_a_gap_the_optimum_is_proven() -> None:
    problem = random_problem(1, n=6, k=3)
    pool = Pool(problem)
    bound = prove(pool, "throughput", Budget(time.monotonic() + 20.0, 1, 0))
    assert bound.value == pytest.approx(pool.best_value("throughput"), rel=1e-4)
