"""Small random problems whose processors work in different precisions, with what operators lose by them."""

from __future__ import annotations

import random
from dataclasses import replace

from boards.board import Board
from optimizer.costs import CostTable, OperatorCost
from optimizer.problem import Limits, Problem
from optimizer.sensitivity import Sensitivity
from tests.optimizer.builders import random_problem


def mixed_problem(
    seed: int, n: int = 6, k: int = 2, kind: str = "mesh", limits: Limits | None = None, precisions: str = "any"
) -> Problem:
    """Every board offers int8 only, fp32 only or (``precisions`` "any") both; tensors are floats; losses are random.

    Rows of both precisions stand in the cost table of every processor.
    """
    base = random_problem(seed, n=n, k=k, kind=kind)
    rng = random.Random(seed + 1)
    offers = [rng.choice([("fp32",), ("int8",), ("int8", "fp32")]) for _ in base.system.boards]
    offers = [("int8", "fp32") if precisions == "both" else o for o in offers]
    boards = tuple(_offering(b, o) for b, o in zip(base.system.boards, offers, strict=True))
    rows = {}
    for (operator, key, _), cost in base.costs.operators.items():
        faster = rng.uniform(0.2, 1.1)
        rows[operator, key, "fp32"] = cost
        rows[operator, key, "int8"] = OperatorCost(cost.time_s * faster, cost.energy_j * faster, "made")
    graph = replace(
        base.graph,
        tensors=tuple(replace(t, dtype="float32", size_bytes=4 * t.size_bytes) for t in base.graph.tensors),
        initializers=tuple(replace(i, dtype="float32", size_bytes=4 * i.size_bytes) for i in base.graph.initializers),
    )
    losses = {(op.name, "int8"): rng.choice([0.0, 0.1, 0.5, 2.0]) for op in graph.operators}
    losses |= {(op.name, "fp32"): rng.choice([0.0, 0.0, 0.01]) for op in graph.operators}
    return Problem(
        graph,
        replace(base.system, boards=boards),
        CostTable(rows, base.costs.boundaries),
        limits or Limits(),
        sensitivity=Sensitivity(losses),
    )


def _offering(board: Board, precisions: tuple[str, ...]) -> Board:
    rates = dict.fromkeys(precisions, 1e9)
    return replace(board, processors=tuple(replace(p, macs_per_s=rates) for p in board.processors))
