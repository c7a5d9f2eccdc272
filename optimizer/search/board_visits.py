"""The ways in which a plan may use the processors of a board.

Segments on a board of one processor stand by themselves. On a board of two, what one hands to the other crosses no
link, so its links hang on both. Either nothing else is run between the two, or only one of the two runs anything:
then the links are known from where the visit begins and ends. Or the board is come back to: then there are two visits.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from optimizer.search.segment_loads import SegmentLoads

__all__ = ["Role", "Visit", "visits_of"]


class Role(Enum):
    """What else the board runs."""

    ALONE = "nothing"
    PAIR = "both processors, one after the other"
    FIRST = "the other processor, later"
    SECOND = "the other processor, earlier"


@dataclass(frozen=True)
class Visit:
    """A segment, or two that follow each other, on one board. Processors are given by type (see SegmentLoads)."""

    role: Role
    runs: tuple[int, ...]
    """Types that run something: one, or the two of a pair in any order."""
    spends: tuple[int, ...]
    """Types of which nothing more can be run on that board."""
    other: int | None = None
    """The type that the board is come back to with, or was left from."""


def visits_of(loads: SegmentLoads) -> list[Visit]:
    """Every way in which a board may be used. Boards of three processors and more count by processor."""
    found: list[Visit] = []
    boards: dict[int, list[int]] = {}
    board_of = loads.problem.tables.board_of
    for kind, q in enumerate(loads.first):
        boards.setdefault(int(board_of[q]), []).append(kind)
    for kinds in boards.values():
        if len(kinds) != 2:
            found += [Visit(Role.ALONE, (kind,), (kind,)) for kind in kinds]
            continue
        pair = (kinds[0], kinds[1])
        found += [Visit(Role.ALONE, (kind,), pair) for kind in pair]
        found.append(Visit(Role.PAIR, pair, pair))
        for kind, other in (pair, pair[::-1]):
            found += [Visit(role, (kind,), (kind,), other) for role in (Role.FIRST, Role.SECOND)]
    return found
