"""Every objective: bounds, optima and fronts against brute force on small random problems."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.errors import LimitError
from optimizer.objectives import OBJECTIVES, check_objectives, held, objective_values
from optimizer.plan import Front
from optimizer.problem import Limits, Problem
from optimizer.search.certify import certificate
from optimizer.search.cpsat import Bound, Budget, prove
from optimizer.search.cpsat.objectives import GOALS
from optimizer.search.exact_front import enumerate_front
from optimizer.search.order_dp import order_dp_candidates
from optimizer.search.pool import Pool
from optimizer.search.pruning import safe_domains, simple_bound
from optimizer.solve import SolveOptions, solve
from tests.optimizer.precision_samples import mixed_problem

ALL = tuple(OBJECTIVES)
FURTHER = ("memory", "link-bytes", "boards", "accuracy-loss")
EXACT = ("link-bytes", "boards", "accuracy-loss")
KINDS = ("mesh", "line", "switch", "shared", "polled", "busy")
SEEDS = st.integers(0, 10**6)


def brute_force(problem: Problem) -> Pool:
    """Every contiguous plan (every plan, where processors may be revisited)."""
    pool = Pool(problem, ALL)
    k = len(problem.processors)
    for places in itertools.product(range(k), repeat=len(problem.graph.operators)):
        pool.score(np.array(places))
    return pool


def seeded(problem: Problem, objectives: tuple[str, ...] = ALL) -> Pool:
    pool = Pool(problem, objectives)
    for assignment in order_dp_candidates(problem, objectives):
        pool.score(assignment)
    return pool


def budget(seconds: float = 20.0) -> Budget:
    return Budget(time.monotonic() + seconds, workers=1, seed=0)


def test_every_objective_has_a_goal_in_the_bounding_models() -> None:
    assert set(GOALS) == set(OBJECTIVES)


@settings(max_examples=14, deadline=None)
@given(
    seed=SEEDS, kind=st.sampled_from(KINDS), k=st.integers(2, 3), revisits=st.booleans(),
    objective=st.sampled_from(FURTHER),
)  # fmt: skip
def test_no_plan_is_better_than_a_bound(seed: int, kind: str, k: int, revisits: bool, objective: str) -> None:
    problem = replace(mixed_problem(seed, n=7 - k, k=k, kind=kind), non_contiguous=revisits)
    best = brute_force(problem).best_value(objective)
    assert prove(seeded(problem), objective, budget()).value <= best * (1 + 1e-9)
    assert simple_bound(problem, objective) <= best * (1 + 1e-9)


@settings(max_examples=14, deadline=None)
@given(
    seed=SEEDS, kind=st.sampled_from(KINDS), k=st.integers(2, 3), revisits=st.booleans(),
    objective=st.sampled_from(EXACT),
)  # fmt: skip
def test_linear_objectives_are_proven(seed: int, kind: str, k: int, revisits: bool, objective: str) -> None:
    problem = replace(mixed_problem(seed, n=7 - k, k=k, kind=kind), non_contiguous=revisits)
    pool = seeded(problem)
    bound = prove(pool, objective, budget())
    best = brute_force(problem).best_value(objective)
    assert pool.best_value(objective) == pytest.approx(best, rel=1e-4)
    found = certificate(objective, pool.best_value(objective), bound)
    assert found.status == "proven"
    assert found.gap == pytest.approx(0.0, abs=1e-4)


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(KINDS[:-1]), objective=st.sampled_from(EXACT), share=st.floats(0.0, 1.0))
def test_a_held_objective_is_a_limit_that_proofs_and_scores_keep(
    seed: int, kind: str, objective: str, share: float
) -> None:
    problem = mixed_problem(seed, n=5, k=2, kind=kind)
    everything = brute_force(problem)
    values = [objective_values(p.score, [objective])[0] for p in everything.feasible()]
    limit = min(values) + share * (max(values) - min(values))
    limited = held(problem, objective, limit)
    pool = Pool(limited, ALL)
    bound = prove(pool, "energy", budget())
    best = min(
        p.score.energy_j
        for p in everything.feasible()
        if objective_values(p.score, [objective])[0] <= limit * (1 + 1e-9)
    )
    assert bound.value <= best * (1 + 1e-9)
    assert pool.best_value("energy") <= best * (1 + 1e-4)


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(KINDS), share=st.floats(0.3, 1.0))
def test_less_memory_to_spare_is_kept_to(seed: int, kind: str, share: float) -> None:
    problem = mixed_problem(seed, n=5, k=2, kind=kind)
    most = max(p.score.memory_share for p in brute_force(problem).feasible())
    limited = held(problem, "memory", share * most)
    for plan in brute_force(limited).feasible():
        assert Pool(problem, ALL).add(plan).score.memory_share <= share * most * (1 + 1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(KINDS), objectives=st.permutations(ALL).map(lambda p: tuple(p[:3])))
def test_the_enumerated_front_of_two_processors_is_the_brute_force_front(
    seed: int, kind: str, objectives: tuple[str, ...]
) -> None:
    problem = mixed_problem(seed, n=6, k=2, kind=kind)
    pool, everything = Pool(problem, objectives), Pool(problem, objectives)
    enumerate_front(pool, time.monotonic() + 60)
    for places in itertools.product(range(2), repeat=6):
        everything.score(np.array(places))
    truth = [objective_values(p.score, objectives) for p in everything.front()]
    assert [objective_values(p.score, objectives) for p in pool.front()] == truth


@settings(max_examples=8, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(KINDS), k=st.integers(2, 3))
def test_pruning_never_loses_a_point_of_the_front(seed: int, kind: str, k: int) -> None:
    problem = mixed_problem(seed, n=7 - k, k=k, kind=kind)
    pool = seeded(problem)
    domains = safe_domains(pool, {o: simple_bound(problem, o) for o in ALL})
    for plan in brute_force(problem).front():
        for segment in plan.segments:
            q = problem.processor_index[segment.processor]
            assert domains[list(segment.operators), q].all()


def test_a_plan_that_uses_no_link_is_proven_to_use_none() -> None:
    found = certificate("link-bytes", 0.0, Bound(0.0, False, "by hand", 0.0))
    assert (found.status, found.bound, found.gap, found.unit) == ("proven", 0.0, 0.0, "B")


def test_all_objectives_span_a_front_with_certificates() -> None:
    problem = mixed_problem(4, n=6, k=3)
    front = solve(problem, SolveOptions(objectives=ALL, time_limit_s=8.0, workers=1))
    assert isinstance(front, Front)
    assert tuple(front.certificates) == ALL
    truth = brute_force(problem)
    for objective, found in front.certificates.items():
        best = truth.best_value(objective)
        assert found.bound is None or found.bound <= best * (1 + 1e-9)
        assert found.value >= best * (1 - 1e-4) - 1e-12
        if objective in EXACT:
            assert found.status == "proven"
    assert front.certificates["memory"].unit == "share"


@pytest.mark.parametrize("objectives", [(), ("beauty",), ("throughput", "beauty")])
def test_unknown_objectives_are_refused(objectives: tuple[str, ...]) -> None:
    with pytest.raises(LimitError, match="unknown objective"):
        check_objectives(objectives, mixed_problem(0))


def test_loss_of_accuracy_needs_a_table() -> None:
    bare = replace(mixed_problem(0), sensitivity=None)
    with pytest.raises(LimitError, match="--sensitivity FILE"):
        solve(bare, SolveOptions(objectives=("accuracy-loss",)))
    with pytest.raises(LimitError, match="--sensitivity FILE"):
        replace(bare, limits=Limits(max_accuracy_loss=1.0))


@pytest.mark.parametrize(
    "limits", [{"max_accuracy_loss": -1.0}, {"max_accuracy_loss": math.nan}, {"max_link_bytes": -1}]
)
def test_limits_that_make_no_sense_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(LimitError, match="zero or more"):
        mixed_problem(0, limits=Limits(**limits))  # type: ignore[arg-type]
