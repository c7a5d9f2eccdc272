"""What happens to frames under plans: activities, what they wait for, and what they occupy.

``EventTable`` holds the frames of many plans side by side as arrays, ``Events`` one of them for methods that walk from
activity to activity.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from optimizer.plan import Segment, Transfer
from optimizer.problem import Problem
from optimizer.ragged import Floats, Ints, places
from optimizer.ways import Way

__all__ = ["EventTable", "Events", "Frame"]

Frame = tuple[Sequence[Segment], Sequence[Transfer]]
"""Segments and transfers of one frame, without replicas."""


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


@dataclass(frozen=True)
class EventTable:
    """Activities of many frames, numbered through from frame to frame."""

    names: Sequence[str]
    resources: Sequence[tuple[str, ...]]
    """By activity."""
    first: Ints
    """(f + 1,) where the activities of each frame begin."""
    frame: Ints
    """(a,) frame by activity."""
    duration_s: Floats
    """(a,) as in ``Events``; ``compute_s`` and ``held_s`` too."""
    compute_s: Floats
    held_s: Floats
    use_activity: Ints
    """(u,) activities and the numbers (see ``WayTable``) of resources that they occupy."""
    use_resource: Ints
    arc_source: Ints
    arc_target: Ints
    arc_lag_s: Floats
    """(e,) the target starts no earlier than the lag after the end of the source, same frame."""
    free_end: Ints
    free_taker: Ints
    free_lag_s: Floats
    """(b,) the end gives back a buffer that the taker fills."""
    free_transfer: Ints
    """(b,) whose buffer: transfers numbered through from frame to frame."""
    first_transfer: Ints
    """(f + 1,) where the transfers of each frame begin."""
    wires: Floats
    """(transfers, 2) bytes on the wire over all hops, and the joules of these bytes at both ends."""

    @classmethod
    def of(cls, problem: Problem, frames: Sequence[Frame]) -> EventTable:
        listed = _Listed(problem)
        for segments, transfers in frames:
            listed.add(segments, transfers)
        return listed.table()

    def sums(self, weights: Floats, resources: int) -> Floats:
        """(f, resources) sum of the activities' weights by frame and resource that they occupy."""
        at = self.frame[self.use_activity] * resources + self.use_resource
        total = (len(self.first) - 1) * resources
        return np.asarray(np.bincount(at, weights[self.use_activity], total).reshape(-1, resources), dtype=np.float64)

    def events(self) -> list[Events]:
        """The frames one by one."""
        frames = np.arange(len(self.first))
        arc = np.searchsorted(self.frame[self.arc_target], frames).tolist()
        free = np.searchsorted(self.frame[self.free_end], frames).tolist()
        base = self.first[self.frame[self.arc_target]]
        arcs = list(zip((self.arc_source - base).tolist(), (self.arc_target - base).tolist(), self.arc_lag_s.tolist(),
                        strict=True))  # fmt: skip
        of = self.frame[self.free_end]
        frees = [
            (self.free_end - self.first[of]).tolist(),
            (self.free_taker - self.first[of]).tolist(),
            self.free_lag_s.tolist(),
            (self.free_transfer - self.first_transfer[of]).tolist(),
        ]
        depth_arcs = list(zip(*frees, strict=True))
        duration_s, compute_s, held_s = (x.tolist() for x in (self.duration_s, self.compute_s, self.held_s))
        found = []
        for f, (a, b) in enumerate(itertools.pairwise(self.first.tolist())):
            names = tuple(self.names[a:b])
            found.append(
                Events(
                    names=names,
                    duration_s=tuple(duration_s[a:b]),
                    resources=tuple(self.resources[a:b]),
                    arcs=tuple(arcs[arc[f] : arc[f + 1]]),
                    depth_arcs=tuple(depth_arcs[free[f] : free[f + 1]]),
                    compute_s=tuple(compute_s[a:b]),
                    held_s=tuple(held_s[a:b]),
                    index=dict(zip(names, range(b - a), strict=True)),
                )
            )
        return found


