"""``optimizer inspect`` and ``optimizer split`` from the outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from onnx import TensorProto

import optimizer.split
from optimizer import cli_model
from optimizer.errors import ModelError
from optimizer.graph import Graph
from optimizer.onnx_model import load_graph, load_onnx
from optimizer.split_manifest import Bundle
from tests.optimizer.onnx_builders import line_of_boards, make_model, make_plan, node, save, tensor, weight


def inspect(*arguments: str) -> str:
    result = CliRunner().invoke(cli_model.inspect, arguments, catch_exceptions=False, env={"COLUMNS": "200"})
    assert result.exit_code == 0
    return result.output


def test_json_has_operators_macs_parameters_and_cuts() -> None:
    found = json.loads(inspect("zoo:squeezenet1_1", "--json", "--top", "2"))
    assert found["schema"] == "edgecut/inspect/1"
    assert len(found["operators"]) == 65
    assert found["macs"] == sum(op["macs"] for op in found["operators"]) == pytest.approx(0.349e9, rel=2e-3)
    assert found["parameters"] == 1_235_496
    assert len(found["cuts"]) == 32
    assert [len(found[key]) for key in ("widest", "inputs", "outputs", "warnings")] == [2, 1, 1, 0]
    first = found["operators"][0]
    assert (first["op_type"], first["weight_bytes"], first["outputs"]) == (
        "Conv",
        (64 * 27 + 64) * 4,
        [found["tensors"][1]["name"]],
    )
    assert found["tensors"][1]["live"] == [0, 1]
    assert found["widest"][0]["size_bytes"] >= found["widest"][1]["size_bytes"]


def test_tables_show_totals_cuts_and_live_sets() -> None:
    text = inspect("zoo:squeezenet1_1", "--top", "3")
    assert "349.2 M" in text
    assert "1,235,496 (4.7 MiB)" in text
    assert "Smallest cut points (3 of 32)" in text
    assert "Widest live sets" in text
    assert "float32 1x3x224x224 (588.0 KiB)" in text


def test_the_batch_is_an_option(tmp_path: Path) -> None:
    model = make_model(
        [node("MatMul", ["x", "w"], ["y"])], [tensor("x", "n", 8)], [tensor("y", "n", 2)], [weight("w", 8, 2)]
    )
    path = str(save(model, tmp_path / "m.onnx"))
    assert json.loads(inspect(path, "--json"))["macs"] == 16
    assert json.loads(inspect(path, "--json", "--batch", "5"))["macs"] == 80


def test_names_are_printed_as_they_are_and_warnings_shown(tmp_path: Path) -> None:
    nodes = [
        node("Strange", ["x"], ["a"], domain="acme", name="[bold]block[0] :smile:"),
        node("Relu", ["a"], ["y"], name="end"),
    ]
    model = make_model(nodes, [tensor("x", 4)], [tensor("y", 4)], domains={"acme": 1}, value_info=[tensor("a", 4)])
    text = inspect(str(save(model, tmp_path / "m[1].onnx")))
    assert "[bold]block[0] :smile:" in text
    assert "m[1].onnx" in text
    assert "warning: operators not known to edgecut, their cost is estimated by bytes: acme.Strange" in text


def test_models_without_macs_or_cuts_are_no_special_case(tmp_path: Path) -> None:
    text = TensorProto.BOOL
    model = make_model([node("Not", ["x"], ["y"])], [tensor("x", dtype=text)], [tensor("y", dtype=text)])
    output = inspect(str(save(model, tmp_path / "m.onnx")))
    assert "x: bool scalar (1 B)" in output
    assert "Smallest cut points (0 of 0)" in output


def test_errors_reach_the_caller() -> None:
    with pytest.raises(ModelError, match="nowhere"):
        CliRunner().invoke(cli_model.inspect, ["nowhere.onnx"], catch_exceptions=False)


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Relu", ["a"], ["b"]), node("MatMul", ["b", "w"], ["y"])]
    model = make_model(nodes, [tensor("x", 1, 8)], [tensor("y", 1, 8)], [weight("w", 8, 8)])
    return load_graph(save(model, tmp_path / "m.onnx"))


@pytest.mark.parametrize("no_verify", [False, True])
def test_split_prints_the_bundle_and_the_check(
    no_verify: bool, graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def split_plan(plan: Path, out_dir: Path, *, progress: object, verify: bool) -> Bundle:
        assert plan == tmp_path / "plan.json"
        system = line_of_boards(2)
        made = make_plan(graph, system, [0, 0, 1])
        return optimizer.split.split(graph, load_onnx(graph.source), made, system, out_dir, verify=verify)

    monkeypatch.setattr(optimizer.split, "split_plan", split_plan)
    arguments = [str(tmp_path / "plan.json"), "-o", str(tmp_path / "bundle"), *["--no-verify"] * no_verify]
    result = CliRunner().invoke(cli_model.split, arguments, catch_exceptions=False, env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "segments/s1.onnx" in result.output
    assert ("not verified" in result.output) == no_verify
    assert ("bit for bit at ONNX Runtime level extended" in result.output) != no_verify
    assert (tmp_path / "bundle" / "manifest.json").is_file()
