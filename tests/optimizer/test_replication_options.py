"""Replicas together with other options: plans that revisit processors, orders of preference, costs that are off."""

from __future__ import annotations

import itertools
import random
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from optimizer.cost_factors import scaled
from optimizer.evaluate import Schedule, evaluate
from optimizer.objectives import objective_values
from optimizer.plan import Front, Plan
from optimizer.plan_io import LoadedPlan
from optimizer.problem import Problem
from optimizer.search.certify import EITHER_CLASS, REPLICA_CLASS
from optimizer.search.cpsat import Budget
from optimizer.search.pool import Pool, dominates
from optimizer.search.replication_chain import proves_impossible
from optimizer.solve import SolveOptions, solve
from optimizer.uncertainty import assess
from optimizer.verify import verify
from tests.optimizer.replica_brute import all_plans
from tests.optimizer.test_replicas import alike_problem, pipeline


def solved(problem: Problem, prefer: str, objectives: tuple[str, ...] = ("throughput",)) -> Front:
    front = solve(problem, SolveOptions(objectives, prefer, time_limit_s=8.0, workers=1))
    assert isinstance(front, Front)
    return front


def with_replicas(problem: Problem) -> list[Plan]:
    return [p for p in all_plans(problem, [0] * len(problem.processors)) if not p.score.violations]


def revisiting(problem: Problem) -> list[Plan]:
    pool = Pool(replace(problem, non_contiguous=True, replicate=False))
    for places in itertools.product(range(len(problem.processors)), repeat=len(problem.graph.operators)):
        pool.score(np.array(places))
    return pool.feasible()


@pytest.mark.parametrize(("seed", "kind"), [(1, "mesh"), (4, "shared"), (6, "line")])
def test_plans_with_replicas_compete_with_plans_that_revisit(seed: int, kind: str) -> None:
    problem = replace(alike_problem(seed, 4, 3, kind, kinds=1), non_contiguous=True, replicate=True)
    front = solved(problem, "throughput")
    found = front.certificates["throughput"]
    best = min(p.score.period_s for p in [*with_replicas(problem), *revisiting(problem)])
    assert found.plan_class == EITHER_CLASS
    assert found.bound is not None and found.bound <= best * (1 + 1e-9)
    if found.status == "proven":
        assert found.value <= best * (1 + 1.1e-4)


def test_replicas_win_where_nothing_else_shares_a_heavy_operator_out() -> None:
    problem = pipeline([1.0, 1.0, 4.0, 1.0, 1.0], [1, 2, 1], bandwidth=1e6)
    front = solved(replace(problem, non_contiguous=True, replicate=True), "throughput")
    assert front.certificates["throughput"].value == pytest.approx(2.0, rel=1e-3)
    assert any(s.replicas for s in front.plans[front.chosen].segments)


@pytest.mark.parametrize(
    ("seed", "prefer"), [(2, "throughput:5%>latency"), (5, "throughput:20%>energy"), (2, "latency:10%>throughput")]
)
def test_orders_of_preference_are_bounded_over_plans_with_replicas(seed: int, prefer: str) -> None:
    problem = replace(alike_problem(seed, 4, 3, "mesh", kinds=1), replicate=True)
    front = solved(problem, prefer, ("throughput", "latency", "energy"))
    names = [s.objective for s in front.steps]
    every = [p for p in with_replicas(problem) if objective_values(p.score, names[:1])[0] <= front.steps[0].limit]
    chosen = front.plans[front.chosen]
    assert objective_values(chosen.score, names[:1])[0] <= front.steps[0].limit * (1 + 1e-9)
    second = front.steps[1].certificate
    assert second.plan_class == REPLICA_CLASS
    for plan in every:
        assert second.bound is None or second.bound <= objective_values(plan.score, names[1:])[0] * (1 + 1e-9)
    assert objective_values(chosen.score, names[1:])[0] <= front.steps[1].limit * (1 + 1e-9)


def test_a_front_has_points_with_and_without_replicas() -> None:
    problem = replace(pipeline([1.0, 1.0, 4.0, 1.0, 1.0], [1, 2, 1], bandwidth=1e6), replicate=True)
    front = solved(problem, "throughput", ("throughput", "energy"))
    counts = {max(len(s.replicas) for s in p.segments) for p in front.plans}
    assert max(counts) > 1
    rows = [objective_values(p.score, ("throughput", "energy")) for p in front.plans]
    assert not any(dominates(a, b) for a, b in itertools.permutations(rows, 2))


@pytest.mark.parametrize("seed", [1, 5])
def test_the_front_of_small_problems_is_that_of_every_plan(seed: int) -> None:
    problem = replace(alike_problem(seed, 4, 3, "mesh", kinds=1), replicate=True)
    names = ("throughput", "energy")
    rows = {objective_values(p.score, names) for p in with_replicas(problem)}
    truth = [r for r in rows if not any(dominates(other, r) for other in rows)]
    found = [objective_values(p.score, names) for p in solved(problem, "throughput", names).plans]
    assert len(truth) > 1
    for row in truth:
        assert any(all(a <= b * (1 + 1e-6) for a, b in zip(other, row, strict=True)) for other in found)


@pytest.mark.parametrize(("seed", "prefer"), [(2, "throughput"), (3, "latency"), (5, "energy")])
def test_no_scenario_is_worse_than_said_of_a_plan_with_replicas(seed: int, prefer: str) -> None:
    problem = replace(alike_problem(seed, 4, 3, "mesh", kinds=1), replicate=True)
    front = solved(problem, prefer, ("throughput", "latency", "energy"))
    plans = with_replicas(problem)
    (regret,) = assess(problem, front, 0.2, Budget(time.monotonic() + 5, 1, 0)).regrets
    assert regret.at_most is None or regret.attained <= regret.at_most + 1e-6
    rng = random.Random(seed)
    names = [*(ref.key for ref in problem.processors), *(link.medium for link in problem.links)]
    for _ in range(5):
        now = scaled(problem, {r: rng.choice([0.8, 1.2]) for r in names})
        value, *others = (
            objective_values(evaluate(now, Schedule.of(p)), [prefer])[0] for p in [front.plans[front.chosen], *plans]
        )
        assert regret.at_most is None or value / min(others) - 1 <= regret.at_most + 1e-6


def test_a_bound_over_replicas_is_proven_anew_by_the_dp() -> None:
    problem = replace(alike_problem(3, 5, 3, "mesh", kinds=1), replicate=True)
    problem = replace(problem, graph=pipeline([1.0, 1.0, 2.0, 1.0, 1.0], [1, 1, 1], bandwidth=1e6).graph)
    best_s = min(p.score.period_s for p in with_replicas(problem))
    assert not proves_impossible(problem, best_s * (1 + 1e-9))
    front = solved(problem, "throughput")
    claimed = LoadedPlan(Path("plan.json"), problem, front.plans[front.chosen], front.certificates, "", 0)
    (bound,) = (c for c in verify(claimed).checks if c.name == "bound of throughput")
    assert bound.holds, bound.text
    lie = replace(front.certificates["throughput"], bound=best_s * 1.01)
    checks = verify(replace(claimed, certificates={"throughput": lie})).checks
    assert [c.holds for c in checks if c.name == "bound of throughput"] == [None]
