"""Orders with the lowest peak against every order; the model's memory against every plan and every order."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from ortools.sat.python import cp_model

from optimizer.evaluate import Schedule, arena_tensors, evaluate, memory_use
from optimizer.memory import arena_peak_bytes
from optimizer.memory_order import always_live, lowest_peak_order
from optimizer.memory_plan import peaks_are_settled, with_arenas
from optimizer.plan import Plan
from optimizer.problem import Limits, Problem
from optimizer.schedule import complete, contiguous_segments
from optimizer.search.cpsat import Budget, prove
from optimizer.search.cpsat.memory import add_memory
from optimizer.search.cpsat.scale import Scale
from optimizer.search.cpsat.stage_model import StageModel
from optimizer.search.pool import Pool
from tests.optimizer.builders import make_graph, random_problem
from tests.optimizer.memory_samples import all_orders, inner_sizes, memory_graph

SEEDS = st.integers(0, 10**6)
BRANCHES = [(0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 5)]
BRANCH_SIZES = [10, 10, 500, 500, 10, 10, 10]
"""Two branches that are large in the middle: one after the other takes half of what both in step do."""


@settings(max_examples=150, deadline=None)
@given(seed=SEEDS, in_place=st.booleans(), n=st.integers(2, 7))
def test_no_order_has_a_lower_peak_than_the_one_found(seed: int, in_place: bool, n: int) -> None:
    graph = memory_graph(seed, n)
    operators = range(n)
    sizes = inner_sizes(graph, operators)
    least = min(arena_peak_bytes(graph, o, sizes, in_place=in_place) for o in all_orders(graph, operators))
    found = lowest_peak_order(graph, always_live(graph), operators, sizes, in_place=in_place)
    assert found.proven
    assert found.peak_bytes == least == arena_peak_bytes(graph, found.operators, sizes, in_place=in_place)
    assert found.operators in set(all_orders(graph, operators))


@settings(max_examples=80, deadline=None)
@given(seed=SEEDS, in_place=st.booleans(), states=st.integers(0, 4))
def test_a_search_that_is_cut_short_claims_nothing_false(seed: int, in_place: bool, states: int) -> None:
    graph = memory_graph(seed, 7)
    sizes = inner_sizes(graph, range(7))
    least = min(arena_peak_bytes(graph, o, sizes, in_place=in_place) for o in all_orders(graph, range(7)))
    found = lowest_peak_order(graph, always_live(graph), range(7), sizes, in_place=in_place, max_states=states)
    assert found.bound_bytes <= least <= found.peak_bytes
    assert found.peak_bytes == arena_peak_bytes(graph, found.operators, sizes, in_place=in_place)


def test_branches_run_one_after_the_other() -> None:
    graph = make_graph(BRANCHES, 6, BRANCH_SIZES)
    found = lowest_peak_order(graph, always_live(graph), range(6), inner_sizes(graph, range(6)), in_place=False)
    assert found.operators in ((0, 1, 3, 2, 4, 5), (0, 2, 4, 1, 3, 5))
    assert found.peak_bytes < arena_peak_bytes(graph, range(6), inner_sizes(graph, range(6)), in_place=False)


def tight(seed: int, kind: str, n: int = 6) -> Problem:
    """Two boards with RAM somewhere between what the graph's order and the best order of everything need."""
    problem = random_problem(seed, n=n, k=2, kind=kind)
    graph = problem.graph
    sizes = inner_sizes(graph, range(n))
    peaks = sorted(arena_peak_bytes(graph, o, sizes, in_place=True) for o in all_orders(graph, range(n)))
    held = sum(op.weight_bytes for op in graph.operators) + sum(
        t.size_bytes for t in graph.tensors if t.producer is None or t.is_output
    )
    ram = held + peaks[0] + (seed % 2) * (peaks[-1] - peaks[0]) // 2
    return replace(problem, limits=Limits(max_ram_bytes={"b0": ram, "b1": ram}))


def fits_in_some_order(problem: Problem, places: np.ndarray) -> bool:  # type: ignore[type-arg]
    """Whether the board's RAM holds with depth 1 and some order of the operators of each segment."""
    segments = contiguous_segments(problem, places)
    assert segments is not None
    schedule = complete(problem, segments)
    transfers = tuple(replace(t, depth=1) for t in schedule.transfers)
    best = []
    for s in segments:
        leaving = [t.tensor for t in transfers if t.producer == s.name]
        sizes = arena_tensors(problem, s, leaving)
        orders = all_orders(problem.graph, s.operators)
        order = min(orders, key=lambda o, z=sizes: arena_peak_bytes(problem.graph, o, z, in_place=True))
        best.append(replace(s, operators=order))
    use = memory_use(problem, Schedule(tuple(best), transfers, schedule.orders))
    return all(m.ram_bytes <= m.ram_available_bytes for m in use.values())


