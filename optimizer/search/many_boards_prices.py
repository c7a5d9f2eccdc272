"""Chains over many boards that all differ: a bound by prices, plans by a beam that the prices guide.

Give every type of processor a price. A plan uses each processor at most once, so it pays at most the sum of all
prices. Where even the cheapest way to cover the chain with stages that fit the period, any type as often as it
likes, costs more than that, no plan has the period. The best prices are sought by multiplicative updates.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from optimizer.search.many_boards_chain import Stage, Windows

__all__ = ["Cheapest", "Prices"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_MARGIN = 1e-9
Cheapest = Callable[[Floats], tuple[float, Floats]]
"""Prices -> least price of a cover, and how often it uses each type."""


class Prices:
    """Prices that sum to 1 over all processors; each question a period improves them for the next."""

    def __init__(self, speeds: Floats, counts: Sequence[int]) -> None:
        """``speeds``: (types,) work a second, for the first prices."""
        self.counts = np.array(counts, dtype=np.float64)
        self.price = speeds / float(speeds @ self.counts)

    def proves_infeasible(self, windows: Windows, rounds: int, deadline: float) -> bool:
        """Whether some prices show that no plan fits the windows."""
        n = windows.far.shape[1] - 2
        starts = _starts(windows.far, n)
        if (starts[n] < 0).all():
            return True
        return self.some_exceed(lambda price: _cheapest(starts, price), rounds, deadline)

    def some_exceed(self, cheapest: Cheapest, rounds: int, deadline: float) -> bool:
        """Whether at some prices even the cheapest cover costs more than all processors together."""
        price, best = self.price, -np.inf
        for number in range(rounds):
            cost, uses = cheapest(price)
            if cost > best:
                best, self.price = cost, price
            if cost > 1 + _MARGIN:
                return True
            if time.monotonic() > deadline:
                return False
            step = 0.5 / (1.0 + number / 8.0)
            price = np.maximum(price, 1e-6) * np.exp(step * np.clip(uses / self.counts - 1.0, -1.0, 3.0))
            price = price / float(price @ self.counts)
        return False

    def beam(self, windows: Windows, width: int, max_stages: int) -> list[Stage] | None:
        """Stages that cover the chain, each processor once; of the ways begun those least overpaid are kept."""
        n = windows.far.shape[1] - 2
        cover = _cover(_starts(windows.far, n), self.price)
        kinds = len(self.counts)
        left = self.counts[None, :].astype(np.int64)
        reach, last = np.zeros(1, dtype=np.int64), np.full(1, -1)
        paid = np.zeros(1)
        trail: list[tuple[Ints, Ints, Ints]] = []
        for _ in range(max_stages):
            start = np.tile(reach[:, None], (1, kinds)) if not trail else windows.cut[last, :, reach]
            after = np.where((left > 0) & (start >= 0), windows.far[np.arange(kinds)[None], start], -1)
            row, kind = np.nonzero(after > reach[:, None])
            if len(row) == 0:
                return None
            ends = after[row, kind]
            trail.append((row, kind, ends))
            done = np.flatnonzero((ends >= n) & windows.may_end[kind])
            if len(done):
                return _walk_back(trail, int(done[0]), windows)
            cost = paid[row] + self.price[kind]
            keep = np.argsort(cost - cover[ends], kind="stable")
            keep = _distinct(keep, ends, cost, width)
            row, kind = row[keep], kind[keep]
            trail[-1] = (row, kind, ends[keep])
            left = left[row].copy()
            left[np.arange(len(row)), kind] -= 1
            reach, last, paid = ends[keep], kind, cost[keep]
        return None


def _distinct(keep: Ints, ends: Ints, cost: Floats, width: int) -> Ints:
    """The first ``width`` that differ in what was used (told apart by its cost) or in where they end."""
    keep = keep[: 4 * width]
    _, first = np.unique(np.stack([ends[keep], np.round(cost[keep] * 1e12)]), axis=1, return_index=True)
    return keep[np.sort(first)][:width]


def _starts(far: Ints, n: int) -> Ints:
    """(n + 1, types) least start of a stage that covers up to each position; -1 where there is none."""
    starts = np.stack([np.searchsorted(row[: n + 1], np.arange(n + 1), side="left") for row in far], axis=1)
    return np.asarray(np.where(starts >= np.arange(n + 1)[:, None], -1, starts))


def _cover(starts: Ints, price: Floats) -> Floats:
    """(n + 1,) least price of stages that cover everything before each position; inf at index -1 (n + 1)."""
    cover = np.full(len(starts) + 1, np.inf)
    cover[0] = 0.0
    for j in range(1, len(starts)):
        cover[j] = (price + cover[starts[j]]).min()
    return cover[:-1]


def _cheapest(starts: Ints, price: Floats) -> tuple[float, Floats]:
    """Least price of covering the whole chain, and how often each type is used in that."""
    cover = np.append(_cover(starts, price), np.inf)
    uses = np.zeros(len(price))
    j = len(starts) - 1
    if not np.isfinite(cover[j]):
        return np.inf, uses
    cost = float(cover[j])
    while j > 0:
        kind = int(np.argmin(price + cover[starts[j]]))
        uses[kind] += 1
        j = int(starts[j, kind])
    return cost, uses


def _walk_back(trail: list[tuple[Ints, Ints, Ints]], end: int, windows: Windows) -> list[Stage]:
    kinds: list[int] = []
    ends: list[int] = []
    for row, chosen, reached in reversed(trail):
        kinds.append(int(chosen[end]))
        ends.append(int(reached[end]))
        end = int(row[end])
    kinds, ends = kinds[::-1], ends[::-1]
    stages: list[Stage] = []
    start = 0
    for number, kind in enumerate(kinds):
        last = number == len(kinds) - 1
        stop = ends[number] if last else int(windows.cut[kind, kinds[number + 1]][ends[number]])
        stages.append((kind, start, stop))
        start = stop
    return stages
