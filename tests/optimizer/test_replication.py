"""The search for replicas: against every plan of small problems, and what it may claim."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from optimizer.errors import PlanError
from optimizer.plan import Front, Segment
from optimizer.plan_io import load_plan
from optimizer.problem import Limits, Problem
from optimizer.request import SolveRequest, solve_request, write_results
from optimizer.search.certify import REPLICA_CLASS
from optimizer.search.cpsat import Bound, Budget, Clock, prove
from optimizer.search.order_dp import order_dp_candidates
from optimizer.search.pool import Pool
from optimizer.search.pruning import simple_bound
from optimizer.search.replication import configurations, identical_boards, inherited, replicate
from optimizer.search.replication_relaxed import relax_sets
from optimizer.solve import SolveOptions, solve
from optimizer.split import split_plan
from optimizer.timeline import steady_state
from optimizer.verify import verify
from tests.optimizer.onnx_builders import line_of_boards
from tests.optimizer.plan_files import branched_model
from tests.optimizer.replica_brute import all_plans
from tests.optimizer.test_replicas import KINDS, alike_problem, pipeline


def searched(problem: Problem, seconds: float = 20.0) -> tuple[Pool, Bound]:
    """The pool and the bound on the period after the search with replicas."""
    pool, clock = Pool(problem, ("throughput",)), Clock()
    for assignment in order_dp_candidates(problem, ("throughput",)):
        pool.score(assignment)
    contiguous = prove(pool, "throughput", Budget(clock.now() + seconds, 1, 0, clock=clock))
    return pool, replicate(pool, contiguous, Budget(clock.now() + seconds, 1, 0, clock=clock))


def compare(seed: int, kind: str, n: int, k: int, limits: Limits | None = None) -> Counter[str]:
    """Search and every plan of a problem; what came out, in words."""
    kinds = 1 + seed % 2
    problem = alike_problem(seed, n, k, kind, limits, kinds=kinds)
    every = [p for p in all_plans(problem, [i % kinds for i in range(k)]) if not p.score.violations]
    pool, bound = searched(problem)
    found = pool.best_value("throughput")
    if not every:
        assert not pool.feasible()
        return Counter({"infeasible": 1})
    best = min(every, key=lambda p: p.score.period_s)
    assert bound.value <= best.score.period_s * (1 + 1e-9), "the bound is above a plan that exists"
    proven = bound.complete and found <= bound.value * (1 + 1e-4)
    if proven:
        assert found <= best.score.period_s * (1 + 1.01e-4), "proven, and yet a plan is better"
    return Counter(
        {
            "plans": len(every),
            "with replicas best": any(s.replicas for s in best.segments),
            "found": found <= best.score.period_s * (1 + 1e-6),
            "proven": proven,
            "problems": 1,
        }
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_bound_holds_for_every_plan(kind: str) -> None:
    seen = compare(1, kind, 4, 3) + compare(2, kind, 4, 3)
    assert seen["plans"] > 50


@pytest.mark.integration
@pytest.mark.parametrize("kind", KINDS)
def test_search_against_every_plan_of_many_problems(kind: str) -> None:
    seen: Counter[str] = Counter()
    for seed in range(10):
        seen += compare(seed, kind, 4 + seed % 2, 3)
    assert seen["with replicas best"] >= 3
    assert seen["found"] >= 7


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["mesh", "switch"])
def test_search_within_limits_against_every_plan(kind: str) -> None:
    seen: Counter[str] = Counter()
    for seed in range(6):
        limits = Limits(max_ram_bytes={"b1": 900, "b2": 900}, max_boards=3)
        seen += compare(seed, kind, 4, 3, limits)
    assert seen["problems"] + seen["infeasible"] == 6


def test_a_heavy_stage_gets_two_boards_and_the_period_is_proven() -> None:
    problem = replace(pipeline([1.0, 1.0, 4.0, 1.0, 1.0], [1, 2, 1], bandwidth=1e6), replicate=True)
    fronts = [
        solve(replace(problem, replicate=on), SolveOptions(("throughput",), time_limit_s=20, workers=1))
        for on in (False, True)
    ]
    without, with_replicas = (f for f in fronts if isinstance(f, Front))
    assert without.certificates["throughput"].value == pytest.approx(4.0)
    certificate = with_replicas.certificates["throughput"]
    assert certificate.value == pytest.approx(2.0, rel=1e-3)
    assert certificate.status == "proven"
    assert certificate.plan_class == REPLICA_CLASS
    assert any(s.replicas for s in with_replicas.plans[with_replicas.chosen].segments)


def test_a_throughput_that_only_replicas_reach_is_found() -> None:
    limits = Limits(min_throughput_per_s=0.45)
    problem = replace(pipeline([1.0, 1.0, 4.0, 1.0, 1.0], [1, 2, 1], bandwidth=1e6), limits=limits)
    options = SolveOptions(("throughput",), time_limit_s=20, workers=1)
    assert not isinstance(solve(problem, options), Front)
    assert isinstance(solve(replace(problem, replicate=True), options), Front)


def test_sets_of_identical_boards() -> None:
    problem = alike_problem(3, 5, 4, "mesh")
    assert identical_boards(problem) == [[0, 2], [1, 3]]
    found, every = configurations(problem)
    assert every
    assert sorted(found) == [((0, 2),), ((0, 2), (1, 3)), ((1, 3),)]
    many, every = configurations(alike_problem(3, 5, 12, "mesh", kinds=1))
    assert not every
    assert tuple(range(12)) in {c[0] for c in many}


def test_a_set_computes_as_fast_as_all_of_it() -> None:
    problem = alike_problem(3, 5, 4, "switch")
    relaxed = relax_sets(problem, ((0, 2),))
    assert relaxed is not None
    assert [ref.key for ref in relaxed.problem.processors] == ["b0/cpu", "b1/cpu", "b3/cpu"]
    graph = problem.graph
    ends = {v for t in graph.inputs for v in graph.tensors[t].consumers} | {
        graph.tensors[t].producer for t in graph.outputs
    }
    inner = [op.index for op in graph.operators if op.index not in ends]
    assert inner
    assert relaxed.problem.tables.time_s[inner, 0] * 2 == pytest.approx(problem.tables.time_s[inner, 0])
    assert relaxed.problem.tables.time_s[:, 1] == pytest.approx(problem.tables.time_s[:, 1])


def test_pinned_boards_are_in_no_set() -> None:
    problem = alike_problem(3, 5, 4, "mesh", Limits(pins={"op0": "b2"}))
    assert relax_sets(problem, ((0, 2),)) is None
    assert relax_sets(problem, ((1, 3),)) is not None


def test_bounds_on_period_and_energy_do_not_carry_over() -> None:
    problem = alike_problem(3, 5, 4, "mesh")
    given = {o: Bound(1e9, True, "made", 0.0) for o in ("throughput", "latency", "energy")}
    found = inherited(problem, given)
    assert found["latency"].value == 1e9
    assert found["energy"].value == simple_bound(problem, "energy")
    assert found["throughput"].value < 1e9
    limited = replace(problem, limits=Limits(min_throughput_per_s=1e-3))
    assert inherited(limited, given)["latency"].value == simple_bound(problem, "latency")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan file with replicas of a small model on three equal boards."""
    folder = tmp_path_factory.mktemp("replicated")
    line = line_of_boards(3)
    fast = replace(line, links=tuple(replace(link, bandwidth_bytes_per_s=1e12) for link in line.links))
    request = SolveRequest(
        branched_model(folder), fast, objectives=("throughput",), time_limit_s=8.0, workers=1, replicate=True
    )
    result = solve_request(request)
    assert isinstance(result.outcome, Front)
    assert any(s.replicas for s in result.outcome.plans[result.outcome.chosen].segments)
    return write_results(result, folder).plan