@settings(max_examples=12, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(["mesh", "shared"]))
def test_no_plan_that_fits_in_some_order_is_refused_or_excluded_by_the_model(seed: int, kind: str) -> None:
    problem = tight(seed, kind)
    pool = Pool(problem)
    models = [StageModel(problem, order, Scale.of(problem)) for order in itertools.permutations(range(2))]
    for model in models:
        add_memory(model)
    feasible = False
    for places in map(np.array, itertools.product(range(2), repeat=len(problem.graph.operators))):
        plan = pool.score(places)
        if plan is None:
            continue
        fits = fits_in_some_order(problem, places)
        assert (not plan.score.violations) == fits
        feasible = feasible or fits
        if fits:
            assert any(_allows(model, places) for model in models)
    fresh = Pool(problem)
    bound = prove(fresh, "throughput", Budget(time.monotonic() + 20, workers=1, seed=0))
    assert bound.value <= pool.best_value("throughput") * (1 + 1e-9)
    assert not (bound.complete and math.isinf(bound.value) and feasible)


def test_giving_up_depth_for_ram_never_ends_in_a_deadlock() -> None:
    pool = Pool(tight(0, "mesh"))
    for places in itertools.product(range(2), repeat=6):
        pool.score(np.array(places))
    assert all(math.isfinite(plan.score.period_s) for plan in pool.seen())


def _allows(stage: StageModel, places: np.ndarray) -> bool:  # type: ignore[type-arg]
    model = stage.model.clone()
    for v, q in enumerate(places):
        for s, processor in enumerate(stage.order):
            model.add(stage.x(v, s) == int(processor == q))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.cp_model_presolve = False
    return solver.solve(model) in (cp_model.OPTIMAL, cp_model.FEASIBLE)


def branched(ram: int) -> Problem:
    problem = random_problem(3, n=6, k=2)
    return replace(
        problem, graph=make_graph(BRANCHES, 6, BRANCH_SIZES), limits=Limits(max_ram_bytes={"b0": ram, "b1": ram})
    )


def everything_on_b0(problem: Problem) -> Plan:
    plan = Pool(problem).score(np.zeros(6, dtype=np.int64))
    assert plan is not None
    return plan


def test_operators_are_reordered_where_ram_is_short_and_only_there() -> None:
    roomy, full = everything_on_b0(branched(10**6)), everything_on_b0(branched(700))
    assert roomy.segments[0].operators == (0, 1, 2, 3, 4, 5)
    assert full.segments[0].operators != (0, 1, 2, 3, 4, 5)
    assert not full.score.violations
    assert full.score.memory_bytes["b0"].ram_bytes < roomy.score.memory_bytes["b0"].ram_bytes


def test_the_reported_plan_has_lower_peaks_and_the_same_other_figures() -> None:
    problem = branched(10**6)
    plan = everything_on_b0(problem)
    reported = with_arenas(problem, plan)
    assert reported.score.memory_bytes["b0"].arena_bytes < plan.score.memory_bytes["b0"].arena_bytes
    assert replace(reported.score, memory_bytes=plan.score.memory_bytes) == plan.score
    assert evaluate(problem, Schedule.of(reported)).memory_bytes == reported.score.memory_bytes
    assert reported.arenas["s0"].peak_bytes == reported.score.memory_bytes["b0"].arena_bytes


def test_nothing_is_claimed_of_a_plan_whose_order_is_not_proven() -> None:
    problem = branched(100)
    plan = everything_on_b0(problem)
    assert plan.score.violations
    assert peaks_are_settled(problem, plan)
    for key, found in problem.lowest_orders.items():
        problem.lowest_orders[key] = replace(found, bound_bytes=found.bound_bytes - 1)
    assert not peaks_are_settled(problem, plan)


def test_infeasible_rests_on_proven_orders_only() -> None:
    """One byte too little for the best order, which the model alone cannot see."""
    problem = branched(539)
    problem = replace(problem, limits=replace(problem.limits, pins={f"op{v}": "b0" for v in range(6)}))
    assert not everything_on_b0(
        replace(problem, limits=replace(problem.limits, max_ram_bytes={"b0": 540}))
    ).score.violations
    bound = prove(Pool(problem), "energy", Budget(time.monotonic() + 20, workers=1, seed=0))
    assert bound.complete
    assert math.isinf(bound.value)
    for key, found in problem.lowest_orders.items():
        problem.lowest_orders[key] = replace(found, bound_bytes=0)
    doubted = prove(Pool(problem), "energy", Budget(time.monotonic() + 20, workers=1, seed=0))
    assert not doubted.complete
    assert math.isfinite(doubted.value)
