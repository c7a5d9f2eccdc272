"""What visits of a board surely spend on links: see ``energy_reach``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimizer.problem import Problem

__all__ = ["VisitJoules"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class VisitJoules:
    """Joules over links by tensor, (t,), that a visit of one board surely spends, each hop counted at one end only.

    A tensor leaves its maker's board by one hop at least, however many boards it goes to, and comes to each board that
    reads it by one hop of its own: that counts here where it is not the maker's.
    """

    leave: Floats
    enter: Floats
    results: Floats
    """All the way to the sink."""
    inputs: Floats
    """From the source, as far as no other board may share it."""

    @classmethod
    def of(cls, problem: Problem, processors: Sequence[int]) -> VisitJoules:
        """Of processors of one board, which may work in different precisions."""
        each = [_wires(problem, q) for q in processors]
        names = ("leave", "enter", "results", "inputs")
        return cls(*(np.min([getattr(wires, name) for wires in each], axis=0) for name in names))


def _wires(problem: Problem, q: int) -> VisitJoules:
    """Of the board of processor q. On one of three processors or more others may make or read the same tensors: only
    what is read or made once is sure to be that processor's."""
    system, own, sizes = problem.system, problem.processors[q].board.name, problem.tables.tensor_bytes
    least, nothing = sizes.min(axis=1), np.zeros(len(sizes))
    crowded = len(problem.processors[q].board.processors) > 2
    others = [] if crowded else [board for board in problem.board_index if board != own]
    out = [r for r in (system.route(own, board) for board in others) if r]
    come = [r for r in (system.route(board, own) for board in others) if r]
    away, here = system.route(own, system.sink), system.route(system.source, own)
    shared = np.array([len(t.consumers) > 1 for t in problem.graph.tensors])
    to_sink = sum((_joules(problem, i, sizes[:, q]) for i in away or ()), nothing)
    from_source = sum((_joules(problem, i, least) for i in here or ()), nothing)
    last = _joules(problem, here[-1], least) if here and not crowded else nothing
    inputs = np.where(problem.tables.producer < 0, np.where(shared, last, from_source), 0.0)
    leave = np.min([_joules(problem, r[0], sizes[:, q]) for r in out], axis=0) if out else nothing
    beyond = [_joules(problem, r[-1], least) if len(r) > 1 else nothing for r in come]
    return VisitJoules(leave, np.min(beyond, axis=0) if come else nothing, to_sink, inputs)


def _joules(problem: Problem, link: int, sizes: Ints) -> Floats:
    """(t,) of each tensor over a link."""
    over = problem.links[link]
    return np.array([over.wire_bytes(int(size)) * over.energy_j_per_byte for size in sizes])
