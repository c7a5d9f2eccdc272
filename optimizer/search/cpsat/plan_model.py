"""What every bounding model shares: tensors, hops, loads, used boards; who runs what is left to the subclass.

Costs are floored and limits ceiled (see Scale), so every real plan is a solution whose model value is at most its
real value: an optimum of the model is a lower bound, and "infeasible below a cutoff" is a proof. What the model
leaves out (contention between hops, forwards on boards of several processors) only makes real plans dearer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from ortools.sat.python import cp_model

from optimizer.problem import Problem
from optimizer.search.cpsat.scale import Expression, Scale
from optimizer.search.pool import Assignment

__all__ = ["PlanModel"]


class PlanModel(ABC):
    """Stages are processors in ``order``; a subclass says which operator runs on which stage.

    Attributes for objectives: ``period``; ``alone[s]`` and ``compute[s]`` (seconds of the segment and of all that
    keeps the processor busy), ``attend[s]`` (hops that hold the processor; ``attended``: seconds and variable of
    each), ``hops``, ``board_used``.
    """

    revisits = False
    """Whether a stage may be several segments: then its figures are sums over them."""

    def __init__(self, problem: Problem, order: Sequence[int], scale: Scale) -> None:
        self.problem, self.order, self.scale = problem, list(order), scale
        self.n, self.k = len(problem.graph.operators), len(order)
        self.model = cp_model.CpModel()
        self.boards = [problem.processors[q].board.name for q in order]
        self._add_operators()
        for v in range(self.n):
            for s, q in enumerate(self.order):
                if not problem.tables.allowed[v, q]:
                    self.model.add(self.x(v, s) == 0)
        for group in problem.together:
            for v in group[1:]:
                for s in range(self.k):
                    self.model.add(self.x(v, s) == self.x(group[0], s))
        self._add_hops()
        self._add_loads()
        self._add_used()

    @abstractmethod
    def _add_operators(self) -> None:
        """Variables that say where operators run."""

    @abstractmethod
    def x(self, v: int, s: int) -> Expression:
        """1 where operator v runs on stage s."""

    @abstractmethod
    def behind(self, s: int) -> Iterable[int]:
        """Stages that may use what stage s makes."""

    @abstractmethod
    def boundary(self, t: int, stages: Sequence[int], targets: frozenset[int]) -> cp_model.IntVar | None:
        """A variable that says "t goes from the stages to the targets", where the encoding has one."""

    @abstractmethod
    def crosses_once(self, t: int) -> cp_model.IntVar | None:
        """A variable that says "t leaves its segment", where the encoding has one."""

    @abstractmethod
    def witnesses(self, s: int) -> Iterable[int]:
        """Operators of which at least one runs on stage s when any does."""

    @abstractmethod
    def literals(self) -> list[cp_model.IntVar]:
        """The variables that decide the assignment."""

    @abstractmethod
    def assignment(self, values: cp_model.CpSolver | cp_model.CpSolverSolutionCallback) -> Assignment:
        """(n,) processor index by operator of a solution."""

    def touches(self, t: int, s: int) -> Expression:
        """At least 1 where t enters or leaves the segment of stage s."""
        key = (t, s)
        if key in self._touch:
            return self._touch[key]
        tensor = self.problem.graph.tensors[t]
        crossing = self.crosses_once(t)
        if crossing is not None:
            self._touch[key] = crossing
            return crossing
        var = self.model.new_bool_var("")
        self._touch[key] = var
        if tensor.producer is None:
            for c in tensor.consumers:
                self.model.add(var >= self.x(c, s))
        else:
            for c in tensor.consumers:
                self.model.add(var >= self.x(tensor.producer, s) - self.x(c, s))
                self.model.add(var >= self.x(c, s) - self.x(tensor.producer, s))
            if tensor.is_output:
                self.model.add(var >= self.x(tensor.producer, s))
        return var

    def route(self, a: str, b: str) -> tuple[int, ...] | None:
        return self.problem.system.route(a, b)

    def _add_hops(self) -> None:
        """hop[t, link, bytes]: tensor t of that size crosses the link."""
        self._touch: dict[tuple[int, int], Expression] = {}
        self.hops: dict[tuple[int, int, int], cp_model.IntVar] = {}
        self.hop_ends: dict[tuple[int, int, int], tuple[set[int], set[int]]] = {}
        system, graph = self.problem.system, self.problem.graph
        into: dict[int, list[int]] = {}
        onward: dict[int, dict[int, frozenset[int]]] = {}
        outof: dict[int, list[int]] = {}
        for s in range(self.k):
            for link in self._checked(self.route(system.source, self.boards[s]), graph.inputs, s, True):
                into.setdefault(link, []).append(s)
            for link in self._checked(self.route(self.boards[s], system.sink), graph.outputs, s, False):
                outof.setdefault(link, []).append(s)
            for later in self.behind(s):
                route = self.route(self.boards[s], self.boards[later])
                if route is None:
                    self._forbid_pair(s, later)
                for link in route or ():
                    ends = onward.setdefault(link, {})
                    ends[s] = ends.get(s, frozenset()) | {later}
        for t, tensor in enumerate(graph.tensors):
            if tensor.producer is None:
                self._input_hops(t, into)
            else:
                self._inner_hops(t, tensor.producer, onward)
                if tensor.is_output:
                    self._output_hops(t, tensor.producer, outof)

    def _checked(
        self, route: tuple[int, ...] | None, tensors: Sequence[int], s: int, incoming: bool
    ) -> tuple[int, ...]:
        """The route; where there is none, no operator that needs it may run on stage s."""
        if route is not None:
            return route
        for t in tensors:
            tensor = self.problem.graph.tensors[t]
            ends = tensor.consumers if incoming else () if tensor.producer is None else (tensor.producer,)
            for v in ends:
                self.model.add(self.x(v, s) == 0)
        return ()

    def _forbid_pair(self, s: int, later: int) -> None:
        for tensor in self.problem.graph.tensors:
            if tensor.producer is not None:
                for c in tensor.consumers:
                    self.model.add(self.x(tensor.producer, s) + self.x(c, later) <= 1)

    def size(self, t: int, s: int) -> int:
        return int(self.problem.tables.tensor_bytes[t, self.order[s]])

    def _hop(self, t: int, link: int, size: int, makers: Iterable[int], takers: Iterable[int]) -> cp_model.IntVar:
        """The hop's variable; ``makers`` and ``takers`` are stages that may make or take it (-1: source, sink)."""
        key = (t, link, size)
        if key not in self.hops:
            self.hops[key] = self.model.new_bool_var("")
            self.hop_ends[key] = (set(), set())
        self.hop_ends[key][0].update(makers)
        self.hop_ends[key][1].update(takers)
        return self.hops[key]

    def _input_hops(self, t: int, into: dict[int, list[int]]) -> None:
        for link, stages in into.items():
            for c in self.problem.graph.tensors[t].consumers:
                var = self._hop(t, link, self.size(t, 0), (-1,), stages)
                self.model.add(var >= sum(self.x(c, s) for s in stages))

    def _output_hops(self, t: int, producer: int, outof: dict[int, list[int]]) -> None:
        for link, stages in outof.items():
            for size in {self.size(t, s) for s in stages}:
                these = [s for s in stages if self.size(t, s) == size]
                var = self._hop(t, link, size, these, (-1,))
                self.model.add(var >= sum(self.x(producer, s) for s in these))

    def _inner_hops(self, t: int, producer: int, onward: dict[int, dict[int, frozenset[int]]]) -> None:
        consumers = self.problem.graph.tensors[t].consumers
        for link, ends in onward.items():
            groups: dict[tuple[int, frozenset[int]], list[int]] = {}
            for s, targets in ends.items():
                groups.setdefault((self.size(t, s), targets), []).append(s)
            for (size, targets), stages in groups.items():
                var = self._hop(t, link, size, stages, targets)
                whole = self.boundary(t, stages, targets)
                if whole is not None:
                    self.model.add_implication(whole, var)
                    continue
                made = sum(self.x(producer, s) for s in stages)
                for c in consumers:
                    self.model.add(var >= made + sum(self.x(c, s) for s in targets) - 1)

    def _add_loads(self) -> None:
        problem, scale, tables = self.problem, self.scale, self.problem.tables
        self.used = [self.model.new_bool_var("") for _ in range(self.k)]
        for s in range(self.k):
            for v in self.witnesses(s):
                self.model.add(self.used[s] >= self.x(v, s))
        self.extra = [self._extra_terms(s) for s in range(self.k)]
        self.compute: list[Expression] = []  # all that keeps the processor busy
        self.alone: list[Expression] = []  # what the segment itself surely takes
        for s, q in enumerate(self.order):
            work = sum(scale.seconds(float(tables.time_s[v, q])) * self.x(v, s) for v in range(self.n))
            self.compute.append(work + sum(scale.seconds(c) * var for c, var, _ in self.extra[s]))
            self.alone.append(work + sum(scale.seconds(c) * var for c, var, own in self.extra[s] if own))
        self.attend: list[Expression] = [0] * self.k
        self.attended: list[list[tuple[float, cp_model.IntVar]]] = [[] for _ in range(self.k)]
        medium: dict[str, list[Expression]] = {}
        first = self._first_processors()
        for (_, link_index, size), var in self.hops.items():
            link = problem.links[link_index]
            cost = scale.seconds(link.occupancy_s(size))
            medium.setdefault(link.medium, []).append(cost * var)
            if not link.overlap:
                for end in (link.source, link.target):
                    if end in first:
                        self.attend[first[end]] = self.attend[first[end]] + cost * var
                        self.attended[first[end]].append((link.occupancy_s(size), var))
        self.media = [sum(terms) for terms in medium.values()]
        self.horizon = self._horizon()
        self.period = self.model.new_int_var(0, self.horizon, "period")
        for s in range(self.k):
            self.model.add(self.period >= self.compute[s] + self.attend[s])
        for load in self.media:
            self.model.add(self.period >= load)

    def _horizon(self) -> int:
        """More than any plan's period or latency can be."""
        scale, problem = self.scale, self.problem
        work = sum(max(scale.seconds(float(c)) for c in row) for row in problem.tables.time_s)
        beside = sum(scale.seconds(c) for terms in self.extra for c, _, _ in terms)
        wires = sum(
            2 * scale.seconds(problem.links[i].occupancy_s(size)) + scale.seconds(problem.links[i].latency_s)
            for _, i, size in self.hops
        )
        return 2 * (work + beside + wires) + 1

    def _first_processors(self) -> dict[str, int]:
        """Stage of the first declared processor of each board in this order of processors."""
        stage_of = {q: s for s, q in enumerate(self.order)}
        first: dict[str, int] = {}
        for q, ref in enumerate(self.problem.processors):
            if ref.board.name not in first and q in stage_of and ref.processor == ref.board.processors[0]:
                first[ref.board.name] = stage_of[q]
        return first

    def _extra_terms(self, s: int) -> list[tuple[float, Expression, bool]]:
        """(seconds, indicator, surely before the segment ends) of all that a stage computes besides its operators.

        Messages keep the processor busy beside the segment, but for those over which it does nothing else; and of them
        those that others made or use.
        """
        q = self.order[s]
        tables, graph = self.problem.tables, self.problem.graph
        terms: list[tuple[float, Expression, bool]] = []
        if tables.segment_s[q] > 0:
            terms.append((float(tables.segment_s[q]), self.used[s], True))
        per_byte = float(tables.boundary_s_per_byte[q])
        if per_byte > 0:
            sizes = tables.tensor_bytes.min(axis=1)
            for t in range(len(graph.tensors)):
                terms.append((per_byte * float(sizes[t]), self.touches(t, s), True))
        board = self.problem.processors[q].board
        if len(board.processors) == 1:
            for key, var in self.hops.items():
                link, size = self.problem.links[key[1]], key[2]
                makers, takers = self.hop_ends[key]
                if link.source == board.name and link.send_s_per_byte > 0:
                    terms.append((link.send_s_per_byte * size, var, makers == {s} and not link.overlap))
                if link.target == board.name and link.receive_s_per_byte > 0:
                    terms.append((link.receive_s_per_byte * size, var, takers == {s} and not link.overlap))
        return terms

    def _add_used(self) -> None:
        problem = self.problem
        ends = {problem.system.source, problem.system.sink}
        self.board_used: dict[str, Expression] = {}
        for name in problem.board_index:
            if name in ends:
                self.board_used[name] = 1
                continue
            var = self.model.new_bool_var("")
            self.board_used[name] = var
            for s, board in enumerate(self.boards):
                if board == name:
                    self.model.add(var >= self.used[s])
            for (_, link_index, _), hop in self.hops.items():
                link = problem.links[link_index]
                if name in (link.source, link.target):
                    self.model.add_implication(hop, var)
        if problem.limits.max_boards is not None:
            self.model.add(sum(self.board_used.values()) <= problem.limits.max_boards)
