"""optimizer verify: true plans hold, and every kind of lie is found."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.plan import Certificate, Front
from optimizer.plan_io import LoadedPlan, load_plan, plan_to_dict
from optimizer.problem import Problem
from optimizer.request import SolveResult
from optimizer.search.certify import PLAN_CLASS, certificate, plan_class
from optimizer.search.cpsat import Bound
from optimizer.search.energy_reach import energy_by_downsets
from optimizer.search.fluid import fluid_bound_s
from optimizer.search.pool import Pool
from optimizer.search.pruning import simple_bound
from optimizer.solve import SolveOptions, solve
from optimizer.verify import Verification, verify
from optimizer.verify_bounds import bound_checks
from optimizer.verify_check import Check
from optimizer.verify_cli import verify as command
from tests.optimizer.builders import random_problem
from tests.optimizer.onnx_builders import line_of_boards
from tests.optimizer.plan_files import solve_small
from tests.optimizer.test_energy_bound import with_idle_power


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SolveResult]:
    folder = tmp_path_factory.mktemp("solved")
    return folder, solve_small(folder)


@pytest.fixture(scope="module")
def cut(solved: tuple[Path, SolveResult], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A plan of the front that uses both boards."""
    front = solved[1].outcome
    assert isinstance(front, Front)
    plan = max(front.plans, key=lambda p: len(p.segments))
    assert len(plan.segments) == 2
    data: dict[str, Any] = json.loads(json.dumps(plan_to_dict(solved[1].problem, plan, front)))
    return data


def verified(data: dict[str, Any], folder: Path) -> Verification:
    path = folder / "plan.json"
    path.write_text(json.dumps(data))
    return verify(load_plan(path))


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(["mesh", "line", "switch", "shared", "polled", "busy"]),
    k=st.integers(2, 3),
)
def test_every_plan_that_solve_returns_holds(seed: int, kind: str, k: int) -> None:
    problem = random_problem(seed, n=6, k=k, kind=kind)
    front = solve(problem, SolveOptions(time_limit_s=5.0, workers=1))
    assert isinstance(front, Front)
    for plan in front.plans:
        found = verify(LoadedPlan(Path("made"), problem, plan, front.certificates, "throughput", 0))
        assert found.holds, [c for c in found.checks if c.holds is False]


def test_bounds_of_two_processors_are_found_anew(solved: tuple[Path, SolveResult]) -> None:
    checks = verify(load_plan(solved[0] / "plan.json")).checks
    assert [c.holds for c in checks if c.name.startswith("bound of")] == [True] * 3


def test_of_three_processors_bounds_are_proven_anew_by_dynamic_programming(tmp_path: Path) -> None:
    solve_small(tmp_path, line_of_boards(3))
    checks = verify(load_plan(tmp_path / "plan.json")).checks
    bounds = [c for c in checks if c.name.startswith("bound of")]
    assert len(bounds) == 3
    for check in bounds:
        assert (check.holds and "proven anew by" in check.text) or "not re-checked (" in check.text
    assert bounds[0].holds


def claim(problem: Problem, objective: str, value: float) -> Certificate:
    found = Bound(value, True, "a claim", 0.0)
    return certificate(objective, value, found, plan_class(problem))


def checked(problem: Problem, claims: dict[str, Certificate]) -> dict[str, Check]:
    return {c.name.removeprefix("bound of "): c for c in bound_checks(problem, claims, 2.0)}


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(["mesh", "line", "switch", "shared", "polled"]),
    revisits=st.booleans(),
    k=st.integers(2, 3),
)
def test_what_is_false_is_never_proven_anew(seed: int, kind: str, revisits: bool, k: int) -> None:
    problem = replace(random_problem(seed, n=4, k=k, kind=kind), non_contiguous=revisits)
    pool = Pool(problem)
    for places in itertools.product(range(k), repeat=4):
        pool.score(np.array(places))
    claims = {o: claim(problem, o, pool.best_value(o) * 1.001) for o in pool.objectives}
    assert not any(c.holds for c in checked(problem, claims).values())


@pytest.mark.parametrize("seed", range(3))
def test_the_least_energy_is_proven_anew(seed: int) -> None:
    problem = with_idle_power(random_problem(seed, n=6, k=3, kind="switch"), seed)
    front = solve(problem, SolveOptions(time_limit_s=20.0, workers=1))
    assert isinstance(front, Front)
    bound_j = energy_by_downsets(Pool(problem), front.certificates["throughput"].bound or 0.0, lambda seconds: None)
    assert bound_j is not None
    claims = {**front.certificates, "energy": claim(problem, "energy", 0.9999 * bound_j)}
    check = checked(problem, claims)["energy"]
    assert check.holds
    assert "proven anew by least energy" in check.text


@pytest.mark.parametrize("objective", ["throughput", "latency", "energy"])
def test_bounds_of_a_union_of_classes_are_proven_anew(objective: str) -> None:
    problem = replace(random_problem(5, n=5, k=2), replicate=True, non_contiguous=True)
    least = fluid_bound_s(problem) if objective == "throughput" else simple_bound(problem, objective)
    assert checked(problem, {objective: claim(problem, objective, least)})[objective].holds


