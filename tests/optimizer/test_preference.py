"""Preferences: how they are written, which plan they choose, and that an order of objectives is proven step by step."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.errors import LimitError
from optimizer.objectives import objective_values
from optimizer.plan import Front, Plan, Score
from optimizer.preference import choose, parse_preference
from optimizer.search.pool import Pool
from optimizer.solve import SolveOptions, solve
from tests.optimizer.precision_samples import mixed_problem

THREE = ("throughput", "latency", "energy")


def plan(period_s: float, latency_s: float, energy_j: float) -> Plan:
    return Plan((), (), {}, Score(period_s, 1 / period_s, latency_s, energy_j, 0, {}, {}))


FRONT = (plan(1.0, 9.0, 5.0), plan(2.0, 4.0, 4.0), plan(4.0, 3.9, 3.5), plan(8.0, 3.8, 3.0))


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("throughput", 0),
        ("latency", 3),
        ("knee", 2),
        ("throughput=1", 0),
        ("throughput=0,energy=2", 3),
        ("throughput=1,latency=1", 1),
        ("latency:10%>throughput", 1),
        ("latency:0.1>throughput", 1),
        ("latency:3%>throughput", 2),
        ("latency > throughput", 3),
        ("throughput:300% > energy", 2),
    ],
)
def test_the_plan_that_is_asked_for_is_chosen(text: str, index: int) -> None:
    assert choose(FRONT, parse_preference(text), THREE).index == index


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("beauty", "unknown preference"),
        ("", "unknown preference"),
        ("latency>knee", "unknown preference"),
        ("latncy", "latency"),
        ("throughput=", "weight of throughput"),
        ("throughput=-1", "weight of throughput"),
        ("throughput=nan", "weight of throughput"),
        ("throughput=inf", "weight of throughput"),
        ("throughput=0,energy=0", "all weights are zero"),
        ("throughput=1,energy", "weight of energy"),
        ("throughput=1,throughput=2", "stands twice"),
        ("latency>energy>latency", "stands twice"),
        ("latency:-5%>energy", "tolerance"),
        ("latency:>energy", "tolerance"),
        ("latency:5%%>energy", "tolerance"),
        ("latency:nan>energy", "tolerance"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_its_reason(text: str, said: str) -> None:
    with pytest.raises(LimitError, match=said):
        parse_preference(text)


def test_the_choice_says_what_was_normalised() -> None:
    words = choose(FRONT, parse_preference("throughput=0.5,energy=0.5"), THREE).words
    assert "throughput 1.00 /s to 0.125 /s" in words
    assert "energy 3.00 J to 5.00 J" in words
    assert "latency" not in words


def test_weights_are_shares_of_the_span_between_best_and_worst() -> None:
    """Normalised: throughput 0, 1/7, 3/7, 1 and energy 1, 1/2, 1/4, 0; half and half 0.5, 0.32, 0.34, 0.5."""
    assert choose(FRONT, parse_preference("throughput=0.5,energy=0.5"), THREE).index == 1
    assert choose(FRONT, parse_preference("throughput=0.4,energy=0.6"), THREE).index == 2


@settings(max_examples=6, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(["mesh", "line", "shared"]),
    k=st.integers(2, 3),
    order=st.permutations(["energy", "link-bytes", "boards", "throughput", "accuracy-loss"]).map(lambda o: o[:3]),
    tolerance=st.sampled_from([0, 5, 30]),
)
def test_an_order_is_proven_step_by_step(seed: int, kind: str, k: int, order: list[str], tolerance: int) -> None:
    problem = mixed_problem(seed, n=7 - k, k=k, kind=kind)
    everything = Pool(problem, order)
    for places in itertools.product(range(k), repeat=7 - k):
        everything.score(np.array(places))
    text = ">".join([f"{order[0]}:{tolerance}%", *order[1:]])
    front = solve(problem, SolveOptions(objectives=("energy",), prefer=text, time_limit_s=6.0, workers=1))
    assert isinstance(front, Front)
    assert [s.objective for s in front.steps] == order
    left = everything.feasible()
    chosen = front.plans[front.chosen]
    for step, share in zip(front.steps, (tolerance / 100, 0.0, 0.0), strict=True):
        values = [objective_values(p.score, [step.objective])[0] for p in left]
        limit = min(values) * (1 + share) * (1 + 1e-4)
        left = [p for p, v in zip(left, values, strict=True) if v <= limit]
        assert step.certificate.status == "proven"
        assert step.certificate.value == pytest.approx(min(values), rel=2e-4, abs=1e-12)
        assert objective_values(chosen.score, [step.objective])[0] <= limit * (1 + 1e-4) + 1e-12


def test_what_is_preferred_becomes_an_objective() -> None:
    front = solve(mixed_problem(3), SolveOptions(objectives=("energy",), prefer="boards=1,energy=2", time_limit_s=5.0))
    assert isinstance(front, Front)
    assert set(front.certificates) == {"energy", "boards"}
    assert "boards" in front.chosen_because
