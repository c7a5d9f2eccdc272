"""Energy of one inference in the steady state, and the bytes that it sends over the links."""

from __future__ import annotations

import numpy as np

from optimizer.board_use import Stands
from optimizer.plan_table import PlanTable
from optimizer.problem import Problem
from optimizer.ragged import Floats, Ints

__all__ = ["energies_and_wire_bytes"]


def energies_and_wire_bytes(
    problem: Problem, plans: PlanTable, stands: Stands, interval_s: Floats
) -> tuple[Floats, Ints]:
    """(plans,) joules and wire bytes of one inference, on average over the frames of a turn."""
    wires = plans.mean(plans.wires())
    joules = wires[:, 1] + _in_processors(problem, plans, stands, interval_s)
    return joules, np.rint(wires[:, 0]).astype(np.int64)


def _in_processors(problem: Problem, plans: PlanTable, stands: Stands, interval_s: Floats) -> Floats:
    """Column by column, so that no sum depends on how many plans there are."""
    count = len(problem.processors)
    at, total = stands.plan * count + stands.processor, stands.plans * count
    time_s = np.array([f.time_s for f in stands.figures]) * stands.share
    energy_j = np.array([f.energy_j for f in stands.figures]) * stands.share
    joules: Floats = np.bincount(stands.plan, energy_j, stands.plans).astype(np.float64)
    in_operators_s = np.bincount(at, time_s, total).reshape(-1, count)
    compute_s, busy_s = plans.compute_s(), plans.busy_s
    for q, ref in enumerate(problem.processors):
        beside_s = np.maximum(0.0, compute_s[:, q] - in_operators_s[:, q])
        joules = joules + ref.processor.active_power_w * beside_s
        idle_s = np.maximum(0.0, interval_s - busy_s[:, q])
        if ref.board.removable:
            idle_s = np.where(stands.used[:, problem.board_index[ref.board.name]], idle_s, 0.0)
        joules = joules + ref.processor.idle_power_w * idle_s
    return joules
