"""What a refused plan says of its assignment, against brute force over depths, lists and stages."""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from optimizer.evaluate import Schedule, evaluate
from optimizer.events import Events, UnroutableError, build_events
from optimizer.plan import Plan, Score, Slot
from optimizer.problem import Limits, Problem
from optimizer.schedule import complete, contiguous_segments
from optimizer.search.cpsat import Budget
from optimizer.search.cpsat.settle import Settler
from optimizer.search.pool import assignment_of
from tests.optimizer.builders import random_problem

KINDS = ("mesh", "line", "switch", "shared", "polled", "busy")
_MAX_SCHEDULES = 400
_MAX_DEPTH = 3


def budget() -> Budget:
    return Budget(time.monotonic() + 20.0, 1, 0)


def plan_of(problem: Problem, places: list[int]) -> Plan | None:
    segments = contiguous_segments(problem, np.array(places))
    if segments is None:
        return None
    try:
        schedule = complete(problem, segments)
    except UnroutableError:
        return None
    return Plan(schedule.segments, schedule.transfers, schedule.orders, evaluate(problem, schedule))


def every_orders(events: Events) -> Iterator[dict[str, tuple[Slot, ...]]]:
    """All cyclic lists of every resource with stages 0 to 2, first entry first (a turn of the list is no other)."""
    members: dict[str, list[str]] = {}
    for name, resources in zip(events.names, events.resources, strict=True):
        for r in resources:
            members.setdefault(r, []).append(name)
    lists = []
    for names in members.values():
        first, *rest = names
        lists.append(
            [
                tuple(Slot(n, s) for n, s in zip((first, *tail), stages, strict=True))
                for tail in itertools.permutations(rest)
                for stages in itertools.product(range(3), repeat=len(names))
                if min(stages) == 0
            ]
        )
    assume(math.prod(len(entries) for entries in lists) <= _MAX_SCHEDULES)
    for chosen in itertools.product(*lists):
        yield dict(zip(members, chosen, strict=True))


def every_score(problem: Problem, plan: Plan) -> Iterator[Score]:
    """Scores of all schedules of a plan's segments with depths up to 3."""
    events = build_events(problem, plan.segments, plan.transfers)
    depths = list(itertools.product(range(1, _MAX_DEPTH + 1), repeat=len(plan.transfers)))
    orders = list(every_orders(events))
    assume(len(depths) * len(orders) <= _MAX_SCHEDULES)
    for of in depths:
        transfers = tuple(replace(t, depth=d) for t, d in zip(plan.transfers, of, strict=True))
        for lists in orders:
            yield evaluate(problem, Schedule(plan.segments, transfers, lists))


def tiny_plan(seed: int, kind: str) -> tuple[Problem, Plan] | None:
    """A random assignment and its first schedule; None where the boards form a ring or nothing takes time."""
    rng = random.Random(seed)
    problem = random_problem(seed, n=rng.choice([2, 3, 4]), k=rng.choice([2, 3]), kind=kind)
    k = len(problem.processors)
    plan = plan_of(problem, [rng.randrange(k) for _ in problem.graph.operators])
    if plan is None or not 0 < plan.score.period_s < math.inf:
        return None
    return problem, plan


def limited(problem: Problem, plan: Plan, rng: random.Random) -> Problem:
    """Limits about what the plan needs: some a little more, some a little less."""
    score = plan.score
    near = [0.75, 0.9, 0.97, 1.0, 1.02, 1.3]
    ram = {}
    for name, use in score.memory_bytes.items():
        smallest = use.ram_bytes - sum((t.depth - 1) * t.size_bytes for t in plan.transfers if name in t.boards)
        ram[name] = max(1, rng.choice([smallest, (smallest + use.ram_bytes) // 2, use.ram_bytes, 10**6]))
    energy = score.energy_j * rng.choice(near) if rng.random() < 0.4 else None
    limits = Limits(
        min_throughput_per_s=1 / (score.period_s * rng.choice(near)) if rng.random() < 0.7 else None,
        max_latency_s=score.latency_s * rng.choice(near) if rng.random() < 0.5 else None,
        max_energy_j=energy if energy else None,
        max_ram_bytes=ram,
    )
    return replace(problem, limits=limits)


def limited_plan(seed: int, kind: str) -> tuple[Problem, Plan] | None:
    """Limits near what an assignment needs, and the first schedule of it."""
    made = tiny_plan(seed, kind)
    if made is None:
        return None
    free, plan = made
    problem = limited(free, plan, random.Random(seed))
    tried = plan_of(problem, assignment_of(problem, plan).tolist())
    assert tried is not None
    return problem, tried


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(KINDS))
def test_an_assignment_is_impossible_only_where_no_schedule_does(seed: int, kind: str) -> None:
    made = limited_plan(seed, kind)
    assume(made is not None)
    assert made is not None
    problem, tried = made
    settled = Settler(problem).settle(tried, "throughput", math.inf, budget())
    if settled.plan is not None:
        assert not settled.plan.score.violations
        assert evaluate(problem, Schedule.of(settled.plan)) == settled.plan.score
    else:
        assert settled.impossible
        assert all(score.violations for score in every_score(problem, tried))


@pytest.mark.parametrize(
    ("seed", "kind"), [(33, "shared"), (362, "switch"), (449, "polled"), (629, "polled"), (701, "line"), (498, "busy")]
)
def test_a_better_schedule_is_found_where_the_first_is_refused(seed: int, kind: str) -> None:
    made = limited_plan(seed, kind)
    assert made is not None
    problem, tried = made
    assert tried.score.violations
    settled = Settler(problem).settle(tried, "throughput", math.inf, budget())
    assert settled.plan is not None
    assert not settled.plan.score.violations


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(KINDS))
def test_no_schedule_is_faster_than_what_is_proven_of_an_assignment(seed: int, kind: str) -> None:
    """Where a target is said to be out of reach, no lists and depths reach it."""
    made = tiny_plan(seed, kind)
    assume(made is not None)
    assert made is not None
    problem, tried = made
    best = min((s.latency_s for s in every_score(problem, tried)), default=math.inf)
    settler = Settler(problem)
    assert settler.settle(tried, "latency", best * (1 - 1e-6), budget()).impossible
    found = settler.settle(tried, "latency", best * (1 + 1e-6), budget()).plan
    assert found is not None
    assert found.score.latency_s == pytest.approx(best, rel=1e-6)
