"""Cost uncertainty: regrets and rankings against every plan in random scenarios."""

from __future__ import annotations

import io
import itertools
import json
import random
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from optimizer.cost_factors import scaled
from optimizer.evaluate import Schedule, evaluate
from optimizer.objectives import objective_values
from optimizer.plan import Front
from optimizer.precision import at_precisions, settled
from optimizer.problem import Limits, Problem
from optimizer.report_terminal import solve_table
from optimizer.request import SolveRequest, report_data, solve_request, write_results
from optimizer.search.cpsat import Budget
from optimizer.search.pool import Pool
from optimizer.solve import SolveOptions, solve
from optimizer.uncertainty import assess
from optimizer.uncertainty_words import uncertainty_words
from tests.optimizer.builders import random_problem
from tests.optimizer.onnx_builders import line_of_boards
from tests.optimizer.plan_files import branched_model
from tests.optimizer.precision_samples import mixed_problem

SEEDS = st.integers(0, 10**6)
KINDS = ("mesh", "line", "switch", "shared", "polled", "busy")


def front_of(problem: Problem, prefer: str) -> Front:
    found = solve(problem, SolveOptions(prefer=prefer, time_limit_s=20.0, workers=1, gap=0.02))
    assert isinstance(found, Front)
    return found


def some_factors(problem: Problem, share: float, rng: random.Random) -> dict[str, float]:
    names = [*(ref.key for ref in problem.processors), *(link.medium for link in problem.links)]
    if rng.random() < 0.5:
        return {r: rng.choice([1 - share, 1 + share]) for r in names}
    return {r: rng.uniform(1 - share, 1 + share) for r in names}


def brute_force(problem: Problem) -> Pool:
    pool = Pool(problem)
    for places in itertools.product(range(len(problem.processors)), repeat=len(problem.graph.operators)):
        pool.score(np.array(places))
    return pool


@settings(max_examples=6, deadline=None)
@given(
    seed=SEEDS,
    kind=st.sampled_from(KINDS),
    prefer=st.sampled_from(["throughput", "throughput", "latency", "energy"]),
    share=st.sampled_from([0.05, 0.1, 0.3]),
    seconds=st.sampled_from([0.0, 10.0]),
)
def test_no_scenario_is_worse_than_said(seed: int, kind: str, prefer: str, share: float, seconds: float) -> None:
    problem = random_problem(seed, n=5, k=2, kind=kind)
    if random.Random(seed).random() < 0.5:  # no processor works on hops, so that loads vary one by one
        quiet = tuple(replace(x, send_s_per_byte=0.0, receive_s_per_byte=0.0) for x in problem.system.links)
        problem = replace(problem, system=replace(problem.system, links=quiet))
    front = front_of(problem, prefer)
    found = assess(problem, front, share, Budget(time.monotonic() + seconds, 1, 0))
    (regret,) = found.regrets
    rng = random.Random(seed)
    flipped = {(f.better, f.worse) for f in found.flips}
    for _ in range(12):
        now = scaled(problem, some_factors(problem, share, rng))
        values = [objective_values(evaluate(now, Schedule.of(p)), [prefer])[0] for p in front.plans]
        least = brute_force(now).best_value(prefer)
        if regret.at_most is not None:
            assert values[front.chosen] / least - 1 <= regret.at_most + 1e-6
        if found.open_pairs == 0:
            nominal = [objective_values(p.score, [prefer])[0] for p in front.plans]
            for a, b in itertools.permutations(range(len(values)), 2):
                if nominal[a] < nominal[b] and values[a] > values[b] * (1 + 1e-6):
                    assert (a, b) in flipped
    if regret.at_most is not None:
        assert regret.attained <= regret.at_most + 1e-6


def test_a_balanced_pipeline_regrets_a_slow_board_and_the_worst_case_is_met() -> None:
    problem = random_problem(4, n=6, k=2)
    front = front_of(problem, "throughput")
    found = assess(problem, front, 0.1, Budget(time.monotonic() + 20, 1, 0))
    (regret,) = found.regrets
    assert regret.at_most is not None
    assert 0 <= regret.attained <= regret.at_most < 1.1 / 0.9
    assert any("regret in throughput proven at most" in line for line in uncertainty_words(found))


def test_without_uncertainty_there_is_no_regret_but_the_gap() -> None:
    problem = random_problem(4, n=6, k=2)
    front = front_of(problem, "throughput")
    (regret,) = assess(problem, front, 0.0, Budget(time.monotonic() + 10, 1, 0)).regrets
    assert regret.at_most == pytest.approx(front.certificates["throughput"].gap or 0.0, abs=0.03)
    assert regret.attained == pytest.approx(0.0, abs=1e-9)


