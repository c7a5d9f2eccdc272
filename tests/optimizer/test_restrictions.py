"""Pins, forbidden boards and colocations: every method against brute force, and what is refused as input."""

from __future__ import annotations

import itertools
import random
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.errors import LimitError
from optimizer.evaluate import Schedule, evaluate
from optimizer.infeasible import Infeasible
from optimizer.objectives import DEFAULT_OBJECTIVES, objective_values
from optimizer.plan import Front
from optimizer.problem import Limits, Problem
from optimizer.restrictions import held_together
from optimizer.search.cpsat import Budget, prove
from optimizer.search.exact_front import enumerate_front
from optimizer.search.many_boards import prove_period
from optimizer.search.nsga2 import Codec, RefineOptions, refine
from optimizer.search.order_dp import order_dp_candidates
from optimizer.search.pool import Pool
from optimizer.search.pruning import safe_domains
from optimizer.solve import SolveOptions, solve
from tests.optimizer.builders import make_graph, random_problem

SEEDS = st.integers(0, 10**6)
KINDS = ("mesh", "line", "switch", "shared")


def restricted(problem: Problem, seed: int) -> Problem:
    """Random forbidden boards, a pin and up to two colocations that do not contradict each other."""
    rng = random.Random(seed)
    names = [op.name for op in problem.graph.operators]
    boards = [b.name for b in problem.system.boards]
    for _ in range(50):
        chosen = rng.sample(names, k=5)
        together = [tuple(chosen[:2]), tuple(chosen[1:3]), tuple(chosen[3:])][: rng.choice([1, 2, 2, 3])]
        limits = Limits(
            pins={rng.choice(names): rng.choice(boards)} if rng.random() < 0.4 else {},
            forbids=tuple((rng.choice(names), rng.choice(boards)) for _ in range(rng.choice([0, 1, 2]))),
            colocations=tuple(together[rng.choice([0, 0, 1]) :]),
        )
        try:
            return replace(problem, limits=limits)
        except LimitError:
            continue
    return replace(problem, limits=Limits(colocations=((names[0], names[1]),)))


def obeys(problem: Problem, places: tuple[int, ...]) -> bool:
    """The restrictions by the letter."""
    at = {op.name: problem.processors[q] for op, q in zip(problem.graph.operators, places, strict=True)}
    return (
        all(at[o].board.name == b for o, b in problem.limits.pins.items())
        and all(at[o].board.name != b for o, b in problem.limits.forbids)
        and all(len({at[o].key for o in group}) == 1 for group in problem.limits.colocations)
    )


def brute_force(problem: Problem) -> Pool:
    """Every plan of the class that obeys the restrictions by the letter, scored without them."""
    pool = Pool(replace(problem, limits=Limits()))
    for places in itertools.product(range(len(problem.processors)), repeat=len(problem.graph.operators)):
        if obeys(problem, places):
            pool.score(np.array(places))
    return pool


def budget(seconds: float = 20.0) -> Budget:
    return Budget(time.monotonic() + seconds, workers=1, seed=0)


@settings(max_examples=12, deadline=None)
@given(seed=SEEDS, k=st.integers(2, 3))
def test_evaluate_refuses_exactly_the_plans_that_break_a_restriction(seed: int, k: int) -> None:
    problem = restricted(random_problem(seed, n=6, k=k), seed)
    free = Pool(replace(problem, limits=Limits()))
    for places in itertools.product(range(k), repeat=6):
        plan = free.score(np.array(places))
        if plan is not None:
            score = evaluate(problem, Schedule.of(plan))
            assert bool(score.violations) == (not obeys(problem, places) or bool(plan.score.violations))


