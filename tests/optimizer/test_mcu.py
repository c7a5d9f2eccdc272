"""Microcontroller boards in plans: kernels that are missing, wire layouts, arenas, and the bench that needs three."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from boards.board import System
from boards.catalog import load_board, load_medium, load_system
from optimizer.cli import main
from optimizer.infeasible import Infeasible
from optimizer.mcu_memory import turned_tensors, wire_key
from optimizer.memory_plan import arena_faults, with_arenas
from optimizer.plan import Front, Plan
from optimizer.plan_io import load_plan
from optimizer.plan_values import arena_to_dict
from optimizer.problem import Problem
from optimizer.request import SolveRequest, make_problem, solve_request, write_results
from optimizer.search.pool import Pool


def mixed(*models: str) -> System:
    """Boards b0, b1, ... in a row."""
    boards = tuple(replace(load_board(m), name=f"b{i}") for i, m in enumerate(models))
    uart = load_medium("uart-115200")
    links = []
    for a, b in itertools.pairwise(boards):
        links += [uart.link(f"{x.name}->{y.name}", x.name, y.name, f"{x.name}->{y.name}") for x, y in ((a, b), (b, a))]
    return System("row", boards, tuple(links), "b0", boards[-1].name)


def model_with(op_type: str, path: Path) -> Path:
    """conv, an operator, relu: float32 images."""
    weights = onnx.numpy_helper.from_array(np.ones((4, 3, 1, 1), np.float32), "w")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="first"),
        helper.make_node(op_type, ["a"], ["b"], name="odd"),
        helper.make_node("Relu", ["b"], ["y"], name="last"),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, c, 8, 8)) for n, c in (("x", 3), ("y", 4))]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [weights])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def solved(model: str | Path, system: System | str, **more: object) -> Front | Infeasible:
    outcome = solve_request(SolveRequest(model, system, time_limit_s=20.0, workers=1, **more)).outcome  # type: ignore[arg-type]
    assert isinstance(outcome, Front | Infeasible)
    return outcome


def whole(problem: Problem, *homes: int) -> Plan:
    """The plan with these processors by operator."""
    plan = Pool(problem).score(np.array(homes, dtype=np.int64))
    assert plan is not None
    return with_arenas(problem, plan)


def test_an_operator_without_kernel_makes_a_plan_of_such_boards_impossible(tmp_path: Path) -> None:
    found = solved(model_with("Softplus", tmp_path / "m.onnx"), mixed("mps2-an386", "mps2-an386"))
    assert isinstance(found, Infeasible)
    (clash,) = found.clashes
    assert "Softplus 'odd'" in clash.text
    assert "b0/m4, b1/m4 cannot" in clash.text
    assert "no kernel for Softplus" in clash.help


def test_the_command_names_the_node_and_ends_with_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = model_with("Softplus", tmp_path / "m.onnx")
    with pytest.raises(SystemExit) as ended:
        main(["solve", str(path), "--system", "mcu-emulated", "-o", str(tmp_path / "out")])
    assert ended.value.code == 3
    said = capsys.readouterr()
    assert "Softplus 'odd' (float32)" in said.out + said.err


def test_an_operator_with_attributes_that_no_kernel_takes_is_told_what_they_take(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    graph = helper.make_graph(
        [helper.make_node("Softmax", ["x"], ["y"], name="odd", axis=2)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 8, 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 3, 8, 8))],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    found = solved(path, mixed("mps2-an386"))
    assert isinstance(found, Infeasible)
    assert "takes: along the channels of images or the last axis" in found.clashes[0].help


def test_such_an_operator_goes_to_a_board_that_has_it(tmp_path: Path) -> None:
    path = model_with("Softplus", tmp_path / "m.onnx")
    found = solved(path, mixed("mps2-an386", "raspberry-pi-4"))
    assert isinstance(found, Front)
    homes = {v: s.processor for s in found.plans[found.chosen].segments for v in s.operators}
    assert homes[1] == "b1/cpu"
    # Not even where it is pinned: that is a clash, not a plan.
    clash = solved(
        path, mixed("mps2-an386", "raspberry-pi-4"), limits=replace(SolveRequest("", "").limits, pins={"odd": "b0"})
    )
    assert isinstance(clash, Infeasible)


def test_a_tensor_to_a_linux_board_is_turned_and_its_buffer_counted(tmp_path: Path) -> None:
    problem = make_problem(
        SolveRequest(model_with("Sigmoid", tmp_path / "m.onnx"), mixed("mps2-an386", "raspberry-pi-4"))
    )
    plan = whole(problem, 0, 0, 1)
    small = next(s for s in plan.segments if s.processor == "b0/m4")
    crossing = problem.graph.tensor_index["b"]
    turned = turned_tensors(problem.graph, problem.system, plan.segments, plan.transfers)
    assert crossing in turned
    assert problem.graph.tensor_index["x"] not in turned, "the host feeds the microcontroller as it likes"
    layout = plan.arenas[small.name]
    assert wire_key(problem.graph, crossing) in layout.offsets
    assert "b@wire" in arena_to_dict(problem.graph, layout)["offsets"]
    assert list(arena_faults(problem, plan)) == []


def test_between_microcontrollers_nothing_is_turned(tmp_path: Path) -> None:
    problem = make_problem(SolveRequest(model_with("Sigmoid", tmp_path / "m.onnx"), mixed("mps2-an386", "mps2-an386")))
    plan = whole(problem, 0, 0, 1)
    assert turned_tensors(problem.graph, problem.system, plan.segments, plan.transfers) == set()


def test_no_board_of_the_bench_holds_the_network_that_three_of_them_hold(tmp_path: Path) -> None:
    request = SolveRequest("zoo:tiny_mobilenet_v2_035_int8", "mcu-emulated", time_limit_s=20.0, workers=1)
    result = solve_request(request)
    assert isinstance(result.outcome, Front)
    plan = result.outcome.plans[result.outcome.chosen]
    assert {s.processor for s in plan.segments} == {"head/m4", "middle/m4", "tail/m4"}
    for use in plan.score.memory_bytes.values():
        assert use.ram_bytes <= use.ram_available_bytes
        assert use.flash_available_bytes is not None
        assert use.flash_bytes <= use.flash_available_bytes
    for board in load_system("mcu-emulated").boards:
        alone = replace(board, name="only")
        one = System("one", (alone,), (), "only", "only")
        assert isinstance(solved("zoo:tiny_mobilenet_v2_035_int8", one), Infeasible)
    again = load_plan(write_results(result, tmp_path / "out").plan)
    assert again.plan.arenas == plan.arenas
    assert list(arena_faults(again.problem, again.plan)) == []
