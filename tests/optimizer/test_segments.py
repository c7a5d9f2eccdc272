"""Cutting assignments into segments: acyclic, complete, and few."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.costs import CostTable, OperatorCost
from optimizer.graph import Graph, predecessors
from optimizer.plan import Segment
from optimizer.problem import Problem
from optimizer.schedule import contiguous_segments
from optimizer.segments import acyclic_segments
from tests.optimizer.builders import make_graph, random_problem

SEEDS = st.integers(0, 10**6)


def check_partition(problem: Problem, assignment: list[int], segments: tuple[Segment, ...]) -> None:
    """Every operator once, on its processor, behind all that it reads from."""
    place = {v: i for i, s in enumerate(segments) for v in s.operators}
    assert sorted(v for s in segments for v in s.operators) == list(range(len(assignment)))
    for v, before in enumerate(predecessors(problem.graph)):
        assert segments[place[v]].processor == problem.processors[assignment[v]].key
        assert all(place[u] <= place[v] for u in before)
    assert [s.name for s in segments] == [f"s{i}" for i in range(len(segments))]


def fewest(problem: Problem, assignment: list[int]) -> int:
    """Fewest runs over all topological orders."""
    before = predecessors(problem.graph)
    best = len(assignment)
    for order in itertools.permutations(range(len(assignment))):
        place = {v: i for i, v in enumerate(order)}
        if all(place[u] < place[v] for v in order for u in before[v]):
            best = min(best, 1 + sum(assignment[a] != assignment[b] for a, b in itertools.pairwise(order)))
    return best


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, k=st.integers(2, 3))
def test_segments_are_the_fewest_in_a_pipeline_order(seed: int, k: int) -> None:
    rng = random.Random(seed)
    problem = random_problem(seed, n=6, k=k)
    assignment = [rng.randrange(k) for _ in range(6)]
    segments = acyclic_segments(problem, np.array(assignment))
    check_partition(problem, assignment, segments)
    assert len(segments) == fewest(problem, assignment)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, n=st.integers(1, 40), k=st.integers(2, 5))
def test_large_random_assignments_are_cut_without_a_ring(seed: int, n: int, k: int) -> None:
    rng = random.Random(seed)
    problem = random_problem(seed, n=n, k=k)
    assignment = [rng.randrange(k) for _ in range(n)]
    check_partition(problem, assignment, acyclic_segments(problem, np.array(assignment)))


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, k=st.integers(2, 4))
def test_a_contiguous_assignment_keeps_one_segment_a_processor(seed: int, k: int) -> None:
    rng = random.Random(seed)
    problem = random_problem(seed, n=8, k=k)
    assignment = np.array(sorted(rng.randrange(k) for _ in range(8)))
    whole = contiguous_segments(problem, assignment)
    assert whole is not None
    cut = acyclic_segments(problem, assignment)
    assert {(s.processor, s.operators) for s in cut} == {(s.processor, s.operators) for s in whole}


def test_there_and_back_makes_three_segments() -> None:
    problem = random_problem(1, n=1, k=2)
    chain = make_graph([(0, 1), (1, 2)], 3, [1] * 4)
    problem = _with_graph(problem, chain)
    cut = acyclic_segments(problem, np.array([0, 1, 0]))
    assert [(s.processor, s.operators) for s in cut] == [("b0/cpu", (0,)), ("b1/cpu", (1,)), ("b0/cpu", (2,))]


@pytest.mark.parametrize(("assignment", "count"), [([0, 1, 1, 0], 3), ([0, 1, 0, 1], 2)])
def test_two_chains_that_wait_for_each_other_are_cut_once(assignment: list[int], count: int) -> None:
    """Chains 0-1 and 2-3 on two processors in opposite directions form a ring of two; one cut opens it."""
    problem = _with_graph(random_problem(1, n=1, k=2), make_graph([(0, 1), (2, 3)], 4, [1] * 5))
    assert len(acyclic_segments(problem, np.array(assignment))) == count


def _with_graph(problem: Problem, graph: Graph) -> Problem:
    """The problem with another graph; the costs play no part in cutting."""
    rows = {
        (op.name, ref.key, "fp32"): OperatorCost(1.0, 1.0, "made")
        for op in graph.operators
        for ref in problem.system.processors
    }
    return Problem(graph, problem.system, CostTable(rows))
