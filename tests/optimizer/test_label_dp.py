"""Label-DP: whole fronts against brute force, on chains and on graphs that branch."""

from __future__ import annotations

import itertools
import random
import time
from dataclasses import replace

import numpy as np
import pytest

from optimizer.costs import CostTable, OperatorCost
from optimizer.objectives import objective_values
from optimizer.plan import Front
from optimizer.problem import Limits, Problem
from optimizer.search.label_cuts import all_cuts, cuts_along_orders, cuts_near, topological_orders, whole_groups
from optimizer.search.label_dp import label_front, label_seeds
from optimizer.search.pool import Pool
from optimizer.solve import SolveOptions, solve
from tests.optimizer.builders import make_graph, make_processor, random_problem

ALL = ("throughput", "latency", "energy")
WHICH = (ALL, ALL[:2], ("throughput", "energy"), ("latency", "energy"))
KINDS = ("mesh", "line", "switch", "shared", "busy")


def random_chain(seed: int, n: int, k: int, kind: str, limits: Limits | None = None) -> Problem:
    rng = random.Random(seed)
    sizes = [rng.choice([10, 100, 300, 1000]) for _ in range(n + 1)]
    graph = make_graph([(i, i + 1) for i in range(n - 1)], n, sizes, [rng.choice([0, 50, 200]) for _ in range(n)])
    return replace(random_problem(seed, n, k, kind, limits), graph=graph)


def brute_force(problem: Problem, objectives: tuple[str, ...]) -> Pool:
    pool = Pool(problem, objectives)
    for choice in itertools.product(range(len(problem.processors)), repeat=len(problem.graph.operators)):
        pool.score(np.array(choice))
    return pool


def values(pool: Pool) -> list[tuple[float, ...]]:
    return sorted(objective_values(p.score, pool.objectives) for p in pool.front())


def same(found: list[tuple[float, ...]], truth: list[tuple[float, ...]]) -> bool:
    return len(found) == len(truth) and np.allclose(found, truth, rtol=1e-9, atol=0.0)


def label(problem: Problem, objectives: tuple[str, ...]) -> tuple[Pool, int | None]:
    """The pool, and the labels made where the front is claimed to be complete."""
    pool = Pool(problem, objectives)
    found = label_front(pool, time.monotonic() + 60)
    return pool, found.made if found is not None and not found.open and pool.feasible() else None


@pytest.mark.parametrize("objectives", WHICH)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [2, 3])
def test_the_front_of_a_chain_is_the_brute_force_front(kind: str, k: int, objectives: tuple[str, ...]) -> None:
    for seed in range(3):
        problem = random_chain(100 * k + seed, 8 - k, k, kind)
        pool, made = label(problem, objectives)
        assert made is not None
        assert same(values(pool), values(brute_force(problem, objectives)))


@pytest.mark.parametrize("kind", KINDS)
def test_where_branches_leave_the_front_complete_it_is_the_brute_force_front(kind: str) -> None:
    complete = 0
    for seed in range(12):
        problem = random_problem(seed, 6, 2 + seed % 2, kind)
        for objectives in WHICH[1:3]:
            pool, made = label(problem, objectives)
            if made is not None:
                complete += 1
                assert same(values(pool), values(brute_force(problem, objectives)))
    assert complete >= 8


@pytest.mark.parametrize("kind", KINDS)
def test_memory_limits_never_make_a_front_wrong(kind: str) -> None:
    complete = 0
    for seed in range(12):
        rng = random.Random(seed)
        limits = Limits(max_ram_bytes={f"b{i}": rng.choice([600, 1500, 3000, 6000]) for i in range(2)})
        problem = random_chain(seed, 6, 2, kind, limits)
        pool, made = label(problem, ALL)
        if made is not None:
            complete += 1
            assert same(values(pool), values(brute_force(problem, ALL)))
    assert complete >= 2


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_complete_says_what_may_be_missing(kind: str) -> None:
    opened = 0
    for seed in range(5):
        problem = random_problem(seed, 5, 3, kind)
        pool = Pool(problem, ALL)
        found = label_front(pool, time.monotonic() + 60)
        if found is None:
            continue
        opened += bool(found.open)
        known = np.array([*values(pool), *found.open])
        for point in values(brute_force(problem, ALL)):
            assert (known <= np.array(point) * (1 + 1e-9)).all(axis=1).any()
    assert opened or kind != "shared"


def test_cuts_near_plans_are_downsets_that_differ_by_few_operators() -> None:
    problem = random_problem(4, 9, 3)
    plans = [np.repeat([0, 1, 2], [2, 4, 3]), np.repeat([2, 0, 1], [4, 1, 4])]
    everything = all_cuts(problem, 10_000)
    assert everything is not None
    truth = {row.tobytes() for row in everything}
    own = cuts_near(problem, plans, 0, 1000)
    for count in (0, 1, 2):
        rows = cuts_near(problem, plans, count, 1000)
        assert {row.tobytes() for row in rows} <= truth
        expected = {row.tobytes() for row in everything if ((own ^ row).sum(axis=1) <= count).any()}
        assert {row.tobytes() for row in rows} >= expected if count < 2 else len(rows) >= len(expected) / 2
    assert len(cuts_near(problem, plans, 3, len(own) + 2)) == len(own) + 2


