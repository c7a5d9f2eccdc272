"""Precision of processors as a decision: against brute force over all vectors of precisions and all assignments."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boards.board import System
from boards.catalog import load_board, load_medium
from optimizer.cost_models.roofline import roofline_costs
from optimizer.errors import CostError, LimitError, PlanError
from optimizer.infeasible import Infeasible
from optimizer.objectives import OBJECTIVES, objective_values
from optimizer.onnx_model import load_graph
from optimizer.plan import Front, Plan
from optimizer.plan_io import LoadedPlan, load_plan
from optimizer.precision import (
    Choice,
    at_precisions,
    energy_is_relaxed,
    parse_precisions,
    relaxed,
    settled,
    worth_trying,
)
from optimizer.problem import Limits, Problem
from optimizer.request import SolveRequest, make_problem, solve_request, write_results
from optimizer.search.pool import Pool, dominates
from optimizer.sensitivity import Sensitivity
from optimizer.solve import SolveOptions, solve
from optimizer.split import split_plan
from optimizer.start import carried_bounds
from optimizer.verify import verify
from tests.optimizer.onnx_builders import line_of_boards
from tests.optimizer.plan_files import branched_model
from tests.optimizer.precision_samples import mixed_problem

SEEDS = st.integers(0, 10**6)
KINDS = st.sampled_from(["mesh", "line", "shared"])
EVERY = tuple(OBJECTIVES)


def free(seed: int, n: int = 5, k: int = 2, kind: str = "mesh", limits: Limits | None = None) -> Problem:
    """Every processor may work at int8 or fp32."""
    problem = mixed_problem(seed, n=n, k=k, kind=kind, limits=limits, precisions="both")
    return replace(problem, precisions_allowed={ref.key: ("fp32", "int8") for ref in problem.processors})


def three(seed: int, n: int, k: int, kind: str = "mesh", limits: Limits | None = None) -> Problem:
    """Every processor may also work at fp16, which takes and loses something else again."""
    problem = free(seed, n=n, k=k, kind=kind, limits=limits)
    rng = random.Random(seed + 2)
    rows = dict(problem.costs.operators)
    for operator, key, precision in problem.costs.operators:
        if precision == "fp32":
            cost = rows[operator, key, precision]
            share = rng.uniform(0.4, 1.1)
            rows[operator, key, "fp16"] = replace(cost, time_s=cost.time_s * share, energy_j=cost.energy_j * share)
    losses = dict(problem.sensitivity.losses) if problem.sensitivity else {}
    losses |= {(op.name, "fp16"): rng.choice([0.0, 0.05, 0.2]) for op in problem.graph.operators}
    return replace(
        problem,
        costs=replace(problem.costs, operators=rows),
        sensitivity=Sensitivity(losses),
        precisions_allowed=dict.fromkeys(keys(problem), ("fp32", "fp16", "int8")),
    )


def microcontrollers(count: int) -> System:
    boards = tuple(replace(load_board("mps2-an386"), name=f"b{i}") for i in range(count))
    uart = load_medium("uart")
    links = tuple(
        uart.link(f"{a.name}->{b.name}", a.name, b.name, resource=f"{a.name}->{b.name}")
        for a in boards
        for b in boards
        if a is not b
    )
    return System("two", boards, links, "b0", "b0", ())


def keys(problem: Problem) -> list[str]:
    return [ref.key for ref in problem.processors]


def brute_force(problem: Problem, objectives: tuple[str, ...]) -> list[Plan]:
    """Every feasible plan at every vector of precisions."""
    k, n = len(problem.processors), len(problem.graph.operators)
    found = []
    for vector in itertools.product(*problem.precision_choices):
        pool = Pool(at_precisions(problem, vector), objectives)
        for places in itertools.product(range(k), repeat=n):
            pool.score(np.array(places))
        found += pool.feasible()
    return found


@settings(max_examples=6, deadline=None)
@given(seed=SEEDS, kind=KINDS, k=st.integers(1, 2), revisits=st.booleans())
def test_every_objective_is_proven_over_all_precisions(seed: int, kind: str, k: int, revisits: bool) -> None:
    problem = replace(free(seed, k=k, kind=kind), non_contiguous=revisits)
    everything = brute_force(problem, ("energy", "link-bytes", "accuracy-loss"))
    for objective in ("energy", "link-bytes", "accuracy-loss"):
        # The energy of plans that revisit can take minutes to prove: there the bound must be valid, at whatever time.
        open_end = objective == "energy" and revisits
        options = SolveOptions((objective,), objective, time_limit_s=2.0 if open_end else 60.0, workers=1)
        front = solve(problem, options)
        assert isinstance(front, Front)
        found = front.certificates[objective]
        best = min(objective_values(p.score, [objective])[0] for p in everything)
        assert found.bound is None or found.bound <= best * (1 + 1e-9)
        if not open_end:
            assert found.status == "proven"
            assert found.value == pytest.approx(best, rel=1e-4, abs=1e-12)


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS, kind=KINDS)
def test_the_front_over_all_precisions_is_the_brute_force_front(seed: int, kind: str) -> None:
    problem = free(seed, kind=kind)
    objectives = ("throughput", "energy", "accuracy-loss")
    front = solve(problem, SolveOptions(objectives=objectives, time_limit_s=20.0, workers=1))
    assert isinstance(front, Front)
    rows = {objective_values(p.score, objectives) for p in brute_force(problem, objectives)}
    truth = sorted(r for r in rows if not any(dominates(other, r) for other in rows))
    found = sorted(objective_values(p.score, objectives) for p in front.plans)
    assert np.allclose(found, truth, rtol=1e-9)
    for plan in front.plans:  # each plan is scored as the problem at its own precisions says
        assert Pool(settled(problem, plan)).add(plan).score.energy_j == pytest.approx(plan.score.energy_j)


@settings(max_examples=4, deadline=None)
@given(seed=SEEDS, kind=KINDS)
def test_an_order_of_preference_is_proven_over_all_precisions(seed: int, kind: str) -> None:
    problem = free(seed, kind=kind)
    options = SolveOptions(objectives=("energy",), prefer="accuracy-loss:50%>energy", time_limit_s=60.0, workers=1)
    front = solve(problem, options)
    assert isinstance(front, Front)
    everything = brute_force(problem, ("accuracy-loss", "energy"))
    least = min(p.score.accuracy_loss or 0.0 for p in everything)
    allowed = [p for p in everything if (p.score.accuracy_loss or 0.0) <= least * 1.5 * (1 + 1e-9)]
    best = min(p.score.energy_j for p in allowed)
    assert front.steps[1].certificate.status == "proven"
    assert front.steps[1].certificate.value == pytest.approx(best, rel=1e-4)
    assert front.plans[front.chosen].score.energy_j == pytest.approx(best, rel=1e-4)


def made_better(problem: Problem, *, loses: bool) -> Problem:
    """int8 takes a third of the time and of the energy beyond idling of every operator, on every processor."""
    idle_w = {ref.key: ref.processor.idle_power_w for ref in problem.processors}
    rows = dict(problem.costs.operators)
    for operator, key, precision in problem.costs.operators:
        if precision == "int8":
            cost = rows[operator, key, "fp32"]
            beyond = cost.energy_j - idle_w[key] * cost.time_s
            time_s = cost.time_s / 3
            rows[operator, key, "int8"] = replace(cost, time_s=time_s, energy_j=idle_w[key] * time_s + beyond / 3)
    losses = problem.sensitivity if loses else None
    return replace(problem, costs=replace(problem.costs, operators=rows), sensitivity=losses)


@settings(max_examples=8, deadline=None)
@given(seed=SEEDS, kind=KINDS, rate=st.booleans())
def test_a_precision_that_is_better_throughout_is_the_only_one_tried(seed: int, kind: str, rate: bool) -> None:
    """No point of the brute-force front is lost for it, at the period's interval or at a given one."""
    limits = Limits(rate_per_s=0.05) if rate else Limits()
    problem = made_better(free(seed, n=4, kind=kind, limits=limits), loses=False)
    assert worth_trying(problem) == (("int8",), ("int8",))
    objectives = ("throughput", "energy", "link-bytes")
    every = [objective_values(p.score, objectives) for p in brute_force(problem, objectives)]
    settled_best = replace(problem, precisions_allowed={ref.key: ("int8",) for ref in problem.processors})
    kept = [objective_values(p.score, objectives) for p in brute_force(settled_best, objectives)]
    for row in every:
        assert any(all(a <= b * (1 + 1e-9) for a, b in zip(other, row, strict=True)) for other in kept)


