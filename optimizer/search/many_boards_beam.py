"""Plans for graphs with branches over more boards that all differ than sets of boards can be listed for.

Cuts along the graph's own order only, as windows of how far a segment may reach; among those the beam that prices
guide. What is found is a plan and bounds nothing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from optimizer.problem import Problem
from optimizer.search.board_sets import Spend
from optimizer.search.downsets import along_orders
from optimizer.search.many_boards_chain import Windows
from optimizer.search.many_boards_prices import Prices
from optimizer.search.segment_loads import SegmentLoads
from optimizer.search.subset_reach import Segments

__all__ = ["OrderBeam"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_BEAM = 60
_ROUNDS = 20
_PAIR_S = 2e-8


class OrderBeam:
    """One question a period, up to ``longest_s``."""

    def __init__(self, problem: Problem, work: Floats, longest_s: float, max_stages: int) -> None:
        self.max_stages = max_stages
        count = len(work)
        self.lattice = along_orders(problem.graph, [range(count)], work, problem.together)
        self.loads = SegmentLoads(problem, self.lattice)
        times = problem.tables.time_s[:, self.loads.first].sum(axis=0)
        self.prices = Prices(count / np.maximum(times, 1e-12), self.loads.counts)
        self._pairs: list[tuple[Ints, Floats]] = []
        for end in range(1, len(self.lattice.member)):
            starts = np.arange(self.lattice.first(end, longest_s), end)
            self._pairs.append((starts, self.loads.flows(end, starts)))

    def segments(self, period_s: float, spend: Spend) -> Segments | None:
        """Segments that the beam finds for the period. Short ones may turn out dearer: score them."""
        windows = self._windows(period_s, spend)
        if self.prices.proves_infeasible(windows, _ROUNDS, np.inf):
            return None
        return self.prices.beam(windows, _BEAM, self.max_stages)

    def _windows(self, period_s: float, spend: Spend) -> Windows:
        kinds, n = len(self.loads.members), len(self.lattice.member) - 1
        far = np.full((kinds, n + 2), -1, dtype=np.int64)
        for end, (starts, flows) in enumerate(self._pairs, start=1):
            near = max(0, self.lattice.first(end, period_s) - int(starts[0]))
            starts, flows = starts[near:], flows[near:]
            spend(_PAIR_S * len(starts) * kinds)
            rows, columns = np.nonzero(self.loads.fit(end, starts, flows, period_s))
            far[columns, starts[rows]] = end  # ends ascend
        far[:, :-1] = np.maximum.accumulate(far[:, :-1], axis=1)
        far[:, :-1] = np.where(far[:, :-1] <= np.arange(n + 1), -1, far[:, :-1])
        anywhere = np.append(np.arange(n + 1), -1)
        anywhere[0] = -1
        return Windows(far, np.broadcast_to(anywhere, (kinds, kinds, n + 2)), np.ones(kinds, dtype=np.bool_))
