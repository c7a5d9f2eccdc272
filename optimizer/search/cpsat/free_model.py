"""Contiguous plans for every order of processors at once.

One Boolean an operator and processor, one a pair of processors for which of the two comes first. Weaker in
propagation than one stage model an order, but one model serves where the orders are too many.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from ortools.sat.python import cp_model

from optimizer.search.cpsat.plan_model import PlanModel
from optimizer.search.cpsat.scale import Expression
from optimizer.search.pool import Assignment

__all__ = ["FreeModel"]


class FreeModel(PlanModel):
    """All contiguous plans; ``order`` only numbers the processors."""

    def _add_operators(self) -> None:
        model = self.model
        self.on = [[model.new_bool_var("") for _ in range(self.k)] for _ in range(self.n)]
        for row in self.on:
            model.add_exactly_one(row)
        first = self._precedence()
        for tensor in self.problem.graph.tensors:
            if tensor.producer is None:
                continue
            for c in tensor.consumers:
                for a in range(self.k):
                    for b in range(self.k):
                        if a != b:
                            model.add_bool_or(~self.on[tensor.producer][a], ~self.on[c][b], first[a, b])

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
