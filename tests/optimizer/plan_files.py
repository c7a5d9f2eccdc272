"""Solved plans of a small branched model, as files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from boards.board import System
from optimizer.plan import Front
from optimizer.problem import Limits
from optimizer.request import SolveRequest, SolveResult, solve_request, write_results
from tests.optimizer.onnx_builders import line_of_boards, make_model, node, save, tensor, weight


def branched_model(folder: Path) -> Path:
    """Ten operators, two branches and a skip."""
    nodes = [
        node("Conv", ["x", "w0"], ["a"], name="c0"),
        node("Relu", ["a"], ["b"], name="r1"),
        node("Conv", ["b", "w1"], ["c"], name="c2"),
        node("Conv", ["b", "w2"], ["d"], name="c3"),
        node("Relu", ["d"], ["e"], name="r4"),
        node("Add", ["c", "e"], ["f"], name="a5"),
        node("Conv", ["f", "w3"], ["g"], name="c6"),
        node("Add", ["g", "b"], ["h"], name="a7"),
        node("Conv", ["h", "w4"], ["i"], name="c8"),
        node("Relu", ["i"], ["y"], name="r9"),
    ]
    shape = (1, 8, 12, 12)
    weights = [weight(f"w{i}", 8, 8, 1, 1, seed=i) for i in range(5)]
    return save(make_model(nodes, [tensor("x", *shape)], [tensor("y", *shape)], weights), folder / "branched.onnx")


def _two_boards() -> System:
    """With a link so fast that the best throughput takes both, and the least energy one."""
    slow = line_of_boards(2)
    return replace(slow, links=tuple(replace(x, bandwidth_bytes_per_s=1e9) for x in slow.links))


def solve_small(folder: Path, system: System | None = None, limits: Limits | None = None) -> SolveResult:
    """The branched model on two boards (or the given ones); results in ``folder``."""
    request = SolveRequest(
        branched_model(folder),
        system or _two_boards(),
        limits=limits or Limits(),
        time_limit_s=10.0,
        workers=1,
    )
    result = solve_request(request)
    if isinstance(result.outcome, Front):
        write_results(result, folder)
    return result