def test_a_scenario_multiplies_what_it_names_and_drops_limits_on_figures() -> None:
    limits = Limits(max_latency_s=10.0, min_throughput_per_s=0.01, max_energy_j=1e6, pins={"op0": "b0"})
    problem = random_problem(2, n=5, k=2, limits=limits)
    names = [*(ref.key for ref in problem.processors), *(link.medium for link in problem.links)]
    now = scaled(problem, dict.fromkeys(names, 2.0))
    assert now.limits == Limits(pins={"op0": "b0"})
    plan = next(p for p in brute_force(problem).seen() if len(p.segments) > 1)
    score = evaluate(now, Schedule.of(plan))
    assert score.period_s == pytest.approx(2 * plan.score.period_s)
    assert score.latency_s == pytest.approx(2 * plan.score.latency_s)


@settings(max_examples=8, deadline=None)
@given(
    seed=SEEDS,
    kind=st.sampled_from(KINDS),
    prefer=st.sampled_from(["throughput", "latency", "energy"]),
    over=st.sampled_from([1.05, 2.0, 4.0]),
)
def test_at_a_rate_no_scenario_is_worse_than_said(seed: int, kind: str, prefer: str, over: float) -> None:
    """The other plans are those that keep the rate at the costs as given, be they late in the scenario."""
    free = random_problem(seed, n=4, k=2, kind=kind)
    best_s = brute_force(free).best_value("throughput")
    problem = replace(free, limits=Limits(rate_per_s=1 / (over * best_s)))
    front = front_of(problem, prefer)
    (regret,) = assess(problem, front, 0.2, Budget(time.monotonic() + 5, 1, 0)).regrets
    assert regret.at_most is not None or (prefer, kind) == ("energy", "polled")
    plans = [front.plans[front.chosen], *brute_force(problem).feasible()]
    rng = random.Random(seed)
    for _ in range(12):
        now = scaled(problem, some_factors(problem, 0.2, rng))
        value, *others = (objective_values(evaluate(now, Schedule.of(p)), [prefer])[0] for p in plans)
        if regret.at_most is not None:
            assert value / min(others) - 1 <= regret.at_most + 1e-6


def test_boxes_say_less_than_every_cost_at_its_worst() -> None:
    problem = random_problem(4, n=6, k=2)
    for prefer in ("latency", "energy"):
        front = front_of(problem, prefer)
        (regret,) = assess(problem, front, 0.1, Budget(time.monotonic() + 20, 1, 0)).regrets
        assert regret.at_most is not None
        gap = front.certificates[prefer].gap or 0.0
        assert regret.attained <= regret.at_most < 1.1 / 0.9 / (1 - gap) - 1 - 1e-3


@pytest.mark.parametrize("prefer", ["throughput", "energy"])
def test_with_several_precisions_the_others_may_have_any(prefer: str) -> None:
    problem = mixed_problem(5, n=4, k=2, precisions="both")
    problem = replace(problem, precisions_allowed={ref.key: ("fp32", "int8") for ref in problem.processors})
    options = SolveOptions(prefer=prefer, time_limit_s=10.0, workers=1, cost_uncertainty=0.2)
    front = solve(problem, options)
    assert isinstance(front, Front)
    assert front.uncertainty is not None
    (regret,) = front.uncertainty.regrets
    assert regret.at_most is not None
    assert regret.attained <= regret.at_most + 1e-6
    chosen = front.plans[front.chosen]
    rng = random.Random(1)
    for _ in range(6):
        factors = some_factors(problem, 0.2, rng)
        now = scaled(settled(problem, chosen), factors)
        value = objective_values(evaluate(now, Schedule.of(chosen)), [prefer])[0]
        for vector in itertools.product(("fp32", "int8"), repeat=2):
            least = brute_force(scaled(at_precisions(problem, vector), factors)).best_value(prefer)
            assert value / least - 1 <= regret.at_most + 1e-6


@pytest.mark.parametrize("prefer", ["throughput", "knee"])
def test_plan_file_report_and_table_say_what_was_found(tmp_path: Path, prefer: str) -> None:
    request = SolveRequest(
        branched_model(tmp_path), line_of_boards(3), prefer=prefer, time_limit_s=5.0, workers=1, gap=0.05,
        cost_uncertainty=0.1,
    )  # fmt: skip
    result = solve_request(request)
    assert isinstance(result.outcome, Front)
    files = write_results(result, tmp_path)
    found = json.loads(files.plan.read_text())["uncertainty"]
    assert found["share"] == 0.1
    assert [r["objective"] for r in found["regrets"]] == (
        ["throughput", "latency", "energy"] if prefer == "knee" else ["throughput"]
    )
    assert all(r["attained"] <= r["at_most"] + 1e-9 for r in found["regrets"])
    assert "Cost uncertainty" in files.report.read_text()
    screen = io.StringIO()
    Console(file=screen, width=200).print(solve_table(report_data(result.problem, result.outcome)))
    assert "Costs within 10 %: regret in throughput" in screen.getvalue()
