"""What one transfer does on its way: hops along its tree, forwards, work of the processors at its ends.

A way depends on the tensor, the boards and the links alone, not on the rest of the plan, so it is worked out once and
remembered: searches meet the same ways again and again. What does not depend on the tensor either (who waits for whom)
is remembered by boards and links, for all tensors that go the same way. Figures of ways stand in arrays, to be looked
up for the transfers of many plans at a time.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from boards.board import Link
from optimizer.plan import Transfer
from optimizer.ragged import Floats, Ints, RaggedRows

if TYPE_CHECKING:
    from optimizer.problem import Problem

__all__ = ["Way", "WayRows", "WayTable"]

_Shape = tuple[str, bool, tuple[str, ...], tuple[str, ...], bool, bool]
_Key = tuple[str, int, _Shape]
_Message = tuple[float, int, float]
"""Of one message over a link: seconds that it occupies the medium, bytes on the wire, joules at both ends."""
_MAKER = -1
_MOST_WAYS = 50_000


@dataclass(frozen=True)
class Work:
    """Processor seconds a byte of sending and receiving.

    ``beside_s``: beside the hop, as interrupts and the network stack do it. ``before_s``: while nothing moves, for
    links over which the processor does everything itself (``overlap: false``).
    """

    before_s: float = 0.0
    beside_s: float = 0.0

    @classmethod
    def of(cls, link: Link, seconds: float) -> Work:
        return cls(beside_s=seconds) if link.overlap else cls(before_s=seconds)

    def __add__(self, other: Work) -> Work:
        return Work(self.before_s + other.before_s, self.beside_s + other.beside_s)


class Way(NamedTuple):
    """What of a transfer's way is in words. Activities are numbered from 0."""

    number: int
    """Its place in the table."""
    tree: int
    """The number of the tree that it goes along."""
    names: tuple[str, ...]
    resources: tuple[tuple[str, ...], ...]
    relayed: tuple[tuple[str, float], ...]
    """(processor, seconds) of work beside hops for tensors that no segment there makes or takes in."""


@dataclass(frozen=True)
class WayRows:
    """Figures of ways, row by row of all of them. ``*_of``: position of the row's way among those asked for.

    Activities of a way are numbered from 0; -1 is the segment that makes the tensor, -2 - c its consumer c.
    """

    activity_of: Ints
    activities: Floats
    """(a, 2) seconds that each activity takes, and in which it keeps its processor computing."""
    use_of: Ints
    uses: Floats
    """(u, 2) activity and the number of a resource that it occupies, the first one first."""
    charge_of: Ints
    charges: Floats
    """(c, 3) segment, seconds before and beside of sending what it makes and taking in what it uses: see ``Work``."""
    arc_of: Ints
    arcs: Floats
    """(e, 3) i, j, lag_s: j starts no earlier than lag_s after the end of i."""
    free_of: Ints
    frees: Floats
    """(f, 3) i, j, lag_s: the end of i gives back the buffer that j fills."""
    sums: Floats
    """(ways, 2) bytes on the wire over all hops, and the joules of these bytes at both ends."""