def lie(*path: str | int, by: float = 1 + 1e-6) -> Callable[[dict[str, Any]], None]:
    """Multiplies the figure at a place."""

    def change(data: dict[str, Any]) -> None:
        inner: Any = data
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] *= by

    return change


def move_last_operator_twice(data: dict[str, Any]) -> None:
    data["segments"][1]["operators"].append(data["segments"][0]["operators"][0])


@pytest.mark.parametrize(
    ("change", "name", "said"),
    [
        (lie("score", "latency_s"), "score", "latency_s"),
        (lie("score", "energy_j", by=1 - 1e-8), "score", "energy_j"),
        (lie("score", "link_bytes", by=2), "score", "link_bytes"),
        (lie("score", "memory_bytes", "b0", "ram_bytes", by=2), "score", "b0.ram_bytes"),
        (lambda d: d["limits"].update(max_latency_s=1e-9), "limits", "latency"),
        (lambda d: d["limits"]["max_ram_bytes"].update(b1=1000), "limits", "b1 needs"),
        (lambda d: d["segments"][0]["operators"].pop(), "operators", "0 segments"),
        (move_last_operator_twice, "operators", "2 segments"),
        (lambda d: d["segments"][0]["operators"].reverse(), "operators", "before what it needs"),
        (lambda d: d["transfers"].pop(), "transfers", "not transferred"),
        (lambda d: d["transfers"].append(d["transfers"][0]), "transfers", "2 times"),
        (lambda d: d["transfers"][0].update(depth=0), "transfers", "depth 0"),
        (lie("transfers", 0, "size_bytes", by=2), "transfers", "another size"),
        (lambda d: d["orders"].pop(next(iter(d["orders"]))), "orders", "lacks"),
        (lambda d: next(iter(d["orders"].values())).append({"activity": "segment:s9", "stage": 0}), "orders", "s9"),
        (lambda d: d["certificate"]["latency"].update(gap=0.5), "certificates", "gap"),
        (lie("certificate", "latency", "value", by=2), "certificates", "better than the best"),
        (lie("certificate", "throughput", "bound", by=0.9), "certificates", "gap"),
    ],
)  # fmt: skip
def test_a_lie_is_found(
    change: Callable[[dict[str, Any]], None], name: str, said: str, cut: dict[str, Any], tmp_path: Path
) -> None:
    data = json.loads(json.dumps(cut))
    change(data)
    failed = {c.name: c.text for c in verified(data, tmp_path).checks if c.holds is False}
    assert name in failed
    assert said in failed[name]


def test_a_false_optimum_of_two_processors_is_found() -> None:
    """A plan that is not the best, claimed to be it, with a bound that agrees."""
    problem = random_problem(5, n=6, k=2)
    pool = Pool(problem)
    plans = [pool.score(np.array(places)) for places in ([0] * 6, [1] * 6, [0, 0, 0, 1, 1, 1])]
    worst = max((p for p in plans if p is not None), key=lambda p: p.score.energy_j)
    value = worst.score.energy_j
    claim = Certificate(value, value, 0.0, "J", "proven", PLAN_CLASS, "CP-SAT", 0.1)
    lying = LoadedPlan(Path("made"), problem, replace(worst, status="proven (energy)"), {"energy": claim}, "energy", 0)
    failed = [c for c in verify(lying).checks if c.holds is False]
    assert [c.name for c in failed] == ["bound of energy"]


def test_a_deadlock_is_found() -> None:
    """On a shared medium the second hop of a frame is told to go before the first one of the same frame."""
    problem = random_problem(3, n=6, k=3, kind="shared")
    pool = Pool(problem)
    plan = pool.score(np.array([0, 0, 1, 1, 2, 2]))
    assert plan is not None
    assert len([s for s in plan.orders["air"] if s.activity.startswith("hop:")]) >= 2
    backwards = tuple(replace(s, stage=0) for s in reversed(plan.orders["air"]))
    stuck = replace(plan, orders={**plan.orders, "air": backwards})
    found = verify(LoadedPlan(Path("made"), problem, stuck, {}, "throughput", 0))
    assert [c.name for c in found.checks if c.holds is False] == ["no deadlock", "score", "limits"]


def test_of_an_older_file_it_says_what_its_figures_meant(cut: dict[str, Any], tmp_path: Path) -> None:
    old = json.loads(json.dumps(cut)) | {"schema": "edgecut/plan/1"}
    lie("score", "latency_s", by=1.2)(old)
    found = verified(old, tmp_path)
    assert found.checks[0].name == "schema"
    assert "edgecut/plan/1" in found.checks[0].text
    assert "work for messages came before and after the hop" in found.checks[0].text
    (score,) = [c for c in found.checks if c.name == "score"]
    assert score.holds is False
    assert "latency_s" in score.text


def test_the_command_says_what_it_found(solved: tuple[Path, SolveResult], cut: dict[str, Any], tmp_path: Path) -> None:
    run = CliRunner().invoke
    fine = run(command, [str(solved[0] / "plan.json")])
    assert fine.exit_code == 0
    assert "holds  bound of latency" in fine.output
    lie("score", "latency_s")(cut := json.loads(json.dumps(cut)))
    (tmp_path / "plan.json").write_text(json.dumps(cut))
    bad = run(command, [str(tmp_path / "plan.json"), "--json"])
    assert bad.exit_code == 3
    assert json.loads(bad.output)["holds"] is False
