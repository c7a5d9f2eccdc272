"""Reach-DP over downsets: its bound and plans against brute force, its parts against their definitions."""

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

from optimizer.costs import BoundaryCost
from optimizer.evaluate import resource_occupancy_s
from optimizer.events import build_events
from optimizer.graph import predecessors
from optimizer.problem import Limits, Problem
from optimizer.search.board_sets import BoardSets
from optimizer.search.board_visits import Role, Visit
from optimizer.search.cpsat import Budget, Clock
from optimizer.search.downsets import all_downsets, along_orders, downset_masks
from optimizer.search.fluid import fluid_bound_s
from optimizer.search.lattice_prices import LatticePrices
from optimizer.search.many_boards import is_proven_bound, prove_period
from optimizer.search.many_boards_lattice import METHOD, PRICED, LatticeSearch
from optimizer.search.pool import Pool
from optimizer.search.segment_loads import SegmentLoads
from optimizer.search.subset_reach import SubsetReach
from tests.optimizer.builders import make_graph, random_problem

KINDS = ("mesh", "line", "switch", "shared", "polled", "busy")
SEEDS = st.integers(0, 10**6)


def brute_force_s(problem: Problem) -> float:
    pool = Pool(problem, ("throughput",))
    for places in itertools.product(range(len(problem.processors)), repeat=len(problem.graph.operators)):
        pool.score(np.array(places))
    return pool.best_value("throughput")


def budget(seconds: float = 20.0) -> Budget:
    return Budget(time.monotonic() + seconds, workers=1, seed=0)


def some_limits(rng: random.Random, boards: int) -> Limits:
    ram = {f"b{i}": rng.choice([700, 1500, 3000]) for i in range(boards)}
    together = (("op1", "op3"),)
    choices = [Limits(), Limits(max_ram_bytes=ram), Limits(max_boards=2), Limits(colocations=together)]
    return rng.choice([*choices, Limits(pins={"op1": "b1"}, forbids=(("op2", "b0"),))])


def searched(problem: Problem) -> tuple[Pool, float, bool]:
    pool = Pool(problem, ("throughput",))
    found = LatticeSearch(pool, budget(), fluid_bound_s(problem)).run()
    assert found is not None
    return pool, *found


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(KINDS), boards=st.integers(2, 3))
def test_no_plan_is_better_than_the_bound(seed: int, kind: str, boards: int) -> None:
    problem = random_problem(seed, 5, boards, kind, some_limits(random.Random(seed), boards))
    pool, bound, complete = searched(problem)
    best = brute_force_s(problem)
    assert complete
    assert fluid_bound_s(problem) <= best * (1 + 1e-9)
    assert bound <= best * (1 + 1e-9)
    assert pool.best_value("throughput") >= best * (1 - 1e-12)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("boards", [3, 4])
def test_on_switches_the_best_period_is_found_and_proven(seed: int, boards: int) -> None:
    problem = random_problem(seed, 6 if boards == 3 else 4, boards, "switch")
    costs = replace(problem.costs, boundaries={})
    links = tuple(replace(x, send_s_per_byte=0.0, receive_s_per_byte=0.0) for x in problem.system.links)
    problem = replace(problem, costs=costs, system=replace(problem.system, links=links))
    pool, bound, complete = searched(problem)
    best = brute_force_s(problem)
    assert complete
    assert pool.best_value("throughput") == pytest.approx(best, rel=1e-4)
    assert bound == pytest.approx(best, rel=1e-4)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(KINDS))
def test_no_load_exceeds_what_evaluate_says_is_busy(seed: int, kind: str) -> None:
    problem = random_problem(seed, 7, 3, kind)
    lattice = all_downsets(problem.graph, problem.tables.time_s.min(axis=1), (), 1000)
    assert lattice is not None
    loads = SegmentLoads(problem, lattice)
    kind_of = {q: a for a, members in enumerate(loads.members) for q in members}
    pool = Pool(problem, ("throughput",))
    rng = np.random.default_rng(seed)
    for _ in range(20):
        plan = pool.score(rng.integers(0, 3, 7))
        if plan is None:
            continue
        done = np.zeros(7, dtype=np.bool_)
        busiest = max(resource_occupancy_s(build_events(problem, plan.segments, plan.transfers)).values())
        for segment in plan.segments:
            start = _position(lattice.member, done)
            done[list(segment.operators)] = True
            end = _position(lattice.member, done)
            load = load_s(loads, kind_of[problem.processor_index[segment.processor]], start, end)
            assert load <= busiest * (1 + 1e-9)


