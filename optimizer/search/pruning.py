"""Safe pruning: processors on which an operator can never run in a plan worth having.

An operator is barred from a processor when the best values that any plan with it there can reach, in every
objective, are dominated by a plan already known. Nothing of the front is lost: such a plan would be dominated too.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from optimizer.objectives import objective_values
from optimizer.problem import Problem
from optimizer.restrictions import spread
from optimizer.search.pool import Pool, dominates

__all__ = ["safe_domains", "simple_bound"]

_ROUNDING = 1e-9


def safe_domains(pool: Pool, bounds: dict[str, float]) -> npt.NDArray[np.bool_]:
    """(n, q) True where an operator may run; ``bounds``: proven lower bounds of the minimised objectives."""
    problem = pool.problem
    tables = problem.tables
    known = [objective_values(p.score, pool.objectives) for p in pool.front()]
    best_time = tables.time_s.min(axis=1)
    best_energy = tables.energy_j.min(axis=1)
    losses = tables.loss
    least_loss = np.zeros(len(best_time)) if losses is None else losses.min(axis=1)
    heads, tails = _path_bounds(problem, best_time)
    domains = tables.allowed.copy()
    share = _capacity_bound(problem)
    for v, q in np.argwhere(domains).tolist():
        local = {
            "throughput": max(float(tables.time_s[v, q]), share),
            "latency": heads[v] + float(tables.time_s[v, q]) + tails[v],
            "energy": float(best_energy.sum() - best_energy[v] + tables.energy_j[v, q]),
            "boards": float(len({problem.processors[q].board.name, problem.system.source, problem.system.sink})),
            "accuracy-loss": 0.0 if losses is None else float(least_loss.sum() - least_loss[v] + losses[v, q]),
        }
        reachable = [max(local.get(o, 0.0), bounds.get(o, 0.0)) for o in pool.objectives]
        if any(dominates(values, reachable) and _clearly(values, reachable) for values in known):
            domains[v, q] = False
    return spread(domains, problem.together)


def simple_bound(problem: Problem, objective: str) -> float:
    """A bound that costs nothing: work shared out evenly, the longest path, everything where it is cheapest."""
    tables = problem.tables
    if objective == "throughput":
        return _capacity_bound(problem)
    if objective == "energy":
        return float(tables.energy_j.min(axis=1).sum())
    if objective == "accuracy-loss" and tables.loss is not None:
        return float(tables.loss.min(axis=1).sum()) * (1 - _ROUNDING)
    if objective == "boards":
        return float(len({problem.system.source, problem.system.sink}))
    if objective != "latency":
        return 0.0
    fastest = tables.time_s.min(axis=1)
    heads, _ = _path_bounds(problem, fastest)
    return max((head + float(t) for head, t in zip(heads, fastest, strict=True)), default=0.0)


def _clearly(known: tuple[float, ...], reachable: list[float]) -> bool:
    """Strictly better by more than rounding in some objective."""
    return any(k < r * (1 - 1e-9) for k, r in zip(known, reachable, strict=True))


def _capacity_bound(problem: Problem) -> float:
    """All processors together: every operator at its fastest, shared out evenly."""
    return float(problem.tables.time_s.min(axis=1).sum()) / max(1, len(problem.processors))


def _path_bounds(problem: Problem, time_s: npt.NDArray[np.float64]) -> tuple[list[float], list[float]]:
    """Longest ways of fastest times before and behind each operator."""
    n = len(time_s)
    heads, tails = [0.0] * n, [0.0] * n
    edges = [(t.producer, c) for t in problem.graph.tensors if t.producer is not None for c in t.consumers]
    for u, v in sorted(edges, key=lambda e: e[1]):
        heads[v] = max(heads[v], heads[u] + float(time_s[u]))
    for u, v in sorted(edges, key=lambda e: -e[0]):
        tails[u] = max(tails[u], tails[v] + float(time_s[v]))
    return heads, tails
