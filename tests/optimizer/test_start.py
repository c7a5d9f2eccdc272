"""Warm start: earlier plans are found again, lost boards are replaced, bounds are carried over only where they hold."""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boards.board import System
from optimizer.cli import main
from optimizer.costs import CostTable
from optimizer.errors import PlanError
from optimizer.plan import Certificate, Front
from optimizer.plan_io import LoadedPlan, load_plan
from optimizer.problem import Limits, Problem
from optimizer.request import SolveRequest, solve_request
from optimizer.search.certify import PLAN_CLASS
from optimizer.search.pool import Pool, assignment_of
from optimizer.solve import SolveOptions, solve
from optimizer.start import Start, carried_bounds, load_start, seed_pool, start_of
from tests.optimizer.builders import random_problem
from tests.optimizer.onnx_builders import line_of_boards
from tests.optimizer.plan_files import branched_model, solve_small
from tests.optimizer.test_replicas import pipeline
from tests.optimizer.test_type_dp import chain_problem

SEEDS = st.integers(0, 10**6)
KINDS = ("mesh", "line", "switch", "shared", "polled")
PLAIN = KINDS[:-1]
"""Where the schedule that a plan gets is its best: with rendezvous the best that brute force sees bounds nothing."""


def brute_force(problem: Problem) -> Pool:
    pool = Pool(problem)
    for places in itertools.product(range(len(problem.processors)), repeat=len(problem.graph.operators)):
        pool.score(np.array(places))
    return pool


def changed_costs(problem: Problem, rng: random.Random, share: float) -> Problem:
    """Every time up or down by as much as the share."""
    rows = {
        key: replace(cost, time_s=cost.time_s * rng.uniform(1 - share, 1 + share))
        for key, cost in problem.costs.operators.items()
    }
    return replace(problem, costs=CostTable(rows, problem.costs.boundaries, problem.costs.links))


def without_board(problem: Problem, name: str) -> Problem:
    system = problem.system
    boards = tuple(b for b in system.boards if b.name != name)
    links = tuple(link for link in system.links if name not in (link.source, link.target))
    smaller = System(system.name, boards, links, system.source, system.sink, system.switches)
    rows = {key: cost for key, cost in problem.costs.operators.items() if not key[1].startswith(f"{name}/")}
    boundaries = {key: cost for key, cost in problem.costs.boundaries.items() if not key.startswith(f"{name}/")}
    return Problem(problem.graph, smaller, CostTable(rows, boundaries), problem.limits, problem.non_contiguous)


def as_loaded(problem: Problem, truth: Pool) -> LoadedPlan:
    """A plan file that claims the true optima as bounds."""
    plan = truth.best("throughput")
    assert plan is not None
    certificates = {
        o: Certificate(truth.best_value(o), truth.best_value(o), 0.0, "", "proven", PLAN_CLASS, "all", 0.0)
        for o in ("throughput", "latency", "energy")
    }
    return LoadedPlan(Path("plan.json"), problem, plan, certificates, "throughput", 0)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(PLAIN), share=st.sampled_from([0.0, 0.1, 0.5]))
def test_a_bound_carried_over_to_other_costs_holds(seed: int, kind: str, share: float) -> None:
    then = random_problem(seed, n=5, k=2, kind=kind)
    now = changed_costs(then, random.Random(seed), share)
    truth = brute_force(then)
    bounds = carried_bounds(as_loaded(then, truth), now)
    new = brute_force(now)
    assert bounds
    for objective, bound in bounds.items():
        assert bound <= new.best_value(objective) * (1 + 1e-9)
        assert bound >= truth.best_value(objective) * (1 - share) * (1 - 1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, kind=st.sampled_from(PLAIN[:1] + PLAIN[2:]))
def test_a_bound_carried_over_to_fewer_boards_holds(seed: int, kind: str) -> None:
    then = random_problem(seed, n=4, k=3, kind=kind)
    lost = next(b.name for b in then.system.boards if b.name not in (then.system.source, then.system.sink))
    now = without_board(then, lost)
    bounds = carried_bounds(as_loaded(then, brute_force(then)), now)
    new = brute_force(now)
    assert set(bounds) == {"throughput", "latency"}
    for objective, bound in bounds.items():
        assert bound <= new.best_value(objective) * (1 + 1e-9)