def load_s(loads: SegmentLoads, kind: int, start: int, end: int) -> float:
    starts = np.array([start])
    return float(loads.parts(kind, end, starts, loads.flows(end, starts)).alone_s[0])


def _position(
    member: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], row: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
) -> int:
    return int(np.flatnonzero((member == row).all(axis=1))[0])


@pytest.mark.parametrize("seed", range(6))
def test_downsets_are_all_the_sets_closed_under_what_is_read(seed: int) -> None:
    graph = random_problem(seed, 8, 2).graph
    before = predecessors(graph)
    closed = [
        mask for mask in range(1 << 8) if all(mask >> u & 1 for v in range(8) if mask >> v & 1 for u in before[v])
    ]
    found = downset_masks(graph, 256)
    assert found is not None
    assert sorted(found) == closed
    assert downset_masks(graph, len(closed) - 1) is None


def test_downsets_stand_behind_their_subsets_and_part_no_group() -> None:
    graph = make_graph([(0, 1), (0, 2), (1, 3), (2, 3)], 4, [10] * 5)
    work = np.array([0.0, 0.0, 2.0, 1.0])
    lattice = all_downsets(graph, work, ((1, 2),), 100)
    assert lattice is not None
    assert lattice.member.sum(axis=1).tolist() == [0, 1, 3, 4]
    whole = all_downsets(graph, work, (), 100)
    assert whole is not None
    for end in range(len(whole.member)):
        smaller = {i for i, row in enumerate(whole.member) if (row & ~whole.member[end]).sum() == 0} - {end}
        assert set(whole.subsets(end, 0).tolist()) == smaller
        assert all(i < end for i in smaller)
    along = along_orders(graph, [[0, 1, 2, 3]], work, ())
    assert len(along.member) == 5