class WayTable:
    """Ways by tensor, boards and links."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        keys, media = [ref.key for ref in problem.processors], [link.medium for link in problem.links]
        self.resource_number = {name: i for i, name in enumerate(dict.fromkeys([*keys, *media]))}
        """Of processors, as they stand in the problem, and media."""
        self._shapes: dict[_Shape, _Tree] = {}
        self._messages: dict[tuple[str, int], _Message] = {}
        self._uses, self._charges = RaggedRows(2), RaggedRows(3)
        self._arcs, self._frees = RaggedRows(3), RaggedRows(3)
        """By tree."""
        self.forget()

    def forget(self) -> None:
        """Forget all ways; their numbers mean nothing any more."""
        self._ways: dict[_Key, Way] = {}
        self._activities, self._sums = RaggedRows(2), RaggedRows(2)

    def forget_many(self) -> None:
        """``forget`` where too many are remembered; not between asking for ways and for their rows."""
        if len(self._ways) > _MOST_WAYS:
            self.forget()

    def way(self, t: Transfer, origin: str, homes: tuple[str, ...]) -> Way:
        """``origin``: board where the tensor is made or enters; ``homes``: boards of its consumers."""
        shape = (origin, t.producer is None, homes, tuple([h.link for h in t.hops]), t.to_sink, t.size_bytes > 0)
        key = (t.label, t.size_bytes, shape)
        found = self._ways.get(key)
        if found is None:
            if shape not in self._shapes:
                self._shapes[shape] = self._new_tree(t, origin, homes)
            found = self._ways[key] = self._new(self._shapes[shape], t.label, t.size_bytes)
        return found

    def rows(self, ways: Sequence[Way], sizes: Ints) -> WayRows:
        """Figures of ways; ``sizes``: bytes of their tensors."""
        asked = np.array([w.number for w in ways], dtype=np.int64)
        trees = np.array([w.tree for w in ways], dtype=np.int64)
        charge_of, charges = self._charges.of(trees)
        charges[:, 1:] *= sizes[charge_of, None]
        return WayRows(
            *self._activities.of(asked),
            *self._uses.of(trees),
            charge_of,
            charges,
            *self._arcs.of(trees),
            *self._frees.of(trees),
            self._sums.of(asked)[1],
        )

    def _new_tree(self, t: Transfer, origin: str, homes: tuple[str, ...]) -> _Tree:
        tree = _Tree(self._problem, t, origin, homes, len(self._shapes))
        numbers = self.resource_number
        self._uses.append([x for i, names in enumerate(tree.resources) for r in names for x in (i, numbers[r])])
        self._charges.append([x for i, w in tree.charges for x in (i, w.before_s, w.beside_s)])
        self._arcs.append(list(itertools.chain.from_iterable(tree.arcs)))
        self._frees.append(list(itertools.chain.from_iterable(tree.frees)))
        return tree

    def _new(self, tree: _Tree, label: str, size: int) -> Way:
        names: list[str] = []
        figures: list[float] = []
        wire_bytes, link_j = 0, 0.0
        for a in tree.activities:
            names.append(f"{a.name[0]}{label}{a.name[1]}")
            seconds = work_s = a.s_per_byte * size
            if a.link is not None:
                seconds, hop_bytes, hop_j = self._message(a.link, size)
                wire_bytes += hop_bytes
                link_j += hop_j
            figures += (seconds, work_s)
        self._activities.append(figures)
        self._sums.append((wire_bytes, link_j))
        relayed = tuple([(key, rate * size) for key, rate in tree.relayed])
        return Way(len(self._ways), tree.number, tuple(names), tree.resources, relayed)

    def _message(self, link: Link, size_bytes: int) -> _Message:
        found = self._messages.get((link.name, size_bytes))
        if found is None:
            wire_bytes = link.wire_bytes(size_bytes)
            found = link.occupancy_s(size_bytes), wire_bytes, wire_bytes * link.energy_j_per_byte
            self._messages[link.name, size_bytes] = found
        return found


@dataclass(frozen=True)
class _Activity:
    """A hop over a link, or (``link`` None) a forward with the seconds a byte that it keeps its processor busy."""

    name: tuple[str, str]
    """What stands before the tensor's label, and behind."""
    resources: tuple[str, ...]
    link: Link | None
    s_per_byte: float = 0.0


