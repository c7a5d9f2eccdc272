"""The bound on the latency along the trunk of a graph, against every plan."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.costs import BoundaryCost
from optimizer.graph import Graph
from optimizer.problem import Limits, Problem
from optimizer.search.latency_bound import latency_bound
from optimizer.search.pool import Pool
from tests.optimizer.builders import make_graph, random_problem
from tests.optimizer.precision_samples import mixed_problem

KINDS = ("mesh", "line", "switch", "shared", "polled", "busy")
SEEDS = st.integers(0, 10**6)


def series_parallel(rng: random.Random, n: int) -> Graph:
    """A trunk with branches between some of its operators."""
    edges: list[tuple[int, int]] = []
    at = 0
    while at < n - 1:
        inner = rng.choice([0, 0, 2, 3])
        if at + inner + 1 >= n:
            inner = 0
        end = at + inner + 1
        members = list(range(at + 1, end))
        if not members or rng.random() < 0.3:
            edges.append((at, end))
        for position, v in enumerate(members):
            chained = position > 0 and rng.random() < 0.4
            edges.append((v - 1 if chained else at, v))
            edges.append((v, end))
        at = end
    return make_graph(sorted(set(edges)), n, [rng.choice([10, 100, 1000]) for _ in range(n + 1)])


def trunk_problem(seed: int, n: int, k: int, kind: str) -> Problem:
    rng = random.Random(seed)
    problem = replace(random_problem(seed, n=n, k=k, kind=kind), graph=series_parallel(rng, n))
    if rng.random() < 0.5:
        costs = {ref.key: BoundaryCost(rng.choice([0.0, 1e-4]), 0.02, "made") for ref in problem.system.processors}
        problem = replace(problem, costs=replace(problem.costs, boundaries=costs))
    return problem


def brute_force(problem: Problem) -> float:
    pool = Pool(problem)
    for places in itertools.product(range(len(problem.processors)), repeat=len(problem.graph.operators)):
        pool.score(np.array(places))
    return pool.best_value("latency")


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(KINDS), shape=st.sampled_from([(6, 2), (5, 3), (4, 4)]))
def test_no_plan_has_a_smaller_latency(seed: int, kind: str, shape: tuple[int, int]) -> None:
    problem = trunk_problem(seed, *shape, kind)
    found = latency_bound(problem)
    assert found is not None
    assert found.bound_s <= brute_force(problem) * (1 + 1e-9)


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(KINDS), n=st.integers(3, 6))
def test_no_plan_that_comes_back_to_a_processor_has_a_smaller_latency(seed: int, kind: str, n: int) -> None:
    problem = replace(trunk_problem(seed, n, 2, kind), non_contiguous=True)
    found = latency_bound(problem)
    assert found is not None
    assert found.bound_s <= brute_force(problem) * (1 + 1e-9)


@pytest.mark.parametrize("precisions", [("int8", "fp32"), ("fp32", "int8")])
def test_what_a_segment_takes_in_has_the_bytes_of_its_makers_precision(precisions: tuple[str, str]) -> None:
    chain = make_graph([(0, 1), (1, 2)], 3, [400] * 4)
    floats = replace(chain, tensors=tuple(replace(t, dtype="float32") for t in chain.tensors))
    problem = mixed_problem(
        3, n=3, k=2, kind="switch", precisions="both", limits=Limits(pins={"op0": "b0", "op2": "b1"})
    )
    keys = [ref.key for ref in problem.system.processors]
    costs = replace(problem.costs, boundaries={key: BoundaryCost(1e-4, 0.02, "made") for key in keys})
    allowed = {key: (precision,) for key, precision in zip(keys, precisions, strict=True)}
    problem = replace(problem, graph=floats, costs=costs, precisions_allowed=allowed)
    found = latency_bound(problem)
    assert found is not None
    assert found.bound_s <= brute_force(problem) * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_a_chain_is_bounded_exactly_and_its_best_plan_found(seed: int) -> None:
    n = 6
    chain = make_graph([(v, v + 1) for v in range(n - 1)], n, [100] * (n + 1))
    problem = replace(random_problem(seed, n=n, k=3, kind="switch"), graph=chain)
    found = latency_bound(problem)
    assert found is not None
    pool = Pool(problem)
    for assignment in found.assignments:
        pool.score(assignment)
    assert pool.best_value("latency") == pytest.approx(found.bound_s, rel=1e-6)
