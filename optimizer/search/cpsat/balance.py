"""Any number of processors, any assignment: the least time of the busiest one.

Links and memory are left out, so the value bounds the period of every plan. Operators that take the same time on
every processor are alike, and only how many of them each processor runs is a variable: networks repeat their blocks,
so that a model of hundreds of operators shrinks to a few dozen integers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from ortools.sat.python import cp_model

from optimizer.graph import predecessors
from optimizer.problem import Problem
from optimizer.search.pool import Assignment
from optimizer.search.revisit import Balance, in_steps, settle, time_step

__all__ = ["balance_many"]

_STEPS = 2e8
_ROUNDING = 1e-9
_Kind = tuple[tuple[int, ...], tuple[bool, ...]]


def balance_many(problem: Problem, seconds: float, seed: int) -> Balance | None:
    """The best balance found within so many seconds, and a proven bound; None where no assignment is found.

    One worker: it closes models of this size sooner than several that share the cores.
    """
    times = problem.tables.time_s
    step_s = time_step(times, max(float(times.min(axis=1).sum()) / _STEPS, 1e-12))
    kinds = _kinds(problem, step_s)
    model = cp_model.CpModel()
    counts = [
        [model.new_int_var(0, len(members) if may else 0, "") for may in allowed]
        for (_, allowed), members in kinds.items()
    ]
    for row, members in zip(counts, kinds.values(), strict=True):
        model.add(sum(row) == len(members))
    highest = sum(max(steps) * len(members) for (steps, _), members in kinds.items())
    busiest = model.new_int_var(0, highest, "busiest")
    for q in range(times.shape[1]):
        model.add(busiest >= sum(steps[q] * row[q] for row, (steps, _) in zip(counts, kinds, strict=True)))
    model.minimize(busiest)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = seconds
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = seed
    solver.parameters.catch_sigint_signal = False
    solver.parameters.presolve_inclusion_work_limit = 0  # see prove.py: that step loses optima
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None
    shares = [[int(solver.value(var)) for var in row] for row in counts]
    assignment = settle(problem, _hand_out(problem, list(kinds.values()), shares))
    bound = max(0.0, math.ceil(solver.best_objective_bound - 1e-6))
    return Balance(bound * step_s * (1 - _ROUNDING), assignment)


def _kinds(problem: Problem, step_s: float) -> dict[_Kind, list[int]]:
    """Operators by their times (in steps) and by where they may run; those that are free anywhere are left out."""
    steps = in_steps(problem.tables.time_s, step_s)
    kinds: dict[_Kind, list[int]] = {}
    for v, (row, allowed) in enumerate(zip(steps.tolist(), problem.tables.allowed.tolist(), strict=True)):
        if any(row) or not all(allowed):
            kinds.setdefault((tuple(row), tuple(allowed)), []).append(v)
    return kinds


def _hand_out(problem: Problem, members: Sequence[Sequence[int]], shares: Sequence[list[int]]) -> Assignment:
    """(n,) processor by operator: each kind's shares used up along the graph, beside what is read where possible."""
    kind_of = {v: kind for kind, group in enumerate(members) for v in group}
    before = predecessors(problem.graph)
    assignment = np.zeros(len(problem.graph.operators), dtype=np.int64)
    for v in range(len(assignment)):
        near = [int(assignment[u]) for u in before[v]]
        if v not in kind_of:
            assignment[v] = near[0] if near else 0
            continue
        left = shares[kind_of[v]]
        beside = [q for q in near if left[q] > 0]
        chosen = beside[0] if beside else left.index(max(left))
        left[chosen] -= 1
        assignment[v] = chosen
    return assignment
