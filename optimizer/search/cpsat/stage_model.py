"""Contiguous plans for one order of processors.

Stage-order encoding: y[v, s] says "operator v runs on stage s or before"; along every edge of the graph it can only
fall. It propagates far better than one Boolean an operator and processor.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import networkx as nx
import numpy as np
from ortools.sat.python import cp_model

from optimizer.problem import Problem
from optimizer.search.cpsat.plan_model import PlanModel
from optimizer.search.cpsat.scale import Expression
from optimizer.search.pool import Assignment

__all__ = ["StageModel"]


class StageModel(PlanModel):
    """All contiguous plans whose segments come in the given order of processors, any of them empty."""

    def _add_operators(self) -> None:
        model = self.model
        self.y = [[model.new_bool_var("") for _ in range(self.k - 1)] for _ in range(self.n)]
        for v in range(self.n):
            for s in range(self.k - 2):
                model.add_implication(self.y[v][s], self.y[v][s + 1])
        for u, v in _reduced_edges(self.problem):
            for s in range(self.k - 1):
                model.add_implication(self.y[v][s], self.y[u][s])
        self._add_cuts()

    def _add_cuts(self) -> None:
        """cut[t, s]: tensor t is made on stage s or before and used behind it."""
        self.cut: dict[tuple[int, int], cp_model.IntVar] = {}
        for t, tensor in enumerate(self.problem.graph.tensors):
            if tensor.producer is None or not tensor.consumers:
                continue
            for s in range(self.k - 1):
                var = self.model.new_bool_var("")
                self.cut[t, s] = var
                for c in tensor.consumers:
                    self.model.add_bool_or(var, ~self.y[tensor.producer][s], self.y[c][s])

    def _upto(self, v: int, s: int) -> Expression:
        if s < 0:
            return 0
        return 1 if s >= self.k - 1 else self.y[v][s]

    def x(self, v: int, s: int) -> Expression:
        return self._upto(v, s) - self._upto(v, s - 1)

    def behind(self, s: int) -> Iterable[int]:
        return range(s + 1, self.k)

    def boundary(self, t: int, stages: Sequence[int], targets: frozenset[int]) -> cp_model.IntVar | None:
        last = max(stages)
        is_cut = list(stages) == list(range(last + 1)) and targets == frozenset(range(last + 1, self.k))
        return self.cut.get((t, last)) if is_cut else None

    def crosses_once(self, t: int) -> cp_model.IntVar | None:
        if self.k != 2 or self.problem.graph.tensors[t].is_output:
            return None
        return self.cut.get((t, 0))

    def witnesses(self, s: int) -> Iterable[int]:
        if s < self.k - 1:
            return range(self.n)
        followed = {t.producer for t in self.problem.graph.tensors if t.consumers}
        return [v for v in range(self.n) if v not in followed]

    def literals(self) -> list[cp_model.IntVar]:
        return [var for row in self.y for var in row]

    def assignment(self, values: cp_model.CpSolver | cp_model.CpSolverSolutionCallback) -> Assignment:
        assignment = np.full(self.n, self.order[-1], dtype=np.int64)
        for v in range(self.n):
            for s in range(self.k - 1):
                if values.boolean_value(self.y[v][s]):
                    assignment[v] = self.order[s]
                    break
        return assignment


def _reduced_edges(problem: Problem) -> list[tuple[int, int]]:
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(len(problem.graph.operators)))
    for tensor in problem.graph.tensors:
        if tensor.producer is not None:
            graph.add_edges_from((tensor.producer, c) for c in tensor.consumers)
    return [(int(u), int(v)) for u, v in nx.transitive_reduction(graph).edges()]
