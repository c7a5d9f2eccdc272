"""A refusal speaks for the assignment only where no schedule of it could do better."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from optimizer.evaluate import Schedule, evaluate
from optimizer.plan import Plan
from optimizer.problem import Limits, Problem
from optimizer.schedule import complete, contiguous_segments
from optimizer.search.settled import schedule_is_settled
from tests.optimizer.builders import make_graph, random_problem


def plan_of(problem: Problem, depth: int | None = None) -> Plan:
    segments = contiguous_segments(problem, np.array([0, 0, 0, 1, 1, 1]))
    assert segments is not None
    schedule = complete(problem, segments)
    transfers = schedule.transfers if depth is None else tuple(replace(t, depth=depth) for t in schedule.transfers)
    score = evaluate(problem, Schedule(schedule.segments, transfers, schedule.orders))
    return Plan(schedule.segments, transfers, schedule.orders, score)


@pytest.fixture
def free() -> Problem:
    return random_problem(4, n=6, k=2)


def test_a_period_that_only_shallow_buffers_spoil_is_not_settled(free: Problem) -> None:
    best, shallow = plan_of(free), plan_of(free, depth=1)
    assert shallow.score.period_s > best.score.period_s
    limited = replace(free, limits=Limits(min_throughput_per_s=1 / (best.score.period_s * 1.01)))
    assert not schedule_is_settled(limited, plan_of(limited, depth=1))
    impossible = replace(free, limits=Limits(min_throughput_per_s=2 / best.score.period_s))
    assert schedule_is_settled(impossible, plan_of(impossible))


def test_a_latency_below_the_longest_path_is_settled() -> None:
    chain = make_graph([(v, v + 1) for v in range(5)], 6, [10] * 7)
    free = replace(random_problem(4, n=6, k=2), graph=chain)
    latency = plan_of(free).score.latency_s
    limited = replace(free, limits=Limits(max_latency_s=latency * 0.99))
    assert schedule_is_settled(limited, plan_of(limited))
