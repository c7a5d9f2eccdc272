"""What one accelerator can hold at most, priced: a knapsack whose load includes the transfers over its border.

Groups are taken in their order, in or out. A net costs its time once some of its ends are in and some are out, so the
state is, for every net that has begun and not ended, whether its ends so far are in, out, or both. Loads are counted
in whole steps, rounded down; where states are too many, the cheapest net is let go for nothing; memory is left out. So
the value is never below the true one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimizer.search.max_load_groups import Groups

__all__ = ["Knapsack", "Packing"]

_MAX_STATES = 24
_MOST_CELLS = 200_000_000
"""Of the table that says how each value came about, one byte each."""
_BOTH = 2
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Packing:
    """``curve``: (steps + 1,) the most that loads of up to so many steps are worth; ``inside``: (groups,) for the last
    of them, with ``steps`` of load."""

    curve: Floats
    inside: npt.NDArray[np.bool_]
    steps: int


@dataclass(frozen=True)
class _Move:
    """From one state to another by a group that is in or out, with so many steps more."""

    source: int
    inside: bool
    target: int
    steps: int


class Knapsack:
    """The knapsacks of one instance; ``steps`` whole steps make ``limit_ms``."""

    def __init__(self, coarse: Groups, limit_ms: float, steps: int) -> None:
        self.per_ms = steps / limit_ms
        self.sizes, self.moves = _states(coarse, self.per_ms)
        self.steps = steps
        cells = sum(self.sizes) * (steps + 1)
        if cells > _MOST_CELLS:
            self.steps = max(1, steps * _MOST_CELLS // cells)
            self.per_ms = self.steps / limit_ms
            self.sizes, self.moves = _states(coarse, self.per_ms)

    def pack(self, prices: Sequence[float], limit_ms: float) -> Packing:
        """The most that groups of one accelerator are worth; the groups are those for loads up to ``limit_ms``."""
        width = self.steps + 1
        now = np.full((1, width), -np.inf)
        now[0, 0] = 0.0
        came: list[npt.NDArray[np.uint8]] = []
        for price, size, moves in zip(prices, self.sizes, self.moves, strict=True):
            following = np.full((size, width), -np.inf)
            origin = np.zeros((size, width), dtype=np.uint8)
            for number, move in enumerate(moves):
                if move.steps >= width:
                    continue
                value = now[move.source, : width - move.steps]
                value = value + price if move.inside else value
                best, source = following[move.target, move.steps :], origin[move.target, move.steps :]
                better = value > best
                np.copyto(best, value, where=better)
                np.copyto(source, np.uint8(number), where=better)
            came.append(origin)
            now = following
        most = min(self.steps, int(limit_ms * self.per_ms))
        state, load = (int(x) for x in np.unravel_index(int(np.argmax(now[:, : most + 1])), (len(now), most + 1)))
        curve: Floats = np.maximum.accumulate(now.max(axis=0))
        return Packing(curve, self._trace(came, state, load), load)

    def _trace(self, came: Sequence[npt.NDArray[np.uint8]], state: int, load: int) -> npt.NDArray[np.bool_]:
        inside = np.zeros(len(came), dtype=np.bool_)
        for group in reversed(range(len(came))):
            move = self.moves[group][int(came[group][state, load])]
            inside[group] = move.inside
            state, load = move.source, load - move.steps
        return inside


def _states(coarse: Groups, per_ms: float) -> tuple[list[int], list[list[_Move]]]:
    """States after each group, and the moves to them."""
    touching: list[list[int]] = [[] for _ in coarse.groups]
    last: dict[int, int] = {}
    for number, net in enumerate(coarse.nets):
        for end in net.ends:
            touching[end].append(number)
        last[number] = max(net.ends)
    open_: tuple[int, ...] = ()
    states: dict[tuple[int, ...], int] = {(): 0}
    gone: set[int] = set()
    sizes, steps = [], []
    for group, node in enumerate(coarse.groups):
        nets = [n for n in touching[group] if n not in gone]
        begun = (*open_, *(n for n in nets if n not in open_))
        left = [n for n in begun if last[n] > group]
        found: list[tuple[int, bool, tuple[int, ...], int]] = []
        for state, number in states.items():
            for inside in (False, True) if node.supported else (False,):
                status = dict(zip(open_, state, strict=True))
                taken = int(node.accelerator_ms * per_ms) if inside else 0
                for n in nets:
                    before = status.setdefault(n, int(inside))
                    if before not in (int(inside), _BOTH):
                        status[n] = _BOTH
                        taken += int(coarse.nets[n].ms * per_ms)
                found.append((number, inside, tuple(status[n] for n in begun), taken))
        while len({_kept(state, begun, left) for _, _, state, _ in found}) > _MAX_STATES:
            cheapest = min(left, key=lambda n: coarse.nets[n].ms)
            left.remove(cheapest)
            gone.add(cheapest)
        states = {}
        moves = []
        for number, inside, status_of, taken in found:
            target = states.setdefault(_kept(status_of, begun, left), len(states))
            moves.append(_Move(number, inside, target, taken))
        open_ = tuple(left)
        sizes.append(len(states))
        steps.append(moves)
    return sizes, steps


def _kept(state: tuple[int, ...], begun: Sequence[int], left: Sequence[int]) -> tuple[int, ...]:
    return tuple(s for s, n in zip(state, begun, strict=True) if n in left)