def test_a_precision_that_loses_accuracy_stays_worth_trying() -> None:
    assert worth_trying(made_better(free(4), loses=True)) == (("fp32", "int8"), ("fp32", "int8"))


def test_where_hops_hold_processors_all_precisions_are_tried() -> None:
    assert worth_trying(made_better(free(4, kind="polled"), loses=False)) == (("fp32", "int8"), ("fp32", "int8"))


def test_of_equal_precisions_the_first_is_kept() -> None:
    problem = free(4)
    rows = {(o, k, p): problem.costs.operators[o, k, "fp32"] for o, k, p in problem.costs.operators}
    graph = replace(problem.graph, tensors=tuple(replace(t, dtype="int8") for t in problem.graph.tensors))
    graph = replace(graph, initializers=tuple(replace(i, dtype="int8") for i in graph.initializers))
    same = replace(problem, graph=graph, costs=replace(problem.costs, operators=rows), sensitivity=None)
    assert worth_trying(same) == (("fp32",), ("fp32",))


def test_a_processor_works_at_one_precision_and_the_plan_says_which() -> None:
    problem = free(5, k=3)
    front = solve(problem, SolveOptions(time_limit_s=3.0, workers=1))
    assert isinstance(front, Front)
    for plan in front.plans:
        at = {s.processor: {x.precision for x in plan.segments if x.processor == s.processor} for s in plan.segments}
        assert all(len(precisions) == 1 for precisions in at.values())
        problem_of_plan = settled(problem, plan)
        for s in plan.segments:
            assert problem_of_plan.precisions[problem_of_plan.processor_index[s.processor]] == s.precision


