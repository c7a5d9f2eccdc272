"""In which order points are worth looking at: each the one that adds most to the volume dominated so far."""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt

__all__ = ["covering_order", "minimal_rows"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_SAMPLES = 16384
"""Points at which volume is counted, evenly spread."""
_SMALL, _LEAST = 1e-12, 1e-100
"""Spans of so little, of the figures or at all, count as none."""
_MARGIN = 0.1
"""By this share of the span the box goes beyond the worst figures of the front."""


def covering_order(points: Floats, known: Floats) -> list[int]:
    """Positions of the (m, o) points, minimised, by what each adds to the volume that ``known`` and those before it
    dominate; those that add nothing come last, by the sum of their figures."""
    if len(points) == 0:
        return []
    whole = np.vstack([points, known])
    front = whole[minimal_rows(whole)]
    low, high = front.min(axis=0), front.max(axis=0)
    span = np.where(high - low > _SMALL * np.abs(high) + _LEAST, (high - low) * (1 + _MARGIN), 1.0)
    samples = _even_points(points.shape[1])
    covers = _covered(((points - low) / span), samples)
    open_samples = ~_covered((known - low) / span, samples).any(axis=0)
    sums = ((points - low) / span).sum(axis=1).tolist()
    heap = [(-int((row & open_samples).sum()), sums[i], i) for i, row in enumerate(covers)]
    heapq.heapify(heap)
    order: list[int] = []
    while heap:
        gain, total, i = heap[0]
        now = -int((covers[i] & open_samples).sum()) if gain < 0 else 0
        if now > gain:  # what others have covered meanwhile only lessens it
            heapq.heapreplace(heap, (now, total, i))
            continue
        heapq.heappop(heap)
        order.append(i)
        open_samples &= ~covers[i]
    return order


def minimal_rows(figures: Floats) -> Ints:
    """Positions of the rows that no other row is as good as."""
    rows = np.lexsort(figures.T[::-1])
    kept = []
    while len(rows):
        first, rows = rows[0], rows[1:]
        kept.append(first)
        rows = rows[~(figures[rows] >= figures[first]).all(axis=1)]
    return np.array(kept, dtype=np.int64)


def _covered(scaled: Floats, samples: Floats) -> npt.NDArray[np.bool_]:
    """(m, s) which samples each point dominates."""
    found = np.ones((len(scaled), len(samples)), dtype=np.bool_)
    for axis in range(samples.shape[1]):
        found &= scaled[:, axis, None] <= samples[None, :, axis]
    return found


def _even_points(axes: int) -> Floats:
    """(s, axes) of the unit cube: multiples, modulo 1, of powers of the root of x^(axes + 1) = x + 1."""
    root = 2.0
    for _ in range(40):
        root = (1 + root) ** (1 / (axes + 1))
    steps = root ** -np.arange(1.0, axes + 1)
    return np.asarray((0.5 + np.outer(np.arange(1, _SAMPLES + 1), steps)) % 1.0)
