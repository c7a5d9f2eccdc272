"""What a segment between two downsets keeps busy, on each type of processor, whatever the rest of the plan does.

Rows are sums that must not exceed the period: seconds of the processor, of the link that tensors leave by, of the
link that they come by; and likewise bytes of memory. Each counts only what surely happens: a relaxation of
``evaluate()``'s model. It is exact where boards of one processor hang on switches by ports of their own, for precisions
of one width, as long as neither arenas nor depths bind. What goes over the links of a board of several processors hangs
on all of its segments: that is told apart (see ``Parts``).

Why each term is a lower bound, with the segment from downset S to E on a board of one processor:
- Its operators and its invocation run there and nowhere else. What is made in it and read beyond E, and what is made
  in S and read in it, crosses its border once, whatever boards are at the other ends: boundary costs, and sending and
  receiving at the least rate of any first (last) link; bytes at the maker's precision, or at the least of any.
- What crosses goes over one of the board's outer links each way at least, so the busiest of them is kept busy for the
  share of the least hop; where hops occupy processors on all of these links, the processor as well.
- At the source all inputs that the segment does not read leave, since somebody else reads them; at the sink all results
  that it does not make come. This is a constant less what the segment reads or makes: the two only hold **together**.
  Where the flows are not looked at, ``work_s`` leaves both out; where the board runs nothing, ``needed`` takes the
  constant alone.
- RAM holds one buffer at least of every tensor on every board of its tree, and the weights that no other segment has.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from optimizer.problem import Problem
from optimizer.search.downsets import Lattice
from optimizer.search.many_boards_chain import processor_types
from optimizer.search.ports import one_medium, port

__all__ = ["Parts", "SegmentLoads"]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_SLACK = 1e-9
_SAME = 1e-12


@dataclass
class _Row:
    """(prefix of the end) - (prefix of the start) + flows + constant <= limit. Shapes: m downsets, k types."""

    prefix: Floats
    """(m, k)"""
    constant: Floats
    """(k,)"""
    limit: Floats | None = None
    """(k,) None: the period."""
    terms: list[tuple[int, int, float]] = field(default_factory=list)
    """(flow, type, factor)"""


@dataclass(frozen=True)
class Parts:
    """Segments on one type of processor that end at one downset, (starts,) each."""

    alone_s: Floats
    """The busiest of what hangs on the segment alone."""
    leave_s: Floats
    """Over the links of a board of several processors, what the segment hands on or receives; 0 on other boards."""
    enter_s: Floats
    leave_whole_s: Floats
    """The same where the segment is all that the board runs: with inputs at the source, results at the sink."""
    enter_whole_s: Floats
    holds: Bools
    """Whether memory and pins allow it."""


class SegmentLoads:
    """Loads of segments by type of processor; ``members`` lists the processors of each."""

    def __init__(self, problem: Problem, lattice: Lattice) -> None:
        self.problem, self.lattice = problem, lattice
        system = problem.system
        ends = [(ref.board.name == system.source, ref.board.name == system.sink) for ref in problem.processors]
        ports = [(port(problem, q, leaving=True), port(problem, q, leaving=False)) for q in range(len(ends))]
        beside = [(*ends[q], *(p.key for p in ports[q]), one_medium(*ports[q])) for q in range(len(ends))]
        self.members = processor_types(problem, list(zip(beside, _places(problem), strict=True)))
        self.first = [m[0] for m in self.members]
        self.ends = [ends[q] for q in self.first]
        self.ports = [ports[q] for q in self.first]
        self.shared = [len(problem.processors[q].board.processors) > 1 for q in self.first]
        self.one_medium = [one_medium(*ports[q]) for q in self.first]
        self._tensors()
        self._flows: list[tuple[bool, Floats]] = []
        self.rows: list[_Row] = []
        self._add_times()
        self._add_memory()
        self._add_pins()
        self._board_rows = [self._empty_row() for _ in range(4)]
        self._add_boards()
        self._gains = [self._gain(row) for row in self.rows]
        self._board_gains = [self._gain(row) for row in self._board_rows]
        self._columns = {id(row): np.ascontiguousarray(row.prefix.T) for row in (*self.rows, *self._board_rows)}
        """By row (k, m): the prefixes, type by type."""
        self._levels = [not row.prefix.any() for row in self.rows]
        self._reads = [self.open @ vector for _, vector in self._flows]

    @property
    def counts(self) -> list[int]:
        return [len(m) for m in self.members]

    @property
    def memory_binds(self) -> bool:
        """Whether memory may refuse a segment."""
        return any(row.limit is not None and bool(row.limit.any()) for row in self.rows)

    def _tensors(self) -> None:
        """Masks of tensors, and by downset what is open (made, some consumer outside) and how much of it is used."""
        graph, member = self.problem.graph, self.lattice.member
        self.inner = np.array([t.producer is not None and bool(t.consumers) for t in graph.tensors])
        self.inputs = np.array([t.producer is None and bool(t.consumers) for t in graph.tensors])
        self.results = np.array([t.producer is not None and not t.consumers and t.is_output for t in graph.tensors])
        inside = np.ascontiguousarray(member.T)
        used = np.zeros((len(graph.tensors), len(member)), dtype=np.int32)
        opened = np.zeros(used.shape, dtype=np.bool_)
        for t, tensor in enumerate(graph.tensors):
            used[t] = inside[list(tensor.consumers)].sum(axis=0)
            opened[t] = used[t] < len(tensor.consumers)
            if tensor.producer is not None:
                opened[t] &= inside[tensor.producer]
        self.used, self.open = np.ascontiguousarray(used.T), np.ascontiguousarray(opened.T)
        """(m, t) consumers inside; whether some are outside while the tensor is made inside."""

    def _flow(self, enters: bool, vector: Floats) -> tuple[int, float] | None:
        """The number of a sum of ``vector`` over tensors that enter or leave, and the factor to take it with."""
        scale = float(vector.max(initial=0.0))
        if scale <= 0:
            return None
        unit = vector / scale
        for i, (kind, known) in enumerate(self._flows):
            if kind == enters and np.allclose(known, unit, rtol=_SAME, atol=0.0):
                return i, scale * (1 - _SAME)
        self._flows.append((enters, unit))
        return len(self._flows) - 1, scale

    def _add_term(self, row: _Row, kind: int, enters: bool, vector: Floats, factor: float = 1.0) -> None:
        found = self._flow(enters, vector)
        if found is not None:
            row.terms.append((found[0], kind, factor * found[1]))

    def _made(self, vector: Floats) -> Floats:
        """(m,) sum over the results made inside."""
        results = np.flatnonzero(self.results)
        makers = self.problem.tables.producer[results]
        return np.asarray(self.lattice.member[:, makers] @ vector[results])

    def _leaves(self, row: _Row, kind: int, vector: Floats, *, whole: bool = True) -> None:
        """Everything that leaves the board of a type: what others use, results, and at the source their inputs.

        Not ``whole``: without the last, which others of the board may read.
        """
        at_source, at_sink = self.ends[kind]
        self._add_term(row, kind, False, vector * self.inner)
        if not at_sink:
            row.prefix[:, kind] += self._made(vector)
        if at_source and whole:
            row.constant[kind] += float((vector * self.inputs).sum())
            self._add_term(row, kind, True, vector * self.inputs, -1.0)

    def _enters(self, row: _Row, kind: int, vector: Floats, *, whole: bool = True) -> None:
        """Everything that comes to the board of a type: what it uses, and at the sink the results of others.

        Not ``whole``: without the last, which others of the board may make.
        """
        at_source, at_sink = self.ends[kind]
        self._add_term(row, kind, True, vector * (self.inner if at_source else self.inner | self.inputs))
        if at_sink and whole:
            row.constant[kind] += float((vector * self.results).sum())
            row.prefix[:, kind] -= self._made(vector)

    def _empty_row(self) -> _Row:
        kinds = len(self.members)
        return _Row(np.zeros((len(self.lattice.member), kinds)), np.zeros(kinds))

    def _add_times(self) -> None:
        tables = self.problem.tables
        work, out, come = self._empty_row(), self._empty_row(), self._empty_row()
        work.prefix += self.lattice.member @ tables.time_s[:, self.first]
        self._segment_s = tables.segment_s[self.first]
        work.constant += self._segment_s
        self._own_s: Floats = np.empty((len(self.first), len(self.lattice.member)))
        """(k, m) of the operators and of the results made, which no other part of the row takes back."""
        least = tables.tensor_bytes.min(axis=1).astype(np.float64)
        for kind, (away, here) in enumerate(self.ports):
            q = self.first[kind]
            own = tables.tensor_bytes[:, q].astype(np.float64)
            per_byte = float(tables.boundary_s_per_byte[q])
            self._add_term(work, kind, False, (per_byte * own + away.work_s) * self.inner)
            self._add_term(work, kind, True, (per_byte * least + here.work_s) * self.inner)
            at_source = self.ends[kind][0]
            into = per_byte * least + (0.0 if at_source else here.work_s)
            self._add_term(work, kind, True, into * self.inputs)
            work.prefix[:, kind] += self._made(per_byte * own)
            self._own_s[kind] = work.prefix[:, kind]
            if self.shared[kind]:
                continue
            self._leaves(work, kind, away.held_s)
            self._enters(work, kind, here.held_s)
            self._leaves(out, kind, away.wire_s)
            self._enters(out if one_medium(away, here) else come, kind, here.wire_s)
        self.rows += [row for row in (work, out, come) if row is work or row.terms or row.prefix.any()]

    def _add_boards(self) -> None:
        """Links of boards of several processors, in the order of ``Parts``."""
        for kind, (away, here) in enumerate(self.ports):
            if self.shared[kind]:
                for whole in (False, True):
                    leave, enter = self._board_rows[2 * whole : 2 * whole + 2]
                    self._leaves(leave, kind, away.wire_s, whole=whole)
                    self._enters(enter, kind, here.wire_s, whole=whole)

    def _add_memory(self) -> None:
        """Weights, and one buffer of everything that enters or leaves."""
        problem, tables = self.problem, self.problem.tables
        boards = [problem.processors[q].board for q in self.first]
        flash, ram = self._empty_row(), self._empty_row()
        flash_limits = [tables.flash_limit[int(tables.board_of[q])] for q in self.first]
        flash.limit = np.array([np.inf if x is None else float(x) for x in flash_limits])
        ram.limit = np.array([float(tables.ram_limit[int(tables.board_of[q])]) for q in self.first])
        ram.constant += np.array([float(board.runtime_ram_bytes) for board in boards])
        weights = self._weights()
        flash.prefix += weights
        ram.prefix += weights * np.array([board.weights_in == "ram" for board in boards])
        least = tables.tensor_bytes.min(axis=1).astype(np.float64)
        widest = ram.prefix[-1] + ram.constant + 2 * (self.open @ tables.tensor_bytes.max(axis=1)).max()
        widest += float((tables.tensor_bytes.max(axis=1) * self.results).sum())
        if (flash.prefix[-1] > flash.limit).any():
            self.rows.append(flash)
        if (widest > ram.limit).any():
            for kind, q in enumerate(self.first):
                own = tables.tensor_bytes[:, q].astype(np.float64)
                self._add_term(ram, kind, False, own * self.inner)
                self._add_term(ram, kind, True, least * (self.inner | self.inputs))
                ram.prefix[:, kind] += self._made(own)
            self.rows.append(ram)

    def _weights(self) -> Floats:
        """(m, k) bytes of the initializers that a single operator uses."""
        users: dict[int, list[int]] = {}
        for op in self.problem.graph.operators:
            for i in op.initializers:
                users.setdefault(i, []).append(op.index)
        rows = np.zeros((len(self.problem.graph.operators), len(self.first)))
        for i, ops in users.items():
            if len(ops) == 1:
                rows[ops[0]] += self.problem.tables.initializer_bytes[i, self.first]
        return np.asarray(self.lattice.member @ rows)

    def _add_pins(self) -> None:
        barred = ~self.problem.tables.allowed[:, self.first]
        self._barred: Floats = np.ascontiguousarray((self.lattice.member @ barred.astype(np.float64)).T)
        """(k, m) operators that the type may not run."""
        if barred.any():
            row = self._empty_row()
            row.prefix += self._barred.T
            row.limit = np.zeros(len(self.first))
            self.rows.append(row)

    def _gain(self, row: _Row) -> Floats:
        """(flows, k)"""
        gain = np.zeros((len(self._flows), len(self.first)))
        for flow, kind, factor in row.terms:
            gain[flow, kind] += factor
        return gain

    def flows(self, end: int, starts: Ints) -> Floats:
        """(starts, flows) sums over what enters or leaves between each start and the end."""
        columns = np.flatnonzero(self.open[end])
        still = self.open[starts[:, None], columns]
        unread = still & (self.used[starts[:, None], columns] == self.used[end, columns])
        found = np.empty((len(starts), len(self._flows)))
        for i, (enters, vector) in enumerate(self._flows):
            if enters:
                found[:, i] = self._reads[i][starts] - unread @ vector[columns]
            else:
                found[:, i] = self._reads[i][end] - still @ vector[columns]
        return found

    def fit(self, end: int, starts: Ints, flows: Floats, period_s: float, memory_share: float = 1.0) -> Bools:
        """(starts, k) whether a segment from each start to the end fits the period on each type.

        ``memory_share`` below 1 leaves room for arenas and deeper buffers, but then nothing is a bound.
        """
        fits = np.ones((len(starts), len(self.first)), dtype=np.bool_)
        if len(starts) == 0:
            return fits
        highest = flows.max(axis=0)
        for row, gain, level in zip(self.rows, self._gains, self._levels, strict=True):
            limit = period_s if row.limit is None else row.limit * memory_share
            limit = limit * (1 + _SLACK) + _SLACK * 1e-3 * np.abs(row.prefix[end])
            if level and (row.constant + highest @ np.maximum(gain, 0.0) <= limit).all():
                continue  # no start comes near the limit, as it is with most links
            load = flows @ gain + row.constant
            if not level:
                load += row.prefix[end] - row.prefix[starts]
            fits &= load <= limit
        return fits

    def parts(self, kind: int, end: int, starts: Ints, flows: Floats, memory_share: float = 1.0) -> Parts:
        """What keeps processor and links busy from each start to the end, a rounding less."""
        alone, holds = np.zeros(len(starts)), np.ones(len(starts), dtype=np.bool_)
        for row, gain in zip(self.rows, self._gains, strict=True):
            if row.limit is None:
                alone = np.maximum(alone, self._load(row, gain, kind, end, starts, flows))
            elif row.limit[kind] < np.inf:
                load = self._load(row, gain, kind, end, starts, flows)
                holds &= load <= row.limit[kind] * memory_share * (1 + _SLACK)
        boards = [np.zeros(len(starts))] * 4
        if self.shared[kind]:
            rows = zip(self._board_rows, self._board_gains, strict=True)
            boards = [self._load(row, gain, kind, end, starts, flows) for row, gain in rows]
        leave, enter, leave_whole, enter_whole = boards
        return Parts(alone, leave, enter, leave_whole, enter_whole, holds)

    def work_s(self, kind: int, starts: Ints, ends: Ints) -> Floats:
        """Least seconds of segments' own operators on a type; inf where one of them may not run there."""
        work, barred = self._own_s[kind], self._barred[kind]
        seconds = (1 - _SLACK) * work[ends] - work[starts] + self._segment_s[kind]
        return np.where(barred[ends] > barred[starts], np.inf, seconds) if barred[-1] else np.asarray(seconds)

    def _load(self, row: _Row, gain: Floats, kind: int, end: int, starts: Ints, flows: Floats) -> Floats:
        prefix = self._columns[id(row)][kind]
        load = row.constant[kind] + float(prefix[end]) - _SLACK * 1e-3 * abs(float(prefix[end])) - prefix[starts]
        some = np.flatnonzero(gain[:, kind])
        return np.asarray(load + flows[:, some] @ gain[some, kind]) if len(some) else np.asarray(load)

    def needed(self, period_s: float) -> list[int]:
        """Types that must run something: the source or the sink whose link would be busy for longer by itself.

        Of a board of three processors and more any one would do, so that none of its types must.
        """
        rows = [row for row in self.rows[1:] if row.limit is None]
        idle = np.max([row.constant for row in (*rows, *self._board_rows)], axis=0, initial=0.0)
        board_of = self.problem.tables.board_of
        few = np.bincount(board_of)[board_of[self.first]] <= 2
        return np.flatnonzero(few & (idle > period_s * (1 + _SLACK))).tolist()


def _places(problem: Problem) -> list[object]:
    """By processor of a board of several: which one it is, and what the others are, so that types go in pairs."""
    kind_of = {q: a for a, members in enumerate(processor_types(problem)) for q in members}
    boards = problem.tables.board_of.tolist()
    found: list[object] = []
    for q, board in enumerate(boards):
        beside = [p for p, other in enumerate(boards) if other == board]
        found.append((beside.index(q), tuple(kind_of[p] for p in beside)) if len(beside) > 1 else None)
    return found