def int8_costs_energy(folder: Path) -> SolveRequest:
    """Two boards on which int8 is faster, but takes more energy."""
    system = line_of_boards(2)
    rates = {"fp32": 1e6, "int8": 4e6}
    boards = tuple(
        replace(b, processors=tuple(replace(p, macs_per_s=rates) for p in b.processors)) for b in system.boards
    )
    system = replace(system, boards=boards)
    path = branched_model(folder)
    table = roofline_costs(load_graph(path), system)
    rows = {k: replace(c, energy_j=c.energy_j * (9 if k[2] == "int8" else 1)) for k, c in table.operators.items()}
    return SolveRequest(
        path, system, replace(table, operators=rows), time_limit_s=10.0, precisions=("b0=any", "b1=any")
    )


def test_a_plan_file_keeps_its_precisions_and_its_word(tmp_path: Path) -> None:
    result = solve_request(int8_costs_energy(tmp_path))
    assert isinstance(result.outcome, Front)
    files = write_results(result, tmp_path)
    loaded = load_plan(files.plan)
    assert {s.precision for s in loaded.plan.segments} == {"int8"}
    assert loaded.problem.precisions == result.problem.precisions
    assert all(c.plan_class.endswith("any allowed precision of a processor") for c in loaded.certificates.values())
    checks = verify(loaded).checks
    assert [c.text for c in checks if c.holds is False] == []
    assert {s.precision for p in result.outcome.plans for s in p.segments} == {"fp32", "int8"}


def test_splitting_refuses_what_the_model_file_does_not_have(tmp_path: Path) -> None:
    request = int8_costs_energy(tmp_path)
    files = write_results(solve_request(request), tmp_path)
    with pytest.raises(PlanError, match="planned at int8, which the model file does not have"):
        split_plan(files.plan, tmp_path / "bundle")
    files = write_results(solve_request(replace(request, precisions=("b0=fp32",))), tmp_path)
    assert split_plan(files.plan, tmp_path / "bundle").segments


def test_infeasible_at_every_precision_is_infeasible() -> None:
    outcome = solve(free(5, limits=Limits(max_latency_s=1e-9)), SolveOptions(time_limit_s=60.0, workers=1))
    assert isinstance(outcome, Infeasible)
    assert "each of 4 choices of precision" in outcome.method


def at_random(problem: Problem, rng: random.Random) -> tuple[tuple[str, ...], np.ndarray]:
    vector = tuple(rng.choice(allowed) for allowed in problem.precision_choices)
    return vector, np.array([rng.randrange(len(vector)) for _ in problem.graph.operators])


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(["mesh", "line", "shared", "switch", "polled", "busy"]))
def test_no_plan_is_better_than_in_the_relaxed_problem(seed: int, kind: str) -> None:
    """Every figure of a plan at real precisions, memory included, is at least that of the same schedule relaxed."""
    problem = three(seed, n=5, k=3, kind=kind)
    rng = random.Random(seed)
    half: Choice = tuple(c if rng.random() < 0.6 else (rng.choice(c),) for c in problem.precision_choices)
    lower = relaxed(problem, half)
    for _ in range(6):
        vector, places = at_random(
            replace(problem, precisions_allowed=dict(zip(keys(problem), half, strict=True))), rng
        )
        plan = Pool(at_precisions(problem, vector)).score(places)
        if plan is None:
            continue
        bound = Pool(lower).add(plan).score
        for objective, value in zip(EVERY, objective_values(plan.score, EVERY), strict=True):
            if objective != "energy" or energy_is_relaxed(problem):
                assert objective_values(bound, [objective])[0] <= value * (1 + 1e-9) + 1e-12, objective


