"""Labels of the label-DP and what becomes of them when a stage is added."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np

from optimizer.problem import Problem
from optimizer.search.label_known import KnownFront
from optimizer.search.label_lattice import (
    Bools,
    Floats,
    Ints,
    Lattice,
    waiting_tail,
    weight_limits,
)
from optimizer.search.label_transfers import Transfers, code_of, origin_of

__all__ = ["Labels", "Steps", "concatenated"]

Waiting = tuple[tuple[int, int], ...]
_BLOCK = 1_000_000
"""Labels times cuts looked at in one go."""


@dataclass(frozen=True)
class Labels:
    """Beginnings of plans that have run the same operators. Shapes: l labels, k processors, r resources."""

    period_s: Floats
    active_j: Floats
    """Energy without idle, less the idle power of processors while they are busy."""
    latency_s: Floats
    """When the outputs made so far have come to the sink."""
    finish_s: Floats
    """(l, k) end of the segment of each processor on which something still waits; 0 elsewhere."""
    load_s: Floats
    """(l, r) of the resources that may get more to do; 0 elsewhere."""
    spent: Ints
    """Processors as bits."""
    used: Ints
    """Boards as bits."""
    waiting: Ints
    """Which tensors wait where, as an index into ``Steps.waitings``."""
    origin_cut: Ints
    origin: Ints
    """Position among the labels of that cut."""
    processor: Ints
    """Of the last stage."""

    def __len__(self) -> int:
        return len(self.period_s)

    def pick(self, rows: Ints | Bools | slice) -> Labels:
        return Labels(*(getattr(self, name)[rows] for name in _FIELDS))


_FIELDS = tuple(f.name for f in fields(Labels))


def concatenated(parts: Sequence[Labels]) -> Labels:
    return Labels(*(np.concatenate([getattr(p, name) for p in parts]) for name in _FIELDS))


class Steps:
    """Adds stages to labels, as far as they may lead past the plans known."""

    def __init__(self, problem: Problem, lattice: Lattice, known: KnownFront, objectives: Sequence[str]) -> None:
        self.problem, self.lattice, self.known = problem, lattice, known
        self.transfers = Transfers(problem, lattice)
        self.k = lattice.k
        self.rest = lattice.rest
        self.limits = weight_limits(problem)
        limits = problem.limits
        self.wants_latency = "latency" in objectives or limits.max_latency_s is not None
        self.wants_energy = "energy" in objectives or limits.max_energy_j is not None
        self.wants_period = self.wants_energy or "throughput" in objectives or limits.max_period_s is not None
        self.idle_w = self._idle_by_boards()
        self.waitings: list[Waiting] = []
        self._waiting_ids: dict[Waiting, int] = {}
        self._open: dict[tuple[int, int], Floats] = {}

    def _idle_by_boards(self) -> Floats:
        """(2^b,) idle power that counts, by boards used."""
        boards = self.problem.system.boards
        power = [sum(p.idle_power_w for p in b.processors) for b in boards]
        return np.array(
            [
                sum(w for b, w in enumerate(power) if used >> b & 1 or not boards[b].removable)
                for used in range(1 << len(boards))
            ]
        )

    def begin(self) -> Labels:
        """The plan of which nothing has run."""
        zero = np.zeros(1)
        none = np.zeros(1, dtype=np.int64)
        inputs = tuple((t, code_of(self.k, 0)) for t in self.problem.graph.inputs if self.lattice.border[0, t])
        ends = {self.problem.system.source, self.problem.system.sink}
        used = sum(1 << b for b, board in enumerate(self.problem.system.boards) if board.name in ends)
        rows = np.zeros((1, self.k)), np.zeros((1, self.transfers.resources))
        return Labels(zero, zero, zero, *rows, none, none + used, none + self._id(inputs), none, none, none - 1)

    def _id(self, waiting: Waiting) -> int:
        if waiting not in self._waiting_ids:
            self._waiting_ids[waiting] = len(self.waitings)
            self.waitings.append(waiting)
        return self._waiting_ids[waiting]

    def energy_j(self, active_j: Floats, used: Ints, period_s: Floats) -> Floats:
        rate = self.problem.limits.rate_per_s
        return np.asarray(active_j + self.idle_w[used] * (period_s if rate is None else 1.0 / rate))

    def bounds(self, cut: int, labels: Labels) -> tuple[Floats, Floats, Floats]:
        """Period, latency and energy at least, of every plan that begins so."""
        period = np.maximum(labels.period_s, self.rest.period_s[cut, labels.spent])
        active = labels.active_j + self.rest.energy_j[cut, labels.spent]
        latency = labels.latency_s.copy()
        if self.wants_latency:
            for number in np.unique(labels.waiting).tolist():
                rows = labels.waiting == number
                for t, code in self.waitings[number]:
                    done = labels.finish_s[rows, origin_of(code)] if origin_of(code) < self.k else 0.0
                    tail = waiting_tail(self.lattice, cut, t)[labels.spent[rows]]
                    if self.lattice.is_chain:
                        tail = self.rest.latency_s[cut, labels.spent[rows]]
                    latency[rows] = np.maximum(latency[rows], done + tail)
        return period, latency, self.energy_j(active, labels.used, period)

    def promising(self, period_s: Floats, latency_s: Floats, energy_j: Floats) -> Bools:
        """Whether figures like these are within the limits and not reached by a known plan."""
        limits = self.problem.limits
        fine = np.isfinite(period_s) & np.isfinite(latency_s) & np.isfinite(energy_j)
        for figures, limit in (
            (period_s, limits.max_period_s),
            (latency_s, limits.max_latency_s),
            (energy_j, limits.max_energy_j),
        ):
            if limit is not None:
                fine &= figures <= limit * (1 + 1e-9)
        return np.asarray(fine & ~self.known.reaches(period_s, latency_s, energy_j))

    def expand(self, cut: int, labels: Labels) -> Iterator[tuple[Ints, Labels]]:
        """Labels with every stage that may be added, and (l,) the cuts at which these stages end."""
        above = np.flatnonzero(self.lattice.contains[cut])
        for number in np.unique(labels.waiting).tolist():
            group = np.flatnonzero(labels.waiting == number)
            for q in range(self.k):
                rows = group[labels.spent[group] >> q & 1 == 0]
                lattice = self.lattice
                held = lattice.weights[above, q] - lattice.weights[cut, q] <= self.limits[q]
                ends = above[held & (lattice.blocked[above, q] == lattice.blocked[cut, q])]
                if len(rows) and len(ends):
                    stage = _Stage(self, cut, ends, q, self.waitings[number])
                    step = max(1, _BLOCK // len(ends))
                    for first in range(0, len(rows), step):
                        yield from stage.apply(labels, rows[first : first + step])

    def open_resources(self, spent: int, origins: int) -> Floats:
        """(r,) 1 where a later transfer may still use the resource. ``origins``: where tensors wait, k: the source."""
        key = (spent, origins)
        if key not in self._open:
            self._open[key] = self._find_open(spent, origins)
        return self._open[key]

    def _find_open(self, spent: int, origins: int) -> Floats:
        system, transfers = self.problem.system, self.transfers
        free = [transfers.home(q) for q in range(self.k) if not spent >> q & 1]
        starts = [transfers.home(q) for q in range(self.k + 1) if origins >> q & 1] + free
        found = np.zeros(transfers.resources)
        for a in starts:
            for b in [*free, system.sink]:
                if b == system.sink and a not in free and b not in free:
                    continue
                for index in system.route(a, b) or ():
                    found[transfers.media[self.problem.links[index].medium]] = 1.0
        if any(x.send_s_per_byte > 0 or x.receive_s_per_byte > 0 for x in self.problem.links):
            found[len(transfers.media) :] = 1.0
        return found


class _Stage:
    """All stages on one processor from one cut, with the same tensors waiting. Shapes: s ends."""

    def __init__(self, steps: Steps, cut: int, ends: Ints, q: int, waiting: Waiting) -> None:
        self.steps, self.cut, self.ends, self.q, self.waiting = steps, cut, ends, q, waiting
        lattice, transfers, tables = steps.lattice, steps.transfers, steps.problem.tables
        self.intake = transfers.intake(cut, ends, waiting, q)
        self.out = transfers.outputs(cut, ends, q)
        operators_s = lattice.time_s[ends, q] - lattice.time_s[cut, q]
        self.seconds = lattice.stage_s(cut, ends, q) + tables.boundary_s_per_byte[q] * self.intake.bytes_in
        self.load = self.intake.load_s + self.out.load_s
        self.load[:, len(transfers.media) + q] += self.seconds
        active_w, idle_w = transfers.power[q]
        joules = lattice.energy_j[ends, q] - lattice.energy_j[cut, q]
        self.active_j = joules + active_w * (self.seconds - operators_s) - idle_w * self.seconds
        self.active_j += self.intake.energy_j + self.out.energy_j
        self.boards = self.intake.boards | self.out.boards | 1 << transfers.board_of[q]
        self.fresh = lattice.border[ends] & ~lattice.made[cut]
        """(s, t) made here and needed later."""
        self.made = self.fresh.any(axis=1)
        self.waiting_at = {t: (w, code) for w, (t, code) in enumerate(waiting)}
        """By tensor: its row, and where it was made and has gone."""
        self._codes: dict[int, tuple[int, int]] = {}

    def apply(self, labels: Labels, rows: Ints) -> Iterator[tuple[Ints, Labels]]:
        steps, ends = self.steps, self.ends
        spent = labels.spent[rows] | 1 << self.q
        used = labels.used[rows][:, None] | self.boards[None, :]
        finish = self._finish(labels, rows)
        rest = steps.rest
        period = np.maximum(labels.period_s[rows][:, None], self.load.max(axis=1)[None, :])
        period = np.maximum(period, rest.period_s[ends[None, :], spent[:, None]])
        active = labels.active_j[rows][:, None] + self.active_j[None, :]
        energy = steps.energy_j(active + rest.energy_j[ends[None, :], spent[:, None]], used, period)
        arrival = np.maximum(labels.latency_s[rows][:, None], finish + self.out.ready_s[self.q][None, :])
        latency = arrival
        if steps.wants_latency:
            behind = np.where(self.made[None, :], rest.latency_s[ends[None, :], spent[:, None]], 0.0)
            latency = np.maximum(arrival, finish + behind)
        fine = steps.promising(period, latency, energy) & (self.intake.possible & self.out.possible)[None, :]
        most = steps.problem.limits.max_boards
        if most is not None:
            fine &= _bit_counts(used) <= most
        i, s = np.nonzero(fine)
        if len(i) == 0:
            return
        yield ends[s], self._grown(labels, rows[i], s, (active[i, s], arrival[i, s], finish[i, s], used[i, s]))

    def _finish(self, labels: Labels, rows: Ints) -> Floats:
        """(rows, s) end of the stage, at least."""
        start = np.zeros((len(rows), len(self.ends)))
        if not self.steps.wants_latency:
            return start
        for origin, ready in self.intake.ready_s.items():
            done = np.zeros(len(rows)) if origin == self.steps.k else labels.finish_s[rows, origin]
            start = np.maximum(start, done[:, None] + ready[None, :])
        return np.asarray(start + self.seconds[None, :])

    def _grown(self, labels: Labels, rows: Ints, s: Ints, figures: tuple[Floats, Floats, Floats, Ints]) -> Labels:
        steps = self.steps
        active, arrival, finish, used = figures
        load = labels.load_s[rows] + self.load[s]
        period = np.maximum(labels.period_s[rows], load.max(axis=1))
        spent = labels.spent[rows] | 1 << self.q
        ends = labels.finish_s[rows]
        ends[:, self.q] = finish
        table = np.zeros((len(self.ends), 2), dtype=np.int64)
        for end in np.unique(s).tolist():
            table[end] = self._code(end)
        codes, origins = table[s].T
        ends *= (origins[:, None] >> np.arange(steps.k)[None, :] & 1) if steps.wants_latency else 0.0
        keys = np.stack([spent, origins], axis=1)
        distinct, which = np.unique(keys, axis=0, return_inverse=True)
        masks = np.array([steps.open_resources(int(a), int(b)) for a, b in distinct.tolist()])
        load *= masks[which.reshape(-1)]
        none = np.zeros(len(s))
        return Labels(
            period_s=period if steps.wants_period else none,
            active_j=active if steps.wants_energy else none,
            latency_s=arrival if steps.wants_latency else none,
            finish_s=ends,
            load_s=load if steps.wants_period else load * 0.0,
            spent=spent,
            used=used,
            waiting=codes,
            origin_cut=np.full(len(s), self.cut),
            origin=rows,
            processor=np.full(len(s), self.q),
        )

    def _code(self, end: int) -> tuple[int, int]:
        """What waits at that end, and its origins as bits (bit k: the source)."""
        if end not in self._codes:
            graph, transfers = self.steps.problem.graph, self.steps.transfers
            here, sink = transfers.board_of[self.q], self.steps.problem.board_index[self.steps.problem.system.sink]
            found = []
            origins = 0
            for t in self.steps.lattice.borders[int(self.ends[end])]:
                if t not in self.waiting_at:
                    code = code_of(self.q, 1 << sink if graph.tensors[t].is_output else 0)
                else:
                    w, code = self.waiting_at[t]
                    code |= code_of(0, 1 << here) if self.intake.used[w, end] else 0
                found.append((t, code))
                origins |= 1 << origin_of(code)
            self._codes[end] = (self.steps._id(tuple(found)), origins)
        return self._codes[end]


def _bit_counts(sets: Ints) -> Ints:
    counts = np.zeros(sets.shape, dtype=np.int64)
    for bit in range(int(math.log2(max(1, int(sets.max(initial=1))))) + 1):
        counts += sets >> bit & 1
    return counts
