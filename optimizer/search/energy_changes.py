"""Ways to change processors between two operators of the trunk that may still lead to a plan worth having."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimizer.search.energy_blocks import Block, Pairs, Way

__all__ = ["Change", "Ways", "changes"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_MOST_PAIRS = 200_000


@dataclass(frozen=True)
class Ways:
    """How things are added up for labels: see ``energy_labels``."""

    active: Way
    weighed: Way
    seconds: Way


@dataclass(frozen=True)
class Change:
    """From one processor to another by several pairs of cuts, (c,) each; between the two cuts a third one runs.

    ``middle`` is None, and the two cuts are the same, where nobody runs anything in between.
    """

    first: int
    middle: int | None
    last: int
    active_j: Floats
    weighed_j: Floats
    left_s: Floats
    """What the first one still has to do."""
    middle_s: Floats
    opened_s: Floats
    """Of the last one, up to the operator of the trunk."""
    start: Ints
    end: Ints


def changes(block: Block, ways: Ways, enough: Floats) -> list[Change] | None:
    """All with weighed joules below ``enough``, (k, k) by the first and the last processor, but for those with
    several segments in between. None if there are too many."""
    k = len(enough)
    pairs = block.pairs(ways.weighed, enough, _MOST_PAIRS)
    if pairs is None:
        return None
    key = (pairs.first * k + pairs.middle) * k + pairs.last
    rows = [np.flatnonzero(key == one) for one in np.unique(key).tolist()]
    places = [(q, p) for q, p in np.argwhere(enough > -np.inf).tolist() if q != p]
    by_one_cut = [_by_one_cut(block, ways, q, p, float(enough[q, p])) for q, p in places]
    return by_one_cut + [_by_two_cuts(block, ways, pairs.rows(some)) for some in rows]


def _by_one_cut(block: Block, ways: Ways, q: int, p: int, enough: float) -> Change:
    weighed = block.cut(q, p, ways.weighed)
    rows = np.flatnonzero(weighed < enough)
    left_s, opened_s = block.halves(q, p, ways.seconds)
    active = block.cut(q, p, ways.active)
    none = np.zeros(len(rows))
    return Change(q, None, p, active[rows], weighed[rows], left_s[rows], none, opened_s[rows], rows, rows)


def _by_two_cuts(block: Block, ways: Ways, pairs: Pairs) -> Change:
    active, weighed = (np.sum(block.parts_of(pairs, way), axis=0) for way in (ways.active, ways.weighed))
    left_s, middle_s, opened_s, _ = block.parts_of(pairs, ways.seconds)
    q, r, p = (int(x[0]) for x in (pairs.first, pairs.middle, pairs.last))
    return Change(q, r, p, active, weighed, left_s, middle_s, opened_s, pairs.start, pairs.end)
