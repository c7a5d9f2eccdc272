"""Plans at real precisions, made of assignments that were found where processors were left a choice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from optimizer.objectives import objective_values
from optimizer.plan import Plan
from optimizer.precision import Choice, at_precisions
from optimizer.problem import Problem
from optimizer.search.pool import Assignment, Pool

__all__ = ["RealPlans"]

Vector = tuple[str, ...]
"""A precision by processor."""
Found = tuple[Vector, Plan]
_LITTLE = 1e-3


class RealPlans:
    """``worth``: by processor the precisions that are tried."""

    def __init__(self, problem: Problem, worth: Choice, objectives: Sequence[str]) -> None:
        self.problem, self.worth, self.objectives = problem, worth, tuple(objectives)
        self.pools: dict[Vector, Pool] = {}
        self.figures = _figures(problem, worth)

    def closest(self) -> str:
        """What the plan with the fewest broken limits breaks, in words."""
        return min((pool.closest() for pool in self.pools.values()), key=len, default="")

    def minds(self, choice: Choice, assignment: Assignment) -> int:
        """The processor of those with a choice that loses most, in a plan, by keeping to one precision."""

        def lost(q: int) -> float:
            if len(choice[q]) == 1:
                return -1.0
            rows = self._rows(q, assignment)[[self.worth[q].index(p) for p in choice[q]]]
            single, free = rows.sum(axis=1), rows.min(axis=0).sum(axis=0)
            most = single.max(axis=0)
            share = ((single - free) / np.maximum(most, 1e-300)).sum(axis=1)
            return float(share.min() + _LITTLE * (most > free).sum())

        return max(range(len(choice)), key=lambda q: (lost(q), -q))

    def plans(self, choice: Choice, assignment: Assignment) -> list[Plan]:
        """The assignment at the precisions that suit it, by each figure; then changed one processor after the other."""
        first = [f for f in (self._score(assignment, v) for v in self._vectors(choice, assignment)) if f is not None]
        found = list(first)
        for objective in self.objectives:
            if first:
                start = min(first, key=lambda f: objective_values(f[1].score, [objective]))
                found += self._descend(choice, assignment, start, objective)
        return [plan for _, plan in found]

    def _rows(self, q: int, assignment: Assignment) -> npt.NDArray[np.float64]:
        """(precisions, operators there, figures)"""
        return self.figures[q][:, assignment == q]

    def _vectors(self, choice: Choice, assignment: Assignment) -> list[Vector]:
        """For every figure the precision with the least of it on each processor, ties to the other figures."""
        totals = [self._rows(q, assignment).sum(axis=1) for q in range(len(choice))]
        vectors = []
        for figure in range(totals[0].shape[1]):
            vector = []
            for q, allowed in enumerate(choice):
                rows = np.roll(totals[q][[self.worth[q].index(p) for p in allowed]], -figure, axis=1)
                vector.append(allowed[int(np.lexsort(rows.T[::-1])[0])])
            vectors.append(tuple(vector))
        return list(dict.fromkeys(vectors))

    def _descend(self, choice: Choice, assignment: Assignment, start: Found, objective: str) -> list[Found]:
        best, found = start, []
        for q in sorted(set(assignment.tolist())):
            for precision in choice[q]:
                other = self._score(assignment, (*best[0][:q], precision, *best[0][q + 1 :]))
                if other is None:
                    continue
                found.append(other)
                if objective_values(other[1].score, [objective]) < objective_values(best[1].score, [objective]):
                    best = other
        return found

    def _score(self, assignment: Assignment, vector: Vector) -> Found | None:
        """None where a limit is broken."""
        if vector not in self.pools:
            self.pools[vector] = Pool(at_precisions(self.problem, vector), self.objectives)
        plan = self.pools[vector].score(assignment)
        return None if plan is None or plan.score.violations else (vector, plan)


def _figures(problem: Problem, worth: Choice) -> list[npt.NDArray[np.float64]]:
    """By processor (precisions, n, 4): time, energy beyond idling, loss of accuracy and bytes made of each operator."""
    rows: list[list[npt.NDArray[np.float64]]] = [[] for _ in worth]
    for j in range(max(len(allowed) for allowed in worth)):
        tables = at_precisions(problem, [allowed[min(j, len(allowed) - 1)] for allowed in worth]).tables
        made = np.zeros_like(tables.time_s)
        inner = tables.producer >= 0
        np.add.at(made, tables.producer[inner], tables.tensor_bytes[inner].astype(np.float64))
        for q, ref in enumerate(problem.processors):
            if j < len(worth[q]):
                loss = np.zeros(len(made)) if tables.loss is None else tables.loss[:, q]
                beyond = tables.energy_j[:, q] - ref.processor.idle_power_w * tables.time_s[:, q]
                rows[q].append(np.stack([tables.time_s[:, q], beyond, loss, made[:, q]], axis=1))
    return [np.stack(row) for row in rows]