def test_a_plan_file_with_replicas_loads_and_verifies(written: Path) -> None:
    loaded = load_plan(written)
    assert any(s.replicas for s in loaded.plan.segments)
    assert any(t.every > 1 for t in loaded.plan.transfers)
    assert verify(loaded).holds
    assert "turn of the replicas" in written.with_name("report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("lie", ["order", "way", "board"])
def test_verify_finds_what_is_wrong_with_replicas(written: Path, tmp_path: Path, lie: str) -> None:
    data = json.loads(written.read_text())
    segment = next(s for s in data["segments"] if "replicas" in s)
    if lie == "order":
        segment["replicas"].reverse()
    elif lie == "way":
        way = next(t for t in data["transfers"] if t.get("every", 1) > 1)
        way["first"] = 7
    else:
        segment["replicas"].pop()
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(data))
    assert not verify(load_plan(path)).holds


def test_split_refuses_replicas(written: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="replicas") as refused:
        split_plan(written, tmp_path / "bundle")
    assert "--replicate" in str(refused.value)


def test_the_chart_shows_every_frame_of_a_turn(written: Path) -> None:
    loaded = load_plan(written)
    bars = steady_state(loaded.problem, loaded.plan)
    replicated: Segment = next(s for s in loaded.plan.segments if s.replicas)
    own = [b for b in bars if b.activity == f"segment:{replicated.name}"]
    assert {b.resource for b in own} == set(replicated.replicas)
    assert len({(b.stage % b.frames) for b in own}) == own[0].frames


def test_sets_work_at_the_precision_of_their_boards() -> None:
    problem = alike_problem(3, 5, 4, "mesh")
    boards = tuple(
        replace(b, processors=(replace(b.processors[0], macs_per_s={"fp32": 1e9, "int8": 4e9}),))
        for b in problem.system.boards
    )
    rows = dict(problem.costs.operators)
    rows |= {
        (n, k, "int8"): replace(cost, time_s=cost.time_s / 4) for (n, k, _), cost in problem.costs.operators.items()
    }
    problem = replace(
        problem,
        system=replace(problem.system, boards=boards),
        costs=replace(problem.costs, operators=rows),
        precisions_allowed={ref.key: ("int8",) for ref in problem.processors},
    )
    relaxed = relax_sets(problem, ((1, 3),))
    assert relaxed is not None
    assert set(relaxed.problem.precisions) == {"int8"}
    assert relaxed.problem.tables.time_s[:, 2] == pytest.approx(problem.tables.time_s[:, 2])