class _Tree:
    """Follows transfers along a tree; all that have something to carry, or nothing, go the same way."""

    def __init__(self, problem: Problem, t: Transfer, origin: str, homes: tuple[str, ...], number: int) -> None:
        self.problem, self.origin, self.homes, self.number = problem, origin, homes, number
        self.made, self.to_sink, self.empty = t.producer is not None, t.to_sink, t.size_bytes == 0
        self.activities: list[_Activity] = []
        self.charges: list[tuple[int, Work]] = []
        self.relayed: list[tuple[str, float]] = []
        self.arcs: list[tuple[int, int, float]] = []
        self.heads: list[int] = []
        """Activities that take the tensor first, at its origin."""
        self.frees = self._follow([problem.link_by_name[hop.link] for hop in t.hops])
        self.resources = tuple([a.resources for a in self.activities])

    def _follow(self, links: Sequence[Link]) -> tuple[tuple[int, int, float], ...]:
        """All of the tree; who frees the buffers for whom."""
        users = {board: -2 - c for c, board in reversed(list(enumerate(self.homes)))}
        onward: dict[str, list[Link]] = {}
        for link in links:
            onward.setdefault(link.source, []).append(link)
        arrivals: dict[str, tuple[int, float]] = {}
        start = self._origin(onward.get(self.origin, []))
        pending = [(link, start) for link in onward.get(self.origin, [])]
        while pending:
            link, before = pending.pop(0)
            after = self._receive(link, self._hop(link, before), users, onward.get(link.target, []))
            arrivals[link.target] = after
            pending.extend((child, after) for child in onward.get(link.target, []))
        return self._consume(arrivals)

    def _origin(self, links: Sequence[Link]) -> tuple[int, float] | None:
        """What the first hops wait for: the producing segment, or the source's processor that sends the input."""
        work = _sending(links)
        if self.made:
            self._charge(_MAKER, work)
            return _MAKER, 0.0
        forward = self._relay(self.origin, work)
        if forward is None:
            return None
        self.heads.append(forward)
        return forward, 0.0

    def _charge(self, segment: int, work: Work) -> None:
        if work != Work():
            self.charges.append((segment, work))

    def _relay(self, board: str, work: Work) -> int | None:
        """Work a byte that is no segment's; the activity that the tensor waits for, where it waits."""
        if work == Work() or self.empty:
            return None  # a board without processors has none
        first = f"{board}/{self.problem.system.board(board).processors[0].name}"
        if work.beside_s > 0:
            self.relayed.append((first, work.beside_s))
        if work.before_s <= 0:
            return None
        self.activities.append(_Activity(("forward:", f"@{board}"), (first,), None, work.before_s))
        return len(self.activities) - 1

    def _hop(self, link: Link, before: tuple[int, float] | None) -> tuple[int, float]:
        resources = [link.medium]
        if not link.overlap:
            for end in (link.source, link.target):
                board = self.problem.board_index.get(end)
                if board is not None:
                    first = self.problem.system.boards[board].processors[0]
                    resources.append(f"{end}/{first.name}")
        self.activities.append(_Activity(("hop:", f"@{link.name}"), tuple(resources), link))
        position = len(self.activities) - 1
        if before is None:
            self.heads.append(position)
        else:
            self.arcs.append((before[0], position, before[1]))
        return position, link.latency_s

    def _receive(
        self, link: Link, arrived: tuple[int, float], users: dict[str, int], onward: Sequence[Link]
    ) -> tuple[int, float]:
        """Work of taking the tensor in, which a consumer here does, and of sending it on, which waits for none."""
        if link.target not in self.problem.board_index:
            return arrived
        work, receive = _sending(onward), Work.of(link, link.receive_s_per_byte)
        if link.target in users:
            self._charge(users[link.target], receive)
        else:
            work += receive
        forward = self._relay(link.target, work)
        if forward is None:
            return arrived
        self.arcs.append((arrived[0], forward, arrived[1]))
        return forward, 0.0

    def _consume(self, arrivals: dict[str, tuple[int, float]]) -> tuple[tuple[int, int, float], ...]:
        """Arcs into the consuming segments; frame for frame, who frees the buffers for whoever fills them again."""
        ends: list[tuple[int, float]] = []
        for c, home in enumerate(self.homes):
            ends.append((-2 - c, 0.0))
            if home != self.origin:
                before = arrivals[home]
                self.arcs.append((before[0], -2 - c, before[1]))
            elif self.made:
                self.arcs.append((_MAKER, -2 - c, 0.0))
            else:
                self.heads.append(-2 - c)
        if self.to_sink and self.problem.system.sink in arrivals:
            ends.append(arrivals[self.problem.system.sink])
        takers = [_MAKER] if self.made else self.heads
        return tuple([(end, taker, lag) for end, lag in ends for taker in takers])


def _sending(links: Sequence[Link]) -> Work:
    """Of one byte over all of these links."""
    return sum((Work.of(link, link.send_s_per_byte) for link in links), Work())
