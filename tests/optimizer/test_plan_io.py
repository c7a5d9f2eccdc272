"""plan.json: what is written comes back whole, and what is damaged is refused in one paragraph."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from optimizer.errors import InputError, PlanError
from optimizer.evaluate import Schedule, evaluate
from optimizer.plan import Front
from optimizer.plan_io import load_plan, plan_to_dict
from optimizer.problem import Limits
from optimizer.request import SolveRequest, SolveResult, solve_request, write_results
from optimizer.verify import verify
from tests.optimizer.onnx_builders import line_of_boards
from tests.optimizer.plan_files import branched_model, solve_small


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SolveResult]:
    folder = tmp_path_factory.mktemp("solved")
    return folder, solve_small(folder)


@pytest.fixture(scope="module")
def content(solved: tuple[Path, SolveResult]) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((solved[0] / "plan.json").read_text())
    return data


def written(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_a_plan_reads_back_as_it_was(solved: tuple[Path, SolveResult]) -> None:
    folder, result = solved
    assert isinstance(result.outcome, Front)
    loaded = load_plan(folder / "plan.json")
    assert loaded.plan == result.outcome.plans[result.outcome.chosen]
    assert loaded.certificates == result.outcome.certificates
    assert loaded.system == result.problem.system
    assert loaded.problem.limits == result.problem.limits
    assert loaded.problem.costs == result.problem.costs


def test_every_plan_of_the_front_scores_after_reading_what_it_scored_before(
    solved: tuple[Path, SolveResult], tmp_path: Path
) -> None:
    _, result = solved
    assert isinstance(result.outcome, Front)
    assert len(result.outcome.plans) >= 2
    for plan in result.outcome.plans:
        loaded = load_plan(written(tmp_path / "plan.json", plan_to_dict(result.problem, plan, result.outcome)))
        assert evaluate(loaded.problem, Schedule.of(loaded.plan)) == loaded.plan.score == plan.score


def test_a_plan_with_relays_reads_back(tmp_path: Path) -> None:
    result = solve_small(tmp_path, line_of_boards(3))
    assert isinstance(result.outcome, Front)
    loaded = load_plan(tmp_path / "plan.json")
    assert any(len(t.hops) > 1 for t in loaded.plan.transfers)
    assert evaluate(loaded.problem, Schedule.of(loaded.plan)) == loaded.plan.score


def refusal(path: Path, kind: type[InputError] = PlanError) -> str:
    with pytest.raises(kind) as caught:
        load_plan(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_file_cut_off_anywhere_is_refused(solved: tuple[Path, SolveResult], tmp_path: Path) -> None:
    whole = (solved[0] / "plan.json").read_text().rstrip()
    for share in range(0, 100, 3):
        path = tmp_path / "plan.json"
        path.write_text(whole[: len(whole) * share // 100])
        assert str(path) in refusal(path)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xff\xfe\x00", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b"[1, 2]", "not a plan"),
        (b'{"schema": "edgecut/costs/1"}', "edgecut/costs/1"),
        (b'{"schema": "edgecut/plan/2", "seed": NaN}', "NaN"),
    ],
)
def test_a_foreign_file_is_refused(data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_bytes(data)
    assert said in refusal(tmp_path / "plan.json")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "plan.json")
    assert "cannot be read" in refusal(tmp_path)


def test_a_changed_model_is_refused(tmp_path: Path) -> None:
    solve_small(tmp_path)
    model = tmp_path / "branched.onnx"
    model.write_bytes(model.read_bytes().replace(b"r9", b"r0"))
    assert re.search(r"not the one this plan was made for.*Solve again", refusal(tmp_path / "plan.json"))


def test_a_model_that_moved_with_its_plan_is_found(
    solved: tuple[Path, SolveResult], content: dict[str, Any], tmp_path: Path
) -> None:
    branched_model(tmp_path)
    content = {**content, "model": {**content["model"], "source": "/nowhere/branched.onnx"}}
    assert load_plan(written(tmp_path / "plan.json", content)).plan.segments


def rename(field: str, key: str) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        data[field][0][key] = "nowhere"

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (rename("segments", "processor"), "unknown processor"),
        (rename("transfers", "producer"), "unknown segment"),
        (rename("transfers", "tensor"), "nowhere"),
        (lambda d: d["transfers"][0]["boards"].append("nowhere"), "unknown board"),
        (lambda d: d["transfers"][0]["hops"].append({"link": "nowhere"}), "unknown link"),
        (lambda d: d["segments"][0]["operators"].append("nowhere"), "nowhere"),
        (lambda d: d["limits"].update(max_latency_s="soon"), "cannot be understood"),
        (lambda d: d["limits"].update(colour="red"), "colour"),
        (lambda d: d["certificate"]["latency"].update(value="low"), "low"),
    ],
)
def test_a_plan_that_names_what_is_not_there_is_refused(
    change: Callable[[dict[str, Any]], None], said: str, content: dict[str, Any], tmp_path: Path
) -> None:
    data = json.loads(json.dumps(content))
    change(data)
    assert said in refusal(written(tmp_path / "plan.json", data))


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """All places in a JSON value, but of a list only the first entry's."""
    found = [path] if path else []
    if isinstance(value, dict):
        found += [p for k, v in value.items() for p in places(v, (*path, k))]
    if isinstance(value, list) and value:
        found += places(value[0], (*path, 0))
    return found


@pytest.mark.parametrize("wrong", [None, "text", -1, [], {}, True])
def test_a_wrong_value_anywhere_is_refused_or_makes_no_difference_to_reading(
    wrong: object, content: dict[str, Any], tmp_path: Path
) -> None:
    refused = 0
    for place in places(content):
        data = json.loads(json.dumps(content))
        inner = data
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = wrong
        try:
            load_plan(written(tmp_path / "plan.json", data))
        except Exception as e:  # noqa: BLE001  the type of the error is what is tested
            assert type(e).__module__ in ("optimizer.errors", "boards.errors"), (place, wrong, repr(e))
            assert "\n" not in str(e)
            refused += 1
    assert refused >= 20


@pytest.mark.parametrize("revisits", [False, True])
def test_the_class_of_plans_and_restrictions_survive_the_file(tmp_path: Path, revisits: bool) -> None:
    limits = Limits(
        rate_per_s=0.5, forbids=(("c0", "b1"), ("r*", "b2")), colocations=(("c2", "c3"),), pins={"c8": "b0"}
    )
    request = SolveRequest(
        branched_model(tmp_path), line_of_boards(3), limits=limits, time_limit_s=5.0, workers=1,
        non_contiguous=revisits, gap=0.05, objectives=("throughput",),
    )  # fmt: skip
    result = solve_request(request)
    files = write_results(result, tmp_path)
    loaded = load_plan(files.plan)
    assert loaded.problem.limits == limits
    assert loaded.problem.non_contiguous == revisits
    assert json.loads(files.plan.read_text())["gap"] == 0.05
    assert verify(loaded).holds


def test_an_older_file_shows_its_class_by_its_segments(tmp_path: Path) -> None:
    solve_small(tmp_path)
    data = json.loads((tmp_path / "plan.json").read_text())
    del data["non_contiguous"]
    (tmp_path / "plan.json").write_text(json.dumps(data))
    assert not load_plan(tmp_path / "plan.json").problem.non_contiguous
