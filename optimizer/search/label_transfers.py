"""What it costs that a stage takes in the tensors that wait at a cut, by where they were made and where they have gone.

Figures are those of ``evaluate()`` where tensors do not get in each other's way, and never more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.problem import Problem
from optimizer.search.label_lattice import Bools, Floats, Ints, Lattice

__all__ = ["Intake", "Transfers", "can_handle", "code_of", "origin_of"]

_ORIGIN_BITS = 5
"""A code says of a waiting tensor: the processor that made it (k: the source), and the boards it has gone to."""


def code_of(origin: int, boards: int) -> int:
    return origin | boards << _ORIGIN_BITS


def origin_of(code: int) -> int:
    return code & (1 << _ORIGIN_BITS) - 1


def can_handle(problem: Problem) -> bool:
    """Whether the figures here hold: no rendezvous, and processor time for messages on boards of one processor only."""
    system = problem.system
    several = any(len(b.processors) > 1 for b in system.boards)
    messages = any(x.send_s_per_byte > 0 or x.receive_s_per_byte > 0 for x in problem.links)
    powers = all(r.processor.active_power_w >= r.processor.idle_power_w for r in problem.processors)
    return all(link.overlap for link in problem.links) and not (several and messages) and powers


@dataclass(frozen=True)
class _Way:
    """One tensor to one processor. ``load_s``: (r,) of media and processors, the own segment's part included."""

    load_s: Floats
    energy_j: float
    way_s: float
    """From the end of the one to the start of the other at least."""
    lag_s: float
    """Part of it that passes beside the hops, however many tensors go the same way."""
    boards: int


@dataclass(frozen=True)
class Intake:
    """What a stage on one processor takes in, for each cut where it may end. Shapes: s ends, w waiting tensors."""

    load_s: Floats
    """(s, r)"""
    energy_j: Floats
    bytes_in: Floats
    ready_s: dict[int, Floats]
    """By origin: (s,) from the end of that segment to the start of the stage; -inf where it gives nothing."""
    boards: Ints
    """(s,) boards that relay or end a transfer, as bits."""
    possible: Bools
    """(s,) False where no route leads here."""
    used: Bools
    """(w, s)"""