@settings(max_examples=12, deadline=None)
@given(
    seed=SEEDS,
    kind=st.sampled_from(KINDS),
    k=st.integers(2, 3),
    objective=st.sampled_from(["throughput", "energy"]),
    revisits=st.booleans(),
)
def test_the_optimum_under_restrictions_is_proven(seed: int, kind: str, k: int, objective: str, revisits: bool) -> None:
    problem = replace(restricted(random_problem(seed, n=6, k=k, kind=kind), seed), non_contiguous=revisits)
    best = brute_force(problem).best_value(objective)
    pool = Pool(problem)
    for assignment in order_dp_candidates(problem):
        pool.score(assignment)
    bound = prove(pool, objective, budget())
    assert bound.value <= best * (1 + 1e-9)
    if bound.complete and not revisits:
        assert pool.best_value(objective) == pytest.approx(best, rel=1e-4)


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(KINDS))
def test_the_enumerated_front_obeys_restrictions(seed: int, kind: str) -> None:
    problem = restricted(random_problem(seed, n=6, k=2, kind=kind), seed)
    pool = Pool(problem)
    enumerate_front(pool, time.monotonic() + 60)
    truth = [objective_values(p.score, DEFAULT_OBJECTIVES) for p in brute_force(problem).front()]
    assert [objective_values(p.score, DEFAULT_OBJECTIVES) for p in pool.front()] == truth


@settings(max_examples=12, deadline=None)
@given(seed=SEEDS, k=st.integers(2, 4))
def test_chains_over_many_boards_obey_restrictions(seed: int, k: int) -> None:
    free = random_problem(seed, n=6, k=k)
    chain = make_graph([(v, v + 1) for v in range(5)], 6, [100] * 7)
    problem = restricted(replace(free, graph=chain), seed)
    best = brute_force(problem).best_value("throughput")
    pool = Pool(problem)
    bound = prove_period(pool, budget())
    assert bound is not None
    assert bound.value <= best * (1 + 1e-9)
    assert pool.best_value("throughput") >= best * (1 - 1e-9)


@settings(max_examples=12, deadline=None)
@given(seed=SEEDS, k=st.integers(2, 4), revisits=st.booleans())
def test_cuts_along_an_order_and_repaired_genomes_keep_groups_together(seed: int, k: int, revisits: bool) -> None:
    problem = replace(restricted(random_problem(seed, n=8, k=k), seed), non_contiguous=revisits)
    assignments = list(order_dp_candidates(problem))
    pool = Pool(problem)
    codec = Codec(pool, problem.tables.allowed)
    rng = np.random.default_rng(seed)
    assignments += codec.decode(rng.random((20, 8 + k)) * k)
    for assignment in assignments:
        for group in problem.together:
            assert len(set(assignment[list(group)].tolist())) == 1
        if not revisits:
            assert pool.score(assignment) is not None


@settings(max_examples=6, deadline=None)
@given(seed=SEEDS)
def test_refinement_and_pruning_obey_restrictions(seed: int) -> None:
    problem = restricted(random_problem(seed, n=6, k=3), seed)
    pool = Pool(problem)
    for assignment in order_dp_candidates(problem):
        pool.score(assignment)
    domains = safe_domains(pool, {})
    refine(pool, domains, [], RefineOptions(time.monotonic() + 5, 0, population=12, generations=5))
    truth = brute_force(problem)
    for plan in pool.feasible():
        assert not evaluate(problem, Schedule.of(plan)).violations
        assert objective_values(plan.score, DEFAULT_OBJECTIVES) >= (truth.best_value("throughput") * (1 - 1e-9),)
    for plan in truth.front():
        for segment in plan.segments:
            assert domains[list(segment.operators), problem.processor_index[segment.processor]].all()


@settings(max_examples=5, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(KINDS))
def test_solve_says_infeasible_exactly_where_no_plan_obeys(seed: int, kind: str) -> None:
    problem = restricted(random_problem(seed, n=5, k=3, kind=kind), seed)
    found = solve(problem, SolveOptions(objectives=("throughput",), time_limit_s=20.0, workers=1))
    truth = brute_force(problem)
    assert isinstance(found, Front if truth.feasible() else Infeasible)
    if isinstance(found, Front):
        best = objective_values(found.plans[found.chosen].score, ["throughput"])[0]
        assert best == pytest.approx(truth.best_value("throughput"), rel=1e-4)


def test_a_group_takes_in_what_lies_between_its_members() -> None:
    graph = make_graph([(0, 1), (1, 2), (2, 3), (0, 4), (4, 3)], 5, [10] * 6)
    assert held_together(graph, ((0, 2),)) == ((0, 1, 2),)
    assert held_together(graph, ((0, 3),)) == ((0, 1, 2, 3, 4),)
    assert held_together(graph, ((1, 4),)) == ((1, 4),)


