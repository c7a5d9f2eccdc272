"""`prove_period` against brute force, and its sizes."""

from __future__ import annotations

import itertools
import math
import random
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.plan import Front
from optimizer.problem import Limits, Problem
from optimizer.search.cpsat import Budget
from optimizer.search.many_boards import fits_cpsat, prove_period
from optimizer.search.pool import Pool
from optimizer.solve import SolveOptions, solve
from tests.optimizer.builders import random_problem
from tests.optimizer.test_type_dp import chain_problem

KINDS = ("mesh", "line", "switch", "shared", "polled", "busy")
SEEDS = st.integers(0, 10**6)


def brute_force_s(problem: Problem) -> float:
    pool = Pool(problem)
    for places in itertools.product(range(len(problem.processors)), repeat=len(problem.graph.operators)):
        pool.score(np.array(places))
    return pool.best_value("throughput")


def with_fast_links(problem: Problem) -> Problem:
    """The same with links that are never busy and cost no processor any time."""
    links = tuple(
        replace(link, setup_s=0.0, bandwidth_bytes_per_s=1e12, send_s_per_byte=0.0, receive_s_per_byte=0.0)
        for link in problem.system.links
    )
    return replace(problem, system=replace(problem.system, links=links))


def budget(seconds: float = 20.0) -> Budget:
    return Budget(time.monotonic() + seconds, workers=1, seed=0)


def some_limits(rng: random.Random) -> Limits:
    ram = {f"b{i}": rng.choice([700, 1500, 3000]) for i in range(3)}
    return rng.choice([Limits(), Limits(max_ram_bytes=ram), Limits(max_boards=2), Limits(pins={"op1": "b1"})])


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(KINDS), types=st.integers(1, 3))
def test_no_plan_of_a_chain_is_better_than_its_bound(seed: int, kind: str, types: int) -> None:
    problem = chain_problem(seed, 6, 3, types, some_limits(random.Random(seed)), kind)
    boundaries = random_problem(seed, n=6, k=3).costs.boundaries
    problem = replace(problem, costs=replace(problem.costs, boundaries=boundaries))
    pool = Pool(problem)
    bound = prove_period(pool, budget())
    assert bound is not None
    best = brute_force_s(problem)
    assert bound.value <= best * (1 + 1e-9)
    assert pool.best_value("throughput") >= best * (1 - 1e-12)


@pytest.mark.parametrize("seed", range(12))
def test_the_best_period_is_found_and_proven_where_links_are_free(seed: int) -> None:
    problem = chain_problem(seed, 7, 3, 2)
    problem = with_fast_links(problem)
    pool = Pool(problem)
    bound = prove_period(pool, budget())
    assert bound is not None
    assert bound.complete
    best = brute_force_s(problem)
    assert pool.best_value("throughput") == pytest.approx(best, rel=1e-4)
    assert bound.value == pytest.approx(best, rel=1e-4)


def test_what_fits_no_memory_is_proven_impossible() -> None:
    limits = Limits(max_ram_bytes={f"b{i}": 5 for i in range(3)})
    bound = prove_period(Pool(chain_problem(2, 6, 3, 1, limits)), budget())
    assert bound is not None
    assert bound.complete
    assert math.isinf(bound.value)


def test_revisiting_plans_and_single_processors_are_left_alone() -> None:
    assert prove_period(Pool(replace(chain_problem(1, 6, 3, 2), non_contiguous=True)), budget()) is None
    assert prove_period(Pool(chain_problem(1, 6, 1, 1)), budget()) is None


def test_a_chain_over_boards_of_four_types_is_proven() -> None:
    problem = with_fast_links(chain_problem(4, 96, 16, 4, kind="switch"))
    front = solve(problem, SolveOptions(objectives=("throughput",), time_limit_s=30.0, workers=1))
    assert isinstance(front, Front)
    certificate = front.certificates["throughput"]
    assert certificate.status == "proven"
    assert certificate.method == "DP over counts of each type of board"


def test_boards_that_all_differ_get_a_plan_and_a_bound() -> None:
    problem = with_fast_links(chain_problem(5, 60, 24, 24, kind="switch"))
    pool = Pool(problem)
    bound = prove_period(pool, budget(8.0))
    assert bound is not None
    best = pool.best_value("throughput")
    assert 0.7 * best <= bound.value <= best


def test_models_too_large_to_build_are_not_asked_of_cp_sat() -> None:
    assert fits_cpsat(chain_problem(1, 96, 16, 4))
    assert not fits_cpsat(chain_problem(1, 1000, 30, 4, kind="switch"))