class _Listed:
    """Frames listed one after the other, then worked out all at once."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.segments, self.ways = problem, problem.segment_table, problem.ways
        self.ways.forget_many()
        self.names: list[str] = []
        self.resources: list[tuple[str, ...]] = []
        self.first, self.first_transfer = [0], [0]
        self.hosts: list[int] = []
        """Activities that are segments; ``time_s`` and ``processor`` go with them."""
        self.time_s: list[float] = []
        self.processor: list[int] = []
        self.way: list[Way] = []
        """By transfer; ``base``: its first activity, ``sizes``: its bytes."""
        self.base: list[int] = []
        self.sizes: list[int] = []
        self.ends: list[int] = []
        """By transfer the activity that makes the tensor (-1 for an input), then those that use it."""
        self.first_end = [0]
        self.beside: list[tuple[int, float]] = []
        """(activity, seconds) of work for messages that are no segment's own."""
        self.idle: list[tuple[int, int]] = []
        """(activity, processor) of such work where no segment runs."""

    def add(self, segments: Sequence[Segment], transfers: Sequence[Transfer]) -> None:
        index, home, figures = self.problem.processor_index, self.segments.home, self.segments.figures
        names, resources, ends, source = self.names, self.resources, self.ends, self.problem.system.source
        at, board = {}, {}
        relayed_s: dict[str, float] = {}
        for s in segments:
            node = at[s.name] = len(names)
            board[s.name] = home[s.processor]
            self.hosts.append(node)
            self.time_s.append(figures(s).time_s)
            self.processor.append(index[s.processor])
            names.append(f"segment:{s.name}")
            resources.append((s.processor,))
        for t in transfers:
            origin, maker = (source, -1) if t.producer is None else (board[t.producer], at[t.producer])
            way = self.ways.way(t, origin, tuple([board[c] for c in t.consumers]))
            self.way.append(way)
            self.base.append(len(names))
            self.sizes.append(t.size_bytes)
            ends.append(maker)
            ends += [at[c] for c in t.consumers]
            self.first_end.append(len(ends))
            names += way.names
            resources += way.resources
            for key, seconds in way.relayed:
                relayed_s[key] = relayed_s.get(key, 0.0) + seconds
        for key, seconds in relayed_s.items():
            self._relay(key, seconds, [at[s.name] for s in segments if s.processor == key])
        self.first.append(len(names))
        self.first_transfer.append(len(self.way))

    def _relay(self, key: str, seconds: float, hosts: Sequence[int]) -> None:
        if not hosts:
            self.idle.append((len(self.names), self.problem.processor_index[key]))
            hosts = [len(self.names)]
            self.names.append(f"messages:{key}")
            self.resources.append((key,))
        self.beside.append((hosts[-1], seconds))

    def table(self) -> EventTable:
        count, first = len(self.names), np.array(self.first, dtype=np.int64)
        rows = self.ways.rows(self.way, np.array(self.sizes, dtype=np.int64))
        base, first_end = np.array(self.base, dtype=np.int64), np.array(self.first_end, dtype=np.int64)
        ends = np.array(self.ends, dtype=np.int64)

        def activities(of: Ints, numbers: Floats) -> Ints:
            """Activities by their numbers on the ways of transfers."""
            local = numbers.astype(np.int64)
            found = base[of] + local
            outside = np.flatnonzero(local < 0)
            found[outside] = ends[first_end[of[outside]] - 1 - local[outside]]
            return found

        hosts, processor = np.array(self.hosts, dtype=np.int64), np.array(self.processor, dtype=np.int64)
        duration_s, compute_s, beside_s = np.zeros(count), np.zeros(count), np.zeros(count)
        duration_s[hosts] = compute_s[hosts] = self._segments_s(hosts, processor, ends, first_end)
        _, hop = places(base, np.bincount(rows.activity_of, minlength=len(base)))
        duration_s[hop], compute_s[hop] = rows.activities.T
        if len(rows.charges):
            charged = activities(rows.charge_of, rows.charges[:, 0])
            before_s = np.bincount(charged, rows.charges[:, 1], count)
            duration_s += before_s
            compute_s += before_s
            beside_s += np.bincount(charged, rows.charges[:, 2], count)
        if self.beside:
            node, seconds = zip(*self.beside, strict=True)
            beside_s += np.bincount(node, seconds, count)
        idle = np.array(self.idle, dtype=np.int64).reshape(-1, 2)
        return EventTable(
            names=self.names,
            resources=self.resources,
            first=first,
            frame=np.repeat(np.arange(len(first) - 1), np.diff(first)),
            duration_s=duration_s,
            compute_s=compute_s + beside_s,
            held_s=duration_s + beside_s,
            use_activity=np.concatenate([hosts, activities(rows.use_of, rows.uses[:, 0]), idle[:, 0]]),
            use_resource=np.concatenate([processor, rows.uses[:, 1].astype(np.int64), idle[:, 1]]),
            arc_source=activities(rows.arc_of, rows.arcs[:, 0]),
            arc_target=activities(rows.arc_of, rows.arcs[:, 1]),
            arc_lag_s=rows.arcs[:, 2],
            free_end=activities(rows.free_of, rows.frees[:, 0]),
            free_taker=activities(rows.free_of, rows.frees[:, 1]),
            free_lag_s=rows.frees[:, 2],
            free_transfer=rows.free_of,
            first_transfer=np.array(self.first_transfer, dtype=np.int64),
            wires=rows.sums,
        )

    def _segments_s(self, hosts: Ints, processor: Ints, ends: Ints, first_end: Ints) -> Floats:
        """Seconds each segment computes: operators, one invocation, and the boundary term for bytes in and out."""
        tables = self.problem.tables
        found = np.array(self.time_s, dtype=np.float64) + tables.segment_s[processor]
        if self.segments.has_boundaries:
            crossing = np.repeat(np.array(self.sizes, dtype=np.float64), np.diff(first_end))
            inside = ends >= 0
            touched = np.bincount(ends[inside], crossing[inside], len(self.names))
            found += tables.boundary_s_per_byte[processor] * touched[hosts]
        return found
