"""Two processors: what every way to cut the graph in two surely takes of each board's RAM."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from optimizer.problem import Problem

__all__ = ["memory_shares"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
_ROWS = 2048
"""Cuts looked at together: bounds the size of the intermediate arrays."""


def memory_shares(problem: Problem, downsets: Bools, first: int, second: int) -> Floats:
    """(m,) lower bound on used / available RAM of the fuller board, with ``downsets`` on processor ``first``.

    Weights, one buffer for every tensor that enters or leaves, what is live beside an operator in every order, and
    the runtime. Boards that only relay are left out, and so is what two processors of one board need together.
    """
    parts = [downsets[i : i + _ROWS] for i in range(0, len(downsets), _ROWS)]
    return np.concatenate([np.maximum(_share(problem, p, first), _share(problem, ~p, second)) for p in parts])


def _share(problem: Problem, own: Bools, q: int) -> Floats:
    """(m,) share of the board of processor ``q``, which runs ``own``."""
    tables, board = problem.tables, problem.processors[q].board
    inner, touching = _tensors(problem, own)
    needed = touching @ tables.tensor_bytes.min(axis=1).astype(np.float64) + _arena(problem, own, inner, q)
    if board.weights_in == "ram":
        users = np.zeros((own.shape[1], len(problem.graph.initializers)))
        for op in problem.graph.operators:
            users[op.index, list(op.initializers)] = 1.0
        needed += (own @ users > 0) @ tables.initializer_bytes[:, q].astype(np.float64)
    needed += board.runtime_ram_bytes * own.any(axis=1)
    available = float(tables.ram_limit[tables.board_of[q]])
    return np.asarray(needed / available) if available > 0 else np.where(needed > 0, np.inf, 0.0)


def _tensors(problem: Problem, own: Bools) -> tuple[Bools, Bools]:
    """(m, t) tensors that live and die in the share, and those that enter or leave it."""
    inner = np.zeros((len(own), len(problem.graph.tensors)), dtype=np.bool_)
    touching = np.zeros_like(inner)
    for t, tensor in enumerate(problem.graph.tensors):
        users = own[:, list(tensor.consumers)]
        if tensor.producer is None:
            touching[:, t] = users.any(axis=1)
            continue
        made = own[:, tensor.producer]
        leaves = made & (~users.all(axis=1) | tensor.is_output)
        inner[:, t] = made & ~leaves
        touching[:, t] = leaves | (~made & users.any(axis=1))
    return inner, touching


def _arena(problem: Problem, own: Bools, inner: Bools, q: int) -> Floats:
    """(m,) the most that is live in the arena beside one operator, whatever the order."""
    live = problem.always_live.astype(np.float64) * problem.tables.tensor_bytes[:, [q]]
    if problem.processors[q].board.in_place:
        for op in problem.graph.operators:
            if op.in_place_input is not None:
                live[list(op.outputs), op.index] = 0.0
    return np.asarray(np.where(own, inner @ live, 0.0).max(axis=1, initial=0.0))
