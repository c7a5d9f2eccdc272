"""The fluid bound on the period: operators may be split over processors at will, and nothing is ever sent."""

from __future__ import annotations

import math

import numpy as np

from optimizer.problem import Problem

__all__ = ["METHOD", "fluid_bound_s"]

METHOD = "operators shared out at will"
_ROUNDS = 400
_LEAST = 1e-9
"""Share of the largest weight below which none falls: it must never be zero."""


def fluid_bound_s(problem: Problem) -> float:
    """Seconds that no plan's period falls below; inf where restrictions leave no plan.

    Weights on the processors that sum to 1 bound it from below: each operator costs at least its least weighted time.
    Good weights are sought by moving weight to the processors that the cheapest shares load most.
    """
    tables = problem.tables
    times = np.where(tables.allowed, tables.time_s, np.inf)
    kinds, counts = np.unique(times, axis=0, return_counts=True)
    if not np.isfinite(kinds).any(axis=1).all():
        return math.inf  # an operator that may run nowhere
    totals = np.where(np.isfinite(kinds), kinds, kinds[np.isfinite(kinds)].max(initial=0.0)).T @ counts
    if totals.max(initial=0.0) <= 0:
        return 0.0
    weight = 1.0 / np.maximum(totals, totals.max() * _LEAST)
    weight /= weight.sum()
    best = 0.0
    for number in range(_ROUNDS):
        priced = kinds * weight
        cheapest = priced.argmin(axis=1)
        rows = np.arange(len(kinds))
        value = float(priced[rows, cheapest] @ counts)
        best = max(best, value)
        loads = np.bincount(cheapest, kinds[rows, cheapest] * counts, minlength=len(weight))
        if value <= 0:
            break
        step = 0.3 / (1.0 + number / 4.0)
        weight = weight * np.exp(step * np.clip(loads / value - 1.0, -1.0, 3.0))
        weight = np.maximum(weight, weight.max() * _LEAST)
        weight /= weight.sum()
    return best * (1 - 1e-9)