def test_cuts_of_groups_part_none() -> None:
    problem = random_problem(5, 9, 2)
    names = [op.name for op in problem.graph.operators]
    grouped = replace(problem, limits=Limits(colocations=((names[2], names[5]), (names[3], names[4]))))
    every, whole = all_cuts(problem, 10_000), all_cuts(grouped, 10_000)
    assert every is not None and whole is not None
    expected = {row.tobytes() for row in whole_groups(grouped, every)}
    assert {row.tobytes() for row in whole} == expected
    assert all(row.tobytes() in expected for row in cuts_near(grouped, [np.repeat([0, 1], [6, 3])], 2, 100)[1:])


def test_limits_on_figures_boards_and_places_are_kept() -> None:
    for seed in range(3):
        free = random_chain(seed, 5, 3, "mesh")
        front = brute_force(free, ALL).front()
        middle = front[len(front) // 2].score
        for limits in (
            Limits(max_latency_s=middle.latency_s, max_boards=2),
            Limits(max_energy_j=middle.energy_j, pins={"op1": "b0"}),
            Limits(min_throughput_per_s=middle.throughput_per_s, colocations=(("op0", "op3"),)),
            Limits(rate_per_s=0.9 * middle.throughput_per_s, forbids=(("op4", "b1"),)),
        ):
            problem = replace(free, limits=limits)
            truth = values(brute_force(problem, ALL))
            pool, made = label(problem, ALL)
            assert same(values(pool), truth)
            assert (made is not None) == bool(truth)


def two_processors_a_board(seed: int, kind: str, *, chain: bool) -> Problem:
    """Two boards, the first with two processors; links that keep no processor busy."""
    rng = random.Random(seed)
    base = random_chain(seed, 5, 2, kind) if chain else random_problem(seed, 5, 2, kind)
    first, second = base.system.boards
    twin = (make_processor("cpu", 3.0, 0.4), make_processor("gpu", rng.uniform(2, 6), 0.9))
    links = tuple(replace(link, send_s_per_byte=0.0, receive_s_per_byte=0.0) for link in base.system.links)
    system = replace(base.system, boards=(replace(first, processors=twin), second), links=links)
    rows = {}
    for op in base.graph.operators:
        for ref in system.processors:
            seconds = rng.choice([0.05, 0.2, 1.0]) * rng.uniform(0.5, 1.5)
            rows[op.name, ref.key, "fp32"] = OperatorCost(seconds, seconds * ref.processor.active_power_w, "made")
    return replace(base, system=system, costs=CostTable(rows))


@pytest.mark.parametrize("objectives", WHICH)
@pytest.mark.parametrize("kind", ["mesh", "switch", "shared"])
def test_boards_of_two_processors(kind: str, objectives: tuple[str, ...]) -> None:
    complete = 0
    for seed in range(4):
        problem = two_processors_a_board(seed, kind, chain=seed < 2)
        pool, made = label(problem, objectives)
        assert made is not None or seed >= 2
        if made is not None:
            complete += 1
            assert same(values(pool), values(brute_force(problem, objectives)))
    assert complete >= 2


def test_what_the_figures_do_not_cover_is_declined() -> None:
    assert label(random_chain(1, 5, 2, "polled"), ALL)[1] is None
    assert label(replace(random_chain(1, 5, 2, "mesh"), non_contiguous=True), ALL)[1] is None
    assert label_front(Pool(random_problem(3, 7, 2)), time.monotonic() + 60, max_cuts=3) is None
    assert label_front(Pool(random_chain(1, 5, 2, "mesh")), time.monotonic() - 1) is None
    assert label_front(Pool(random_chain(1, 5, 2, "mesh")), time.monotonic() + 60, max_labels=3) is None


def test_all_cuts_are_the_downsets() -> None:
    graph = random_problem(5, 6, 2).graph
    needs = [{t.producer for t in graph.tensors if v in t.consumers and t.producer is not None} for v in range(6)]
    truth = {
        bits for bits in itertools.product((False, True), repeat=6)
        if all(bits[u] for v in range(6) if bits[v] for u in needs[v])
    }  # fmt: skip
    found = all_cuts(random_problem(5, 6, 2), 1000)
    assert found is not None
    assert {tuple(row) for row in found.tolist()} == truth
    assert len(found) == len(truth)


def test_cuts_along_orders_are_downsets_with_both_ends() -> None:
    problem = random_problem(4, 30, 2)
    edges = [(t.producer, c) for t in problem.graph.tensors if t.producer is not None for c in t.consumers]
    for order in topological_orders(problem):
        place = np.argsort(order)
        assert all(place[u] < place[v] for u, v in edges)
    cuts = cuts_along_orders(problem, places=8)
    assert {0, 30} <= set(cuts.sum(axis=1).tolist())
    assert all(not (cuts[:, v] & ~cuts[:, u]).any() for u, v in edges)


def test_seeds_are_whole_assignments_within_the_limits() -> None:
    problem = random_problem(2, 12, 3)
    pool = Pool(problem)
    seeds = label_seeds(pool, cuts_along_orders(problem, 8), 24, time.monotonic() + 60)
    assert seeds is not None and seeds.made >= len(seeds.assignments) > 0
    for seed in seeds.assignments:
        plan = pool.score(seed)
        assert plan is not None and not plan.score.violations


def test_solve_takes_the_exact_front_of_a_chain_and_says_so() -> None:
    front = solve(random_chain(7, 6, 3, "switch"), SolveOptions(time_limit_s=30))
    assert isinstance(front, Front)
    assert all(c.status == "proven" and "label-DP" in c.method for c in front.certificates.values())
    assert all(p.status.startswith("proven (") for p in front.plans)
    assert "NSGA-II" not in front.stages
