"""How good the bound on the period is: networks of the zoo over boards that all differ, bound / best an instance.

    python -m benchmarks.bounds [--quick] [--models a,b] [--boards 2,4,8,16] [--seeds 0,1] [--json FILE]

Boards: rate of arithmetic and memory bandwidth are drawn independently, log-uniform within a factor of 4 of each
other, from the seed and the number of boards; gigabit ports on one switch; costs by the roofline. So every operator's
times lie within a factor of 4, and boards differ in more than speed. Each case is a process of its own that calls
`solve` for throughput, once, with the time limit; seconds include the planner's start, not the reading of the model.

A case is trivial, named as such and left out of the means where the best plan uses fewer than half of the boards, or
where the largest operator on its fastest board takes more than 0.3 of the period: there a bound is easily had.
*fluid* is the bound that lets operators be split over boards at will and sends nothing. Chains are graphs with a single
topological order (skips allowed); to compare: 0.9452 is the geometric mean at 16 blocks of Archer et al., ICML 2024.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.many_boards import switched
from boards.board import Board, Processor, System
from optimizer.cost_models.roofline import roofline_costs
from optimizer.onnx_model import load_graph
from optimizer.plan import Front
from optimizer.problem import Problem
from optimizer.search.fluid import fluid_bound_s
from optimizer.search.many_boards_chain import is_chain
from optimizer.solve import SolveOptions, solve
from optimizer.zoo import zoo_names

BOARDS = (2, 4, 8, 16)
QUICK = (("mobilenet_v2", 4), ("googlenet", 4), ("resnet152", 8), ("resnet152", 16))
MOST_OF_PERIOD = 0.3
"""Share of the period that the largest operator may take."""
_MACS_PER_S = 5e9
_BYTES_PER_S = 5e9
_SPREAD = 4.0
_PORT_BYTES_PER_S = 1.25e8
_OVERHEAD_S = 1e-5


def system(boards: int, seed: int) -> System:
    """Boards that all differ, on one switch. Frames enter at the first and leave at the last."""
    rng = np.random.default_rng([seed, boards])
    made = tuple(_board(f"b{i}", *(_SPREAD ** rng.uniform(size=2)).tolist()) for i in range(boards))
    return switched(made, _PORT_BYTES_PER_S, made[0].name, made[-1].name)


def _board(name: str, arithmetic: float, memory: float) -> Board:
    rates = {"fp32": _MACS_PER_S * arithmetic}
    cpu = Processor("cpu", "cpu", rates, _BYTES_PER_S * memory, _OVERHEAD_S, 5.0, 1.0)
    return Board(name, "inline", (cpu,), 8 * 10**9, None, "ram", True, "onnxruntime", 0, True)


def measure(model: str, boards: int, seed: int, time_limit_s: float) -> dict[str, Any]:
    """One instance, in this process."""
    graph = load_graph(f"zoo:{model}")
    bench = system(boards, seed)
    begin = time.monotonic()
    problem = Problem(graph, bench, roofline_costs(graph, bench))
    options = SolveOptions(objectives=("throughput",), time_limit_s=time_limit_s, workers=len(os.sched_getaffinity(0)))
    front = solve(problem, options)
    row: dict[str, Any] = {
        "model": model,
        "boards": boards,
        "seed": seed,
        "chain": is_chain(problem),
        "seconds": time.monotonic() - begin,
    }
    if not isinstance(front, Front):
        return row | {"reason": "no plan was found"}
    certificate = front.certificates["throughput"]
    best = certificate.value
    used = len({s.processor for s in front.plans[front.chosen].segments})
    largest = float(problem.tables.time_s.min(axis=1).max()) / best
    row |= {
        "period_s": best,
        "bound": (certificate.bound or 0.0) / best,
        "fluid": fluid_bound_s(problem) / best,
        "status": certificate.status,
        "method": certificate.method,
        "used": used,
        "largest": largest,
    }
    if used < boards / 2:
        row["reason"] = f"{used} of {boards} boards used"
    elif largest > MOST_OF_PERIOD:
        row["reason"] = f"the largest operator takes {largest:.2f} of the period"
    return row


def apart(case: tuple[str, int, int, float]) -> dict[str, Any]:
    """One instance in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, case)


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(sum(math.log(max(v, 1e-12)) for v in values) / len(values))


def summary(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Geometric means by kind of graph and number of boards, trivial cases left out."""
    lines = []
    for chain in (True, False):
        for boards in sorted({r["boards"] for r in rows}):
            kept = [r for r in rows if r["chain"] == chain and r["boards"] == boards and "reason" not in r]
            if kept:
                bound, fluid = (geometric_mean([r[key] for r in kept]) for key in ("bound", "fluid"))
                least = min(r["bound"] for r in kept)
                kind = "chains" if chain else "DAGs"
                lines.append(
                    f"{kind:<7} k = {boards:<3} {len(kept):3d} cases  bound/best {bound:.5f} (least {least:.5f})  "
                    f"fluid/best {fluid:.4f}  slowest {max(r['seconds'] for r in kept):.1f} s"
                )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="four small cases")
    parser.add_argument("--models", default=",".join(zoo_names()))
    parser.add_argument("--boards", default=",".join(str(k) for k in BOARDS))
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--time-limit", type=float, default=120.0, help="seconds an instance")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    pairs = [(m, int(k)) for m in given.models.split(",") for k in given.boards.split(",")]
    cases = [(*p, int(s), given.time_limit) for s in given.seeds.split(",") for p in (QUICK if given.quick else pairs)]
    rows = []
    print(f"{'instance':<30} {'period ms':>9} {'bound/best':>10} {'fluid/best':>10} {'boards':>6} {'seconds':>7}")
    for case in cases:
        rows.append(apart(case))
        print(_line(rows[-1]), flush=True)
    print(*summary(rows), sep="\n")
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _line(row: dict[str, Any]) -> str:
    kind = "chain" if row["chain"] else "DAG"
    name = f"{row['model']} {kind} k={row['boards']} s={row['seed']}"
    if "period_s" not in row:
        return f"{name:<30} {row['reason']}"
    figures = f"{row['period_s'] * 1e3:9.3f} {row['bound']:10.5f} {row['fluid']:10.4f} {row['used']:6d}"
    left_out = f"  left out: {row['reason']}" if "reason" in row else ""
    return f"{name:<30} {figures} {row['seconds']:7.1f}  {row['status']}{left_out}"


if __name__ == "__main__":
    main()
