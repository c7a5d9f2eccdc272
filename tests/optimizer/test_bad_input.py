"""What `optimizer solve` says of input that cannot be used: exit code 2, and a sentence that names it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from boards.catalog import load_system
from optimizer.cli import main
from optimizer.cost_models.roofline import roofline_costs
from optimizer.costs import CostTable
from optimizer.costs_io import costs_to_dict
from optimizer.errors import CostError
from optimizer.onnx_model import load_graph
from optimizer.problem import Problem
from tests.optimizer.onnx_builders import line_of_boards
from tests.optimizer.plan_files import branched_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and a cost file for it on two-heterogeneous."""
    place = tmp_path_factory.mktemp("input")
    model = branched_model(place)
    system = load_system("two-heterogeneous")
    write(place / "costs.json", costs_to_dict(roofline_costs(load_graph(model), system)))
    return place


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return int(stop.value.code or 0), capsys.readouterr().err


def solve(folder: Path, capsys: pytest.CaptureFixture[str], *options: str | Path) -> tuple[int, str]:
    where = ("--system", "two-heterogeneous", "-o", folder / "out")
    return run(capsys, "solve", folder / "branched.onnx", *where, "--time-limit", "5s", *options)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
@pytest.mark.parametrize("field", ["time_s", "energy_j"])
def test_costs_that_are_no_costs(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], field: str, value: float
) -> None:
    costs = json.loads((folder / "costs.json").read_text())
    costs["operators"][3][field] = value
    code, said = solve(folder, capsys, "--costs", write(tmp_path / "bad.json", costs))
    assert code == 2
    assert field in said
    assert costs["operators"][3]["operator"] in said or "operators[3]" in said


def test_rows_that_are_missing_are_named(folder: Path) -> None:
    graph, system = load_graph(folder / "branched.onnx"), line_of_boards(2)
    rows = dict(roofline_costs(graph, system).operators)
    key = next(k for k in rows if k[0] == "c6" and k[1].startswith("b1"))
    del rows[key]
    with pytest.raises(CostError, match="cost rows are missing: c6 on b1/cpu at fp32"):
        Problem(graph, system, CostTable(rows))


def test_a_system_without_boards(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare = tmp_path / "bare.yaml"
    bare.write_text("schema: edgecut/system/1\nname: bare\nboards: {}\nsource: a\nsink: a\nlinks: []\n")
    code, said = run(capsys, "solve", folder / "branched.onnx", "--system", bare, "-o", tmp_path)
    assert code == 2
    assert "boards" in said


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--max-latency", "5J"], ["--max-latency", "unknown unit 'J'"]),
        (["--min-throughput", "5ms"], ["--min-throughput", "unknown unit 'ms'"]),
        (["--max-energy", "5ms"], ["--max-energy", "unknown unit 'ms'"]),
        (["--rate", "20ms"], ["--rate", "unknown unit 'ms'"]),
        (["--rate", "20"], ["--rate", "unit is missing"]),
        (["--max-memory", "slow=ram:5ms"], ["unknown unit 'ms'"]),
        (["--gap", "120%"], ["--gap", "less than 100%"]),
        (["--cost-uncertainty", "100%"], ["--cost-uncertainty", "less than 100%"]),
        (["--forbid", "c0"], ["--forbid", "NODE=BOARD", "got c0"]),
        (["--colocate", "c0"], ["--colocate", "NODE,NODE", "got c0"]),
        (["--colocate", "c0,c99"], ["'c99' is not in the model"]),
        (["--pin", "c0=slow", "--pin", "c0=fast"], ["'c0' is pinned twice", "--pin c0=fast"]),
        (["--colocate", "c0,c2", "--colocate", "c2,c0"], ["colocations are cyclic", "c0, c2, c0"]),
        (["--colocate", "c0,c2", "--pin", "c0=slow", "--pin", "c2=fast"], ["contradict", "--pin c2=fast"]),
        (["--forbid", "c0=slow", "--forbid", "c0=fast"], ["operator c0", "--forbid c0=fast"]),
        (["--start", "nowhere/plan.json"], ["nowhere/plan.json", "no such file"]),
    ],
)
def test_options_that_cannot_be_used(
    folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], parts: list[str]
) -> None:
    code, said = solve(folder, capsys, *options)
    said = " ".join(said.split())
    assert code == 2
    assert not [part for part in parts if part not in said]


def test_too_little_time_to_find_anything_is_exit_code_4(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    where = ("--system", "two-heterogeneous", "-o", tmp_path, "--time-limit", "1ms", "--min-throughput", "89/s")
    code, said = run(capsys, "solve", "zoo:squeezenet1_1", *where)
    assert code == 4
    assert "none was proven impossible" in said
    assert "--time-limit" in said


def test_a_colocation_that_only_a_revisit_keeps_is_exit_code_3(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    restrictions = ("--colocate", "c0,c8", "--pin", "c0=slow", "--pin", "c6=fast")
    code, said = solve(folder, capsys, *restrictions)
    assert code == 3
    assert "leave out --colocate c0,c8" in said
    assert "leave out --pin c6=fast" in said
