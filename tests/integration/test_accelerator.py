"""Costs of an accelerator by ZigZag itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from boards.catalog import load_system
from optimizer.cost_models.accelerator import accelerator_costs, find_accelerator
from optimizer.errors import CostError
from optimizer.onnx_model import load_graph

pytestmark = pytest.mark.integration

CLOCK_HZ = 200e6
LOOP_LIMIT = 3
"""Fast, not good: what is tested is the way there and back."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two equal convolutions with a Relu between them, and a product."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(8, 8, 3, 3)), "m": rng.normal(size=(8, 4))}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("Conv", ["b", "w"], ["c"], name="second", pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["c"], ["d"], name="pool"),
        helper.make_node("Flatten", ["d"], ["e"], name="flat"),
        helper.make_node("MatMul", ["e", "m"], ["y"], name="product"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(w.astype(np.float32), n) for n, w in weights.items()],
    )
    path = tmp_path_factory.mktemp("model") / "small.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_layers_get_zigzags_figures_and_the_rest_the_rooflines(model: Path) -> None:
    graph, system = load_graph(model), load_system("eyeriss-simba")
    done: list[tuple[int, int]] = []
    described = find_accelerator("eyeriss_like", None, CLOCK_HZ, LOOP_LIMIT)
    table = accelerator_costs(
        graph, system, "simba/array", described, workers=2, progress=lambda n, of: done.append((n, of))
    )
    rows = {name: row for (name, processor, precision), row in table.operators.items()}
    assert set(rows) == {op.name for op in graph.operators}
    assert rows["first"] == rows["second"]
    assert done == [(0, 2), (1, 2), (2, 2)]
    ideal_s = 8 * 8 * 9 * 64 / (14 * 12) / CLOCK_HZ  # ZigZag's eyeriss_like has 14 x 12 multipliers
    assert ideal_s <= rows["first"].time_s < 100 * ideal_s
    assert 0 < rows["first"].energy_j < 1e-3
    assert {n for n, r in rows.items() if r.provenance.startswith("zigzag: eyeriss_like, 8 bit")} == {
        "first",
        "second",
        "product",
    }
    assert "no layer of an accelerator model" in rows["relu"].provenance


def test_a_run_that_was_ended_is_taken_up(model: Path, tmp_path: Path) -> None:
    graph, system = load_graph(model), load_system("eyeriss-simba")
    described = find_accelerator("eyeriss_like", None, CLOCK_HZ, LOOP_LIMIT)
    keep, done = tmp_path / "costs.json.layers", []

    def interrupt(count: int, of: int) -> None:
        if count == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        accelerator_costs(graph, system, "simba/array", described, workers=1, progress=interrupt, keep=keep)
    table = accelerator_costs(
        graph, system, "simba/array", described, workers=1, progress=lambda n, of: done.append((n, of)), keep=keep
    )
    assert done == [(1, 2), (2, 2)]
    assert sum(row.provenance.startswith("zigzag") for row in table.operators.values()) == 3


def test_the_command_writes_costs_that_solve_takes(model: Path, tmp_path: Path) -> None:
    costs = tmp_path / "costs.json"
    run = [sys.executable, "-m", "optimizer.cli"]
    given = ["-s", "eyeriss-simba", "--processor", "simba/array", "--accelerator", "eyeriss_like"]
    made = subprocess.run(
        [*run, "costs", str(model), *given, "--clock", "200MHz", "--loop-limit", "3", "-o", str(costs)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert "3 of them modelled by ZigZag" in made.stdout
    assert "2 of 2 kinds of layers modelled" in made.stderr
    assert not costs.with_name("costs.json.layers").exists()
    solved = subprocess.run(
        [*run, "solve", str(model), "-s", "eyeriss-simba", "--costs", str(costs), "-o", str(tmp_path), "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert solved.returncode == 0, solved.stderr
    used = json.loads(solved.stdout)["costs"]["operators"]
    assert sum(row["provenance"].startswith("zigzag") for row in used) == 3


@pytest.mark.parametrize(
    ("name", "mapping", "clock_hz", "says"),
    [
        ("no_such", None, 1e8, "no such accelerator"),
        ("eyeriss_like", "no_such", 1e8, "no such mapping"),
        ("eyeriss_like", None, 0.0, "the clock is not usable"),
    ],
)
def test_bad_descriptions_are_named(name: str, mapping: str | None, clock_hz: float, says: str) -> None:
    with pytest.raises(CostError, match=says):
        find_accelerator(name, mapping, clock_hz)


def test_a_description_that_zigzag_does_not_take(model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: broken\n")
    with pytest.raises(CostError, match="ZigZag cannot model a layer"):
        accelerator_costs(
            load_graph(model), load_system("eyeriss-simba"), "simba/array",
            find_accelerator(str(broken), None, CLOCK_HZ), workers=1,
        )  # fmt: skip
