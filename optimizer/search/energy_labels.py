"""All plans over one set of boards that may need less energy than is known, as labels along the trunk.

A label is the beginning of a plan up to an operator of the trunk: its active joules, the longest time that a processor
it has left is busy, and how long the one that it is on has been so far. Of two that have spent the same processors and
stand on the same one, the one that is nowhere better goes. So goes what cannot come below the target, by the weighed
average (see ``energy_bound``) or by the active joules alone. Plans with several segments that lie between the same two
operators of the trunk are not listed: what such a plan needs at least stays part of the bound.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from optimizer.search.energy_blocks import Block
from optimizer.search.energy_changes import Change, Ways, changes
from optimizer.search.energy_sets import BoardSet
from optimizer.search.pool import Assignment

__all__ = ["Listed", "listed"]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_MOST_LABELS = 200_000
_MOST_AT_ONCE = 4_000_000
"""Labels by cuts in one array."""
_CHUNK = 256
_MOST_PLANS = 4
_STAYS, _NOBODY = -1, -2


@dataclass(frozen=True)
class Listed:
    """``bound_j``: no plan over the boards needs less. ``assignments``: the plan that attains it, if one does."""

    bound_j: float
    assignments: tuple[Assignment, ...] = ()


def listed(one: BoardSet, target_j: float, deadline: float) -> Listed:
    """Where there are too many labels, or cuts, the bound is what it was."""
    if any(block is None for block in one.blocks):
        return Listed(one.bound_j)
    return _Listing(one, target_j).run(deadline)


@dataclass(frozen=True)
class _Labels:
    """(r,) each: labels of one processor and one set of spent ones."""

    active_j: Floats
    weighed_j: Floats
    longest_s: Floats
    open_s: Floats
    origin: Ints
    """(r, 3) spent and processor of the label before, and its row."""
    change: Ints
    """(r, 3) how it came from there: the processor in between, or that there is none, and the cuts; or that it
    stayed."""

    def rows(self, rows: Ints) -> _Labels:
        return _Labels(*(getattr(self, field.name)[rows] for field in fields(self)))

    @staticmethod
    def joined(parts: Sequence[_Labels]) -> _Labels:
        return _Labels(*(np.concatenate([getattr(p, field.name) for p in parts]) for field in fields(_Labels)))

    def __len__(self) -> int:
        return len(self.active_j)


_Level = dict[tuple[int, int], _Labels]
"""By the processors spent and the last of them."""


class _Listing:
    def __init__(self, one: BoardSet, target_j: float) -> None:
        self.one, self.target_j = one, target_j
        self.ways = Ways(one.way(np.zeros(len(one.weights))), one.way(one.best_weights), one.seconds)
        self.behind_active = one.completions(one.tables(self.ways.active, paths=True))
        self.floor_j = math.inf
        """What plans that are not listed need at least."""
        self.longest_s = one.least_s if one.fixed else math.inf
        self.levels: list[_Level] = []

    def run(self, deadline: float) -> Listed:
        one = self.one
        active, weighed = one.begins(self.ways.active), one.begins(self.ways.weighed)
        none = np.zeros((1, 3), dtype=np.int64)
        level: _Level = {}
        for q in range(len(one.processors)):
            opens_s = one.segment_s[[q]] + one.time_s[one.trunk.first, q]
            label = _Labels(active[[q]], weighed[[q]], np.zeros(1), opens_s, none, none)
            level[1 << q, q] = label.rows(self._worth(label, 0, 1 << q, q))
        self.levels = [level]
        for number, block in enumerate(one.blocks):
            if block is None or time.monotonic() > deadline:
                return Listed(one.bound_j)
            grown = self._grown(number, block)
            if grown is None:
                return Listed(one.bound_j)
            self.levels.append(grown)
        return self._best()

    def _joules(self, labels: _Labels, more_j: Floats | float) -> Floats:
        """With what idling costs at least."""
        interval_s = np.maximum(np.maximum(labels.longest_s, labels.open_s), self.one.least_s)
        if self.one.fixed:
            interval_s = np.full(len(labels), self.one.least_s)
        return np.asarray(labels.active_j + more_j + self.one.idle_w * interval_s)

    def _worth(self, labels: _Labels, number: int, spent: int, q: int) -> Ints:
        """Rows that may come below the target."""
        weighed_j = labels.weighed_j + self.one.behind[number][spent, q] + self.one.share_j
        joules = self._joules(labels, float(self.behind_active[number][spent, q]))
        in_time = np.maximum(labels.longest_s, labels.open_s) <= self.longest_s * (1 + 1e-9)
        return np.flatnonzero((np.maximum(weighed_j, joules) < self.target_j) & in_time)

    def _grown(self, number: int, block: Block) -> _Level | None:
        """One operator of the trunk further; None where there are too many labels."""
        found: dict[tuple[int, int], list[_Labels]] = {}
        level = {state: labels for state, labels in self.levels[-1].items() if len(labels)}
        for state, labels in level.items():
            found.setdefault(state, []).append(self._stayed(labels, number, block, state))
        enough = self._enough(level, number)
        if len(enough) > 3:  # what is not listed stays part of the bound
            several = block.more_cuts(self.ways.weighed, enough)[1]
            self.floor_j = min(
                self.floor_j, self.target_j + float((several - enough)[enough > -np.inf].min(initial=0.0))
            )
        made = changes(block, self.ways, enough)
        for change in () if made is None else made:
            here = [q for q in (change.middle, change.last) if q is not None]
            for (spent, q), labels in level.items():
                if q == change.first and not any(spent >> p & 1 for p in here):
                    state = (spent | sum(1 << p for p in here), change.last)
                    found.setdefault(state, []).extend(self._changed(labels, number, change, (spent, q), state))
            if sum(len(part) for parts in found.values() for part in parts) > _MOST_LABELS:
                return None
        if made is None:
            return None
        return {state: _undominated(_Labels.joined(parts)) for state, parts in found.items() if parts}

    def _enough(self, level: _Level, number: int) -> Floats:
        """(k, k) weighed joules of a change with which no label comes below the target; -inf where there is none."""
        k = len(self.one.processors)
        enough = np.full((k, k), -np.inf)
        for (spent, q), labels in level.items():
            for p in range(k):
                if not spent >> p & 1:
                    behind = float(self.one.behind[number + 1][spent | 1 << p, p])
                    room = self.target_j - self.one.share_j - behind - float(labels.weighed_j.min())
                    enough[q, p] = max(enough[q, p], room)
        return enough

    def _stayed(self, labels: _Labels, number: int, block: Block, state: tuple[int, int]) -> _Labels:
        ways = (self.ways.active, self.ways.weighed, self.ways.seconds)
        active_j, weighed_j, seconds = (float(block.stay(way)[state[1]]) for way in ways)
        rows = np.arange(len(labels))
        grown = _Labels(
            labels.active_j + active_j,
            labels.weighed_j + weighed_j,
            labels.longest_s,
            labels.open_s + seconds,
            _columns(state[0], state[1], rows),
            _columns(_NOBODY, _STAYS, np.full(len(rows), _STAYS)),
        )
        return grown.rows(self._worth(grown, number + 1, *state))

    def _changed(
        self, labels: _Labels, number: int, change: Change, origin: tuple[int, int], state: tuple[int, int]
    ) -> Iterator[_Labels]:
        """Labels by every pair of cuts, as many at once as memory has room for."""
        step = max(1, _MOST_AT_ONCE // max(1, len(labels)))
        middle = _NOBODY if change.middle is None else change.middle
        for begin in range(0, len(change.start), step):
            some = np.arange(begin, min(begin + step, len(change.start)))
            rows, cuts = (grid.ravel() for grid in np.meshgrid(np.arange(len(labels)), some, indexing="ij"))
            longest_s = np.maximum(labels.longest_s[rows], labels.open_s[rows] + change.left_s[cuts])
            grown = _Labels(
                labels.active_j[rows] + change.active_j[cuts],
                labels.weighed_j[rows] + change.weighed_j[cuts],
                np.maximum(longest_s, change.middle_s[cuts]),
                change.opened_s[cuts],
                _columns(origin[0], origin[1], rows),
                np.stack([np.full(len(cuts), middle), change.start[cuts], change.end[cuts]], axis=1),
            )
            yield grown.rows(self._worth(grown, number + 1, *state))

    def _best(self) -> Listed:
        """The bound that is left, and the plans behind the best labels."""
        last = len(self.levels) - 1
        ends = [
            (joules, state, row)
            for state, labels in self.levels[last].items()
            for row, joules in enumerate(self._joules(labels, float(self.one.go_j[state[1]])).tolist())
        ]
        ends = sorted(ends)[:_MOST_PLANS]
        least_j = min(self.target_j, self.floor_j, *(joules for joules, _, _ in ends))
        assignments = tuple(self._assignment(state, row) for _, state, row in ends)
        return Listed(max(self.one.bound_j, least_j), assignments)

    def _assignment(self, state: tuple[int, int], row: int) -> Assignment:
        trunk, numbers = self.one.trunk, self.one.processors
        places = np.zeros(len(self.one.time_s), dtype=np.int64)
        places[list(trunk.behind)] = numbers[state[1]]
        for number in range(len(self.levels) - 1, 0, -1):
            labels, stretch = self.levels[number][state], trunk.stretches[number - 1]
            inner = np.array(stretch.members, dtype=np.int64)
            places[[*inner, stretch.last]] = numbers[state[1]]
            spent, before, earlier = labels.origin[row].tolist()
            middle, start, end = labels.change[row].tolist()
            if start != _STAYS and stretch.cuts is not None:
                if middle != _NOBODY:
                    places[inner[stretch.cuts.member[end]]] = numbers[middle]
                places[inner[stretch.cuts.member[start]]] = numbers[before]
            state, row = (spent, before), earlier
        places[[*trunk.before, trunk.first]] = numbers[state[1]]
        return places


def _columns(first: int, second: int, third: Ints) -> Ints:
    return np.stack([np.full(len(third), first), np.full(len(third), second), third], axis=1)


def _undominated(labels: _Labels) -> _Labels:
    """Those that no other is as good as in everything; one of several that are alike."""
    figures = np.stack([labels.active_j, labels.longest_s, labels.open_s], axis=1)
    order = np.lexsort(figures.T[::-1])
    kept = np.zeros((0, 3))
    rows: list[Ints] = []
    for begin in range(0, len(order), _CHUNK):
        some = order[begin : begin + _CHUNK]
        beaten = _no_worse(kept, figures[some])
        some = some[~beaten.any(axis=1)]
        beaten = _no_worse(figures[some], figures[some])
        earlier = np.arange(len(some)) < np.arange(len(some))[:, None]
        some = some[~(beaten & earlier).any(axis=1)]
        kept = np.concatenate([kept, figures[some]])
        rows.append(some)
    return labels.rows(np.concatenate(rows)) if rows else labels


def _no_worse(some: Floats, others: Floats) -> Bools:
    """(others, some) whether each of some is as good as each other in all columns."""
    return np.asarray((some[None] <= others[:, None]).all(axis=2))
