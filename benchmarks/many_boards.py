"""Many boards of few types, and boards that all differ: least period, bound and time to prove it.

    python -m benchmarks.many_boards [--json FILE] [--seed N]

PipeEdge's counterexamples (three slow hosts, a fast one, eight equal layers), and random chains over boards on one
switch: operator times are log-normal, times a speed of the board's type, times 25 % of noise an operator and type.
Time is that of `solve` for throughput, model building not included; the gap is (best - bound) / best and prints as 0
up to 1e-4.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from boards.board import Board, Link, Processor, System
from optimizer.costs import CostTable, OperatorCost
from optimizer.graph import Graph, Initializer, Operator, Tensor
from optimizer.plan import Front
from optimizer.problem import Limits, Problem
from optimizer.solve import SolveOptions, solve

_MB = 1_000_000


@dataclass(frozen=True)
class Case:
    """``types`` None: all boards differ. ``seconds``: the target."""

    operators: int
    boards: int
    types: int | None
    seconds: float

    @property
    def name(self) -> str:
        kinds = "all different" if self.types is None else f"{self.types} types"
        return f"{self.operators} operators, {self.boards} boards, {kinds}"


CASES = (Case(96, 16, 4, 0.5), Case(1000, 64, 4, 10.0), Case(96, 16, None, 60.0), Case(1000, 64, None, 60.0))


def chain_graph(sizes: list[int], weights: list[int]) -> Graph:
    """Operator i reads tensor i and makes tensor i + 1; ``sizes`` has one entry more than ``weights``."""
    n = len(weights)
    tensors = tuple(
        Tensor(f"t{i}", (size,), "uint8", size, i - 1 if i else None, (i,) if i < n else (), i == n)
        for i, size in enumerate(sizes)
    )
    operators = tuple(Operator(v, f"op{v}", "Any", (v,), (v + 1,), (v,), weights[v], 0) for v in range(n))
    initializers = tuple(Initializer(f"w{v}", size, "uint8") for v, size in enumerate(weights))
    return Graph("chain", "made", "0" * 64, 1, 17, operators, tensors, initializers, (0,), (n,))


def board(name: str) -> Board:
    cpu = Processor("cpu", "cpu", {"fp32": 1e9}, 1e9, 0.0, 2.0, 0.5)
    return Board(name, "inline", (cpu,), 8 * 10**9, None, "ram", False, "onnxruntime", 0, True)


def switched(boards: tuple[Board, ...], bytes_per_s: float, source: str, sink: str) -> System:
    ports = tuple(
        Link(f"{a}->{b}", a, b, f"{a}->{b}", bytes_per_s)
        for one in boards
        for a, b in ((one.name, "switch"), ("switch", one.name))
    )
    return System("many", boards, ports, source, sink, ("switch",))


def random_chain(case: Case, seed: int) -> Problem:
    """Tensors of 0.1 MB and weights of 10 kB on average, gigabit ports, times of 10 ms on the fastest type."""
    rng = np.random.default_rng(seed)
    n, kinds = case.operators, case.types or case.boards
    sizes = [int(x) + 1 for x in rng.lognormal(0, 1, n + 1) * 6e4]
    graph = chain_graph(sizes, [int(x) + 1 for x in rng.lognormal(0, 0.8, n) * 1e4])
    boards = tuple(board(f"b{i}") for i in range(case.boards))
    base = rng.lognormal(0, 0.6, n) * 0.01
    slow = rng.uniform(1.0, 4.0, kinds)
    seconds = base[None] * slow[:, None] * rng.lognormal(0, 0.25, (kinds, n))
    rows = {}
    for q, one in enumerate(boards):
        for v in range(n):
            cost = OperatorCost(float(seconds[q % kinds, v]), float(seconds[q % kinds, v]), "made")
            rows[f"op{v}", f"{one.name}/cpu", "fp32"] = cost
    return Problem(graph, switched(boards, 1.25e8, "b0", f"b{case.boards - 1}"), CostTable(rows))


def pipeedge() -> Problem:
    """Three slow hosts (1.0 s a layer), a fast one (0.1 s), eight layers of 1 MB of weights, links that are free."""
    names = {"slow0": 1.0, "slow1": 1.0, "slow2": 1.0, "fast": 0.1}
    graph = chain_graph([_MB // 4] * 9, [_MB] * 8)
    system = switched(tuple(board(name) for name in names), 1e15, "slow0", "slow2")
    rows = {(f"op{v}", f"{b}/cpu", "fp32"): OperatorCost(s, s, "made") for v in range(8) for b, s in names.items()}
    return Problem(graph, system, CostTable(rows))


def pipeedge_limited() -> Problem:
    """The same; the fast host holds one layer (2 MB with its buffers), the slow ones three each."""
    flash = {f"slow{i}": 3 * _MB for i in range(3)}
    return replace(pipeedge(), limits=Limits(max_ram_bytes={"fast": 2 * _MB}, max_flash_bytes=flash))


def measure(name: str, problem: Problem, target_s: float) -> dict[str, Any]:
    begin = time.monotonic()
    front = solve(problem, SolveOptions(objectives=("throughput",), time_limit_s=min(45.0, 50 * target_s)))
    row: dict[str, Any] = {"case": name, "seconds": time.monotonic() - begin, "target_s": target_s}
    if isinstance(front, Front):
        certificate = front.certificates["throughput"]
        plan = front.plans[front.chosen]
        row |= {"period_s": certificate.value, "bound_s": certificate.bound, "gap": certificate.gap}
        row |= {"status": certificate.status, "method": certificate.method, "boards": len(plan.segments)}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    problems = [("PipeEdge", pipeedge(), 1.0), ("PipeEdge, memory-limited", pipeedge_limited(), 1.0)]
    problems += [(case.name, random_chain(case, given.seed), case.seconds) for case in CASES]
    rows = []
    print(f"{'case':<42} {'period s':>10} {'bound s':>10} {'gap':>7} {'seconds':>8} {'target':>7}  status, method")
    for name, problem, target_s in problems:
        row = measure(name, problem, target_s)
        rows.append(row)
        print(_line(row), flush=True)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _line(row: dict[str, Any]) -> str:
    ends = f"{row['seconds']:8.2f} {row['target_s']:7.1f}"
    if "gap" not in row:
        return f"{row['case']:<42} {'none':>10} {'':>10} {'':>7} {ends}"
    gap = "none" if row["gap"] is None else "0" if row["gap"] <= 1e-4 else f"{row['gap']:.2%}"
    figures = f"{row['period_s']:10.6g} {row['bound_s'] or 0:10.6g} {gap:>7}"
    return f"{row['case']:<42} {figures} {ends}  {row['status']}, {row['method']}"


if __name__ == "__main__":
    main()
