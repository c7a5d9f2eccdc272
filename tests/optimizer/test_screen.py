"""What the search does not complete could not have been on the front."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.objectives import OBJECTIVES, objective_values
from optimizer.problem import Problem
from optimizer.search.known_front import KnownFront
from optimizer.search.nsga2 import Codec
from optimizer.search.pool import Assignment, Pool, dominates
from optimizer.search.screen import Screen, least_scores
from tests.optimizer.test_evaluate_batch import KINDS, a_problem

FEW = settings(max_examples=40, deadline=None)
CASE = {"seed": st.integers(0, 10**6), "kind": st.sampled_from(KINDS), "revisits": st.booleans()}
READABLE = [o for o in OBJECTIVES if o != "accuracy-loss"]


def some_assignments(problem: Problem, seed: int, count: int = 12) -> list[Assignment]:
    rng = random.Random(seed)
    n, k = len(problem.graph.operators), len(problem.processors)
    found = []
    for _ in range(count):
        order = rng.sample(range(k), k)
        places = [rng.randrange(k) for _ in range(n)]
        found.append(np.array([order[p] for p in (places if rng.random() < 0.3 else sorted(places))]))
    return found


@FEW
@given(**CASE)
def test_no_schedule_betters_the_least_figures(seed: int, kind: str, revisits: bool) -> None:
    problem = a_problem(seed, kind, revisits)
    pool = Pool(problem, READABLE)
    assignments = [a for a in some_assignments(problem, seed) if pool.outline(a) is not None]
    outlines = [outline for a in assignments if (outline := pool.outline(a)) is not None]
    for a, least in zip(assignments, least_scores(problem, outlines), strict=True):
        for plan in pool.versions(a):
            values = zip(objective_values(least, READABLE), objective_values(plan.score, READABLE), strict=True)
            assert all(bound <= value for bound, value in values)
            assert len(least.violations) <= len(plan.score.violations)


@FEW
@given(**CASE, objectives=st.sampled_from([("throughput", "latency", "energy"), ("latency", "memory")]))
def test_what_is_not_completed_is_not_on_the_front(
    seed: int, kind: str, revisits: bool, objectives: tuple[str, ...]
) -> None:
    problem = a_problem(seed, kind, revisits)
    assignments = some_assignments(problem, seed, 20)
    everything, screened = Pool(problem, objectives), Pool(problem, objectives)
    screen = Screen(screened)
    for i in range(0, len(assignments), 4):
        found = screen.scores(assignments[i : i + 4])
        for a, score in zip(assignments[i : i + 4], found, strict=True):
            plan = everything.score(a)
            assert (score is None) == (plan is None)
            if score is not None and plan is not None and screened.has_scored(a):
                assert score == plan.score
    front = [objective_values(p.score, objectives) for p in everything.front()]
    assert [objective_values(p.score, objectives) for p in screened.front()] == front


@FEW
@given(seed=st.integers(0, 10**6))
def test_hopeless_assignments_are_not_completed(seed: int) -> None:
    problem = a_problem(seed, "mesh")
    pool = Pool(problem)
    screen = Screen(pool)
    assignments = some_assignments(problem, seed, 20)
    screen.scores(assignments[:10])
    rows = [objective_values(p.score, pool.objectives) for p in pool.front()]
    fresh = [a for a in assignments[10:] if not pool.has_scored(a)]
    screen.scores(assignments[10:])
    for a in fresh:
        outline = pool.outline(a)
        if outline is not None and pool.has_scored(a):
            (least,) = least_scores(problem, [outline])
            assert not least.violations
            assert not any(dominates(row, objective_values(least, pool.objectives)) for row in rows)


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12), first=st.integers(0, 5))
def test_known_front_says_what_pairs_say(rows: list[tuple[int, int]], first: int) -> None:
    seen = rows[:first]
    kept = [r for r in seen if not any(dominates(o, r) for o in seen)]
    known = KnownFront(kept)
    for row in rows[first:]:
        assert known.dominates(row) == any(dominates(o, row) for o in seen)
        known.add(row)
        seen.append(row)


@FEW
@given(seed=st.integers(0, 10**6), revisits=st.booleans(), count=st.integers(1, 4))
def test_genomes_are_decoded_as_if_each_were_alone(seed: int, revisits: bool, count: int) -> None:
    problem = a_problem(seed, "mesh", revisits)
    rng = np.random.default_rng(seed)
    n, k = problem.tables.time_s.shape
    domains = rng.random((n, k)) < 0.8
    genomes = rng.random((count, n + k)) * k
    codec = Codec(Pool(problem), domains)
    found = codec.decode(genomes)
    for genome, assignment in zip(genomes, found, strict=True):
        assert assignment.tolist() == decoded(problem, domains, genome).tolist()
        assert assignment.tolist() == codec.decode(genome[None])[0].tolist()


def decoded(problem: Problem, domains: np.ndarray, genome: np.ndarray) -> Assignment:
    """Places made monotone along the graph, one operator after the other."""
    n, k = problem.tables.time_s.shape
    order = np.argsort(genome[n:], kind="stable")
    place = [int(p) for p in np.clip(np.rint(genome[:n]), 0, k - 1)]
    for v, op in enumerate(problem.graph.operators):
        makers = [problem.graph.tensors[t].producer for t in op.inputs]
        if not problem.non_contiguous:
            place[v] = max([place[v], *(place[u] for u in makers if u is not None)])
        place[v] = next((p for p in range(place[v], k) if domains[v, order[p]]), place[v])
    return np.array([order[p] for p in place])
