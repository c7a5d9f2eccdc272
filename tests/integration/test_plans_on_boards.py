"""Plans of every class from solving to boards: what they compute is what the model computes, or they are refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from hil.emulate import emulate
from hil.lab_types import Lab
from hil.run import run
from optimizer.split import split_plan
from tests.optimizer.onnx_builders import make_model, node, save, tensor, weight
from tests.waiting import PATIENCE_S

pytestmark = [pytest.mark.integration, pytest.mark.alone]

FRAMES = 12
CHANNELS, PIXELS = 8, 16


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with emulate("demo-unshaped", shaping="none") as lab:
        yield lab


def layers_with_skips() -> onnx.ModelProto:
    """Four convolutions in a line; the first result and the second are needed once more at the end."""
    nodes, weights = [], []
    previous = "input"
    for layer in range(4):
        weights.append(weight(f"w{layer}", CHANNELS, CHANNELS, 3, 3, seed=layer))
        nodes.append(node("Conv", [previous, f"w{layer}"], [f"c{layer}"], f"/conv{layer}", pads=[1] * 4))
        nodes.append(node("Relu", [f"c{layer}"], [f"r{layer}"], f"/relu{layer}"))
        previous = f"r{layer}"
    nodes.append(node("Add", ["r3", "r0"], ["sum"], "/add"))
    nodes.append(node("Add", ["sum", "r1"], ["output"], "/join"))
    shape = (1, CHANNELS, PIXELS, PIXELS)
    return make_model(nodes, [tensor("input", *shape)], [tensor("output", *shape)], weights)


CASES: dict[str, Mapping[str, str]] = {
    "there and back": {"/conv0": "left", "/conv1": "right", "/conv2": "left", "/join": "left"},
    "each board twice": {"/conv0": "left", "/conv1": "right", "/conv2": "left", "/conv3": "right", "/join": "right"},
    "three times, ends where it began": {
        "/conv0": "left",
        "/conv1": "right",
        "/conv2": "left",
        "/conv3": "right",
        "/add": "left",
        "/join": "left",
    },
    "begins away from the source": {"/conv0": "right", "/conv1": "left", "/conv2": "right", "/join": "right"},
}


@pytest.mark.parametrize(("name", "prefer"), [*((name, "throughput") for name in CASES), ("there and back", "latency")])
def test_a_plan_that_comes_back_to_a_board_gives_the_outputs_of_the_model(
    lab: Lab, tmp_path: Path, name: str, prefer: str
) -> None:
    model = save(layers_with_skips(), tmp_path / "model.onnx")
    pins = [word for operator, board in CASES[name].items() for word in ("--pin", f"{operator}={board}")]
    plan = solved(model, tmp_path / "plan", "--non-contiguous", "--prefer", prefer, *pins)
    visits = [segment["processor"] for segment in json.loads(plan.read_text())["segments"]]
    assert len(visits) > len(set(visits)), "no board is visited again"

    bundle = tmp_path / "bundle"
    split_plan(plan, bundle)
    frames = np.random.default_rng(3).standard_normal((FRAMES, 1, CHANNELS, PIXELS, PIXELS)).astype(np.float32)
    outputs = run(bundle, lab, {"input": frames})["output"]

    session = ort.InferenceSession(model.read_bytes(), providers=["CPUExecutionProvider"])
    wanted = np.stack([session.run(["output"], {"input": frame})[0] for frame in frames])
    np.testing.assert_allclose(outputs, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("command", ["run", "measure"])
def test_a_plan_with_replicas_is_refused_in_one_sentence(lab: Lab, tmp_path: Path, command: str) -> None:
    model = save(layers_with_skips(), tmp_path / "model.onnx")
    plan = solved(model, tmp_path / "plan", "--replicate")
    assert any(segment.get("replicas") for segment in json.loads(plan.read_text())["segments"])
    np.savez(tmp_path / "x.npz", input=np.zeros((1, CHANNELS, PIXELS, PIXELS), np.float32))
    options = ["--input", str(tmp_path / "x.npz")] if command == "run" else ["--quick"]
    line = [sys.executable, "-m", "hil.cli", command, str(plan), "--lab", str(lab.path), *options]
    done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 2, done.stderr
    assert "has replicas, and the bench cannot deal frames out to several boards yet" in done.stderr
    assert "Solve again without --replicate" in done.stderr


def solved(model: Path, out: Path, *options: str) -> Path:
    """plan.json of the preferred plan."""
    command = [sys.executable, "-m", "optimizer.cli", "solve", str(model), "--system", "demo-unshaped"]
    command += ["--objectives", "throughput,latency", "--time-limit", "2s", "-o", str(out), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return out / "plan.json"
