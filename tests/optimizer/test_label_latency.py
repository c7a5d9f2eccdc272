"""Bounds on the rest of a frame: never more than what any plan takes."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from optimizer.search.label_latency import latency_tails, trunk
from optimizer.search.pool import Pool
from tests.optimizer.builders import make_graph, random_problem


def test_the_trunk_of_a_diamond_are_its_ends() -> None:
    problem = replace(random_problem(0, 5, 2), graph=make_graph([(0, 1), (0, 2), (1, 3), (2, 3), (3, 4)], 5, [10] * 6))
    assert trunk(problem) == [0, 3, 4]


def test_tails_never_exceed_the_latency_of_a_plan() -> None:
    tight = 0
    diamond = make_graph([(0, 1), (0, 2), (1, 3), (2, 3), (3, 4), (3, 5), (4, 5)], 6, [10] * 7)
    for seed in range(12):
        problem = random_problem(seed, 6, 2 + seed % 2, ("mesh", "line", "switch")[seed % 3])
        problem = replace(problem, graph=diamond) if seed % 2 else problem
        pool = Pool(problem, ("latency",))
        for choice in itertools.product(range(len(problem.processors)), repeat=6):
            pool.score(np.array(choice))
        tails = latency_tails(problem)
        first = [v for v in range(6) if 0 in problem.graph.operators[v].inputs]
        for plan in pool.seen():
            assert tails[first, 0].max() <= plan.score.latency_s * (1 + 1e-9)
        tight += tails[first, 0].max() >= 0.8 * pool.best_value("latency")
    assert tight >= 3


def test_spent_processors_only_make_it_longer() -> None:
    tails = latency_tails(random_problem(3, 8, 3))
    for spent in range(8):
        for q in range(3):
            assert (tails[:, spent | 1 << q] >= tails[:, spent]).all()
    assert np.isinf(tails[:, 7]).all()
