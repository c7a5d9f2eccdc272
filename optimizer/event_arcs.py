"""Arcs of the event graph: what must precede what, by data, by the lists of the resources and by buffer depths."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Mapping, Sequence

from optimizer.cycle_ratio import Arc
from optimizer.events import Events, served
from optimizer.plan import Slot

__all__ = ["data_arcs", "depth_arcs", "frames_alone", "line_arcs", "order_arcs", "resource_occupancy_s"]

_STAGE = operator.attrgetter("stage")


def resource_occupancy_s(events: Events) -> dict[str, float]:
    """Busy seconds a frame by resource; the largest is a lower bound on the period."""
    busy: dict[str, float] = {}
    for held, resources in zip(events.held_s, events.resources, strict=True):
        for resource in resources:
            busy[resource] = busy.get(resource, 0.0) + held
    return {resource: seconds / events.frames for resource, seconds in busy.items()}


def data_arcs(events: Events) -> list[Arc]:
    return [(i, j, events.duration_s[i] + lag, 0) for i, j, lag in events.arcs]


def order_arcs(events: Events, orders: Mapping[str, Sequence[Slot]]) -> list[Arc]:
    """Arcs of the cyclic lists: in turn m a resource serves frame m - stage of each entry, in list order."""
    arcs: list[Arc] = []
    held_s = events.held_s
    for resource, slots in orders.items():
        entries = served(events, resource, slots)
        if entries:
            first, first_stage = entries[0]
            entries.append((first, first_stage - 1))  # one turn later
            arcs += [(i, j, held_s[i], a - b) for (i, a), (j, b) in itertools.pairwise(entries)]
    return arcs


def depth_arcs(events: Events, depths: Sequence[int]) -> list[Arc]:
    """Arcs of the buffer depths; ``depths`` by transfer position."""
    if events.frames > 1:
        return _depth_arcs_of_turn(events, depths)
    return [(i, j, events.duration_s[i] + lag, depths[t]) for i, j, lag, t in events.depth_arcs]


def _depth_arcs_of_turn(events: Events, depths: Sequence[int]) -> list[Arc]:
    """Frame k of those that a transfer carries in a turn waits for frame k - depth, which may be turns ago."""
    arcs: list[Arc] = []
    while len(arcs) < len(events.depth_arcs):
        begin = len(arcs)
        _, _, lag, t = events.depth_arcs[begin]
        ends, takers, _, _ = zip(*events.depth_arcs[begin : begin + events.rings[t]], strict=True)
        for k, taker in enumerate(takers):
            turns, earlier = divmod(k - depths[t], len(ends))
            arcs.append((ends[earlier], taker, events.duration_s[ends[earlier]] + lag, -turns))
    return arcs


def frames_alone(
    events: Events, orders: Mapping[str, tuple[Slot, ...]]
) -> list[tuple[Events, Mapping[str, tuple[Slot, ...]]]]:
    """Each frame of a turn on its own with its part of the lists; positions follow each other as in ``events``."""
    if not events.alone:
        return [(events, orders)]
    return [(frame, _lists_of_frame(frame, orders)) for frame in events.alone]


def _lists_of_frame(frame: Events, orders: Mapping[str, tuple[Slot, ...]]) -> dict[str, tuple[Slot, ...]]:
    """The lists without what serves other frames."""
    present = {(name, r) for name, resources in zip(frame.names, frame.resources, strict=True) for r in resources}
    return {r: tuple(s for s in slots if (s.activity, r) in present) for r, slots in orders.items()}


def line_arcs(frame: Events, orders: Mapping[str, Sequence[Slot]]) -> list[Arc]:
    """Arcs of one frame alone that its lists make, every resource serving by (stage, position)."""
    arcs: list[Arc] = []
    held_s, index = frame.held_s, frame.index
    for slots in orders.values():
        line = [index[s.activity] for s in sorted(slots, key=_STAGE)]
        arcs += [(i, j, held_s[i], 0) for i, j in itertools.pairwise(line)]
    return arcs
