"""Two processors, any assignment: the least time of the busier one, exactly, by dynamic programming.

(``cpsat.balance`` does the same for more of them.)

Links and memory are left out, so the value bounds the period of every plan, contiguous or not; where the links
have room, the assignment that comes with it attains it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimizer.graph import predecessors, successors
from optimizer.problem import Problem
from optimizer.search.pool import Assignment

__all__ = ["Balance", "balance_two", "in_steps", "settle", "time_step"]

_CELLS = 1_500_000
"""Steps of time in the table: one takes a few bytes and some nanoseconds an operator."""
_TICK_S = 1e-12
_ROUNDING = 1e-9
_UNREACHED = np.iinfo(np.int64).max // 2


@dataclass(frozen=True)
class Balance:
    """``bound_s``: no plan has a shorter period. ``assignment``: (n,) what attains it but for links."""

    bound_s: float
    assignment: Assignment


def balance_two(problem: Problem, at_most_s: float = math.inf) -> Balance | None:
    """The best balance of two processors; None for another number of them, or where none is within ``at_most_s``.

    Times are counted in the largest step that divides them all (of at least a picosecond), so that nothing is
    rounded; where that makes the table too long, in longer steps, rounded down.
    """
    times = problem.tables.time_s
    if times.shape[1] != 2:
        return None
    limit = min(at_most_s * (1 + _ROUNDING), float(times.sum(axis=0).max()))
    step_s = time_step(times, max(limit / _CELLS, _TICK_S))
    counts = in_steps(times, step_s)
    allowed = problem.tables.allowed
    cells = math.floor(limit / step_s + 1e-6) + 1
    table = np.full(cells, _UNREACHED, dtype=np.int64)
    """By time of the first processor: the least time of the second."""
    table[0] = 0
    on_first: list[npt.NDArray[np.uint8]] = []
    for v in range(len(counts)):
        first, second = int(counts[v, 0]), int(counts[v, 1])
        stay = table + second if allowed[v, 1] else np.full(cells, _UNREACHED, dtype=np.int64)
        move = np.full(cells, _UNREACHED, dtype=np.int64)
        if allowed[v, 0] and first < cells:
            move[first:] = table[: cells - first]
        on_first.append(np.packbits(move < stay))
        table = np.minimum(move, stay)
    busier = np.maximum(np.arange(cells), table)
    at = int(np.argmin(busier))
    if busier[at] >= _UNREACHED:
        return None
    bound_s = float(busier[at]) * step_s * (1 - _ROUNDING)
    return Balance(bound_s, settle(problem, _trace(on_first, counts, at)))


def time_step(times: npt.NDArray[np.float64], coarse: float) -> float:
    """Seconds of one count: what divides all times where that is no less than ``coarse``, else that."""
    ticks = np.rint(times / _TICK_S)
    if np.abs(times / _TICK_S - ticks).max(initial=0.0) > 1e-3:
        return coarse
    common = math.gcd(*(int(x) for x in ticks.ravel())) * _TICK_S
    return common if common >= coarse else coarse


def in_steps(times: npt.NDArray[np.float64], step_s: float) -> npt.NDArray[np.int64]:
    """Times in steps, rounded down; a millionth of a step is taken for rounding of the division."""
    return np.floor(times / step_s + 1e-6).astype(np.int64)


def _trace(on_first: list[npt.NDArray[np.uint8]], counts: npt.NDArray[np.int64], at: int) -> Assignment:
    assignment = np.ones(len(counts), dtype=np.int64)
    for v in range(len(counts) - 1, -1, -1):
        if on_first[v][at >> 3] >> (7 - (at & 7)) & 1:
            assignment[v] = 0
            at -= int(counts[v, 0])
    return assignment


def settle(problem: Problem, assignment: Assignment) -> Assignment:
    """Operators that cost nothing go where what they read is made, or else where it is used."""
    graph, tables = problem.graph, problem.tables
    free = [v for v in range(len(assignment)) if not tables.time_s[v].any() and tables.allowed[v].all()]
    before, behind = predecessors(graph), successors(graph)
    settled = assignment.copy()
    for v in free:
        near = before[v] or behind[v]
        if near:
            settled[v] = settled[near[0]]
    return settled
