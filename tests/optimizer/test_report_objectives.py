"""Objectives beside throughput, latency and energy, and preferences, in the report, the table and the files."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from optimizer.objectives import OBJECTIVES
from optimizer.plan import Front
from optimizer.plan_io import front_to_dict, plan_to_dict
from optimizer.problem import Problem
from optimizer.report import render_report
from optimizer.report_format import quantity
from optimizer.report_terminal import solve_table
from optimizer.report_view import pareto_plots
from optimizer.request import report_data
from optimizer.solve import SolveOptions, solve
from tests.optimizer.precision_samples import mixed_problem


@pytest.fixture(scope="module")
def solved() -> tuple[Problem, Front]:
    problem = mixed_problem(11, n=6, k=2)
    options = SolveOptions(objectives=tuple(OBJECTIVES), prefer="energy:20%>memory", time_limit_s=6.0, workers=1)
    front = solve(problem, options)
    assert isinstance(front, Front)
    return problem, front


def test_the_page_shows_every_objective(solved: tuple[Problem, Front]) -> None:
    html = render_report(report_data(*solved))
    for word in ("RAM of the fullest board", "Loss of accuracy", "Link bytes", "Boards used"):
        assert word in html
    assert solved[1].chosen_because in html
    assert "Step 2, RAM of the fullest board" in html


def test_any_two_objectives_that_differ_make_a_plot(solved: tuple[Problem, Front]) -> None:
    problem, front = solved
    plots = pareto_plots(report_data(problem, front))
    differing = [
        o for o, found in OBJECTIVES.items() if len({found.shown(found.read(p.score)) for p in front.plans}) > 1
    ]
    pairs = len(differing) * (len(differing) - 1) // 2
    assert len([p for p in plots if not p.first]) <= pairs <= len(plots)
    assert {p.first for p in plots} == {True, False}
    assert any("better ←" in p.svg for p in plots)


def test_the_table_shows_every_objective_and_why_the_plan_was_chosen(solved: tuple[Problem, Front]) -> None:
    out = io.StringIO()
    Console(file=out, width=120).print(solve_table(report_data(*solved)))
    for name in OBJECTIVES:
        assert name in out.getvalue()
    assert "Step 1, energy" in out.getvalue()


def test_files_hold_figures_certificates_and_steps(solved: tuple[Problem, Front]) -> None:
    problem, front = solved
    plan = json.loads(json.dumps(plan_to_dict(problem, front.plans[front.chosen], front), allow_nan=False))
    assert set(plan["certificate"]) == set(OBJECTIVES)
    assert all(objective.field in plan["score"] for objective in OBJECTIVES.values())
    assert [s["objective"] for s in plan["preference_steps"]] == ["energy", "memory"]
    assert plan["sensitivity"]
    assert front_to_dict(problem, front)["chosen_because"] == front.chosen_because


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (2048, "B", "2 KiB"),
        (0.25, "share", "25.0 %"),
        (1, "boards", "1 board"),
        (3, "boards", "3 boards"),
        (0.5, "loss", "0.500"),
    ],
)
def test_quantities_carry_their_unit(value: float, unit: str, text: str) -> None:
    assert quantity(value, unit) == text
