"""Bounds, fronts and pruning against brute force on small random problems."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from optimizer.objectives import DEFAULT_OBJECTIVES, objective_values
from optimizer.plan import Front
from optimizer.problem import Limits, Problem
from optimizer.search.cpsat import Budget, prove
from optimizer.search.exact_front import enumerate_front
from optimizer.search.order_dp import order_dp_candidates
from optimizer.search.pool import Pool
from optimizer.search.pruning import safe_domains
from optimizer.solve import SolveOptions, solve
from tests.optimizer.builders import random_problem

KINDS = ("mesh", "line", "switch", "shared", "polled", "busy")
SEEDS = st.integers(0, 10**6)


def brute_force(problem: Problem) -> Pool:
    """Every contiguous plan."""
    pool = Pool(problem)
    k = len(problem.processors)
    for places in itertools.product(range(k), repeat=len(problem.graph.operators)):
        pool.score(np.array(places))
    return pool


def seeded(problem: Problem) -> Pool:
    pool = Pool(problem)
    for assignment in order_dp_candidates(problem):
        pool.score(assignment)
    return pool


def budget(seconds: float = 20.0) -> Budget:
    return Budget(time.monotonic() + seconds, workers=1, seed=0)


@settings(max_examples=12, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(KINDS), k=st.integers(2, 3), objective=st.sampled_from(DEFAULT_OBJECTIVES))
def test_no_plan_is_better_than_a_bound(seed: int, kind: str, k: int, objective: str) -> None:
    problem = random_problem(seed, n=6, k=k, kind=kind)
    best = brute_force(problem).best_value(objective)
    bound = prove(seeded(problem), objective, budget())
    assert bound.value <= best * (1 + 1e-9)


@settings(max_examples=12, deadline=None)
@given(
    seed=SEEDS,
    kind=st.sampled_from(["mesh", "line", "switch", "shared"]),
    k=st.integers(2, 3),
    objective=st.sampled_from(["throughput", "energy"]),
)
def test_throughput_and_energy_are_proven_where_hops_overlap(seed: int, kind: str, k: int, objective: str) -> None:
    problem = random_problem(seed, n=6, k=k, kind=kind)
    pool = seeded(problem)
    bound = prove(pool, objective, budget())
    assert bound.complete
    assert pool.best_value(objective) == pytest.approx(brute_force(problem).best_value(objective), rel=1e-4)
    assert bound.value == pytest.approx(pool.best_value(objective), rel=1e-4)


@settings(max_examples=12, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(KINDS), objective=st.sampled_from(["throughput", "latency", "energy"]))
def test_optima_are_proven_however_hops_wait_for_each_other(seed: int, kind: str, objective: str) -> None:
    problem = random_problem(seed, n=5, k=2, kind=kind)
    pool = seeded(problem)
    bound = prove(pool, objective, budget())
    assert bound.complete
    assert bound.value == pytest.approx(pool.best_value(objective), rel=1e-4)
    assert bound.value <= brute_force(problem).best_value(objective) * (1 + 1e-9)


@settings(max_examples=12, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(KINDS), ram=st.sampled_from([600, 1200, 2500]))
def test_memory_limits_are_kept_and_infeasible_is_never_claimed_of_a_feasible_problem(
    seed: int, kind: str, ram: int
) -> None:
    limits = Limits(max_ram_bytes={"b0": ram, "b1": ram})
    problem = random_problem(seed, n=6, k=2, kind=kind, limits=limits)
    best = brute_force(problem).best_value("throughput")
    pool = seeded(problem)
    bound = prove(pool, "throughput", budget())
    assert bound.value <= best * (1 + 1e-9)
    for plan in pool.feasible():
        assert all(use.ram_bytes <= ram for use in plan.score.memory_bytes.values())


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(KINDS))
def test_the_enumerated_front_of_two_processors_is_the_brute_force_front(seed: int, kind: str) -> None:
    problem = random_problem(seed, n=7, k=2, kind=kind)
    pool = Pool(problem)
    assume(enumerate_front(pool, time.monotonic() + 60) is not None)  # None: a better schedule may exist
    truth = [objective_values(p.score, DEFAULT_OBJECTIVES) for p in brute_force(problem).front()]
    assert [objective_values(p.score, DEFAULT_OBJECTIVES) for p in pool.front()] == truth


@settings(max_examples=8, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(KINDS), k=st.integers(2, 3))
def test_pruning_never_loses_a_point_of_the_front(seed: int, kind: str, k: int) -> None:
    problem = random_problem(seed, n=6, k=k, kind=kind)
    pool = seeded(problem)
    bounds = {o: prove(pool, o, budget()).value for o in DEFAULT_OBJECTIVES}
    domains = safe_domains(pool, bounds)
    for plan in brute_force(problem).front():
        for segment in plan.segments:
            q = problem.processor_index[segment.processor]
            assert domains[list(segment.operators), q].all()


@settings(max_examples=2, deadline=None)
@given(seed=SEEDS)
def test_every_plan_of_the_front_obeys_the_limits(seed: int) -> None:
    free = solve(random_problem(seed, n=7, k=3), SolveOptions(time_limit_s=10.0, workers=1))
    assert isinstance(free, Front)
    best = free.certificates["latency"].value
    limits = Limits(max_latency_s=best * 1.2, max_boards=2)
    found = solve(random_problem(seed, n=7, k=3, limits=limits), SolveOptions(time_limit_s=10.0, workers=1))
    if isinstance(found, Front):
        assert all(p.score.latency_s <= best * 1.2 * (1 + 1e-9) for p in found.plans)


def test_same_seed_same_plan() -> None:
    options = SolveOptions(seed=3, time_limit_s=1.0, reproducible=True)
    first, second = (solve(random_problem(5, n=6, k=3, kind="polled"), options) for _ in range(2))
    assert isinstance(first, Front)
    assert "NSGA-II" in first.stages
    assert isinstance(second, Front)
    assert first.plans == second.plans
