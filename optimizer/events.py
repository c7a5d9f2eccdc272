"""What happens to one frame under a plan: activities, what they wait for, and what they occupy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from boards.board import Link
from optimizer.plan import Hop, Segment, Slot, Transfer
from optimizer.problem import Problem
from optimizer.replicas import carried, frames_of_turn, segments_of_frame

__all__ = [
    "Events",
    "UnroutableError",
    "activity_of_hop",
    "build_events",
    "build_transfers",
    "segment_compute_s",
    "served",
]


class UnroutableError(Exception):
    """A tensor would have to go between boards that no route joins. ``source`` and ``target`` are board names."""

    def __init__(self, tensor: str, source: str, target: str) -> None:
        self.tensor, self.source, self.target = tensor, source, target
        super().__init__(f"no route from {source} to {target} for tensor {tensor}")


@dataclass(frozen=True)
class Events:
    """The activities of one frame, or, with replicas, of all ``frames`` of a turn. Positions index all tuples.

    ``arcs``: (i, j, lag_s): j starts no earlier than lag_s after the end of i, same frame.
    ``depth_arcs``: (i, j, lag_s, transfer): j of frame n starts no earlier than lag_s after the end of i of
    frame n - depth of that transfer, counting the frames that the transfer carries.
    """

    names: tuple[str, ...]
    duration_s: tuple[float, ...]
    resources: tuple[tuple[str, ...], ...]
    arcs: tuple[tuple[int, int, float], ...]
    depth_arcs: tuple[tuple[int, int, float, int], ...]
    compute_s: tuple[float, ...]
    """Seconds in which the activity keeps the processor that it occupies computing (0 for hops)."""
    index: dict[str, int]
    frames: int = 1
    alone: tuple[Events, ...] = ()
    """The activities of each frame of a turn on their own; empty where one frame is a turn."""
    at: dict[tuple[str, int], int] = field(default_factory=dict)
    """Position by activity and frame of the turn; empty where one frame is a turn."""
    rings: tuple[int, ...] = ()
    """By transfer the frames that it carries in a turn: so many of ``depth_arcs`` follow each other, one a frame.
    Empty where one frame is a turn."""


def activity_of_hop(label: str, link: str) -> str:
    return f"hop:{label}@{link}"


def build_transfers(
    problem: Problem, segments: Sequence[Segment], depths: dict[int, int] | None = None
) -> tuple[Transfer, ...]:
    """The tensors that leave their segment, with multicast trees; ``depths`` by tensor (default 1).

    Between replicas every way is a transfer of its own. Raises UnroutableError.
    """
    frames = frames_of_turn(segments)
    if frames == 1:
        return _transfers(problem, segments, depths)
    of_frame = [_transfers(problem, segments_of_frame(segments, f), depths) for f in range(frames)]
    counts = {s.name: max(1, len(s.replicas)) for s in segments}
    found = []
    for number, t in enumerate(of_frame[0]):
        every = math.lcm(*(counts[name] for name in (t.producer, *t.consumers) if name is not None))
        found += [replace(of_frame[f][number], every=every, first=f) for f in range(every)]
    return tuple(found)


def _transfers(
    problem: Problem, segments: Sequence[Segment], depths: dict[int, int] | None = None
) -> tuple[Transfer, ...]:
    tables, system, graph = problem.tables, problem.system, problem.graph
    segment_of = np.full(len(graph.operators) + 1, -1, dtype=np.int64)
    for i, segment in enumerate(segments):
        segment_of[list(segment.operators)] = i
    made_in = segment_of[tables.producer]  # position -1 of segment_of holds -1: a model input
    crossing = segment_of[tables.consumer_operator] != made_in[tables.consumer_tensor]
    tensors = set(np.unique(tables.consumer_tensor[crossing]).tolist()) | set(graph.outputs)
    keys = [problem.processor_index[s.processor] for s in segments]
    result = []
    for t in sorted(tensors):
        tensor = graph.tensors[t]
        maker = int(made_in[t])
        users = sorted({int(segment_of[c]) for c in tensor.consumers} - {maker})
        origin = system.source if maker < 0 else problem.processors[keys[maker]].board.name
        targets = [problem.processors[keys[u]].board.name for u in users]
        if tensor.is_output:
            targets.append(system.sink)
        hops, boards = _tree(problem, tensor.name, origin, targets, t)
        result.append(
            Transfer(
                tensor=t,
                name=tensor.name,
                size_bytes=int(tables.tensor_bytes[t, keys[maker] if maker >= 0 else 0]),
                producer=None if maker < 0 else segments[maker].name,
                consumers=tuple(segments[u].name for u in users),
                to_sink=tensor.is_output,
                hops=hops,
                boards=boards,
                depth=1 if depths is None else depths.get(t, 1),
            )
        )
    return tuple(result)


def _tree(
    problem: Problem, name: str, origin: str, targets: Sequence[str], tensor: int
) -> tuple[tuple[Hop, ...], tuple[str, ...]]:
    """Union of the routes: every directed link once, parents before children; and the boards it touches."""
    hops: dict[int, Hop] = {}
    boards = {origin: None}
    for target in targets:
        route = problem.system.route(origin, target)
        if route is None:
            raise UnroutableError(name, origin, target)
        for index in route:
            link = problem.links[index]
            hops.setdefault(index, Hop(tensor, link.name))
            if link.target in problem.board_index:
                boards.setdefault(link.target)
    return tuple(hops.values()), tuple(boards)


def segment_compute_s(problem: Problem, segment: Segment, transfers: Sequence[Transfer]) -> float:
    """Seconds a segment computes: operators, one invocation, and the boundary term for bytes in and out."""
    q = problem.processor_index[segment.processor]
    tables = problem.tables
    crossing = sum(t.size_bytes for t in transfers if segment.name == t.producer or segment.name in t.consumers)
    return (
        problem.segment_table.figures(segment).time_s
        + float(tables.segment_s[q])
        + float(tables.boundary_s_per_byte[q]) * crossing
    )


class _Builder:
    """Collects the activities of a plan; see Events."""

    def __init__(self, problem: Problem, segments: Sequence[Segment], transfers: Sequence[Transfer]) -> None:
        self.problem = problem
        self.segments = {s.name: s for s in segments}
        self.board = {s.name: problem.processors[problem.processor_index[s.processor]].board.name for s in segments}
        self.names: list[str] = []
        self.duration: list[float] = []
        self.compute: list[float] = []
        self.resources: list[tuple[str, ...]] = []
        self.arcs: list[tuple[int, int, float]] = []
        self.depth_arcs: list[tuple[int, int, float, int]] = []
        self.index: dict[str, int] = {}
        for s in segments:
            self.add(f"segment:{s.name}", segment_compute_s(problem, s, transfers), (s.processor,), computes=True)
        for number, transfer in enumerate(transfers):
            self.transfer(number, transfer)

    def add(self, name: str, duration_s: float, resources: tuple[str, ...], *, computes: bool) -> int:
        self.index[name] = len(self.names)
        self.names.append(name)
        self.duration.append(duration_s)
        self.compute.append(duration_s if computes else 0.0)
        self.resources.append(resources)
        return len(self.names) - 1

    def charge(self, position: int, seconds: float) -> None:
        self.duration[position] += seconds
        self.compute[position] += seconds

    def transfer(self, number: int, t: Transfer) -> None:
        """Activities of one tensor: hops along the tree, forwards where a board without its segments works for it."""
        origin = self.problem.system.source if t.producer is None else self.board[t.producer]
        users = {self.board[c]: self.index[f"segment:{c}"] for c in reversed(t.consumers)}
        children: dict[str, list[Link]] = {}
        for hop in t.hops:
            link = self.problem.link_by_name[hop.link]
            children.setdefault(link.source, []).append(link)
        heads: list[int] = []  # activities that take the tensor first, at its origin
        arrivals: dict[str, tuple[int, float]] = {}
        start = self._origin(t, origin, children.get(origin, []), heads)
        pending = [(link, start) for link in children.get(origin, [])]
        while pending:
            link, before = pending.pop(0)
            after = self._hop(t, link, before, heads)
            after = self._receive(t, link, after, users, children.get(link.target, []))
            arrivals[link.target] = after
            pending.extend((child, after) for child in children.get(link.target, []))
        self._consume(number, t, origin, heads, arrivals)

    def _origin(self, t: Transfer, origin: str, links: Sequence[Link], heads: list[int]) -> tuple[int, float] | None:
        """What the first hops wait for: the producing segment, or the source's processor that sends the input."""
        seconds = sum(link.send_s_per_byte for link in links) * t.size_bytes
        if t.producer is not None:
            position = self.index[f"segment:{t.producer}"]
            self.charge(position, seconds)
            return position, 0.0
        if seconds <= 0:
            return None
        forward = self._forward(t, origin, seconds)
        heads.append(forward)
        return forward, 0.0

    def _forward(self, t: Transfer, board: str, seconds: float) -> int:
        first = self.problem.system.board(board).processors[0]
        return self.add(f"forward:{t.label}@{board}", seconds, (f"{board}/{first.name}",), computes=True)

    def _hop(self, t: Transfer, link: Link, before: tuple[int, float] | None, heads: list[int]) -> tuple[int, float]:
        resources = [link.medium]
        if not link.overlap:
            for end in (link.source, link.target):
                board = self.problem.board_index.get(end)
                if board is not None:
                    first = self.problem.system.boards[board].processors[0]
                    resources.append(f"{end}/{first.name}")
        position = self.add(
            activity_of_hop(t.label, link.name),
            link.occupancy_s(t.size_bytes),
            tuple(resources),
            computes=False,
        )
        if before is None:
            heads.append(position)
        else:
            self.arcs.append((before[0], position, before[1]))
        return position, link.latency_s

    def _receive(
        self,
        t: Transfer,
        link: Link,
        arrived: tuple[int, float],
        users: dict[str, int],
        onward: Sequence[Link],
    ) -> tuple[int, float]:
        """Processor time of taking the tensor in and sending it on, charged to a consumer or to a forward."""
        if link.target not in self.problem.board_index:
            return arrived
        receive = link.receive_s_per_byte * t.size_bytes
        send = sum(child.send_s_per_byte for child in onward) * t.size_bytes
        if link.target in users:
            self.charge(users[link.target], receive)
            receive = 0.0
        if receive + send <= 0:
            return arrived
        forward = self._forward(t, link.target, receive + send)
        self.arcs.append((arrived[0], forward, arrived[1]))
        return forward, 0.0

    def _consume(
        self, number: int, t: Transfer, origin: str, heads: list[int], arrivals: dict[str, tuple[int, float]]
    ) -> None:
        """Arcs into the consuming segments and, frame for frame, back to whoever fills the buffers again."""
        ends: list[tuple[int, float]] = []
        for consumer in t.consumers:
            position = self.index[f"segment:{consumer}"]
            ends.append((position, 0.0))
            if self.board[consumer] != origin:
                before = arrivals[self.board[consumer]]
                self.arcs.append((before[0], position, before[1]))
            elif t.producer is not None:
                self.arcs.append((self.index[f"segment:{t.producer}"], position, 0.0))
            else:
                heads.append(position)
        if t.to_sink and self.problem.system.sink in arrivals:
            ends.append(arrivals[self.problem.system.sink])
        takers = heads if t.producer is None else [self.index[f"segment:{t.producer}"]]
        self.depth_arcs.extend((end, taker, lag, number) for end, lag in ends for taker in takers)


