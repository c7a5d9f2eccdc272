"""A fixed rate of frames: energy counts its interval, and no plan may be slower."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.evaluate import Schedule, evaluate
from optimizer.infeasible import Infeasible
from optimizer.objectives import DEFAULT_OBJECTIVES, objective_values
from optimizer.plan import Front
from optimizer.problem import Limits, Problem
from optimizer.search.cpsat import Budget, prove
from optimizer.search.exact_front import enumerate_front
from optimizer.search.pool import Pool
from optimizer.solve import SolveOptions, solve
from tests.optimizer.builders import random_problem

SEEDS = st.integers(0, 10**6)
KINDS = ("mesh", "line", "switch", "shared", "polled", "busy")


def brute_force(problem: Problem) -> Pool:
    pool = Pool(problem)
    for places in itertools.product(range(len(problem.processors)), repeat=len(problem.graph.operators)):
        pool.score(np.array(places))
    return pool


def at_rate(problem: Problem, share: float) -> Problem:
    """Frames come at a share of the best throughput."""
    best = brute_force(problem).best_value("throughput")
    return replace(problem, limits=Limits(rate_per_s=share / best))


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(KINDS), share=st.floats(0.2, 0.9))
def test_the_rate_changes_idle_energy_and_nothing_else(seed: int, kind: str, share: float) -> None:
    free = random_problem(seed, n=5, k=2, kind=kind)
    problem = at_rate(free, share)
    interval = 1 / (problem.limits.rate_per_s or math.nan)
    for plan in brute_force(free).feasible():
        score = evaluate(problem, Schedule.of(plan))
        assert (score.period_s, score.latency_s) == (plan.score.period_s, plan.score.latency_s)
        used = {s.processor for s in plan.segments}
        used |= {ref.key for ref in free.processors if ref.board.name in {free.system.source, free.system.sink}}
        idle = sum(
            ref.processor.idle_power_w
            for ref in free.processors
            if ref.key in used or not ref.board.removable or any(ref.board.name in t.boards for t in plan.transfers)
        )
        wait = interval - score.period_s
        if wait >= 0:
            assert score.energy_j == pytest.approx(plan.score.energy_j + idle * wait, rel=1e-9)
        assert bool(score.violations) == (score.period_s > interval * (1 + 1e-9))


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(KINDS), k=st.integers(2, 3), share=st.floats(0.2, 0.95), revisits=st.booleans())
def test_the_least_energy_at_a_rate_is_proven(seed: int, kind: str, k: int, share: float, revisits: bool) -> None:
    problem = at_rate(replace(random_problem(seed, n=5, k=k, kind=kind), non_contiguous=revisits), share)
    truth = brute_force(problem).best_value("energy")
    pool = Pool(problem)
    bound = prove(pool, "energy", Budget(time.monotonic() + 20, 1, 0))
    assert bound.value <= truth * (1 + 1e-9)
    if bound.complete and kind != "polled":
        assert pool.best_value("energy") == pytest.approx(truth, rel=1e-4)


@settings(max_examples=12, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(KINDS), share=st.floats(0.2, 0.95))
def test_the_enumerated_front_counts_the_rate(seed: int, kind: str, share: float) -> None:
    problem = at_rate(random_problem(seed, n=6, k=2, kind=kind), share)
    pool = Pool(problem)
    enumerate_front(pool, time.monotonic() + 60)
    truth = [objective_values(p.score, DEFAULT_OBJECTIVES) for p in brute_force(problem).front()]
    assert [objective_values(p.score, DEFAULT_OBJECTIVES) for p in pool.front()] == truth


@pytest.mark.parametrize("seed", [1, 2])
def test_a_rate_that_no_plan_keeps_is_infeasible_with_the_largest_that_one_does(seed: int) -> None:
    problem = at_rate(random_problem(seed, n=5, k=2), 1.5)
    found = solve(problem, SolveOptions(time_limit_s=20.0, workers=1))
    assert isinstance(found, Infeasible)
    (clash,) = found.clashes
    assert clash.limit == "--rate"
    best = brute_force(replace(problem, limits=Limits())).best_value("throughput")
    assert clash.best == pytest.approx(best, rel=1e-4)
    loosened = replace(problem, limits=Limits(rate_per_s=1 / best * 0.999))
    assert isinstance(solve(loosened, SolveOptions(time_limit_s=20.0, workers=1)), Front)
