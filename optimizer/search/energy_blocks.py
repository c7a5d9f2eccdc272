"""What it costs to come from one operator of the trunk to the next, for one set of boards.

The trunk stays on its processor, and then all that lies between runs there; or it changes processors at one cut; or
others run something in between. At one cut all costs are known: one processor makes, the other reads. With others in
between every segment counts what it surely sends and receives. Arrays are by processors, (k,) or (k, k) from the one
of the first operator to the one of the last; m downsets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimizer.search.energy_hops import Hops
from optimizer.search.energy_trunk import Cuts, Stretch

__all__ = ["Block", "Pairs", "Way"]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_FAR, _NEVER = 1e30, 1e20
"""Joules where no route leads, which must not become NaN; and more than any plan has."""


@dataclass(frozen=True)
class Way:
    """What is added up along a plan beside the links: joules, joules with the weighed time, or seconds."""

    operators: Floats
    """(n, k), inf where an operator may not run."""
    segments: Floats
    """(k,) of a segment itself."""
    per_byte: Floats
    """(k,) of a byte that enters or leaves a segment."""


@dataclass(frozen=True)
class _Visit:
    """Segments that begin at one downset. Shapes: e ends, t tensors."""

    ends: Ints
    joules: Floats
    """(e, k) without what it sends and reads."""
    read: Floats
    """(e, t) made before and read here."""
    past: Floats
    """Made before and read behind only."""
    left: Floats
    """Made here and read behind."""
    both: Floats
    """Made before, read here and behind."""


@dataclass(frozen=True)
class Pairs:
    """Changes of processor with one segment in between, (r,) each: three processors and two downsets."""

    first: Ints
    middle: Ints
    last: Ints
    start: Ints
    end: Ints

    def rows(self, rows: Ints) -> Pairs:
        return Pairs(self.first[rows], self.middle[rows], self.last[rows], self.start[rows], self.end[rows])


class Block:
    """The cuts between two operators of the trunk and what they cost, apart from what the weights change."""

    def __init__(self, stretch: Stretch, cuts: Cuts, hops: Hops, allowed: Bools) -> None:
        self.stretch, self.cuts = stretch, cuts
        self.inner = list(stretch.members)
        k = allowed.shape[1]
        sizes = hops.sizes[cuts.tensors].astype(np.float64)
        flags = cuts.open.astype(np.float64)
        between = np.array([hops.between(int(t)) for t in cuts.tensors]).reshape(-1, k, k)
        self._between = np.where(np.isinf(between), _FAR, between)
        over = (flags @ self._between.reshape(-1, k * k)).T.reshape(k, k, -1)
        self.over = np.where(over > _NEVER, np.inf, over)
        """(k, k, m) of all that is open, sent from one processor to another."""
        self.bytes = (flags @ sizes).T
        """(k, m) of all that is open."""
        barred_there = ~allowed[self.inner].T
        self.before_barred = (barred_there @ cuts.member.T.astype(np.float64)) > 0
        self.behind_barred = (barred_there @ (~cuts.member).T.astype(np.float64)) > 0
        self.barred = ~allowed[stretch.last]
        self.leaving = np.minimum([hops.leaving(int(t)) for t in cuts.tensors], _FAR)
        self.entering = np.minimum([hops.entering(int(t)) for t in cuts.tensors], _FAR)
        self._tails = np.array([hops.tails(int(t)) for t in cuts.tensors]).reshape(-1, k, k)
        self._apart = hops.apart()
        beside = np.array([hops.names.count(name) for name in hops.names])
        self.sibling, self.crowded = beside > 1, beside > 2
        self.sizes, self.least = sizes, sizes.min(axis=1)
        self._forbidden = (~allowed[self.inner]).astype(np.float64)

    def stay(self, way: Way) -> Floats:
        """(k,) all that lies between and the last operator on the processor of the first one."""
        return np.asarray(way.operators[[*self.inner, self.stretch.last]].sum(axis=0))

    def cut(self, q: int, p: int, way: Way) -> Floats:
        """(m,) up to each downset on q, the rest and the last operator on p."""
        before, behind = self._parts(way)
        per_byte = way.per_byte[q] + way.per_byte[p]
        return np.asarray(before[q] + behind[p] + self.over[q, p] + per_byte * self.bytes[q])

    def halves(self, q: int, p: int, way: Way) -> tuple[Floats, Floats]:
        """(m,) the same without the links, apart: what q does, and what p does."""
        before, behind = self._parts(way)
        return before[q] + way.per_byte[q] * self.bytes[q], behind[p] + way.per_byte[p] * self.bytes[q]

    def one_cut(self, way: Way) -> tuple[Floats, Ints]:
        """Least over all cuts, and which cut; without a change of processors inf."""
        before, behind = self._parts(way)
        k = len(before)
        joules, at = np.full((k, k), np.inf), np.zeros((k, k), dtype=np.int64)
        for q in range(k):
            per_byte = (way.per_byte[q] + way.per_byte)[:, None] * self.bytes[q]
            total = before[q] + behind + self.over[q] + per_byte
            at[q] = total.argmin(axis=1)
            joules[q] = np.take_along_axis(total, at[q][:, None], axis=1)[:, 0]
        numbers = np.arange(k)
        joules[numbers, numbers] = np.inf
        return joules, at

    def _parts(self, way: Way) -> tuple[Floats, Floats]:
        """(k, m) up to a downset on a processor; and the rest, which opens a segment, with the last operator."""
        cost = np.where(np.isinf(way.operators[self.inner]), 0.0, way.operators[self.inner])
        before = (self.cuts.member @ cost).T
        behind = (~self.cuts.member @ cost).T + (way.operators[self.stretch.last] + way.segments)[:, None]
        return np.where(self.before_barred, np.inf, before), np.where(self.behind_barred, np.inf, behind)

    def more_cuts(self, way: Way, enough: Floats) -> tuple[Floats, Floats]:
        """(k, k) least with one segment in between, and with several. From ``enough`` on values may be left out.

        With one of them it is known who makes and who reads each tensor. With several each counts what it surely
        sends and reads: of a board's two processors the first in turn may send to the other for free, or the second
        read.
        """
        k, count = len(way.segments), len(self.cuts.member)
        one, several = np.full((k, k), np.inf), np.full((k, k), np.inf)
        if k < 3 or count < 2:
            return one, several
        before, behind = self._parts(way)
        rest = self._rest(way)
        worth = ((before + rest) < enough.max(axis=1)[:, None]).any(axis=0)
        chain = _Chain(self, way, before, rest, enough.max(axis=1))
        for start in range(count):
            onward = chain.worth(start)
            if not (onward or worth[start]):
                continue
            visit = self._visit(start, way)
            if worth[start] and len(visit.ends):
                firsts = np.flatnonzero((before[:, start] + rest[start]) < enough.max(axis=1))
                joules = self._one_between(visit, firsts, before[:, start], behind[:, visit.ends], way)
                one[firsts] = np.minimum(one[firsts], joules.min(axis=(0, 2)))
            if onward and len(visit.ends):
                chain.add(start, visit)
        return one, chain.arrived(behind)

    def pairs(self, way: Way, enough: Floats, most: int) -> Pairs | None:
        """All ways with one segment in between that come below ``enough``; None if there are more than ``most``."""
        k = len(way.segments)
        found: list[tuple[Ints, ...]] = []
        if k >= 3 and len(self.cuts.member) > 1:
            before, behind = self._parts(way)
            worth = (before + self._rest(way)) < enough.max(axis=1)[:, None]
            for start in np.flatnonzero(worth.any(axis=0)).tolist():
                visit, firsts = self._visit(start, way), np.flatnonzero(worth[:, start])
                joules = self._one_between(visit, firsts, before[:, start], behind[:, visit.ends], way)
                at, q, r, p = np.nonzero(joules < enough[firsts, None, :])
                found.append((firsts[q], r, p, np.full(len(q), start), visit.ends[at]))
                most -= len(q)
                if most < 0:
                    return None
        columns = [
            np.concatenate([row[i] for row in found]) if found else np.zeros(0, dtype=np.int64) for i in range(5)
        ]
        return Pairs(*columns)

    def _rest(self, way: Way) -> Floats:
        """(m,) what is behind each downset needs at least, with two segments to open."""
        least = np.minimum(way.operators[self.inner].min(axis=1), _FAR)
        return np.asarray(~self.cuts.member @ least + way.operators[self.stretch.last].min() + 2 * way.segments.min())

    def parts_of(self, pairs: Pairs, way: Way) -> tuple[Floats, Floats, Floats, Floats]:
        """(r,) each: what the first, the one in between and the last have to do; and the links."""
        q, r, p, cuts = pairs.first, pairs.middle, pairs.last, self.cuts
        before, behind = self._parts(way)
        opened, ended = cuts.open[pairs.start], cuts.open[pairs.end]
        read = opened & (cuts.used[pairs.end] > cuts.used[pairs.start])
        left = ended & ~cuts.made[pairs.start]
        cost = np.where(np.isinf(way.operators[self.inner]), 0.0, way.operators[self.inner])
        inside = ((cuts.member[pairs.end] & ~cuts.member[pairs.start]) * cost.T[r]).sum(axis=1) + way.segments[r]
        own, made = self.sizes.T[q], self.sizes.T[r]
        sent = [(flags * sizes).sum(axis=1) for flags, sizes in ((opened, own), (read, own), (left, made))]
        taken = (ended & ~left) * own + left * made
        over, tails = self._between.transpose(1, 2, 0), self._tails.transpose(1, 2, 0)
        links = (read * over[q, r] + (opened & ~read) * over[q, p] + left * over[r, p]).sum(axis=1)
        links += ((read & ended) * tails[q, p]).sum(axis=1) * self._apart[q, r, p]
        return (
            before[q, pairs.start] + way.per_byte[q] * sent[0],
            inside + way.per_byte[r] * (sent[1] + sent[2]),
            behind[p, pairs.end] + way.per_byte[p] * taken.sum(axis=1),
            links,
        )

    def _visit(self, start: int, way: Way) -> _Visit:
        """Segments from one downset to all larger ones."""
        cuts = self.cuts
        ends = start + 1 + np.flatnonzero(~(cuts.member[start] & ~cuts.member[start + 1 :]).any(axis=1))
        inside = cuts.member[ends] & ~cuts.member[start]
        cost = np.where(np.isinf(way.operators[self.inner]), 0.0, way.operators[self.inner])
        read = cuts.open[start] & (cuts.used[ends] > cuts.used[start])
        joules = np.where(inside @ self._forbidden > 0, np.inf, inside @ cost + way.segments)
        past, left = cuts.open[start] & ~read, cuts.open[ends] & ~cuts.made[start]
        return _Visit(ends, joules, *(x.astype(np.float64) for x in (read, past, left, read & cuts.open[ends])))

    def _one_between(self, visit: _Visit, firsts: Ints, before: Floats, behind: Floats, way: Way) -> Floats:
        """(e, f, k, k) by the first processor, one of those given, the one of the segment in between and the last."""
        k, f = len(before), len(firsts)
        opened = self.sizes[:, :, None] * way.per_byte[None, None, :]  # (t, maker, reader) of the reader's bytes
        sent = self._between + opened + (self.sizes * way.per_byte)[:, :, None]
        out = sent[:, firsts].reshape(-1, f * k)
        past, read = ((x @ out).reshape(-1, f, k) for x in (visit.past, visit.read))
        left = (visit.left @ sent.reshape(-1, k * k)).reshape(-1, k, k)
        again = (visit.both @ self._tails[:, firsts].reshape(-1, f * k)).reshape(-1, f, k)
        past = past + (visit.both @ opened[:, firsts].reshape(-1, f * k)).reshape(-1, f, k) + before[firsts][:, None]
        joules = np.empty((len(visit.ends), f, k, k))
        for r in range(k):
            between = (read[:, :, r] + visit.joules[:, r][:, None])[:, :, None] + left[:, r][:, None, :]
            joules[:, :, r] = past + between + again * self._apart[firsts, r] + behind.T[:, None, :]
            joules[:, :, r, r] = np.inf
        places = np.arange(f)
        joules[:, places, firsts, :] = np.inf
        joules[:, places, :, firsts] = np.inf
        return np.where(joules > _NEVER, np.inf, joules)


class _Chain:
    """Least joules of two and more segments in between, begun at one downset after the other."""

    def __init__(self, block: Block, way: Way, before: Floats, rest: Floats, enough: Floats) -> None:
        k, count = before.shape
        self.block, self.k, self.rest, self.enough = block, k, rest, enough
        self.enter = block.entering + block.least[:, None] * way.per_byte
        self.leave = block.leaving + block.sizes * way.per_byte
        free = block.sibling
        self.free_enter = np.where(free, 0.0, block.entering) + block.least[:, None] * way.per_byte
        self.free_leave = np.where(free, 0.0, block.leaving) + block.sizes * way.per_byte
        self.whole = before + (block.cuts.open @ self.free_leave).T
        """(k, m) the first one's own part."""
        self.one = np.full((count, k, k), np.inf)
        """(m, k, k) by the first processor and the last one of those in between."""
        self.several = self.one.copy()
        self.itself = np.where(np.eye(k, dtype=np.bool_), np.inf, 0.0)

    def worth(self, start: int) -> bool:
        """Whether plans that have come there may come below what is enough."""
        if self.k < 4:
            return False
        come = np.minimum(self.whole[:, start], np.minimum(self.one[start], self.several[start]).min(axis=1))
        return bool((come + self.rest[start] < self.enough).any())

    def add(self, start: int, visit: _Visit) -> None:
        sends, reads = visit.left @ self.leave, visit.read @ self.enter
        free_sends, free_reads = visit.left @ self.free_leave, visit.read @ self.free_enter
        over = np.where(self.block.sibling, np.minimum(free_sends + reads, sends + free_reads), sends + reads)
        over = np.where(self.block.crowded, free_sends + free_reads, over)
        joules = (visit.joules + over)[:, None, :] + self.itself
        come = _from_others(np.minimum(self.one[start], self.several[start]))
        self.several[visit.ends] = np.minimum(self.several[visit.ends], come + joules)
        self.one[visit.ends] = np.minimum(self.one[visit.ends], self.whole[:, start][:, None] + joules)

    def arrived(self, behind: Floats) -> Floats:
        """(k, k): by the first processor and the one that runs the rest."""
        found = np.full((self.k, self.k), np.inf)
        rest = behind + (self.block.cuts.open @ self.free_enter).T
        for p in range(self.k):
            if self.k >= 4:
                came = np.delete(self.several, p, axis=2).min(axis=2)
                found[:, p] = (came + rest[p][:, None]).min(axis=0)
        return np.where(found > _NEVER, np.inf, found) + self.itself


def _from_others(ended: Floats) -> Floats:
    """(k, k) by the first processor and the next one: least of those that another than the next one ended."""
    k = len(ended)
    numbers = np.arange(k)
    first = np.argmin(ended, axis=1)
    found = np.repeat(ended[numbers, first][:, None], k, axis=1)
    rest = ended.copy()
    rest[numbers, first] = np.inf
    found[numbers, first] = rest.min(axis=1)
    return found
