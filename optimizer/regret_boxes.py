"""The worst of a ratio over a box of factors, by branch and bound over boxes.

Where the value of a plan and the least value of any plan both grow with every factor, no scenario of a box has a larger
ratio than the value at its upper corner over the least at its lower corner. Boxes with the largest ratio are halved
until time is up or they are as small as matters.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

__all__ = ["worst_ratio"]

Factors = Mapping[str, float]
_CLOSE = 1e-3
_MAX_BOXES = 400


@dataclass(order=True)
class _Box:
    """``rank``: the ratio, negated, so that the largest comes first."""

    rank: tuple[float, int]
    low: dict[str, float] = field(compare=False)
    high: dict[str, float] = field(compare=False)


def worst_ratio(
    value: Callable[[Factors], float],
    least: Callable[[Factors], float],
    weights: Factors,
    span: tuple[float, float],
    time_left: Callable[[], bool],
) -> float:
    """An upper bound on value / least over all factors within the span, of the resources that have a weight.

    ``value``, ``least``: at factors of these resources, both growing with each; ``least`` is a lower bound and above
    zero. ``weights``: how much of the value hangs on a resource, which guides where boxes are halved.
    """
    numbers = itertools.count()

    def box(low: dict[str, float], high: dict[str, float], most: float) -> _Box:
        return _Box((-min(most, value(high) / least(low)), next(numbers)), low, high)

    bottom, top = (dict.fromkeys(weights, end) for end in span)
    boxes = [box(bottom, top, float("inf"))]
    for _ in range(_MAX_BOXES):
        worst = boxes[0]
        name = max(weights, key=lambda r: weights[r] * (worst.high[r] - worst.low[r]), default=None)
        if name is None or not time_left() or worst.high[name] - worst.low[name] <= _CLOSE * (span[1] - span[0]):
            break
        heapq.heappop(boxes)
        middle = (worst.low[name] + worst.high[name]) / 2
        for low, high in (
            (worst.low, {**worst.high, name: middle}),
            ({**worst.low, name: middle}, worst.high),
        ):
            heapq.heappush(boxes, box(low, high, -worst.rank[0]))
    return -boxes[0].rank[0]
