"""A bound by prices over all downsets, where sets of boards are too many to be listed: see many_boards_prices."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from optimizer.search.board_sets import Spend
from optimizer.search.downsets import Lattice
from optimizer.search.many_boards_prices import Prices
from optimizer.search.segment_loads import SegmentLoads

__all__ = ["LatticePrices"]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_ROUNDS = 150
_PAIR_S = 1e-8
_OVERHEAD = 200


class LatticePrices:
    """Pairs of downsets that may be a segment within ``longest_s``; one question a period up to that."""

    def __init__(self, lattice: Lattice, loads: SegmentLoads, longest_s: float) -> None:
        self.lattice, self.loads = lattice, loads
        total = loads.problem.tables.time_s[:, loads.first].sum(axis=0)
        self.prices = Prices(1.0 / np.maximum(total, 1e-12), loads.counts)
        self._pairs: list[tuple[Ints, Floats]] = []
        for end in range(1, len(lattice.member)):
            starts = lattice.subsets(end, lattice.first(end, longest_s))
            self._pairs.append((starts, loads.flows(end, starts)))

    def prove_impossible(self, period_s: float, spend: Spend) -> bool:
        """Whether some prices show that no plan has the period. False says nothing."""
        fits = []
        for end, (starts, flows) in enumerate(self._pairs, start=1):
            spend(_PAIR_S * (len(starts) + _OVERHEAD) * len(self.prices.price))
            fits.append(self.loads.fit(end, starts, flows, period_s))

        def cheapest(price: Floats) -> tuple[float, Floats]:
            return self._cheapest(fits, price, spend)

        return self.prices.some_exceed(cheapest, _ROUNDS, np.inf)

    def _cheapest(self, fits: list[Bools], price: Floats, spend: Spend) -> tuple[float, Floats]:
        """Least price of covering the graph, any type as often as it likes, and how often each is used in that."""
        cover = np.full(len(self.lattice.member), np.inf)
        cover[0] = 0.0
        start_of = np.zeros(len(cover), dtype=np.int64)
        kind_of = np.zeros(len(cover), dtype=np.int64)
        for end, ((starts, _), fit) in enumerate(zip(self._pairs, fits, strict=True), start=1):
            if len(starts) == 0:
                continue
            spend(_PAIR_S * (len(starts) + _OVERHEAD) * len(price))
            paid = np.where(fit, cover[starts][:, None], np.inf)
            rows = paid.argmin(axis=0)
            values = paid[rows, np.arange(len(price))] + price
            kind = int(values.argmin())
            cover[end], kind_of[end], start_of[end] = values[kind], kind, starts[rows[kind]]
        uses = np.zeros(len(price))
        end = len(cover) - 1
        if np.isfinite(cover[end]):
            cost = float(cover[end])
            while end > 0:
                uses[kind_of[end]] += 1
                end = int(start_of[end])
            return cost, uses
        return np.inf, uses
