"""Models with one Boolean an operator and processor.

``FreeModel``: contiguous plans for every order of processors at once, with one Boolean a pair of processors for
which of the two comes first. Weaker in propagation than one stage model an order, but one model serves where the
orders are too many. ``RevisitModel``: plans that may come back to a processor, so no order at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from ortools.sat.python import cp_model

from optimizer.problem import Problem
from optimizer.search.cpsat.plan_model import PlanModel
from optimizer.search.cpsat.scale import Expression, Scale
from optimizer.search.pool import Assignment

__all__ = ["FreeModel", "RevisitModel"]


class _BooleanModel(PlanModel):
    """on[v][s]: operator v runs on processor ``order[s]``."""

    def _add_operators(self) -> None:
        self.on = [[self.model.new_bool_var("") for _ in range(self.k)] for _ in range(self.n)]
        for row in self.on:
            self.model.add_exactly_one(row)

    def x(self, v: int, s: int) -> Expression:
        return self.on[v][s]

    def behind(self, s: int) -> Iterable[int]:
        return [other for other in range(self.k) if other != s]

    def boundary(self, t: int, stages: Sequence[int], targets: frozenset[int]) -> cp_model.IntVar | None:
        return None

    def crosses_once(self, t: int) -> cp_model.IntVar | None:
        return None

    def witnesses(self, s: int) -> Iterable[int]:
        return range(self.n)

    def literals(self) -> list[cp_model.IntVar]:
        return [var for row in self.on for var in row]

    def assignment(self, values: cp_model.CpSolver | cp_model.CpSolverSolutionCallback) -> Assignment:
        chosen = [next(s for s in range(self.k) if values.boolean_value(row[s])) for row in self.on]
        return np.array([self.order[s] for s in chosen], dtype=np.int64)


class FreeModel(_BooleanModel):
    """All contiguous plans; ``order`` only numbers the processors."""

    def _add_operators(self) -> None:
        super()._add_operators()
        first = self._precedence()
        for tensor in self.problem.graph.tensors:
            if tensor.producer is None:
                continue
            for c in tensor.consumers:
                for a in range(self.k):
                    for b in range(self.k):
                        if a != b:
                            self.model.add_bool_or(~self.on[tensor.producer][a], ~self.on[c][b], first[a, b])

    def _precedence(self) -> dict[tuple[int, int], Expression]:
        """first[a, b]: processor a comes before b; a linear order."""
        first: dict[tuple[int, int], Expression] = {}
        for a in range(self.k):
            for b in range(a + 1, self.k):
                var = self.model.new_bool_var("")
                first[a, b], first[b, a] = var, ~var
        for a in range(self.k):
            for b in range(self.k):
                for c in range(self.k):
                    if len({a, b, c}) == 3:
                        self.model.add_bool_or(~first[a, b], ~first[b, c], first[a, c])
        return first


class RevisitModel(_BooleanModel):
    """All plans, contiguous or not: a processor's segments run any number of times a frame.

    Every figure of the model counts a processor's work once for all its segments, so it bounds every way to cut
    an assignment into segments. ``kinds``: class of each processor (by index); those of one class can be
    exchanged without changing anything, and take their first operators in order of their numbers.
    """

    revisits = True

    def __init__(self, problem: Problem, scale: Scale, kinds: Sequence[int]) -> None:
        self.kinds = list(kinds)
        super().__init__(problem, range(len(problem.processors)), scale)

    def _add_operators(self) -> None:
        super()._add_operators()
        last_of: dict[int, int] = {}
        for q, kind in enumerate(self.kinds):
            if kind in last_of:
                self._take_turns(last_of[kind], q)
            last_of[kind] = q

    def _take_turns(self, a: int, b: int) -> None:
        """Value precedence: processor b takes an operator only behind one of processor a (in the graph's order)."""
        begun: cp_model.IntVar | None = None
        for v in range(self.n):
            if begun is None:
                self.model.add(self.on[v][b] == 0)
                begun = self.on[v][a]
                continue
            self.model.add_implication(self.on[v][b], begun)
            later = self.model.new_bool_var("")
            self.model.add_bool_or(~later, begun, self.on[v][a])
            begun = later

    def start_from(self, assignment: Assignment) -> None:
        """Hint at an assignment: (n,) processor index by operator."""
        for v, row in enumerate(self.on):
            for q, var in enumerate(row):
                self.model.add_hint(var, int(assignment[v]) == q)