def best_of(problem: Problem, options: SolveOptions) -> Front:
    found = solve(problem, options)
    assert isinstance(found, Front)
    return found


@settings(max_examples=5, deadline=None)
@given(
    seed=SEEDS,
    kind=st.sampled_from(KINDS),
    objectives=st.sampled_from([("throughput",), ("throughput", "latency", "energy"), ("energy",)]),
    share=st.sampled_from([0.1, 0.9]),
)
def test_a_start_never_changes_a_proven_optimum(
    seed: int, kind: str, objectives: tuple[str, ...], share: float
) -> None:
    then = random_problem(seed, n=5, k=2, kind=kind)
    now = changed_costs(then, random.Random(seed), share)
    options = SolveOptions(objectives, objectives[0], time_limit_s=5.0, reproducible=True)
    first, afresh = best_of(then, options), best_of(now, options)
    loaded = LoadedPlan(Path("plan.json"), then, first.plans[first.chosen], first.certificates, "", 0)
    again = best_of(now, replace(options, start=start_of(loaded, first.plans, now)))
    truth = brute_force(now)
    for objective in objectives:
        was, found = afresh.certificates[objective], again.certificates[objective]
        assert found.bound is not None and found.bound <= was.value * (1 + 1e-9)
        assert found.bound <= truth.best_value(objective) * (1 + 1e-9)
        assert found.status == was.status
        if was.status == "proven":
            assert found.value == pytest.approx(was.value, rel=1.1e-4)


@settings(max_examples=10, deadline=None)
@given(seed=SEEDS, types=st.integers(1, 3), data=st.data())
def test_the_worst_of_starts_leads_to_the_optimum_of_a_chain(seed: int, types: int, data: st.DataObject) -> None:
    """On chains nothing but the start's plans and the proof is left for the period alone."""
    problem = chain_problem(seed, 6, 3, types)
    places = data.draw(st.lists(st.integers(0, 2), min_size=6, max_size=6).map(sorted))
    start = Start((tuple(places),))
    options = SolveOptions(("throughput",), time_limit_s=5.0, reproducible=True)
    afresh, again = best_of(problem, options), best_of(problem, replace(options, start=start))
    was, found = afresh.certificates["throughput"], again.certificates["throughput"]
    assert (was.status, found.status) == ("proven", "proven")
    assert found.value == pytest.approx(was.value, rel=1.1e-4)


def test_nothing_is_carried_over_where_plans_may_exist_now_that_did_not_then() -> None:
    free = random_problem(3, n=5, k=3)
    loaded = as_loaded(free, brute_force(free))
    assert carried_bounds(loaded, free)
    pinned = replace(free, limits=Limits(pins={"op1": "b1"}))
    tight = replace(free, limits=Limits(max_ram_bytes={"b0": 10**6}))
    limited = replace(free, limits=Limits(max_latency_s=1e3))
    fewer = without_board(free, next(b for b in ("b1", "b2") if b != free.system.sink))
    assert carried_bounds(loaded, pinned)
    assert carried_bounds(loaded, tight)
    assert not carried_bounds(replace(loaded, problem=pinned), free)
    assert not carried_bounds(replace(loaded, problem=tight), free)
    assert not carried_bounds(replace(loaded, problem=limited), free)
    assert not carried_bounds(loaded, replace(free, non_contiguous=True))
    assert not carried_bounds(replace(loaded, schema="edgecut/plan/1"), free)
    assert not carried_bounds(replace(loaded, problem=fewer), free)
    rerouted = replace(free, system=replace(free.system, links=tuple(reversed(free.system.links))[1:]))
    assert not carried_bounds(loaded, rerouted)


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, k=st.integers(2, 4))
def test_plans_of_lost_boards_are_moved_to_boards_that_are_there(seed: int, k: int) -> None:
    problem = random_problem(seed, n=6, k=k)
    old = Pool(problem)
    for places in np.random.default_rng(seed).integers(0, k, (60, 6)):
        old.score(np.sort(places))
    plan = random.Random(seed).choice(old.seen())
    lost = plan.segments[0].processor
    whole = assignment_of(problem, plan).tolist()
    kept = [-1 if q == problem.processor_index[lost] else q for q in whole]
    if set(kept) == {-1}:
        kept[-1] = 0
    pool = Pool(problem)
    seed_pool(pool, Start((tuple(kept),)))
    assert pool.seen()
    for plan in pool.seen():
        found = assignment_of(problem, plan)
        assert all(found[v] == q for v, q in enumerate(kept) if q >= 0)


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    solve_small(folder, line_of_boards(3))
    return folder