def test_groups_that_wait_for_each_other_are_one() -> None:
    graph = make_graph([(0, 1), (2, 3)], 4, [10] * 5)
    assert held_together(graph, ((0, 3), (1, 2))) == ((0, 1, 2, 3),)


def chain_problem(limits: Limits, *, revisits: bool = False) -> Problem:
    free = random_problem(1, n=4, k=2)
    graph = make_graph([(0, 1), (1, 2), (2, 3)], 4, [10] * 5)
    return replace(free, graph=graph, limits=limits, non_contiguous=revisits)


def test_a_colocation_that_a_contiguous_plan_cannot_keep_is_infeasible_and_explained() -> None:
    limits = Limits(colocations=(("op0", "op2"),), pins={"op0": "b0", "op1": "b1"})
    found = solve(chain_problem(limits), SolveOptions(time_limit_s=20.0, workers=1))
    assert isinstance(found, Infeasible)
    assert {c.limit for c in found.clashes} == {"--colocate op0,op2", "--pin op0=b0", "--pin op1=b1"}
    assert found.minimal
    assert {c.lever for c in found.clashes} == {f"leave out {c.limit}" for c in found.clashes}
    again = solve(chain_problem(limits, revisits=True), SolveOptions(time_limit_s=20.0, workers=1))
    assert isinstance(again, Front)


def test_a_forbidden_board_can_be_a_member_of_a_clash() -> None:
    limits = Limits(forbids=(("op1", "b0"),), colocations=(("op0", "op2"),), pins={"op3": "b0", "op0": "b0"})
    found = solve(chain_problem(limits), SolveOptions(time_limit_s=20.0, workers=1))
    assert isinstance(found, Infeasible)
    assert "--forbid op1=b0" in {c.limit for c in found.clashes}
    assert "leave out --forbid op1=b0" in found.text


def test_patterns_stand_for_all_operators_they_match() -> None:
    problem = chain_problem(Limits(pins={"op?": "b1"}, colocations=(("op[02]", "op3"),)))
    assert problem.tables.allowed.tolist() == [[False, True]] * 4
    assert problem.colocated == ((0, 2, 3),)


def test_a_processor_key_is_as_good_as_a_board() -> None:
    problem = chain_problem(Limits(forbids=(("op1", "b0/cpu"),)))
    assert problem.tables.allowed[1].tolist() == [False, True]


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(forbids=(("nothing", "b0"),)), ["forbidden operator 'nothing'"]),
        (Limits(forbids=(("op1", "b9"),)), ["'op1' is forbidden on unknown board 'b9'", "b0/cpu"]),
        (Limits(colocations=(("op0", "nothing"),)), ["colocated operator 'nothing'"]),
        (Limits(colocations=(("op0", "op0"),)), ["--colocate op0,op0 names an operator twice"]),
        (Limits(colocations=(("op0", "op[0]"),)), ["fewer than two operators"]),
        (
            Limits(colocations=(("op0", "op1"), ("op1", "op2"), ("op2", "op0"))),
            ["cyclic", "--colocate op2,op0", "op0, op1, op2, op0"],
        ),
        (
            Limits(colocations=(("op0", "op1"),), pins={"op0": "b0", "op1": "b1"}),
            ["op0, op1", "--pin op0=b0", "--pin op1=b1", "--colocate op0,op1", "contradict"],
        ),
        (
            Limits(colocations=(("op0", "op1"), ("op1", "op2")), pins={"op0": "b0"}, forbids=(("op2", "b0"),)),
            ["op0, op1, op2", "--pin op0=b0", "--forbid op2=b0"],
        ),
        (Limits(pins={"op0": "b0"}, forbids=(("op0", "b0"),)), ["operator op0", "--pin op0=b0, --forbid op0=b0"]),
        (Limits(forbids=(("op0", "b0"), ("op?", "b1"))), ["operator op0", "--forbid op?=b1"]),
    ],
)
def test_contradictions_and_unknown_names_are_refused_by_name(limits: Limits, said: list[str]) -> None:
    with pytest.raises(LimitError) as caught:
        chain_problem(limits)
    assert not [text for text in said if text not in str(caught.value)]
