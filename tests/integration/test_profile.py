"""A model profiled on emulated boards, and the commands of `hil` around it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from boards.catalog import load_system
from hil.emulate import Emulation, emulate
from hil.lab_types import Lab
from hil.profile import ProfileOptions, profile
from optimizer.costs_io import load_costs
from optimizer.graph import Graph
from optimizer.onnx_model import load_graph
from optimizer.problem import Problem
from tests.optimizer.onnx_builders import make_model, node, save, tensor, weight

pytestmark = [pytest.mark.integration, pytest.mark.alone, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four convolutions with activations: large enough that a run takes some milliseconds."""
    nodes = []
    weights = []
    previous, channels = "input", 8
    for layer in range(4):
        weights.append(weight(f"w{layer}", 32, channels, 3, 3, seed=layer))
        nodes.append(node("Conv", [previous, f"w{layer}"], [f"c{layer}"], f"/conv{layer}", pads=[1] * 4))
        nodes.append(node("Relu", [f"c{layer}"], [f"r{layer}"], f"/relu{layer}"))
        previous, channels = f"r{layer}", 32
    nodes.append(node("GlobalAveragePool", [previous], ["output"], "/pool"))
    made = make_model(nodes, [tensor("input", 1, 8, 64, 64)], [tensor("output", 1, 32, 1, 1)], weights)
    return save(made, tmp_path_factory.mktemp("model") / "small.onnx")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with emulate("demo", shaping="relay") as lab:
        yield lab


def _hil(*arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hil.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


@pytest.fixture(scope="module")
def graph(model: Path) -> Graph:
    return load_graph(model)


def test_profile_prices_every_operator_on_every_board(graph: Graph, lab: Lab) -> None:
    system = load_system("demo")
    steps: list[str] = []
    costs = profile(graph, system, lab, ProfileOptions(runs=10, cuts=2), steps.append)
    Problem(graph, system, costs)  # refuses tables with holes
    for board in ("left", "right"):
        rows = {o: c for (o, p, _), c in costs.operators.items() if p == f"{board}/cpu"}
        assert set(rows) == {op.name for op in graph.operators}
        total_s = sum(c.time_s for c in rows.values())
        assert total_s > 1e-4
        # 9 of 10 multiplications are in the three wide convolutions.
        assert sum(rows[f"/conv{i}"].time_s for i in (1, 2, 3)) > 0.5 * total_s
        assert rows["/conv2"].provenance.startswith(f"profile: {board}, onnxruntime ")
        assert rows["/conv2"].energy_j == pytest.approx(
            rows["/conv2"].time_s * system.board(board).processors[0].active_power_w
        )
        assert costs.boundaries[f"{board}/cpu"].s_per_byte >= 0
    assert costs.model_sha256 == graph.sha256
    assert any("left" in step for step in steps)
    link = costs.links["left->right"]
    assert 12.5e6 / 4 < link.bandwidth_bytes_per_s < 12.5e6 * 1.1  # never faster; a busy machine is slower
    assert link.send_s_per_byte > 0
    assert link.receive_s_per_byte > 0


def test_boundary_and_links_can_be_left_out(graph: Graph, lab: Lab) -> None:
    options = ProfileOptions(runs=3, level="extended", cuts=0, links=False)
    costs = profile(graph, load_system("demo"), lab, options)
    assert costs.operators
    assert not costs.boundaries
    assert not costs.links
    assert "level extended, 3 runs" in next(iter(costs.operators.values())).provenance


def test_profile_command_writes_a_table_that_loads(model: Path, lab: Lab, tmp_path: Path) -> None:
    output = tmp_path / "costs.json"
    done = _hil(
        *("profile", str(model), "--lab", str(lab.path), "-o", str(output)),
        *("--runs", "5", "--no-boundary", "--no-links", "--json"),
    )
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["operators_s"]) == {"left/cpu", "right/cpu"}
    assert len(load_costs(output).operators) == 2 * len(load_graph(model).operators)


def test_discover_shows_who_is_there(lab: Lab) -> None:
    done = _hil("discover", "--lab", str(lab.path), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found["boards"]) == {"left", "right"}
    assert found["boards"]["left"]["onnxruntime"]
    assert found["errors"] == {}


def test_discover_names_the_board_that_is_gone() -> None:
    with Emulation("demo", shaping="none") as emulation:
        next(c for c in emulation.children if c.name == "right").stop()
        done = _hil("discover", "--lab", str(emulation.lab.path), "--json")
    assert done.returncode == 5
    assert set(json.loads(done.stdout)["boards"]) == {"left"}
    assert "right" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_plan_from_a_profile_runs_and_is_measured(model: Path, lab: Lab, tmp_path: Path) -> None:
    costs, plan = tmp_path / "costs.json", tmp_path / "plan"
    done = _hil("profile", str(model), "--lab", str(lab.path), "-o", str(costs), "--runs", "5")
    assert done.returncode == 0, done.stderr
    solve = [sys.executable, "-m", "optimizer.cli", "solve", str(model), "--system", "demo"]
    pins = ["--pin", "/conv0=left", "--pin", "/pool=right"]
    subprocess.run(
        [*solve, "--costs", str(costs), *pins, "-o", str(plan)], check=True, capture_output=True, timeout=240
    )
    frames = np.random.default_rng(0).standard_normal((3, 1, 8, 64, 64)).astype(np.float32)
    np.savez(tmp_path / "x.npz", input=frames)
    run = ("run", str(plan / "plan.json"), "--lab", str(lab.path))
    done = _hil(*run, "--input", str(tmp_path / "x.npz"), "-o", str(tmp_path / "out.npz"))
    assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "out.npz")["output"].shape == (3, 1, 32, 1, 1)
    done = _hil(
        *("measure", str(plan / "plan.json"), "--lab", str(lab.path)),
        *("--window-s", "0.3", "--latency-frames", "3", "--json"),
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["schema"] == "edgecut/measurement/1"
    assert found["modelled"]["energy_source"] == "model"
    assert {stage["processor"] for stage in found["stages"]} == {"left/cpu", "right/cpu"}
