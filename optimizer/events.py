"""What happens to one frame under a plan: activities, what they wait for, and what they occupy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from optimizer.plan import Hop, Segment, Slot, Transfer
from optimizer.problem import Problem
from optimizer.replicas import carried, frames_of_turn, segments_of_frame

__all__ = [
    "Events",
    "UnroutableError",
    "build_events",
    "build_transfers",
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

    ``duration_s``: from the start of an activity until what waits for it may go on.
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
    held_s: tuple[float, ...]
    """Seconds from its start until its resources may serve the next: its duration, and the work of messages beside."""
    index: dict[str, int]
    frames: int = 1
    alone: tuple[Events, ...] = ()
    """The activities of each frame of a turn on their own; empty where one frame is a turn."""
    at: dict[tuple[str, int], int] = field(default_factory=dict)
    """Position by activity and frame of the turn; empty where one frame is a turn."""
    rings: tuple[int, ...] = ()
    """By transfer the frames that it carries in a turn: so many of ``depth_arcs`` follow each other, one a frame.
    Empty where one frame is a turn."""


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


def _compute_s(problem: Problem, segments: Sequence[Segment], transfers: Sequence[Transfer]) -> list[float]:
    """Seconds each segment computes: operators, one invocation, and the boundary term for bytes in and out."""
    table = problem.segment_table
    found = [table.figures(s).time_s + table.invocation_s[s.processor] for s in segments]
    if not table.has_boundaries:
        return found
    crossing = {s.name: 0 for s in segments}
    for t in transfers:
        if t.producer is not None:
            crossing[t.producer] += t.size_bytes
        for name in t.consumers:  # each once, and never the producer
            crossing[name] += t.size_bytes
    return [c + table.boundary_s_per_byte[s.processor] * crossing[s.name] for c, s in zip(found, segments, strict=True)]


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
    ways, home = problem.ways, problem.segment_table.home
    board = {s.name: home[s.processor] for s in segments}
    at = {s.name: i for i, s in enumerate(segments)}
    names = [f"segment:{s.name}" for s in segments]
    duration_s = _compute_s(problem, segments, transfers)
    compute_s, beside_s = list(duration_s), [0.0] * len(duration_s)
    relayed_s: dict[str, float] = {}
    resources: list[tuple[str, ...]] = [(s.processor,) for s in segments]
    arcs: list[tuple[int, int, float]] = []
    depth_arcs: list[tuple[int, int, float, int]] = []
    base = len(names)
    for number, t in enumerate(transfers):
        origin, maker = (problem.system.source, -1) if t.producer is None else (board[t.producer], at[t.producer])
        way = ways.way(t, origin, tuple([board[c] for c in t.consumers]))
        count = len(way.names)
        node = [*range(base, base + count), *[at[c] for c in reversed(t.consumers)], maker]
        base += count
        for i, before, beside in way.charges:
            duration_s[node[i]] += before
            compute_s[node[i]] += before
            beside_s[node[i]] += beside
        for key, seconds in way.relayed:
            relayed_s[key] = relayed_s.get(key, 0.0) + seconds
        names += way.names
        duration_s += way.duration_s
        beside_s += [0.0] * count
        compute_s += way.compute_s
        resources += way.resources
        arcs += [(node[i], node[j], lag) for i, j, lag in way.arcs]
        depth_arcs += [(node[i], node[j], lag, number) for i, j, lag in way.frees]
    for key, seconds in relayed_s.items():
        hosts = [i for i, s in enumerate(segments) if s.processor == key]
        if hosts:
            beside_s[hosts[-1]] += seconds
        else:
            names.append(f"messages:{key}")
            duration_s.append(0.0)
            compute_s.append(0.0)
            beside_s.append(seconds)
            resources.append((key,))
    return Events(
        names=tuple(names),
        duration_s=tuple(duration_s),
        resources=tuple(resources),
        arcs=tuple(arcs),
        depth_arcs=tuple(depth_arcs),
        compute_s=tuple([c + b for c, b in zip(compute_s, beside_s, strict=True)]),
        held_s=tuple([d + b for d, b in zip(duration_s, beside_s, strict=True)]),
        index={name: i for i, name in enumerate(names)},
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
        held_s=tuple(h for events in alone for h in events.held_s),
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
