"""Boards of two processors of which the later visit is known: what keeps their links busy. See visit_labels.

Arrays have a row a label, r rows; all of them begin at one downset. Tensors: t.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimizer.search.segment_loads import SegmentLoads

__all__ = ["Half", "HalfBoards", "made_inside"]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_SLACK = 1e-9


@dataclass(frozen=True)
class Half:
    """One board, half open."""

    out_s: Floats
    in_s: Floats
    """(r,) of its links, what is certain so far."""
    need: Bools
    """(r, t) tensors that the later visit reads, as long as it is open which board makes them; inputs as well."""
    free: Bools
    """(r, t) tensors of the part still to be run that nothing behind it reads but the later visit."""

    def rows(self, rows: Ints | Bools) -> Half:
        return Half(self.out_s[rows], self.in_s[rows], self.need[rows], self.free[rows])

    def put(self, here: slice, half: Half) -> None:
        """Overwrite rows."""
        self.out_s[here], self.in_s[here] = half.out_s, half.in_s
        self.need[here], self.free[here] = half.need, half.free

    @staticmethod
    def joined(halves: Sequence[Half]) -> Half:
        """The rows of all, one after the other."""
        columns = ([getattr(h, name) for h in halves] for name in ("out_s", "in_s", "need", "free"))
        return Half(*(np.concatenate(column) for column in columns))


def made_inside(loads: SegmentLoads) -> Bools:
    """(m, t) tensors made inside each downset; inputs never are."""
    producer = loads.problem.tables.producer
    made: Bools = (producer >= 0) & loads.lattice.member[:, producer]
    return made


class HalfBoards:
    """How halves come to be, change and close. Kinds are types of processors, see SegmentLoads."""

    def __init__(self, loads: SegmentLoads) -> None:
        self.loads = loads
        self.made = made_inside(loads)
        self.used = loads.used
        self.exhausted: Bools = loads.used == loads.used[-1]

    def opened(self, kind: int, start: int, ends: Ints) -> Half:
        """Later visits of a type from the start to each end."""
        made = self.made[start]
        need = (self.used[ends] > self.used[start]) & (made | self._inputs(kind))
        free = made & self.loads.inner & ~self.exhausted[start] & self.exhausted[ends]
        return Half(self._leaving(kind, start, ends), np.zeros(len(ends)), need, free)

    def passed(self, half: Half, kind: int, start: int, ends: Ints) -> Half:
        """What is left of halves where another board works from the start to each end."""
        made = self.made[start]
        come = (half.need & self.made[ends] & ~made) @ self.loads.ports[kind][1].wire_s
        unread = self.used[ends] == self.used[start]
        left = made | self._inputs(kind)
        return Half(half.out_s, half.in_s + come, half.need & left, half.free & made & unread)

    def closes(self, half: Half, kind: int, start: int, ends: Ints, limit_s: float) -> Bools:
        """Whether the links keep the limit with the earlier visit, of a type, from the start to each end."""
        away, here = self.loads.ports[kind]
        made = self.made[ends] & ~self.made[start]
        out_s = half.out_s + self._leaving(kind, start, ends) - (made & half.free) @ away.wire_s
        read = self.used[ends] > self.used[start]
        come = (read | half.need) & (self.made[start] | self._inputs(kind))
        return self.busy_s(kind, out_s, half.in_s + come @ here.wire_s) <= limit_s

    def busy_s(self, kind: int, out_s: Floats, in_s: Floats) -> Floats:
        """(r,) of the links of a board, which may share a medium."""
        return out_s + in_s if self.loads.one_medium[kind] else np.maximum(out_s, in_s)

    def no_busier(self, half: Half, row: int, kind: int) -> Bools:
        """(r,) whether that row is nowhere busier than each other, whatever the earlier visit will be."""
        away, here = self.loads.ports[kind]
        more_out = (half.free & ~half.free[row]) @ away.wire_s
        more_in = (half.need[row] & ~half.need) @ here.wire_s
        less_out = half.out_s[row] + more_out <= half.out_s * (1 + _SLACK)
        return np.asarray(less_out & (half.in_s[row] + more_in <= half.in_s * (1 + _SLACK)))

    def _inputs(self, kind: int) -> Bools:
        """(t,) inputs that come to the board over a link."""
        at_source = self.loads.ends[kind][0]
        return np.zeros_like(self.loads.inputs) if at_source else self.loads.inputs

    def _leaving(self, kind: int, start: int, ends: Ints) -> Floats:
        """(r,) seconds of the board's link out for what others read, as if none of them were the board's own."""
        crossing = self.loads.open[ends] & self.loads.inner
        if not self.loads.ends[kind][1]:
            crossing |= self.loads.results & self.made[ends]
        return np.asarray((crossing & ~self.made[start]) @ self.loads.ports[kind][0].wire_s)
