"""What identical boards that take alternate frames gain: throughput with and without `--replicate`.

    python -m benchmarks.replication [--json FILE] [--time-limit SECONDS]

A made chain with a heavy operator in its middle on four boards of one speed, and zoo networks on Raspberry Pi 4 on one
gigabit switch: two, four, and three beside a Jetson Nano. Time is that of `solve` for throughput; the gap is
(best - bound) / best. Figures come from the catalog, not from a measurement.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.many_boards import board, chain_graph, switched
from boards.board import Board, Link, System
from boards.catalog import load_board, load_medium
from optimizer.cost_models.roofline import roofline_costs
from optimizer.costs import CostTable, OperatorCost
from optimizer.onnx_model import load_graph
from optimizer.plan import Front
from optimizer.problem import Problem
from optimizer.solve import SolveOptions, solve

_NETWORKS = ("mobilenet_v2", "googlenet", "resnet50")


def heavy_middle() -> Problem:
    """Five operators of 1, 1, 4, 1 and 1 s; no plan without replicas is faster than the heaviest."""
    graph = chain_graph([100_000] * 6, [1000] * 5)
    boards = tuple(board(f"b{i}") for i in range(4))
    rows = {
        (f"op{v}", f"{one.name}/cpu", "fp32"): OperatorCost(seconds, seconds, "made")
        for v, seconds in enumerate([1.0, 1.0, 4.0, 1.0, 1.0])
        for one in boards
    }
    return Problem(graph, switched(boards, 1.25e8, "b0", "b3"), CostTable(rows))


def bench(kinds: Sequence[str]) -> System:
    """Boards of the catalog on one gigabit switch; frames enter and leave at the first."""
    medium = load_medium("ethernet-1g")
    boards: list[Board] = [replace(load_board(kind), name=f"{kind}-{i}") for i, kind in enumerate(kinds)]
    links: list[Link] = []
    for one in boards:
        for a, b in ((one.name, "switch"), ("switch", one.name)):
            links.append(medium.link(f"{a}->{b}", a, b, resource=f"{a}->{b}"))
    return System(" + ".join(kinds), tuple(boards), tuple(links), boards[0].name, boards[0].name, ("switch",))


def cases() -> Iterator[tuple[str, Problem]]:
    yield "heavy middle, 4 boards", heavy_middle()
    pi, jetson = "raspberry-pi-4", "jetson-nano"
    for label, kinds in (("2 Pi 4", [pi] * 2), ("4 Pi 4", [pi] * 4), ("3 Pi 4 + Nano", [pi] * 3 + [jetson])):
        system = bench(kinds)
        for network in _NETWORKS:
            graph = load_graph(f"zoo:{network}")
            yield f"{network}, {label}", Problem(graph, system, roofline_costs(graph, system))


def measure(name: str, problem: Problem, time_limit_s: float) -> dict[str, Any]:
    row: dict[str, Any] = {"case": name}
    options = SolveOptions(objectives=("throughput",), time_limit_s=time_limit_s)
    for key, on in (("without", False), ("with", True)):
        begin = time.monotonic()
        front = solve(replace(problem, replicate=on), options)
        row[f"{key}_s"] = time.monotonic() - begin
        if isinstance(front, Front):
            certificate = front.certificates["throughput"]
            row |= {f"{key}_per_s": 1.0 / certificate.value, f"{key}_gap": certificate.gap}
            row[f"{key}_status"] = certificate.status
            row["replicas"] = [max(1, len(s.replicas)) for s in front.plans[front.chosen].segments]
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--time-limit", type=float, default=20.0)
    given = parser.parse_args()
    rows = []
    print(f"{'case':<28} {'without':>9} {'gap':>8} {'with':>9} {'gap':>8} {'gain':>7} {'seconds':>8}  boards a segment")
    for name, problem in cases():
        row = measure(name, problem, given.time_limit)
        rows.append(row)
        print(_line(row), flush=True)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _line(row: dict[str, Any]) -> str:
    if "with_per_s" not in row or "without_per_s" not in row:
        return f"{row['case']:<28} no plan found"
    gain = row["with_per_s"] / row["without_per_s"] - 1
    return (
        f"{row['case']:<28} {row['without_per_s']:8.3f}/s {_gap(row['without_gap']):>7} {row['with_per_s']:8.3f}/s "
        f"{_gap(row['with_gap']):>7} {gain:>+7.1%} {row['without_s'] + row['with_s']:8.1f}  {row['replicas']}"
    )


def _gap(gap: float | None) -> str:
    return "open" if gap is None else "0" if gap <= 1e-4 else f"{gap:.2%}"


if __name__ == "__main__":
    main()
