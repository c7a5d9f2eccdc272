"""From segments to the tensors that leave them, and to the activities of a frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from optimizer.event_table import Events, EventTable, Frame
from optimizer.plan import Hop, Segment, Slot, Transfer
from optimizer.problem import Problem
from optimizer.replicas import carried, frames_of_turn, segments_of_frame

__all__ = [
    "Events",
    "UnroutableError",
    "build_events",
    "build_transfers",
    "frames_of",
    "served",
]


class UnroutableError(Exception):
    """A tensor would have to go between boards that no route joins. ``source`` and ``target`` are board names."""

    def __init__(self, tensor: str, source: str, target: str) -> None:
        self.tensor, self.source, self.target = tensor, source, target
        super().__init__(f"no route from {source} to {target} for tensor {tensor}")


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


def build_events(problem: Problem, segments: Sequence[Segment], transfers: Sequence[Transfer]) -> Events:
    """Activities and arcs of a plan's segments and transfers; unrolled over the frames of a turn with replicas."""
    frames = frames_of_turn(segments)
    alone = EventTable.of(problem, frames_of(segments, transfers)).events()
    if frames == 1:
        return alone[0]
    numbers = [carried(transfers, f) for f in range(frames)]
    return _unrolled(alone, numbers, [frames // t.every for t in transfers])


def frames_of(segments: Sequence[Segment], transfers: Sequence[Transfer]) -> list[Frame]:
    """The frames of a turn, one after the other."""
    frames = frames_of_turn(segments)
    if frames == 1:
        return [(segments, transfers)]
    return [(segments_of_frame(segments, f), [transfers[i] for i in carried(transfers, f)]) for f in range(frames)]


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
