"""Epsilon-boxes: nothing of the brute-force front lies where a box was proven empty."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from optimizer.objectives import objective_values
from optimizer.problem import Limits
from optimizer.search.cpsat import Budget
from optimizer.search.epsilon_boxes import Box, epsilon_boxes
from optimizer.search.pool import Pool
from tests.optimizer.builders import random_problem


@pytest.mark.parametrize("objectives", [("throughput", "latency"), ("throughput", "energy"), ("latency", "energy")])
def test_every_point_of_the_front_is_reached_or_in_an_open_box(objectives: tuple[str, str]) -> None:
    for seed in range(3):
        problem = random_problem(seed, 6, 2, ("mesh", "line", "switch")[seed])
        truth = Pool(problem, objectives)
        for choice in itertools.product(range(2), repeat=6):
            truth.score(np.array(choice))
        pool = Pool(problem, objectives)
        boxes = epsilon_boxes(pool, Budget(time.monotonic() + 60, 1, 0), tolerance=1e-3)
        assert boxes is not None
        for a, b in (objective_values(p.score, objectives) for p in truth.front()):
            reached = any(x <= a * (1 + 1e-4) and y <= b * (1 + 1e-4) for x, y in boxes.points)
            assert reached or any(_holds(box, a, b) for box in boxes.open)


def _holds(box: Box, a: float, b: float) -> bool:
    slack = 1 + 1e-4
    return all(lo <= x * slack and x <= hi * slack for lo, x, hi in zip(box.low, (a, b), box.high, strict=True))


def test_without_time_the_whole_box_stays_open() -> None:
    problem = random_problem(4, 6, 2)
    pool = Pool(problem, ("throughput", "latency"))
    for q in range(2):
        pool.score(np.full(6, q))
    boxes = epsilon_boxes(pool, Budget(time.monotonic(), 1, 0))
    assert boxes is not None
    assert boxes.open_share > 0 or len(boxes.points) == 1


def test_no_plan_no_boxes() -> None:
    pool = Pool(random_problem(4, 6, 2, limits=Limits(max_latency_s=1e-9)), ("throughput", "latency"))
    assert epsilon_boxes(pool, Budget(time.monotonic() + 20, 1, 0)) is None
