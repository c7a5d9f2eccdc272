"""What one transfer does on its way: hops along its tree, forwards, work of the processors at its ends.

A way depends on the tensor, the boards and the links alone, not on the rest of the plan, so it is worked out once and
remembered: searches meet the same ways again and again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from boards.board import Link
from optimizer.plan import Transfer

if TYPE_CHECKING:
    from optimizer.problem import Problem

__all__ = ["Way", "WayTable"]

_Key = tuple[str, int, str, bool, tuple[str, ...], tuple[str, ...], bool]
_MAKER = -1


@dataclass(frozen=True)
class Work:
    """Processor seconds of sending and receiving a message.

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


@dataclass(frozen=True)
class Way:
    """Activities of a transfer, numbered from 0; -1 is the segment that makes the tensor, -2 - c consumer c."""

    names: tuple[str, ...]
    duration_s: tuple[float, ...]
    compute_s: tuple[float, ...]
    resources: tuple[tuple[str, ...], ...]
    charges: tuple[tuple[int, Work], ...]
    """(segment, work) of sending what it makes and taking in what it uses, done by the segment's processor."""
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
        self._ways: dict[_Key, Way] = {}
        self._wire: dict[tuple[str, int], tuple[int, float]] = {}

    def wire(self, link: str, size_bytes: int) -> tuple[int, float]:
        """(bytes on the wire, joules at both ends) of one message over a link."""
        if (link, size_bytes) not in self._wire:
            over = self._problem.link_by_name[link]
            wire_bytes = over.wire_bytes(size_bytes)
            self._wire[link, size_bytes] = wire_bytes, wire_bytes * over.energy_j_per_byte
        return self._wire[link, size_bytes]

    def way(self, t: Transfer, origin: str, homes: tuple[str, ...]) -> Way:
        """``origin``: board where the tensor is made or enters; ``homes``: boards of its consumers."""
        links = tuple([h.link for h in t.hops])
        key = (t.label, t.size_bytes, origin, t.producer is None, homes, links, t.to_sink)
        if key not in self._ways:
            self._ways[key] = _Walk(self._problem, t, origin, homes).way()
        return self._ways[key]


class _Walk:
    """Follows a transfer along its tree; see Way."""

    def __init__(self, problem: Problem, t: Transfer, origin: str, homes: tuple[str, ...]) -> None:
        self.problem, self.t, self.origin, self.homes = problem, t, origin, homes
        self.names: list[str] = []
        self.duration_s: list[float] = []
        self.compute_s: list[float] = []
        self.resources: list[tuple[str, ...]] = []
        self.charges: list[tuple[int, Work]] = []
        self.relayed: list[tuple[str, float]] = []
        self.arcs: list[tuple[int, int, float]] = []
        self.heads: list[int] = []
        """Activities that take the tensor first, at its origin."""

    def way(self) -> Way:
        users = {board: -2 - c for c, board in reversed(list(enumerate(self.homes)))}
        onward: dict[str, list[Link]] = {}
        for hop in self.t.hops:
            link = self.problem.link_by_name[hop.link]
            onward.setdefault(link.source, []).append(link)
        arrivals: dict[str, tuple[int, float]] = {}
        start = self._origin(onward.get(self.origin, []))
        pending = [(link, start) for link in onward.get(self.origin, [])]
        while pending:
            link, before = pending.pop(0)
            after = self._receive(link, self._hop(link, before), users, onward.get(link.target, []))
            arrivals[link.target] = after
            pending.extend((child, after) for child in onward.get(link.target, []))
        frees = self._consume(arrivals)
        return Way(
            names=tuple(self.names),
            duration_s=tuple(self.duration_s),
            compute_s=tuple(self.compute_s),
            resources=tuple(self.resources),
            charges=tuple(self.charges),
            relayed=tuple(self.relayed),
            arcs=tuple(self.arcs),
            frees=tuple(frees),
        )

    def _add(self, name: str, duration_s: float, resources: tuple[str, ...], *, computes: bool) -> int:
        self.names.append(name)
        self.duration_s.append(duration_s)
        self.compute_s.append(duration_s if computes else 0.0)
        self.resources.append(resources)
        return len(self.names) - 1

    def _origin(self, links: Sequence[Link]) -> tuple[int, float] | None:
        """What the first hops wait for: the producing segment, or the source's processor that sends the input."""
        work = self._sending(links)
        if self.t.producer is not None:
            self.charges.append((_MAKER, work))
            return _MAKER, 0.0
        forward = self._relay(self.origin, work)
        if forward is None:
            return None
        self.heads.append(forward)
        return forward, 0.0

    def _sending(self, links: Sequence[Link]) -> Work:
        return sum((Work.of(link, link.send_s_per_byte * self.t.size_bytes) for link in links), Work())

    def _relay(self, board: str, work: Work) -> int | None:
        """Work that is no segment's; the activity that the tensor waits for, where it waits."""
        if work == Work():
            return None  # a board without processors has none
        first = f"{board}/{self.problem.system.board(board).processors[0].name}"
        if work.beside_s > 0:
            self.relayed.append((first, work.beside_s))
        if work.before_s <= 0:
            return None
        return self._add(f"forward:{self.t.label}@{board}", work.before_s, (first,), computes=True)

    def _hop(self, link: Link, before: tuple[int, float] | None) -> tuple[int, float]:
        resources = [link.medium]
        if not link.overlap:
            for end in (link.source, link.target):
                board = self.problem.board_index.get(end)
                if board is not None:
                    first = self.problem.system.boards[board].processors[0]
                    resources.append(f"{end}/{first.name}")
        seconds = link.occupancy_s(self.t.size_bytes)
        position = self._add(f"hop:{self.t.label}@{link.name}", seconds, tuple(resources), computes=False)
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
        work, receive = self._sending(onward), Work.of(link, link.receive_s_per_byte * self.t.size_bytes)
        if link.target in users:
            self.charges.append((users[link.target], receive))
        else:
            work += receive
        forward = self._relay(link.target, work)
        if forward is None:
            return arrived
        self.arcs.append((arrived[0], forward, arrived[1]))
        return forward, 0.0

    def _consume(self, arrivals: dict[str, tuple[int, float]]) -> list[tuple[int, int, float]]:
        """Arcs into the consuming segments; frame for frame, who frees the buffers for whoever fills them again."""
        ends: list[tuple[int, float]] = []
        for c, home in enumerate(self.homes):
            ends.append((-2 - c, 0.0))
            if home != self.origin:
                before = arrivals[home]
                self.arcs.append((before[0], -2 - c, before[1]))
            elif self.t.producer is not None:
                self.arcs.append((_MAKER, -2 - c, 0.0))
            else:
                self.heads.append(-2 - c)
        if self.t.to_sink and self.problem.system.sink in arrivals:
            ends.append(arrivals[self.problem.system.sink])
        takers = self.heads if self.t.producer is None else [_MAKER]
        return [(end, taker, lag) for end, lag in ends for taker in takers]
