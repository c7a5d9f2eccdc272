"""Boards of two processors that are come back to, counted in full: what the reach-DP leaves open at a period.

From the end to the beginning, through the downsets and sets of boards that the reach-DP found. A board whose later
visit is known is half open: a label carries what that visit keeps its links busy with, which tensors it still needs
(from its own earlier visit, at no cost, or from other boards), and which of them nobody else reads. With the earlier
visit the links of the board are known. Of two labels at a downset, one that is at least as busy whatever the earlier
visits will be is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimizer.search.board_sets import Spend
from optimizer.search.board_visits import Role, Visit
from optimizer.search.half_boards import Half, HalfBoards
from optimizer.search.subset_reach import Segments, SubsetReach

__all__ = ["TooManyLabelsError", "VisitLabels"]

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
_SLACK = 1e-9
_MAX_LABELS = 30_000
_MAX_CELLS = 3e7
"""Downsets times sets of boards."""
_ROW_S, _STEP_S = 2e-6, 4e-5


class TooManyLabelsError(Exception):
    """The question was given up."""


@dataclass(frozen=True)
class _Rows:
    """Labels, r rows: what stands behind downsets where boards are half open."""

    states: Bools
    """(r, states) sets of boards that may stand before."""
    halves: Mapping[int, Half]
    """By the type with which the board is to be run earlier."""
    visit: Ints
    end: Ints
    behind: Ints
    """(r,) the first visit, the downset behind it, and the number of the label there: -1 if nothing is half open."""

    def rows(self, rows: Ints | Bools) -> _Rows:
        halves = {kind: half.rows(rows) for kind, half in self.halves.items()}
        return _Rows(self.states[rows], halves, self.visit[rows], self.end[rows], self.behind[rows])

    def put(self, first: int, rows: _Rows) -> None:
        """Overwrite rows from the first on."""
        here = slice(first, first + len(rows.end))
        for kind, half in rows.halves.items():
            self.halves[kind].put(here, half)
        self.states[here], self.visit[here] = rows.states, rows.visit
        self.end[here], self.behind[here] = rows.end, rows.behind

    @staticmethod
    def joined(blocks: list[_Rows]) -> _Rows:
        halves = {kind: Half.joined([b.halves[kind] for b in blocks]) for kind in blocks[0].halves}
        columns = ([getattr(b, name) for b in blocks] for name in ("visit", "end", "behind"))
        return _Rows(np.concatenate([b.states for b in blocks]), halves, *(np.concatenate(c) for c in columns))


class _Stock:
    """Labels with the same boards half open, in rows that are filled from the front."""

    def __init__(self, downsets: int) -> None:
        self._wanted = np.zeros(downsets, dtype=np.bool_)
        self._count = 0
        self._at = np.zeros(0, dtype=np.int64)
        self._number = np.zeros(0, dtype=np.int64)
        self._rows: _Rows | None = None

    def put(self, at: int, first: int, rows: _Rows) -> None:
        """Keep labels that stand at a downset; ``first``: the number of the first of them."""
        count, more = self._count, len(rows.end)
        if self._rows is None or count + more > len(self._at):
            room = np.zeros(max(count + more, 64), dtype=np.int64)  # as much again, so that rows are moved a few times
            old = [] if self._rows is None else [self._rows]
            self._rows = _Rows.joined([*old, rows.rows(room)])
            self._at, self._number = np.append(self._at, room), np.append(self._number, room)
        self._rows.put(count, rows)
        self._at[count : count + more] = at
        self._number[count : count + more] = np.arange(first, first + more)
        self._count += more

    def standing_at(self, ends: Ints, behind: Ints) -> tuple[Ints, Ints, _Rows] | None:
        """Downset, number and label of all that stand at some of the ends with some of the sets of boards."""
        self._wanted[ends] = True
        found = np.flatnonzero(self._wanted[self._at[: self._count]])
        self._wanted[ends] = False
        if self._rows is None or len(found) == 0:
            return None
        found = found[self._rows.states[found][:, behind].any(axis=1)]
        return (self._at[found], self._number[found], self._rows.rows(found)) if len(found) else None


class VisitLabels:
    """A question to which a reach-DP has just found segments, asked once more."""

    def __init__(self, reach: SubsetReach, period_s: float, spend: Spend) -> None:
        self.reach, self.sets, self.visits = reach, reach.sets, reach.visits
        self.boards = HalfBoards(reach.loads)
        self.period_s, self.limit_s, self.spend = period_s, period_s * (1 + _SLACK), spend
        count, states = len(reach.lattice.member), len(self.sets.states)
        packed = reach.reached.view(np.uint8)
        self.reached = np.unpackbits(packed, axis=1, bitorder="little")[:, :states].astype(np.bool_)
        self.whole = np.zeros((count, states), dtype=np.bool_)
        """Sets of boards before a downset from which the rest can be run with no board half open."""
        self.whole[-1, reach.ends(period_s)] = True
        self.live: Bools = np.asarray(self.whole.any(axis=1))
        """(m,) whether there are any."""
        self.came = np.full((count, states, 3), -1, dtype=np.int64)
        """Of those: visit, downset behind it, number of the label there."""
        self.stocks: dict[tuple[int, ...], _Stock] = {}
        self.log: list[tuple[int, int, int]] = []
        """The same of each label."""

    @staticmethod
    def applies(reach: SubsetReach) -> bool:
        """Whether there are boards of two processors, all different, and not too many sets of them."""
        kinds = [kind for v in reach.visits if v.role is Role.PAIR for kind in v.runs]
        few = len(reach.sets.states) * len(reach.lattice.member) <= _MAX_CELLS
        return bool(kinds) and few and all(reach.sets.counts[kind] == 1 for kind in kinds)

    def segments(self) -> Segments | None:
        """Segments true to the links of all boards, None where there are none. Raises TooManyLabelsError."""
        for start in range(len(self.whole) - 2, -1, -1):
            if not self.reached[start].any():
                continue
            made: dict[tuple[int, ...], list[_Rows]] = {}
            for number, visit in enumerate(self.visits):
                before = np.flatnonzero(self.reached[start] & self.sets.before[number])
                ends = self.reach.ends_of(number, start, self.period_s) if len(before) else before
                if len(ends):
                    self._step(number, visit, start, before, ends, made)
            self._keep_best(start, made)
        return self._trace() if self.whole[0, 0] else None

    def _step(
        self,
        number: int,
        visit: Visit,
        start: int,
        before: Ints,
        ends: Ints,
        made: dict[tuple[int, ...], list[_Rows]],
    ) -> None:
        """One kind of visit from a start: to ends where no board is half open, and to labels."""
        behind = before + self.sets.steps[number]
        if visit.role is not Role.FIRST:
            live = ends[self.live[ends]]
            open_to = self.whole[live][:, behind]
            some = open_to.any(axis=1)
            if some.any():
                states, none = self._spread(open_to[some], before), np.full(some.sum(), -1)
                self._visited(number, start, _Rows(states, {}, np.full(len(none), number), live[some], none), made)
        for kinds, stock in self.stocks.items():
            if visit.role is Role.FIRST and visit.runs[0] not in kinds:
                continue
            known = stock.standing_at(ends, behind)
            if known is None:
                continue
            places, numbers, rows = known
            states = self._spread(rows.states[:, behind], before)
            found = _Rows(states, rows.halves, np.full(len(places), number), places, numbers)
            self._visited(number, start, found, made)

    def _spread(self, open_to: Bools, before: Ints) -> Bools:
        states = np.zeros((len(open_to), len(self.sets.states)), dtype=np.bool_)
        states[:, before] = open_to
        return states

    def _visited(self, number: int, start: int, rows: _Rows, made: dict[tuple[int, ...], list[_Rows]]) -> None:
        """Rows of what stands behind the visit become what stands before it."""
        visit = self.visits[number]
        self.spend(_STEP_S + _ROW_S * len(rows.end))
        kind = visit.runs[0]
        if visit.role is Role.PAIR:
            rows = rows.rows(self._parts_fit(number, start, rows.end))
        if visit.role is Role.FIRST:
            rows = rows.rows(self.boards.closes(rows.halves[kind], kind, start, rows.end, self.limit_s))
        if len(rows.end) == 0:
            return
        halves = {k: self.boards.passed(h, k, start, rows.end) for k, h in rows.halves.items()}
        if visit.role is Role.FIRST:
            del halves[kind]
        if visit.role is Role.SECOND:
            halves[kind if visit.other is None else visit.other] = self.boards.opened(kind, start, rows.end)
        if not halves:
            self._reach_whole(start, rows)
            return
        fine = np.ones(len(rows.end), dtype=np.bool_)
        for k, half in halves.items():
            fine &= self.boards.busy_s(k, half.out_s, half.in_s) <= self.limit_s
        grown = _Rows(rows.states, halves, rows.visit, rows.end, rows.behind).rows(fine)
        made.setdefault(tuple(sorted(halves)), []).append(grown)

    def _reach_whole(self, start: int, rows: _Rows) -> None:
        fresh = np.flatnonzero(rows.states.any(axis=0) & ~self.whole[start])
        first = rows.states[:, fresh].argmax(axis=0)
        self.whole[start, fresh] = True
        self.live[start] = True
        self.came[start, fresh] = np.stack([rows.visit[first], rows.end[first], rows.behind[first]], axis=1)

    def _parts_fit(self, number: int, start: int, ends: Ints) -> Bools:
        """Whether a pair can be parted so that both processors keep the period."""
        at = np.array([start])
        fits = {end: bool(self.reach.parts_fit(number, at, end)[0]) for end in np.unique(ends).tolist()}
        self.spend(_STEP_S * len(fits))
        return np.array([fits[end] for end in ends.tolist()], dtype=np.bool_)

    def _keep_best(self, start: int, made: Mapping[tuple[int, ...], list[_Rows]]) -> None:
        for kinds, blocks in made.items():
            rows = _Rows.joined(blocks)
            if len(rows.end):
                best = self._best(kinds, rows)
                self.stocks.setdefault(kinds, _Stock(len(self.whole))).put(start, len(self.log), best)
                self.log += zip(best.visit.tolist(), best.end.tolist(), best.behind.tolist(), strict=True)
        if len(self.log) > _MAX_LABELS:
            raise TooManyLabelsError

    def _best(self, kinds: tuple[int, ...], rows: _Rows) -> _Rows:
        """Without the sets of boards for which another label is nowhere busier."""
        self.spend(_ROW_S * len(rows.end))
        rows = rows.rows(np.argsort(sum(h.out_s + h.in_s for h in rows.halves.values()), kind="stable"))
        kept: list[_Rows] = []
        while len(rows.end):
            kept.append(rows.rows(np.arange(1)))
            worse = np.ones(len(rows.end), dtype=np.bool_)
            for kind in kinds:
                worse &= self.boards.no_busier(rows.halves[kind], 0, kind)
            rows.states[worse] &= ~kept[-1].states[0]
            left: Bools = np.asarray(rows.states.any(axis=1))
            left[0] = False
            rows = rows.rows(left)
        return _Rows.joined(kept)

    def _trace(self) -> Segments:
        found: Segments = []
        at, state, label = 0, 0, -1
        while at < len(self.whole) - 1:
            number, end, label = self.came[at, state].tolist() if label < 0 else self.log[label]
            found += self.reach.parted(number, at, end)
            at, state = end, state + self.sets.steps[number]
        return found