def build_events(problem: Problem, segments: Sequence[Segment], transfers: Sequence[Transfer]) -> Events:
    """Activities and arcs of a plan's segments and transfers; unrolled over the frames of a turn with replicas."""
    frames = frames_of_turn(segments)
    if frames == 1:
        return _events(problem, segments, transfers)
    numbers = [carried(transfers, f) for f in range(frames)]
    alone = [
        _events(problem, segments_of_frame(segments, f), [transfers[i] for i in numbers[f]]) for f in range(frames)
    ]
    return _unrolled(alone, numbers, [frames // t.every for t in transfers])


def _events(problem: Problem, segments: Sequence[Segment], transfers: Sequence[Transfer]) -> Events:
    b = _Builder(problem, segments, transfers)
    return Events(
        names=tuple(b.names),
        duration_s=tuple(b.duration),
        resources=tuple(b.resources),
        arcs=tuple(b.arcs),
        depth_arcs=tuple(b.depth_arcs),
        compute_s=tuple(b.compute),
        index=b.index,
    )


def _unrolled(alone: Sequence[Events], numbers: Sequence[Sequence[int]], rings: Sequence[int]) -> Events:
    """The frames of a turn side by side; ``numbers``: position of each frame's transfers in the plan."""
    names: list[str] = []
    arcs: list[tuple[int, int, float]] = []
    ring_arcs: dict[tuple[int, int], list[tuple[int, int, float, int]]] = {}
    at: dict[tuple[str, int], int] = {}
    for frame, events in enumerate(alone):
        base = len(names)
        at |= {(name, frame): base + i for name, i in events.index.items()}
        names += [f"{name} of frame {frame}" for name in events.names]
        arcs += [(base + i, base + j, lag) for i, j, lag in events.arcs]
        seen: dict[int, int] = {}
        for i, j, lag, local in events.depth_arcs:
            number = numbers[frame][local]
            rank = seen[number] = seen.get(number, -1) + 1  # the same arc in each frame: the way is the same
            ring_arcs.setdefault((number, rank), []).append((base + i, base + j, lag, number))
    return Events(
        names=tuple(names),
        duration_s=tuple(d for events in alone for d in events.duration_s),
        resources=tuple(r for events in alone for r in events.resources),
        arcs=tuple(arcs),
        depth_arcs=tuple(arc for ring in ring_arcs.values() for arc in ring),
        compute_s=tuple(c for events in alone for c in events.compute_s),
        index={name: i for i, name in enumerate(names)},
        frames=len(alone),
        alone=tuple(alone),
        at=at,
        rings=tuple(rings),
    )


def served(events: Events, resource: str, slots: Sequence[Slot]) -> list[tuple[int, int]]:
    """(activity, stage) in the order of the resource's list, over all frames of a turn; stages count turns.

    A slot whose frame another resource serves (that of another replica) is skipped.
    """
    if events.frames == 1:
        return [(events.index[s.activity], s.stage) for s in slots]
    found = []
    for step in range(events.frames):
        for s in slots:
            turn, frame = divmod(step - s.stage, events.frames)
            position = events.at.get((s.activity, frame))
            if position is not None and resource in events.resources[position]:
                found.append((position, -turn))
    return found
