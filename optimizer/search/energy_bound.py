"""A lower bound on the energy of contiguous plans over boards that may stay unused, and plans near it.

For a set of used boards the idle power I of all processors that count is known, and

    energy >= sum over processors of (active energy - idle power * busy time) + links + I * T.

The interval T is at least the least period, and at least the busy time of every processor, so at least any average of
them with weights that add up to 1. That leaves a cost an operator and processor, whose least sum is found by dynamic
programming along the trunk of the graph (see ``energy_blocks``): on one processor all operators between two of the
trunk run there as well, between two processors all cuts are compared. The weights are raised by a few steps along what
the plan that is least for them keeps busy. What is left between the worst sets of boards and the best plan known is the
price of the average: plans in that gap are listed one by one (see ``energy_labels``).
"""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import dataclass

from optimizer.problem import Problem
from optimizer.search.energy_labels import listed
from optimizer.search.energy_sets import BoardSet
from optimizer.search.energy_trunk import Trunk
from optimizer.search.pool import Assignment

__all__ = ["EnergyBound", "energy_bound"]

_MAX_PROCESSORS = 8
_MAX_SETS = 256
_MOST_STEPS = 40
"""Of the weights, for one set of boards."""
_MOST_ROUNDS = 200
_MARGIN = 0.05
"""How far above what is known the bound of a set should be at first: then less has to be looked at in detail."""
_BETTER = 1e-5
"""A plan must be better by this share to be listed."""
_ROUNDING = 1e-9


@dataclass(frozen=True)
class EnergyBound:
    """``bound_j``: no plan needs less. ``assignments``: (n,) processors by operator, worth a look."""

    bound_j: float
    assignments: tuple[Assignment, ...] = ()


def energy_bound(problem: Problem, period_s: float, known_j: float, deadline: float) -> EnergyBound | None:
    """Joules that every plan needs at least; the search ends at ``known_j`` or with the time.

    ``period_s`` is proven: no plan has a shorter period. None where the processors or the sets of boards are too
    many, a link occupies processors, no operator is on every way, or there is no plan at all.
    """
    if (
        math.isinf(period_s)
        or len(problem.processors) > _MAX_PROCESSORS
        or problem.non_contiguous
        or not _applies(problem)
    ):
        return None
    trunk = Trunk.of(problem)
    if trunk is None:
        return None
    interval = _interval_s(problem, period_s)
    sets = [BoardSet(problem, trunk, used, interval) for used in _board_sets(problem)]
    sets = [s for s in sets if len(s.processors)]
    if not sets or len(sets) > _MAX_SETS:
        return None
    _weigh(sets, known_j, deadline)
    target_j = known_j * (1 - _BETTER)
    assignments: list[Assignment] = []
    for one in sorted(sets, key=lambda s: s.looks_j):
        if time.monotonic() < deadline:
            one.settle(known_j)
        if one.bound_j < target_j < math.inf and time.monotonic() < deadline:
            found = listed(one, target_j, deadline)
            one.bound_j = max(one.bound_j, found.bound_j)
            assignments += found.assignments
    least_j = min(s.bound_j for s in sets)
    return EnergyBound(least_j * (1 - _ROUNDING), tuple(assignments)) if math.isfinite(least_j) else None


def _weigh(sets: list[BoardSet], known_j: float, deadline: float) -> None:
    """Look for good weights, those of the worst set first."""
    for one in sets:
        one.step(_MOST_STEPS)
    for _ in range(_MOST_ROUNDS):
        some = [s for s in sets if s.steps < _MOST_STEPS and s.looks_j < known_j * (1 + _MARGIN)]
        if time.monotonic() > deadline or not some:
            break
        min(some, key=lambda s: s.looks_j).step(_MOST_STEPS)


def _applies(problem: Problem) -> bool:
    """Whether no hop takes idle time from a processor without adding at least as much active energy."""
    return all(link.overlap for link in problem.links) and all(
        r.processor.active_power_w >= r.processor.idle_power_w for r in problem.processors
    )


def _interval_s(problem: Problem, period_s: float) -> tuple[float, bool]:
    """Seconds between frames at least, and whether it is just so."""
    rate = problem.limits.rate_per_s
    return (period_s, False) if rate is None else (1.0 / rate, True)


def _board_sets(problem: Problem) -> list[frozenset[str]]:
    ends = {problem.system.source, problem.system.sink}
    free = sorted({ref.board.name for ref in problem.processors} - ends)
    return [frozenset(ends | set(c)) for r in range(len(free) + 1) for c in itertools.combinations(free, r)]
