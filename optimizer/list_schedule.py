"""One frame alone: list scheduling of its activities, and the lists that come of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from optimizer.events import Events
from optimizer.plan import Slot

__all__ = ["by_resource", "frame_alone", "frame_by_frame", "longest_path_s", "sequence", "topological_rank"]

_EPSILON = 1e-9


def longest_path_s(events: Events) -> float:
    """Seconds of one frame if nothing had to wait for a resource: no schedule has a smaller latency."""
    return max(_tails(events), default=0.0)


def _tails(events: Events) -> list[float]:
    """Longest way from the start of each activity to the end of the frame."""
    nodes = len(events.names)
    tail = list(events.duration_s)
    for i, _, lag, _ in events.depth_arcs:
        tail[i] = max(tail[i], events.duration_s[i] + lag)
    for _ in range(nodes):
        changed = False
        for i, j, lag in events.arcs:
            length = events.duration_s[i] + lag + tail[j]
            if length > tail[i] * (1 + 1e-15):
                tail[i] = length
                changed = True
        if not changed:
            break
    return tail


def frame_alone(events: Events) -> list[float]:
    """Start times of one frame alone by list scheduling; the best of a few priority rules."""
    tail = _tails(events)
    rules = [
        [(-tail[i], i) for i in range(len(tail))],
        [(-(tail[i] - events.duration_s[i]), i) for i in range(len(tail))],
        [(events.duration_s[i], i) for i in range(len(tail))],
    ]
    if all(len(members) <= 1 for members in by_resource(events).values()):
        rules = rules[:1]
    best: list[float] = []
    makespan = math.inf
    for rule in rules:
        starts = _list_schedule(events, rule)
        end = max((s + tail[i] for i, s in enumerate(starts)), default=0.0)
        if end < makespan - _EPSILON * max(end, 1e-30):
            best, makespan = starts, end
    return best


def by_resource(events: Events) -> dict[str, list[int]]:
    members: dict[str, list[int]] = {}
    for i, resources in enumerate(events.resources):
        for resource in resources:
            members.setdefault(resource, []).append(i)
    return members


def _list_schedule(events: Events, priority: Sequence[tuple[float, int]]) -> list[float]:
    """Serial schedule generation: of the activities that could start earliest, the most urgent goes first."""
    nodes = len(events.names)
    after: list[list[tuple[int, float]]] = [[] for _ in range(nodes)]
    waiting = [0] * nodes
    for i, j, lag in events.arcs:
        after[i].append((j, events.duration_s[i] + lag))
        waiting[j] += 1
    start, data_s = [0.0] * nodes, [0.0] * nodes
    free_s = {r: 0.0 for resources in events.resources for r in resources}
    open_ = [i for i, count in enumerate(waiting) if count == 0]
    while open_:
        chosen, begin_s = -1, math.inf
        for i in open_:
            earliest = data_s[i]
            for r in events.resources[i]:
                earliest = max(earliest, free_s[r])
            if earliest < begin_s or (earliest == begin_s and priority[i] < priority[chosen]):
                chosen, begin_s = i, earliest
        start[chosen] = begin_s
        for r in events.resources[chosen]:
            free_s[r] = begin_s + events.held_s[chosen]
        open_.remove(chosen)
        for j, length in after[chosen]:
            data_s[j] = max(data_s[j], begin_s + length)
            waiting[j] -= 1
            if waiting[j] == 0:
                open_.append(j)
    return start


def sequence(events: Events, starts: Sequence[float]) -> list[int]:
    """Activities by start time, data precedence first where times are equal."""
    rank = topological_rank(events)
    return sorted(range(len(starts)), key=lambda i: (starts[i], rank[i]))


def topological_rank(events: Events) -> list[int]:
    depth = [0] * len(events.names)
    for _ in depth:
        changed = False
        for i, j, _ in events.arcs:
            if depth[j] < depth[i] + 1:
                depth[j] = depth[i] + 1
                changed = True
        if not changed:
            break
    return depth


def frame_by_frame(events: Events, starts: Sequence[float]) -> dict[str, tuple[Slot, ...]]:
    """Lists in single-frame order with all stages equal: they run with one buffer each."""
    flat: dict[str, list[Slot]] = {}
    for i in sequence(events, starts):
        for r in events.resources[i]:
            flat.setdefault(r, []).append(Slot(events.names[i], 0))
    return {r: tuple(s) for r, s in flat.items()}
