"""Buffer depths: least bytes for the least period, by brute force."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.cycle_ratio import has_deadlock, maximum_cycle_ratio
from optimizer.depths import Demand, cheapest_depths, smallest_depths
from optimizer.evaluate import Schedule, data_arcs, depth_arcs, evaluate, order_arcs
from optimizer.schedule import Outline, best_orders, complete, contiguous_segments
from optimizer.segments import acyclic_segments
from tests.optimizer.builders import random_problem


@given(
    costs=st.lists(st.integers(0, 20), min_size=1, max_size=4),
    seed=st.integers(0, 10**6),
)
def test_cheapest_depths_are_the_cheapest_of_all_depths_that_meet_the_demands(costs: list[int], seed: int) -> None:
    rng = random.Random(seed)
    demands = [
        Demand(frozenset(rng.sample(range(len(costs)), rng.randint(1, len(costs)))), rng.randint(1, 5))
        for _ in range(rng.randint(0, 4))
    ]
    meeting = [
        d
        for d in itertools.product(range(1, 6), repeat=len(costs))
        if all(sum(d[t] for t in demand.transfers) >= demand.total for demand in demands)
    ]
    best = min(meeting, key=lambda d: (sum(c * x for c, x in zip(costs, d, strict=True)), d))
    assert tuple(cheapest_depths(costs, demands)) == best


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(["mesh", "line", "switch", "shared", "polled", "busy"]))
def test_no_smaller_depths_keep_the_period(seed: int, kind: str) -> None:
    problem = random_problem(seed, n=6, k=3, kind=kind)
    rng = random.Random(seed)
    segments = contiguous_segments(problem, np.array(sorted(rng.randrange(3) for _ in range(6))))
    if segments is None:
        return
    schedule = complete(problem, segments)
    period = evaluate(problem, schedule).period_s
    held = sum(t.depth * t.size_bytes * len(t.boards) for t in schedule.transfers)
    for depths in itertools.product(range(1, 4), repeat=len(schedule.transfers)):
        if len(schedule.transfers) > 6:
            return
        changed = tuple(replace(t, depth=d) for t, d in zip(schedule.transfers, depths, strict=True))
        if sum(t.depth * t.size_bytes * len(t.boards) for t in changed) < held:
            score = evaluate(problem, Schedule(schedule.segments, changed, schedule.orders))
            assert score.period_s > period * (1 + 1e-12)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(["mesh", "line", "switch", "shared", "polled", "busy"]))
def test_smallest_depths_reach_the_period_of_unlimited_depth(seed: int, kind: str) -> None:
    problem = replace(random_problem(seed, n=10, k=3, kind=kind), non_contiguous=True)
    rng = random.Random(seed)
    outline = Outline.of(problem, acyclic_segments(problem, np.array([rng.randrange(3) for _ in range(10)])))
    events, orders = outline.events, best_orders(outline.events)
    unlimited = data_arcs(events) + order_arcs(events, orders)
    least = maximum_cycle_ratio(len(events.names), unlimited)
    arcs = unlimited + depth_arcs(events, smallest_depths(events, orders, outline.transfers))
    assert not has_deadlock(len(events.names), arcs)
    assert maximum_cycle_ratio(len(events.names), arcs) <= least * (1 + 1e-8)
