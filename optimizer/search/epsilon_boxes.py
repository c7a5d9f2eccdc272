"""Fronts of two objectives with a proof: boxes of the plane of objectives, each proven empty or attained by a plan.

A box is halved along its second objective; CP-SAT gives the least first objective in the lower half, or says that
nothing is there. What lies left of that is empty, what lies behind the plan found is dominated, and the rest are
smaller boxes. Boxes that are still open in the end say how much any front may add to the plans found.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from optimizer.objectives import held, objective_values
from optimizer.search.cpsat import Budget, prove
from optimizer.search.pool import Pool, assignment_of

__all__ = ["Box", "BoxFront", "epsilon_boxes"]

_CLOSED = 3e-5
"""By this share a plan may miss the bound that closes a box; CP-SAT's proofs leave out what is better by less."""


@dataclass(frozen=True)
class Box:
    """Figures (minimised) from ``low`` on and less than ``high`` in both objectives."""

    low: tuple[float, float]
    high: tuple[float, float]

    @property
    def area(self) -> float:
        return max(0.0, self.high[0] - self.low[0]) * max(0.0, self.high[1] - self.low[1])


@dataclass(frozen=True)
class BoxFront:
    """Every plan's figures are reached by one of ``points`` (within 1e-4) or lie in an open box."""

    points: tuple[tuple[float, float], ...]
    open: tuple[Box, ...]
    whole: Box
    """Between the best values of the two objectives."""
    proofs: int

    @property
    def open_share(self) -> float:
        """Of the area of the whole box: no front adds more than this to the area that the points dominate."""
        return min(1.0, sum(b.area for b in self.open) / self.whole.area) if self.whole.area > 0 else 0.0


def epsilon_boxes(pool: Pool, budget: Budget, tolerance: float = 1e-3, seconds_a_box: float = 10.0) -> BoxFront | None:
    """Split until the open boxes are each smaller than ``tolerance`` of the whole, or the budget is used up.

    Plans found go into the pool, which must have two objectives. None where no plan is found at all.
    """
    first, second = pool.objectives
    search = _Boxes(pool, budget, seconds_a_box)
    least = search.prove(pool, first, 0.0), search.prove(pool, second, 0.0)
    plans = pool.best(first), pool.best(second)
    if plans[0] is None or plans[1] is None:
        return None
    ends = [objective_values(p.score, pool.objectives) for p in plans if p is not None]
    whole = Box(least, (max(ends[1][0], ends[0][0]), max(ends[0][1], ends[1][1])))
    number = itertools.count()
    waiting = [(-whole.area, next(number), whole)]
    closed_off: list[Box] = []
    while waiting and budget.left_s > 0:
        _, _, box = heapq.heappop(waiting)
        if box.area <= tolerance * whole.area:
            closed_off.append(box)
            continue
        parts, unsplit = search.split(box)
        closed_off += unsplit
        for part in parts:
            heapq.heappush(waiting, (-part.area, next(number), part))
    points = [objective_values(p.score, pool.objectives) for p in pool.front()]
    open_boxes = [box for *_, box in waiting] + closed_off
    return BoxFront(tuple((a, b) for a, b in points), tuple(_undominated(open_boxes, points)), whole, search.proofs)


class _Boxes:
    def __init__(self, pool: Pool, budget: Budget, seconds_a_box: float) -> None:
        self.pool, self.budget, self.seconds_a_box = pool, budget, seconds_a_box
        self.proofs = 0

    def prove(self, pool: Pool, objective: str, known: float) -> float:
        """A lower bound on the objective over the plans of the pool's problem; inf where there are none."""
        self.proofs += 1
        until = self.budget.clock.now() + min(self.seconds_a_box, max(0.0, self.budget.left_s))
        return prove(pool, objective, replace(self.budget, deadline=until), known).value

    def split(self, box: Box) -> tuple[list[Box], list[Box]]:
        """What is still to be looked at, and what this proof left open."""
        first, second = self.pool.objectives
        middle = (box.low[1] + box.high[1]) / 2
        corner = Pool(held(self.pool.problem, second, middle), self.pool.objectives)
        for plan in self.pool.front():
            corner.add(plan)
        bound = self.prove(corner, first, box.low[0])
        found = corner.best(first)
        if found is None:
            if math.isinf(bound):
                return list(_proper(Box((box.low[0], middle), box.high))), []
            return list(_proper(Box((box.low[0], middle), box.high))), [
                Box((max(bound, box.low[0]), box.low[1]), (box.high[0], middle))
            ]
        self.pool.score(assignment_of(self.pool.problem, found))
        self.pool.add(found)
        x, y = objective_values(found.score, self.pool.objectives)
        above = Box((box.low[0], middle), (min(x, box.high[0]), box.high[1]))
        below = Box((max(x, box.low[0]), box.low[1]), (box.high[0], min(y, middle)))
        left = Box((max(bound, box.low[0]), box.low[1]), (min(x, box.high[0]), middle))
        unsplit = [] if bound >= x * (1 - _CLOSED) else list(_proper(left))
        return [*_proper(above), *_proper(below)], unsplit


def _proper(box: Box) -> Iterator[Box]:
    if box.area > 0:
        yield box


def _undominated(boxes: list[Box], points: list[tuple[float, ...]]) -> Iterator[Box]:
    """The boxes that no point dominates as a whole."""
    for box in boxes:
        if not any(p[0] <= box.low[0] and p[1] <= box.low[1] for p in points):
            yield box
