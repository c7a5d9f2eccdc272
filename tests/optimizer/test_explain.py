"""Clashing limits and their smallest relaxations against brute force."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from boards.units import parse_rate, parse_time
from optimizer.infeasible import Clash, Infeasible
from optimizer.plan import Front
from optimizer.problem import Limits, Problem
from optimizer.search.cpsat import Budget
from optimizer.search.cpsat.settle import Settler
from optimizer.search.pool import Pool
from optimizer.search.relax import Item, limit_items, with_memory, without
from optimizer.solve import SolveOptions, solve
from tests.optimizer.builders import random_problem
from tests.optimizer.precision_samples import mixed_problem

KINDS = ("mesh", "line", "switch", "shared")
OPTIONS = SolveOptions(time_limit_s=30.0, workers=1)


def brute_force(problem: Problem) -> Pool:
    """Every contiguous plan."""
    pool = Pool(problem)
    for places in itertools.product(range(len(problem.processors)), repeat=len(problem.graph.operators)):
        pool.score(np.array(places))
    return pool


def reaches(problem: Problem, objective: str = "throughput", target: float = math.inf) -> bool:
    """Whether any schedule of any assignment keeps the limits and the target."""
    pool, settler = brute_force(problem), Settler(problem)
    if pool.best_value(objective) <= target and pool.feasible():
        return True
    settled = [settler.settle(p, objective, target, Budget(time.monotonic() + 20, 1, 0)) for p in pool.seen()]
    assert all(s.impossible or s.plan for s in settled)
    return any(s.plan for s in settled)


def tight_problem(seed: int, kind: str, k: int) -> Problem:
    """Limits near the best of each quantity: each can be met alone, seldom all together."""
    free = random_problem(seed, n=5, k=k, kind=kind)
    pool = brute_force(free)
    best = {o: pool.best_value(o) for o in ("throughput", "latency", "energy")}
    ram = [min(p.score.memory_bytes[f"b{i}"].ram_bytes for p in pool.feasible()) for i in range(k)]
    limits = Limits(
        max_latency_s=best["latency"] * 1.02,
        min_throughput_per_s=1 / (best["throughput"] * 1.02),
        max_energy_j=best["energy"] * 1.02,
        max_ram_bytes={f"b{i}": ram[i] + 150 for i in range(k)},
    )
    return replace(free, limits=limits)


def item_of(problem: Problem, clash: Clash) -> Item:
    return next(i for i in limit_items(problem) if i.name == clash.limit)


def feasible(problem: Problem) -> bool:
    return reaches(problem)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(KINDS), k=st.integers(2, 3))
@example(seed=408, kind="line", k=3)
def test_clashes_are_a_minimal_set_and_relaxations_the_smallest(seed: int, kind: str, k: int) -> None:
    problem = tight_problem(seed, kind, k)
    assume(not feasible(problem))
    found = solve(problem, OPTIONS)
    assert isinstance(found, Infeasible)
    assert found.minimal
    everything = list(limit_items(problem))
    clashing = [item_of(problem, c) for c in found.clashes]
    assert not feasible(without(problem, [i for i in everything if i not in clashing]))
    for item in clashing:
        assert feasible(without(problem, [i for i in everything if i not in clashing or i == item]))
    for item, clash in zip(clashing, found.clashes, strict=True):
        check_relaxation(problem, item, clash)


def check_relaxation(problem: Problem, item: Item, clash: Clash) -> None:
    alone = without(problem, [item])
    assert feasible(alone) == bool(clash.lever)
    if not clash.lever:
        return
    assert clash.best is not None
    assert clash.bound is not None
    if item.is_memory:
        assert feasible(with_memory(problem, item, clash.best))
        assert not feasible(with_memory(problem, item, clash.bound - 1))
        assert clash.best - clash.bound <= 102
        return
    objective = {"--max-latency": "latency", "--min-throughput": "throughput", "--max-energy": "energy"}[item.kind]
    assert reaches(alone, objective, clash.best * (1 + 1e-9))
    assert not reaches(alone, objective, clash.bound * (1 - 1e-6))
    assert clash.best == pytest.approx(clash.bound, rel=1e-4)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_is_said_to_be_enough_is_enough(seed: int) -> None:
    """The relaxed option, typed as printed, makes the problem feasible."""
    free = random_problem(seed, n=5, k=2)
    best = brute_force(free).best_value("latency")
    limits = Limits(max_latency_s=best * 0.7)
    found = solve(replace(free, limits=limits), OPTIONS)
    assert isinstance(found, Infeasible)
    (clash,) = found.clashes
    option, _, value = clash.lever.partition(" ")
    assert option == "--max-latency"
    assert isinstance(solve(replace(free, limits=Limits(max_latency_s=parse_time(value))), OPTIONS), Front)
    period = brute_force(free).best_value("throughput")
    found = solve(replace(free, limits=Limits(min_throughput_per_s=1.5 / period)), OPTIONS)
    assert isinstance(found, Infeasible)
    rate = parse_rate(found.clashes[0].lever.partition(" ")[2])
    assert isinstance(solve(replace(free, limits=Limits(min_throughput_per_s=rate)), OPTIONS), Front)


def test_pins_that_cannot_be_met_are_named() -> None:
    """An operator pinned before the one that feeds it, on a board that only comes later."""
    free = random_problem(4, n=5, k=2, kind="mesh")
    edges = [(t.producer, c) for t in free.graph.tensors if t.producer is not None for c in t.consumers]
    pins = {f"op{edges[0][0]}": "b0", f"op{edges[0][1]}": "b1", f"op{edges[-1][0]}": "b1", f"op{edges[-1][1]}": "b0"}
    problem = replace(free, limits=Limits(pins=pins))
    if feasible(problem):
        pytest.fail("the pins of this test must clash")
    found = solve(problem, OPTIONS)
    assert isinstance(found, Infeasible)
    assert found.minimal
    assert all(c.limit.startswith("--pin op") for c in found.clashes)
    assert "leave out --pin" in found.text


def test_a_cap_on_boards_says_how_many_are_needed() -> None:
    free = random_problem(2, n=5, k=3)
    free = replace(free, system=replace(free.system, source="b0", sink="b1"))
    found = solve(replace(free, limits=Limits(max_boards=1)), OPTIONS)
    assert isinstance(found, Infeasible)
    assert "Enough: --boards 2." in found.text


def test_a_system_without_a_way_is_told_apart_from_limits() -> None:
    free = random_problem(2, n=5, k=2)
    system = replace(free.system, links=(), source="b0", sink="b1")
    found = solve(replace(free, system=system, limits=Limits(max_latency_s=1.0)), OPTIONS)
    assert isinstance(found, Infeasible)
    assert "no route leads from b0" in found.text


def test_without_time_it_says_what_could_not_be_settled() -> None:
    problem = tight_problem(5, "mesh", 3)
    if feasible(problem):
        pytest.fail("the limits of this test must clash")
    from optimizer.search.clashes import find_clashes

    clashes, minimal = find_clashes(problem, Pool(problem), 0.0, 0)
    assert clashes
    assert not minimal
    assert Infeasible(clashes, "any", "m", 0.0, minimal).text


def test_a_precision_that_would_be_enough_is_named_and_no_other() -> None:
    named = silent = 0
    for seed in range(12):
        free = mixed_problem(seed, n=5, k=2, precisions="both")
        keys = [ref.key for ref in free.processors]
        others = {key: replace(free, precisions_allowed={key: ("int8",)}) for key in keys}
        least = [brute_force(p).best_value("latency") for p in (free, *others.values())]
        limit_s = (0.999, 0.7)[seed % 2] * least[0]
        limits = Limits(max_latency_s=limit_s)
        outcome = solve(replace(free, limits=limits), OPTIONS)
        assert isinstance(outcome, Infeasible), seed
        helpful = {f"int8 on {key}" for key, value in zip(keys, least[1:], strict=True) if value <= 0.999 * limit_s}
        assert helpful <= set(outcome.precisions), seed
        for text in outcome.precisions:
            assert reaches(replace(others[text.removeprefix("int8 on ")], limits=limits)), (seed, text)
            assert text in outcome.text
        named += bool(outcome.precisions)
        silent += not outcome.precisions
    assert named >= 3 and silent >= 1