@pytest.mark.parametrize("counts", [[1, 1, 1], [2, 3, 1], [4, 4, 4], [1] * 8, [70, 2]])
def test_one_more_board_is_counted_as_long_as_there_is_one(counts: list[int]) -> None:
    visits = [Visit(Role.ALONE, (kind,), (kind,)) for kind in range(len(counts))]
    sets = BoardSets(counts, sum(counts) - 1, visits)
    numbers = list(itertools.product(*(range(c + 1) for c in counts)))
    number = {used: sum(u * s for u, s in zip(used, sets.strides, strict=True)) for used in numbers}
    rng = random.Random(1)
    chosen = {used for used in numbers if rng.random() < 0.4 and sum(used) < sum(counts)}
    row = np.zeros(sets.width, dtype=np.uint64)
    for used in chosen:
        row[number[used] // 64] |= np.uint64(1 << number[used] % 64)
    for kind, count in enumerate(counts):
        grown = sets.with_one_more(row, kind)
        expected = {
            (*u[:kind], u[kind] + 1, *u[kind + 1 :]) for u in chosen if u[kind] < count and sum(u) < sum(counts) - 1
        }
        assert {u for u in numbers if sets.has(grown[None], number[u])[0]} == expected
        shrunk = sets.with_one_less(row, kind)
        fewer = {(*u[:kind], u[kind] - 1, *u[kind + 1 :]) for u in chosen if u[kind] > 0}
        assert {u for u in numbers if sets.has(shrunk[None], number[u])[0]} == fewer


def test_plans_found_meet_the_period_asked_for() -> None:
    problem = random_problem(3, 9, 4, "switch")
    lattice = all_downsets(problem.graph, problem.tables.time_s.min(axis=1), (), 10_000)
    assert lattice is not None
    loads = SegmentLoads(problem, lattice)
    reach = SubsetReach(lattice, loads, 4, 10.0, lambda seconds: None)
    best = brute_force_free(reach)
    found = reach.segments(best * (1 + 1e-6), lambda seconds: None)
    assert found is not None
    assert max(load_s(loads, *segment) for segment in found) <= best * (1 + 2e-6)
    assert [a for a, _, _ in found] != [] and len({a for a, _, _ in found}) == len(found)
    assert reach.segments(best * (1 - 1e-6), lambda seconds: None) is None


def brute_force_free(reach: SubsetReach) -> float:
    """Least largest load over chains of downsets with distinct types, by recursion."""
    full = len(reach.lattice.member) - 1

    def best(end: int, left: frozenset[int]) -> float:
        if end == 0:
            return 0.0
        values = [math.inf]
        for start in reach.lattice.subsets(end, 0).tolist():
            for kind in left:
                load = load_s(reach.loads, kind, start, end)
                values.append(max(load, memo(start, left - {kind})))
        return min(values)

    known: dict[tuple[int, frozenset[int]], float] = {}

    def memo(end: int, left: frozenset[int]) -> float:
        if (end, left) not in known:
            known[end, left] = best(end, left)
        return known[end, left]

    return memo(full, frozenset(range(len(reach.loads.members))))


def test_graphs_with_branches_are_proven_without_cp_sat() -> None:
    pool = Pool(random_problem(5, 8, 3, "switch"), ("throughput",))
    bound = prove_period(pool, budget())
    assert bound is not None
    assert bound.method == METHOD
    assert bound.complete


def test_a_limit_on_the_period_that_no_plan_meets_is_proven_impossible() -> None:
    problem = random_problem(5, 8, 3, "switch")
    limited = replace(problem, limits=Limits(min_throughput_per_s=2.0 / fluid_bound_s(problem)))
    bound = prove_period(Pool(limited, ("throughput",)), budget())
    assert bound is not None
    assert bound.complete
    assert math.isinf(bound.value)


def test_a_budget_that_is_used_up_still_gives_a_bound() -> None:
    problem = random_problem(5, 9, 4, "switch")
    clock = Clock(deterministic=True)
    found = LatticeSearch(Pool(problem, ("throughput",)), Budget(1e-4, 1, 0, clock=clock), 0.1).run()
    assert found == (0.1, False)
    assert clock.used_s > 1e-4


@pytest.mark.parametrize("seed", range(5))
def test_a_bound_that_was_proven_is_proven_anew_and_a_higher_one_is_not(seed: int) -> None:
    problem = random_problem(seed, 7, 3, "switch")
    pool, bound, _ = searched(problem)
    assert is_proven_bound(problem, bound, budget())
    assert not is_proven_bound(problem, pool.best_value("throughput") * 1.001, budget())


def test_many_boards_that_all_differ_get_plans_along_the_order_of_a_graph_with_branches() -> None:
    problem = random_problem(7, 40, 20, "switch")
    alone = Pool(problem, ("throughput",))
    for q in range(20):
        alone.score(np.full(40, q))
    pool = Pool(problem, ("throughput",))
    bound = prove_period(pool, budget())
    assert bound is not None
    assert bound.value <= pool.best_value("throughput") < alone.best_value("throughput")


def test_a_graph_that_no_board_can_run_is_proven_impossible_however_long_its_costs() -> None:
    problem = random_problem(5, 6, 3, "switch")
    full = replace(problem, limits=Limits(max_ram_bytes={f"b{i}": 1 for i in range(3)}))
    assert searched(full)[1:] == (math.inf, True)
    rows = {ref.key: BoundaryCost(1e6, 1e3, "made") for ref in problem.processors}
    dear = replace(problem, costs=replace(problem.costs, boundaries=rows))
    pool, bound, _ = searched(dear)
    assert bound <= pool.best_value("throughput") < math.inf


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(KINDS))
def test_prices_never_prove_a_period_impossible_that_a_plan_has(seed: int, kind: str) -> None:
    problem = random_problem(seed, 5, 3, kind)
    lattice = all_downsets(problem.graph, problem.tables.time_s.min(axis=1), (), 1000)
    assert lattice is not None
    best = brute_force_s(problem)
    prices = LatticePrices(lattice, SegmentLoads(problem, lattice), best)
    assert not prices.prove_impossible(best, lambda seconds: None)
    assert fluid_bound_s(problem) == 0 or prices.prove_impossible(0.1 * fluid_bound_s(problem), lambda seconds: None)


def test_many_boards_that_all_differ_get_a_bound_by_prices_above_the_fluid_one() -> None:
    diamonds = [(v + a, v + b) for v in range(0, 39, 3) for a, b in ((0, 1), (0, 2), (1, 3), (2, 3))]
    problem = random_problem(7, 40, 20, "switch")
    problem = replace(problem, graph=make_graph(diamonds, 40, [10] * 41))
    pool = Pool(problem, ("throughput",))
    bound = prove_period(pool, budget())
    assert bound is not None
    assert bound.method == PRICED
    assert bound.value > fluid_bound_s(problem)
