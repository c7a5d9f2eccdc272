"""The bound on the energy, against every plan."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace

import numpy as np
import pytest

from boards.board import Board
from optimizer.problem import Problem
from optimizer.search.energy_bound import energy_bound
from optimizer.search.pool import Pool
from optimizer.search.pruning import simple_bound
from tests.optimizer.test_latency_bound import trunk_problem

KINDS = ("mesh", "line", "switch", "shared", "busy")


def with_idle_power(problem: Problem, seed: int) -> Problem:
    """Boards that idle at up to 60 % of their power, some of them removable."""
    rng = random.Random(seed)

    def idling(board: Board) -> Board:
        share = rng.choice([0.0, 0.3, 0.6])
        processors = tuple(replace(p, idle_power_w=p.active_power_w * share) for p in board.processors)
        return replace(board, processors=processors, removable=rng.random() < 0.7)

    system = replace(problem.system, boards=tuple(idling(b) for b in problem.system.boards))
    return replace(problem, system=system)


def least(problem: Problem) -> tuple[float, float]:
    """Least energy and least period of any plan."""
    pool = Pool(problem)
    for places in itertools.product(range(len(problem.processors)), repeat=len(problem.graph.operators)):
        pool.score(np.array(places))
    return pool.best_value("energy"), pool.best_value("throughput")


@pytest.mark.parametrize("kind", KINDS)
def test_no_plan_needs_less(kind: str) -> None:
    ratios, better = [], 0
    for seed in range(14):
        k = 2 + seed % 2
        problem = with_idle_power(trunk_problem(seed, 5 if k == 3 else 6, k, kind), seed)
        energy_j, period_s = least(problem)
        if math.isinf(energy_j):
            continue
        bound = energy_bound(problem, period_s, energy_j, math.inf)
        assert bound is not None
        assert bound <= energy_j, (kind, seed)
        ratios.append(bound / energy_j)
        better += bound > simple_bound(problem, "energy") * 1.001
    assert len(ratios) >= 8
    assert better >= 5
    assert np.mean(ratios) >= 0.8, ratios


def test_a_fixed_interval_counts_in_full() -> None:
    problem = with_idle_power(trunk_problem(3, 5, 2, "mesh"), 2)
    assert any(r.processor.idle_power_w > 0 and not r.board.removable for r in problem.processors)
    _, period_s = least(problem)
    slow = replace(problem, limits=replace(problem.limits, rate_per_s=0.25 / period_s))
    energy_j, _ = least(slow)
    bound = energy_bound(slow, period_s, energy_j, math.inf)
    unhurried = energy_bound(problem, period_s, math.inf, math.inf)
    assert bound is not None and unhurried is not None
    assert unhurried < bound <= energy_j


def test_links_that_occupy_processors_are_left_out() -> None:
    problem = trunk_problem(0, 5, 2, "polled")
    assert energy_bound(problem, 0.0, math.inf, math.inf) is None


def test_without_any_plan_there_is_no_bound() -> None:
    assert energy_bound(trunk_problem(0, 5, 2, "mesh"), math.inf, math.inf, math.inf) is None
