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
from optimizer.search import energy_trunk
from optimizer.search.energy_bound import energy_bound
from optimizer.search.pool import Pool
from optimizer.search.pruning import simple_bound
from tests.optimizer.builders import make_graph
from tests.optimizer.test_board_visits import problem_of
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
        assert bound.bound_j <= energy_j, (kind, seed)
        ratios.append(bound.bound_j / energy_j)
        better += bound.bound_j > simple_bound(problem, "energy") * 1.001
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
    assert unhurried.bound_j < bound.bound_j <= energy_j


def test_links_that_occupy_processors_are_left_out() -> None:
    problem = trunk_problem(0, 5, 2, "polled")
    assert energy_bound(problem, 0.0, math.inf, math.inf) is None


def test_without_any_plan_there_is_no_bound() -> None:
    assert energy_bound(trunk_problem(0, 5, 2, "mesh"), math.inf, math.inf, math.inf) is None


def branched(seed: int, processors: tuple[int, ...], kind: str, operators: int, *, plain: bool = False) -> Problem:
    """Branches between the first and the last operator. ``processors``: how many each board has."""
    rng = random.Random(seed)
    inner = range(1, operators - 1)
    edges = [(u, v) for v in inner for u in [w for w in inner if w < v and rng.random() < 0.4] or [0]]
    ends = set(inner) - {u for u, _ in edges}
    edges += [(v, operators - 1) for v in inner if v in ends or rng.random() < 0.2]
    sizes = [rng.choice([10, 100, 1000]) for _ in range(operators + 1)]
    problem = problem_of(seed, processors, kind, operators, plain=plain)
    return with_idle_power(replace(problem, graph=make_graph(sorted(set(edges)), operators, sizes)), seed)


@pytest.mark.parametrize("kind", ["line", "switch"])
@pytest.mark.parametrize("processors", [(2, 1), (1, 1, 1), (1, 1, 1, 1), (3, 1)])
def test_plans_with_segments_between_two_operators_of_the_trunk_count(kind: str, processors: tuple[int, ...]) -> None:
    asked = 0
    for seed in range(3):
        problem = branched(seed, processors, kind, 5 if sum(processors) < 4 else 4)
        energy_j, period_s = least(problem)
        if math.isinf(energy_j):
            continue
        for known_j in (energy_j, 1.3 * energy_j, math.inf):
            bound = energy_bound(problem, period_s, known_j, math.inf)
            assert bound is not None
            assert bound.bound_j <= energy_j * (1 + 1e-9), (seed, known_j)
        asked += 1
    assert asked >= 1


def test_better_plans_are_listed_and_the_bound_is_theirs() -> None:
    met = 0
    for seed in range(6):
        problem = branched(seed, (1, 1, 1), "switch", 5, plain=True)
        energy_j, period_s = least(problem)
        pool = Pool(problem)
        bound = energy_bound(problem, period_s, 1.2 * energy_j, math.inf)
        assert bound is not None
        assert bound.bound_j <= energy_j * (1 + 1e-9)
        for assignment in bound.assignments:
            pool.score(assignment)
        met += bound.bound_j >= 0.9999 * energy_j and pool.best_value("energy") <= energy_j * 1.0001
    assert met >= 3  # links that are busier than any processor count in the period alone


def test_many_cuts_are_bounded_along_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = branched(1, (1, 1), "switch", 6)
    energy_j, period_s = least(problem)
    whole = energy_bound(problem, period_s, energy_j, math.inf)
    monkeypatch.setattr(energy_trunk, "_MOST_CUTS", 2)
    rough = energy_bound(problem, period_s, energy_j, math.inf)
    assert whole is not None and rough is not None
    assert 0 < rough.bound_j <= energy_j * (1 + 1e-9)
    assert rough.bound_j <= whole.bound_j * (1 + 1e-9)


def test_without_time_every_operator_counts_at_its_best() -> None:
    problem = branched(2, (1, 1), "switch", 6)
    energy_j, period_s = least(problem)
    bound = energy_bound(problem, period_s, energy_j, -math.inf)
    assert bound is not None
    assert 0 < bound.bound_j <= energy_j
