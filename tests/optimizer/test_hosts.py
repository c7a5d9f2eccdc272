"""Boards without processors: frames come from there and go back, and nothing runs there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from boards.board import Link, System
from optimizer.plan import Front
from optimizer.problem import Problem
from optimizer.search.pool import Pool
from optimizer.solve import SolveOptions, solve
from tests.optimizer.builders import make_board
from tests.optimizer.test_replicas import alike_problem


def hosted(problem: Problem) -> Problem:
    """The same with a host at both ends, over links that cost nothing."""
    system = problem.system
    names = [b.name for b in system.boards]
    free = [
        Link(f"{a}->{b}", a, b, f"{a}->{b}", bandwidth_bytes_per_s=1e15)
        for name in names
        for a, b in (("host", name), (name, "host"))
    ]
    boards = (*system.boards, make_board("host", processors=()))
    return replace(problem, system=System("hosted", boards, (*system.links, *free), "host", "host"))


def test_a_plan_on_one_board_is_as_fast_as_without_the_host() -> None:
    problem = hosted(alike_problem(3, 5, 3, "mesh"))
    plan = Pool(problem).score(np.zeros(5, dtype=np.int64))
    assert plan is not None
    assert plan.score.period_s == pytest.approx(
        float(problem.tables.time_s[:, 0].sum() + problem.tables.segment_s[0]), rel=1e-2
    )
    assert plan.score.violations == ()


@pytest.mark.parametrize("replicate", [False, True])
def test_a_problem_with_a_host_is_solved(replicate: bool) -> None:
    problem = replace(hosted(alike_problem(3, 5, 3, "mesh", kinds=1)), replicate=replicate)
    front = solve(problem, SolveOptions(("throughput",), time_limit_s=8.0, workers=1))
    assert isinstance(front, Front)
    assert front.certificates["throughput"].bound is not None
