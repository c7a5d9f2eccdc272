"""The best plans known, asked many times at once whether one of them is as good as what a label can still become."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from optimizer.objectives import objective_values
from optimizer.search.pool import Pool

__all__ = ["KnownFront"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
_SLACK = 1e-9
_TRIPLE = ("throughput", "latency", "energy")


class KnownFront:
    """Non-dominated feasible plans of a pool as points (period, latency, energy); what is no objective counts 0."""

    def __init__(self, pool: Pool) -> None:
        self.objectives = pool.objectives
        self.points = np.array([self.point(objective_values(p.score, pool.objectives)) for p in pool.front()])
        self.points = self.points.reshape(-1, 3)
        self._build()

    def point(self, values: Sequence[float]) -> tuple[float, float, float]:
        by_name = dict(zip(self.objectives, values, strict=True))
        period, latency, energy = (by_name.get(o, 0.0) for o in _TRIPLE)
        return period, latency, energy

    def add(self, point: tuple[float, float, float]) -> None:
        """Keep a point, unless one that is known is as good."""
        if self.reaches(*(np.array([x]) for x in point))[0]:
            return
        beaten = (self.points >= np.array(point)).all(axis=1)
        self.points = np.vstack([self.points[~beaten], [point]])
        self._build()

    def _build(self) -> None:
        """Table of the least energy among the points with at most this period and this latency."""
        self.periods, row = np.unique(self.points[:, 0], return_inverse=True)
        self.latencies, column = np.unique(self.points[:, 1], return_inverse=True)
        table = np.full((len(self.periods), len(self.latencies)), np.inf)
        np.minimum.at(table, (row, column), self.points[:, 2])
        self.least = np.minimum.accumulate(np.minimum.accumulate(table, axis=0), axis=1)

    def reaches(self, period_s: Floats, latency_s: Floats, energy_j: Floats) -> Bools:
        """Whether a known plan is as good as these figures in every objective, elementwise."""
        if len(self.points) == 0:
            return np.zeros(np.shape(period_s), dtype=np.bool_)
        i = self._rank(self.periods, period_s, "throughput")
        j = self._rank(self.latencies, latency_s, "latency")
        least = self.least[np.maximum(i, 0), np.maximum(j, 0)]
        energy = energy_j * (1 + _SLACK) if "energy" in self.objectives else np.zeros(np.shape(energy_j))
        return np.asarray((i >= 0) & (j >= 0) & (least <= energy))

    def _rank(self, values: Floats, asked: Floats, objective: str) -> npt.NDArray[np.int64]:
        if objective not in self.objectives:
            return np.zeros(np.shape(asked), dtype=np.int64)
        return np.searchsorted(values, asked * (1 + _SLACK), side="right") - 1
