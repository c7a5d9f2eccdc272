"""Fronts to measure others by, proven as far as they are, and the volume that plans dominate."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from optimizer.objectives import objective_values
from optimizer.problem import Problem
from optimizer.search.cpsat import Budget
from optimizer.search.epsilon_boxes import epsilon_boxes
from optimizer.search.exact_front import enumerate_front
from optimizer.search.front_seeds import score_promising, seed_front
from optimizer.search.label_dp import label_front
from optimizer.search.order_dp import order_dp_candidates
from optimizer.search.pool import Pool

__all__ = ["Reference", "coarse_chain", "hypervolume", "reference"]

Floats = npt.NDArray[np.float64]
_MOST_OPEN = 1e-3
"""Of the volume: what a reference may leave open."""
_LABELS_S, _MOST_LABELS = 300.0, 1_000_000
"""Seldom more than the labels take: a minute where nothing else runs."""
_BOXES_S = 60.0


@dataclass(frozen=True)
class Reference:
    """The figures of a front; the volume is measured in the box from its best values to beyond its worst."""

    points: tuple[tuple[float, ...], ...]
    size: int
    seconds: float
    open_share: float
    """No front has a volume that is larger by more than this share."""
    method: str

    @property
    def holds(self) -> bool:
        return self.open_share <= _MOST_OPEN

    def share(self, values: Sequence[Sequence[float]]) -> float:
        """Of the reference's volume."""
        points = np.array(self.points)
        low, high = points.min(axis=0), points.max(axis=0)
        span = np.where(high > low, 1.1 * (high - low), 0.1 * np.abs(high))
        given = np.asarray(values, dtype=np.float64).reshape(-1, points.shape[1])
        return hypervolume((given - low) / span) / hypervolume((points - low) / span)


def hypervolume(points: Floats) -> float:
    """Volume that the points (m, 2 or 3; minimised) dominate below the corner (1, ..., 1)."""
    points = points[(points < 1).all(axis=1)]
    if points.shape[1] == 2:
        return _area(points)
    volume = 0.0
    points = points[np.argsort(points[:, 2], kind="stable")]
    heights = [*points[:, 2].tolist(), 1.0]
    flat = np.zeros((0, 2))
    for row, low, high in zip(points, heights[:-1], heights[1:], strict=True):
        if not (flat <= row[:2]).all(axis=1).any():
            flat = np.vstack([flat[~(flat >= row[:2]).all(axis=1)], row[:2]])
        if high > low:
            volume += _area(flat) * (high - low)
    return volume


def _area(points: Floats) -> float:
    area, height = 0.0, 1.0
    for x, y in points[np.lexsort((points[:, 1], points[:, 0]))].tolist():
        if y < height:
            area += (1.0 - x) * (height - y)
            height = y
    return area


def reference(problem: Problem, objectives: tuple[str, ...]) -> Reference:
    """The front by the first method that leaves little open, or the one that leaves the least."""
    begin = time.process_time()
    pool = Pool(problem, objectives)
    score_promising(pool, order_dp_candidates(problem, objectives))
    if enumerate_front(pool, time.monotonic() + _LABELS_S) is not None:
        return _reference(pool, begin, 0.0, "all cuts")
    seed_front(pool, time.monotonic() + _LABELS_S)
    until = time.monotonic() + _LABELS_S
    labels = label_front(pool, until, max_labels=_MOST_LABELS, budget=_budget(until), seeded=True)
    if labels is not None:
        found = _reference(pool, begin, 0.0, "label-DP")
        found = replace(found, open_share=found.share([*found.points, *labels.open]) - 1)
        if found.holds or len(objectives) > 2:
            return found
    if len(objectives) == 2:
        boxes = epsilon_boxes(pool, _budget(time.monotonic() + _BOXES_S), tolerance=_MOST_OPEN / 10)
        if boxes is not None:
            by_boxes = _reference(pool, begin, 0.0, "epsilon-boxes")
            corners = [box.low for box in boxes.open]
            by_boxes = replace(by_boxes, open_share=by_boxes.share([*by_boxes.points, *corners]) - 1)
            if labels is None or by_boxes.open_share < found.open_share:
                return by_boxes
    return found if labels is not None else _reference(pool, begin, 1.0, "none")


def _budget(deadline: float) -> Budget:
    return Budget(deadline, workers=2, seed=0)


def _reference(pool: Pool, begin: float, open_share: float, method: str) -> Reference:
    points = tuple(objective_values(p.score, pool.objectives) for p in pool.front())
    return Reference(points, len(points), time.process_time() - begin, open_share, method)


def coarse_chain(problem: Problem) -> Problem:
    """The problem with cuts at single tensors only: what lies between two of them is colocated."""
    graph = problem.graph
    n = len(graph.operators)
    crossing = np.zeros(n + 1, dtype=np.int64)
    for tensor in graph.tensors:
        if tensor.producer is not None and tensor.consumers:
            crossing[tensor.producer + 1 : max(tensor.consumers) + 1] += 1
    cuts = [0, *(v for v in range(1, n) if crossing[v] == 1), n]
    blocks = [graph.operators[a:b] for a, b in pairwise(cuts)]
    groups = tuple(tuple(op.name for op in block) for block in blocks if len(block) > 1)
    return replace(problem, limits=replace(problem.limits, colocations=(*problem.limits.colocations, *groups)))