def test_the_front_is_found_again_from_its_files(solved: Path) -> None:
    loaded = load_plan(solved / "plan.json")
    start = load_start(solved / "plan.json", loaded.problem)
    front = json.loads((solved / "front.json").read_text())
    assert len(start.assignments) == len({json.dumps(p["segments"]) for p in front["plans"]})
    pool = Pool(loaded.problem)
    seed_pool(pool, start)
    best = min(p["score"]["period_s"] for p in front["plans"])
    assert pool.best_value("throughput") == pytest.approx(best)
    (solved / "front.json").rename(solved / "elsewhere.json")
    alone = load_start(solved / "plan.json", loaded.problem)
    (solved / "elsewhere.json").rename(solved / "front.json")
    assert alone.assignments == start.assignments[:1]


def test_a_solve_from_a_start_is_at_least_as_good_and_proves_what_was_proven(solved: Path) -> None:
    request = SolveRequest(
        solved / "branched.onnx", line_of_boards(3), time_limit_s=10.0, workers=1, start=solved / "plan.json"
    )
    found = solve_request(request).outcome
    assert isinstance(found, Front)
    was = load_plan(solved / "plan.json").certificates
    for objective, c in found.certificates.items():
        assert c.value <= was[objective].value * (1 + 1e-9)
        if was[objective].status == "proven":
            assert c.status == "proven"


def test_replicas_are_taken_over_while_their_boards_are_there() -> None:
    problem = replace(pipeline([1.0, 1.0, 4.0, 1.0, 1.0], [1, 2, 1], bandwidth=1e6), replicate=True)
    first = best_of(problem, SolveOptions(("throughput",), time_limit_s=10.0, workers=1))
    chosen = first.plans[first.chosen]
    assert any(s.replicas for s in chosen.segments)
    loaded = LoadedPlan(Path("plan.json"), problem, chosen, first.certificates, "", 0)
    pool = Pool(problem)
    seed_pool(pool, start_of(loaded, (), problem))
    assert pool.best_value("throughput") == pytest.approx(chosen.score.period_s)
    assert not start_of(loaded, (), replace(problem, replicate=False)).replicated
    lost = next(b.name for b in problem.system.boards if b.name not in (problem.system.source, problem.system.sink))
    assert not start_of(loaded, (), replace(without_board(problem, lost), replicate=True)).replicated


def test_a_lost_board_is_done_without(solved: Path) -> None:
    two = replace(line_of_boards(3), sink="b1")
    two = replace(two, boards=two.boards[:2], links=tuple(x for x in two.links if "b2" not in (x.source, x.target)))
    request = SolveRequest(solved / "branched.onnx", two, time_limit_s=10.0, workers=1, start=solved / "plan.json")
    assert isinstance(solve_request(request).outcome, Front)


def test_a_start_that_cannot_be_used_says_why(solved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    problem = load_plan(solved / "plan.json").problem
    with pytest.raises(PlanError, match="no such file"):
        load_start(tmp_path / "plan.json", problem)
    with pytest.raises(PlanError, match="is not the one this plan was made for"):
        load_start(solved / "plan.json", random_problem(1))
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(PlanError, match="not a plan"):
        load_start(tmp_path / "plan.json", problem)
    model = str(branched_model(tmp_path))
    with pytest.raises(SystemExit) as stop:
        main(["solve", model, "-s", "two-heterogeneous", "--start", str(tmp_path / "plan.json"), "-o", str(tmp_path)])
    assert stop.value.code == 2
    assert "not a plan" in capsys.readouterr().err