@settings(max_examples=4, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(["mesh", "line", "polled"]), data=st.data())
def test_branch_and_bound_finds_the_best_of_all_combinations(seed: int, kind: str, data: st.DataObject) -> None:
    problem = three(seed, n=4, k=3, kind=kind)
    objective = data.draw(st.sampled_from(["throughput", "energy", "accuracy-loss", "link-bytes"]))
    # Rendezvous make schedules that can take minutes to prove: there the bound must be valid, at whatever time.
    limit_s = 4.0 if kind == "polled" else 60.0
    front = solve(problem, SolveOptions(objectives=(objective,), prefer=objective, time_limit_s=limit_s, workers=1))
    assert isinstance(front, Front)
    best = min(objective_values(p.score, [objective])[0] for p in brute_force(problem, (objective,)))
    found = front.certificates[objective]
    assert "of precision" in found.method
    assert found.bound is not None and found.bound <= best * (1 + 1e-9) + 1e-12
    assert found.value >= best * (1 - 1e-9) - 1e-12
    assert found.status == "proven" or kind == "polled"
    assert found.status != "proven" or found.value == pytest.approx(best, rel=1.1e-4, abs=1e-12)


def test_six_processors_with_three_precisions_each() -> None:
    problem = three(7, n=5, k=6)
    objectives = ("throughput", "accuracy-loss")
    front = solve(problem, SolveOptions(objectives=objectives, time_limit_s=15.0, workers=1))
    assert isinstance(front, Front)
    assert "729 choices" in front.certificates["throughput"].method
    rng = random.Random(1)
    for _ in range(300):
        vector, places = at_random(problem, rng)
        plan = Pool(at_precisions(problem, vector)).score(places)
        for objective in objectives if plan is not None else ():
            bound = front.certificates[objective].bound
            assert bound is not None and bound <= objective_values(plan.score, [objective])[0] * (1 + 1e-9)
    assert front.certificates["accuracy-loss"].status == "proven"


def test_on_microcontrollers_every_precision_is_tried_and_open_ones_have_room() -> None:
    """Their runtime's memory and kernels at one precision say nothing of another."""
    problem = make_problem(SolveRequest("zoo:tiny_digits", microcontrollers(2), precisions=("b0=any", "b1=any")))
    assert worth_trying(problem) == problem.precision_choices
    assert {len(c) for c in problem.precision_choices} == {2}
    lower = relaxed(problem, problem.precision_choices)
    for vector in itertools.product(*problem.precision_choices):
        plan = Pool(at_precisions(problem, vector)).score(np.zeros(len(problem.graph.operators), dtype=np.int64))
        assert plan is not None
        bound = Pool(lower).add(plan).score
        assert not bound.violations
        for objective, value in zip(EVERY[:6], objective_values(plan.score, EVERY[:6]), strict=True):
            assert objective_values(bound, [objective])[0] <= value * (1 + 1e-9), (objective, vector)


def test_bounds_of_a_start_at_one_precision_are_not_carried_over_to_others() -> None:
    problem = free(3)
    one = at_precisions(problem, ("fp32", "fp32"))
    front = solve(one, SolveOptions(time_limit_s=5.0, workers=1))
    assert isinstance(front, Front)
    loaded = LoadedPlan(Path("plan.json"), one, front.plans[front.chosen], front.certificates, "", 0)
    assert carried_bounds(loaded, one)
    assert carried_bounds(loaded, problem) == {}


def test_precisions_are_named_by_board_or_processor() -> None:
    system = free(0).system
    assert parse_precisions(["b0=any", "b1/cpu=int8"], system) == {"b0/cpu": ("int8", "fp32"), "b1/cpu": ("int8",)}
    assert parse_precisions(["b0=fp32|int8"], system) == {"b0/cpu": ("fp32", "int8")}


@pytest.mark.parametrize("text", ["b9=int8", "b0", "b0=", "b0=fp16", "b0=int8|", "=int8"])
def test_bad_precisions_are_refused(text: str) -> None:
    with pytest.raises(LimitError, match="--precision"):
        parse_precisions([text], free(0).system)


def test_rows_of_every_allowed_precision_must_be_there() -> None:
    problem = free(0)
    rows = {key: cost for key, cost in problem.costs.operators.items() if key != ("op2", "b1/cpu", "int8")}
    with pytest.raises(CostError, match="op2 on b1/cpu at int8"):
        replace(problem, costs=replace(problem.costs, operators=rows))