class Transfers:
    """Ways between processors, remembered. Resources are media, then processors."""

    def __init__(self, problem: Problem, lattice: Lattice) -> None:
        self.problem, self.lattice, self.k = problem, lattice, len(problem.processors)
        self.media = {name: i for i, name in enumerate(dict.fromkeys(link.medium for link in problem.links))}
        self.resources = len(self.media) + self.k
        self.board_of = [int(b) for b in problem.tables.board_of]
        self.names = [b.name for b in problem.system.boards]
        self.first = {name: int(np.flatnonzero(problem.tables.board_of == b)[0]) for b, name in enumerate(self.names)}
        self.power = [(r.processor.active_power_w, r.processor.idle_power_w) for r in problem.processors]
        self._ways: dict[tuple[int, int, int], _Way | None] = {}

    def home(self, origin: int) -> str:
        return self.problem.system.source if origin == self.k else self.names[self.board_of[origin]]

    def size(self, t: int, origin: int) -> int:
        return int(self.problem.tables.tensor_bytes[t, 0 if origin == self.k else origin])

    def way(self, t: int, code: int, target: str, taker: int | None) -> _Way | None:
        """To a processor (``taker``) or the sink (None); None without a route."""
        key = (t, code, self.k if taker is None else taker)
        if key not in self._ways:
            self._ways[key] = self._make(t, code, target, taker)
        return self._ways[key]

    def _make(self, t: int, code: int, target: str, taker: int | None) -> _Way | None:
        system, origin = self.problem.system, origin_of(code)
        home = self.home(origin)
        route = system.route(home, target)
        if route is None:
            return None
        gone = [n for b, n in enumerate(self.names) if code >> _ORIGIN_BITS >> b & 1]
        crossed = {i for n in gone for i in system.route(home, n) or ()}
        size = self.size(t, origin)
        load, energy, boards = np.zeros(self.resources), 0.0, 0
        way = lag = 0.0
        for number, index in enumerate(route):
            link = self.problem.links[index]
            send, receive = link.send_s_per_byte * size, link.receive_s_per_byte * size
            for end in (link.source, link.target):
                if end in self.first:
                    boards |= 1 << self.problem.board_index[end]
            way += link.occupancy_s(size) + link.latency_s
            lag += link.latency_s
            if index in crossed:
                continue
            load[self.media[link.medium]] += link.occupancy_s(size)
            energy += link.wire_bytes(size) * link.energy_j_per_byte
            if link.source in self.first and send > 0:
                maker = number == 0 and origin < self.k
                energy += self._charge(load, origin if maker else self.first[link.source], send)
            if link.target in self.first and receive > 0:
                here = None if link.target != target else taker
                energy += self._charge(load, self.first[link.target] if here is None else here, receive)
        links = [self.problem.links[i] for i in route]
        if len({link.medium for link in links}) < len(links):
            lag = min(link.latency_s for link in links)  # the others may pass while the medium serves another tensor
        return _Way(load, energy, way, lag, boards)

    def _charge(self, load: Floats, q: int, seconds: float) -> float:
        load[len(self.media) + q] += seconds
        active, idle = self.power[q]
        return (active - idle) * seconds

    def intake(self, start: int, ends: Ints, waiting: tuple[tuple[int, int], ...], q: int) -> Intake:
        """``waiting``: (tensor, code) of what waits at the cut ``start``."""
        lattice, s = self.lattice, len(ends)
        target = self.names[self.board_of[q]]
        used = np.zeros((len(waiting), s), dtype=np.bool_)
        load, energy, size = np.zeros((s, self.resources)), np.zeros(s), np.zeros(s)
        ready: dict[int, Floats] = {}
        boards, possible = np.zeros(s, dtype=np.int64), np.ones(s, dtype=np.bool_)
        serial: dict[int, Floats] = {}
        for w, (t, code) in enumerate(waiting):
            use = used[w] = lattice.taken[ends, t] > lattice.taken[start, t]
            origin = origin_of(code)
            way = self.way(t, code, target, q)
            if way is None:
                possible &= ~use
                continue
            load += np.outer(use, way.load_s)
            energy += use * way.energy_j
            size += use * self.size(t, origin)
            boards |= np.where(use, way.boards, 0)
            ready[origin] = np.maximum(ready.get(origin, np.full(s, -np.inf)), np.where(use, way.way_s, -np.inf))
            if code >> _ORIGIN_BITS == 0:
                media = np.outer(use, way.load_s[: len(self.media)])
                serial[origin] = serial.get(origin, np.zeros(media.shape)) + media
                together = serial[origin].max(axis=1, initial=0.0) + way.lag_s
                ready[origin] = np.where(use, np.maximum(ready[origin], together), ready[origin])
        return Intake(load, energy, size, ready, boards, possible, used)

    def outputs(self, start: int, ends: Ints, q: int) -> Intake:
        """The model outputs that a stage makes, on their way to the sink; ``ready_s[q]`` is when the last is there."""
        lattice, s = self.lattice, len(ends)
        load, energy = np.zeros((s, self.resources)), np.zeros(s)
        arrival, boards = np.full(s, -np.inf), np.zeros(s, dtype=np.int64)
        possible = np.ones(s, dtype=np.bool_)
        for t in self.problem.graph.outputs:
            made = lattice.made[ends, t] & ~lattice.made[start, t]
            way = self.way(t, code_of(q, 0), self.problem.system.sink, None)
            if way is None:
                possible &= ~made
                continue
            load += np.outer(made, way.load_s)
            energy += made * way.energy_j
            boards |= np.where(made, way.boards, 0)
            arrival = np.maximum(arrival, np.where(made, way.way_s, -np.inf))
        nothing = np.zeros((0, s), dtype=np.bool_)
        return Intake(load, energy, np.zeros(s), {q: arrival}, boards, possible, nothing)
