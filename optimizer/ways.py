"""What one transfer does on its way: hops along its tree, forwards, work of the processors at its ends.

A way depends on the tensor, the boards and the links alone, not on the rest of the plan, so it is worked out once and
remembered: searches meet the same ways again and again. What does not depend on the tensor either (who waits for whom)
is remembered by boards and links, for all tensors that go the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from boards.board import Link
from optimizer.plan import Transfer

if TYPE_CHECKING:
    from optimizer.problem import Problem

__all__ = ["Way", "WayTable"]

_Shape = tuple[str, bool, tuple[str, ...], tuple[str, ...], bool, bool]
_Key = tuple[str, int, _Shape]
_MAKER = -1


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
    """Activities of a transfer, numbered from 0; -1 is the segment that makes the tensor, -2 - c consumer c."""

    names: tuple[str, ...]
    duration_s: tuple[float, ...]
    compute_s: tuple[float, ...]
    resources: tuple[tuple[str, ...], ...]
    charges: tuple[tuple[int, float, float], ...]
    """(segment, seconds before, beside) of sending what it makes and taking in what it uses: see ``Work``."""
    relayed: tuple[tuple[str, float], ...]
    """(processor, seconds) of work beside hops for tensors that no segment there makes or takes in."""
    arcs: tuple[tuple[int, int, float], ...]
    """(i, j, lag_s): j starts no earlier than lag_s after the end of i."""
    frees: tuple[tuple[int, int, float], ...]
    """(i, j, lag_s): the end of i gives back the buffer that j fills."""


class WayTable:
    """Ways by tensor, boards and links."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._shapes: dict[_Shape, _Tree] = {}
        self._ways: dict[_Key, Way] = {}
        self._wire: dict[tuple[str, int], tuple[int, float]] = {}
        self._seconds: dict[tuple[str, int], float] = {}

    def wire(self, link: str, size_bytes: int) -> tuple[int, float]:
        """(bytes on the wire, joules at both ends) of one message over a link."""
        found = self._wire.get((link, size_bytes))
        if found is None:
            over = self._problem.link_by_name[link]
            wire_bytes = over.wire_bytes(size_bytes)
            found = self._wire[link, size_bytes] = wire_bytes, wire_bytes * over.energy_j_per_byte
        return found

    def seconds(self, link: Link, size_bytes: int) -> float:
        """Seconds that one message occupies the link's medium."""
        found = self._seconds.get((link.name, size_bytes))
        if found is None:
            found = self._seconds[link.name, size_bytes] = link.occupancy_s(size_bytes)
        return found

    def way(self, t: Transfer, origin: str, homes: tuple[str, ...]) -> Way:
        """``origin``: board where the tensor is made or enters; ``homes``: boards of its consumers."""
        shape = (origin, t.producer is None, homes, tuple([h.link for h in t.hops]), t.to_sink, t.size_bytes > 0)
        key = (t.label, t.size_bytes, shape)
        found = self._ways.get(key)
        if found is None:
            if shape not in self._shapes:
                self._shapes[shape] = _Tree(self._problem, t, origin, homes)
            found = self._ways[key] = self._shapes[shape].way(t.label, t.size_bytes, self.seconds)
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

    def __init__(self, problem: Problem, t: Transfer, origin: str, homes: tuple[str, ...]) -> None:
        self.problem, self.origin, self.homes = problem, origin, homes
        self.made, self.to_sink, self.empty = t.producer is not None, t.to_sink, t.size_bytes == 0
        self.activities: list[_Activity] = []
        self.charges: list[tuple[int, Work]] = []
        self.relayed: list[tuple[str, float]] = []
        self.arcs: list[tuple[int, int, float]] = []
        self.heads: list[int] = []
        """Activities that take the tensor first, at its origin."""
        self.frees = self._follow([problem.link_by_name[hop.link] for hop in t.hops])
        self.resources = tuple([a.resources for a in self.activities])
        self.arcs_of_all = tuple(self.arcs)

    def way(self, label: str, size_bytes: int, seconds: Callable[[Link, int], float]) -> Way:
        """The way of one tensor; ``seconds``: of a hop over a link."""
        size, activities = size_bytes, self.activities
        return Way(
            names=tuple([f"{a.name[0]}{label}{a.name[1]}" for a in activities]),
            duration_s=tuple([a.s_per_byte * size if a.link is None else seconds(a.link, size) for a in activities]),
            compute_s=tuple([a.s_per_byte * size for a in activities]),
            resources=self.resources,
            charges=tuple([(i, w.before_s * size, w.beside_s * size) for i, w in self.charges]),
            relayed=tuple([(key, rate * size) for key, rate in self.relayed]),
            arcs=self.arcs_of_all,
            frees=self.frees,
        )

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
