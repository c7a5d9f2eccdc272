"""The activities of many plans side by side, and the arcs between them: the frames of a turn one after the other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimizer.cycle_ratio import Arc
from optimizer.event_arcs import depth_arcs, frames_alone, line_arcs, order_arcs
from optimizer.event_table import EventTable, Frame
from optimizer.events import build_events, frames_of
from optimizer.longest_paths import ArcRows, Graphs
from optimizer.plan import Schedule
from optimizer.problem import Problem
from optimizer.ragged import Floats, Ints

__all__ = ["PlanTable"]


@dataclass(frozen=True)
class PlanTable:
    """Activities of plans, whose orders and depths do not matter yet."""

    problem: Problem
    events: EventTable
    frames: Ints
    """(g,) frames of a turn."""
    first_frame: Ints
    """(g + 1,) where the frames of each plan begin."""
    busy_s: Floats
    """(g, r) busy seconds a frame by resource; the largest is a lower bound on the period."""

    @classmethod
    def of(cls, problem: Problem, plans: Sequence[Frame]) -> PlanTable:
        """``plans``: at least one; segments, with replicas where there are any, and transfers."""
        turns = [frames_of(segments, transfers) for segments, transfers in plans]
        events = EventTable.of(problem, list(itertools.chain.from_iterable(turns)))
        frames = np.array([len(turn) for turn in turns], dtype=np.int64)
        first = np.zeros(len(turns) + 1, dtype=np.int64)
        np.cumsum(frames, out=first[1:])
        busy_s = events.sums(events.held_s, len(problem.ways.resource_number))
        return cls(problem, events, frames, first, _mean(busy_s, frames, first))

    def mean(self, by_frame: Floats) -> Floats:
        """(g, ...) mean over the frames of each plan."""
        return _mean(by_frame, self.frames, self.first_frame)

    def wires(self) -> Floats:
        """(f, 2) bytes on the wire, and the joules of these bytes at both ends of the links, by frame."""
        events = self.events
        counts = np.diff(events.first_transfer)
        of = np.repeat(np.arange(len(counts)), counts)
        return np.stack([np.bincount(of, column, len(counts)) for column in events.wires.T], axis=1)

    def compute_s(self) -> Floats:
        """(g, r) seconds a frame in which processors compute."""
        return self.mean(self.events.sums(self.events.compute_s, self.busy_s.shape[1]))

    @property
    def first(self) -> Ints:
        """(g + 1,) where the activities of each plan begin."""
        return self.events.first[self.first_frame]

    def occupancies(self) -> list[dict[str, float]]:
        """``busy_s`` by name, of the resources that each plan occupies."""
        names = list(self.problem.ways.resource_number)
        ones = np.ones(len(self.events.frame))
        plan, resource = np.nonzero(self.mean(self.events.sums(ones, len(names))))
        labels = [names[r] for r in resource.tolist()]
        values = self.busy_s[plan, resource].tolist()
        ends = np.searchsorted(plan, np.arange(len(self.frames) + 1)).tolist()
        return [dict(zip(labels[a:b], values[a:b], strict=True)) for a, b in itertools.pairwise(ends)]

    def data_arcs(self) -> ArcRows:
        """What must precede within a frame."""
        events = self.events
        length = events.duration_s[events.arc_source] + events.arc_lag_s
        return ArcRows(events.arc_source, events.arc_target, length, np.zeros(len(length), dtype=np.int64))

    def graphs(self, schedules: Sequence[Schedule]) -> tuple[Graphs, Graphs]:
        """Event graphs of every frame alone, and of every plan in the steady state.

        Lists with one entry add nothing: they say no more than how busy the resource is.
        """
        events, data = self.events, self.data_arcs()
        lines = _Lines.of(self, schedules)
        alone, steady = self._arcs_of_turns(schedules)
        single = np.repeat(self.frames == 1, self.frames)
        depth = np.array([t.depth for g in np.flatnonzero(self.frames == 1).tolist() for t in schedules[g].transfers])
        place = np.full(int(events.first_transfer[-1]), 0, dtype=np.int64)
        place[np.repeat(single, np.diff(events.first_transfer))] = depth
        rows = np.flatnonzero(single[events.frame[events.free_end]])
        end = events.free_end[rows]
        frees = ArcRows(
            end,
            events.free_taker[rows],
            events.duration_s[end] + events.free_lag_s[rows],
            place[events.free_transfer[rows]],
        )
        return (
            Graphs(events.first, ArcRows.joined([data, lines.once(events.held_s), alone])),
            Graphs(self.first, ArcRows.joined([data, lines.turning(events.held_s), frees, steady])),
        )

    def _arcs_of_turns(self, schedules: Sequence[Schedule]) -> tuple[ArcRows, ArcRows]:
        """Arcs that lists and depths make of plans with replicas: of the frames alone, and of the turns."""
        alone: list[Arc] = []
        steady: list[Arc] = []
        for g in np.flatnonzero(self.frames > 1).tolist():
            schedule, base = schedules[g], int(self.first[g])
            events = build_events(self.problem, schedule.segments, schedule.transfers)
            turn = order_arcs(events, schedule.orders) + depth_arcs(events, [t.depth for t in schedule.transfers])
            steady += [(base + i, base + j, length, tokens) for i, j, length, tokens in turn]
            for frame, orders in frames_alone(events, schedule.orders):
                alone += [(base + i, base + j, length, 0) for i, j, length, _ in line_arcs(frame, orders)]
                base += len(frame.names)
        return ArcRows.of(alone), ArcRows.of(steady)


def _mean(by_frame: Floats, frames: Ints, first: Ints) -> Floats:
    if len(by_frame) == len(frames):
        return by_frame
    sums = np.add.reduceat(by_frame, first[:-1], axis=0)
    return np.asarray((sums.T / frames).T)


@dataclass(frozen=True)
class _Lines:
    """The lists of plans without replicas, one after the other."""

    node: Ints
    stage: Ints
    line: Ints
    """Which list each entry stands in."""

    @classmethod
    def of(cls, plans: PlanTable, schedules: Sequence[Schedule]) -> _Lines:
        names, first = plans.events.names, plans.first.tolist()
        node: list[int] = []
        stage: list[int] = []
        counts: list[int] = []
        for g in np.flatnonzero(plans.frames == 1).tolist():
            a, b = first[g], first[g + 1]
            index = dict(zip(names[a:b], range(a, b), strict=True))
            lists = schedules[g].orders.values()
            slots = list(itertools.chain.from_iterable(lists))
            node += [index[s.activity] for s in slots]
            stage += [s.stage for s in slots]
            counts += map(len, lists)
        line = np.repeat(np.arange(len(counts)), counts)
        return cls(np.array(node, dtype=np.int64), np.array(stage, dtype=np.int64), line)

    def once(self, held_s: Floats) -> ArcRows:
        """One frame alone: by (stage, position)."""
        node = self.node[np.lexsort((self.stage, self.line))]
        same = self.line[1:] == self.line[:-1]
        source = node[:-1][same]
        return ArcRows(source, node[1:][same], held_s[source], np.zeros(len(source), dtype=np.int64))

    def turning(self, held_s: Floats) -> ArcRows:
        """In turn m frame m - stage of each entry, in list order; after the last the first, one turn later."""
        last: npt.NDArray[np.bool_] = np.append(self.line[1:] != self.line[:-1], True)[: len(self.line)]
        first = np.flatnonzero(np.diff(self.line, prepend=-1))
        after = np.arange(1, len(self.line) + 1)
        after[last] = first
        tokens = self.stage - self.stage[after] + last
        rows = np.flatnonzero(after != np.arange(len(after)))
        source = self.node[rows]
        return ArcRows(source, self.node[after[rows]], held_s[source], tokens[rows])
