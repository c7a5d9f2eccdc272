"""What one transfer does on its way: hops along its tree, forwards, processor time at its ends.

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
class Way:
    """Activities of a transfer, numbered from 0; -1 is the segment that makes the tensor, -2 - c consumer c."""

    names: tuple[str, ...]
    duration_s: tuple[float, ...]
    compute_s: tuple[float, ...]
    resources: tuple[tuple[str, ...], ...]
    charges: tuple[tuple[int, float], ...]
    """(segment, processor seconds) of sending and receiving, which the segments do themselves."""
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
        self.charges: list[tuple[int, float]] = []
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
        seconds = sum(link.send_s_per_byte for link in links) * self.t.size_bytes
        if self.t.producer is not None:
            self.charges.append((_MAKER, seconds))
            return _MAKER, 0.0
        if seconds <= 0:
            return None
        forward = self._forward(self.origin, seconds)
        self.heads.append(forward)
        return forward, 0.0

    def _forward(self, board: str, seconds: float) -> int:
        first = self.problem.system.board(board).processors[0]
        return self._add(f"forward:{self.t.label}@{board}", seconds, (f"{board}/{first.name}",), computes=True)

    def _hop(self, link: Link, before: tuple[int, float] | None) -> tuple[int, float]:
        resources = [link.medium]
        if not link.overlap:
            for end in (link.source, link.target):
                board = self.problem.board_index.get(end)
                if board is not None:
                    first = self.problem.system.boards[board].processors[0]
                    resources.append(f"{end}/{first.name}")
        position = self._add(
            f"hop:{self.t.label}@{link.name}", link.occupancy_s(self.t.size_bytes), tuple(resources), computes=False
        )
        if before is None:
            self.heads.append(position)
        else:
            self.arcs.append((before[0], position, before[1]))
        return position, link.latency_s

    def _receive(
        self, link: Link, arrived: tuple[int, float], users: dict[str, int], onward: Sequence[Link]
    ) -> tuple[int, float]:
        """Processor time of taking the tensor in and sending it on, charged to a consumer or to a forward."""
        if link.target not in self.problem.board_index:
            return arrived
        receive = link.receive_s_per_byte * self.t.size_bytes
        send = sum(child.send_s_per_byte for child in onward) * self.t.size_bytes
        if link.target in users:
            self.charges.append((users[link.target], receive))
            receive = 0.0
        if receive + send <= 0:
            return arrived
        forward = self._forward(link.target, receive + send)
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
