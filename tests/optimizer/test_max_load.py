"""Max-load placement against brute force on small random instances."""

from __future__ import annotations

import itertools
import math
import random
import time
from dataclasses import replace

import pytest

from optimizer.max_load import LoadNode, MaxLoadProblem, PlanClass, max_load, violations
from optimizer.search.cpsat.max_load_cover import cover_bound, fluid_ms
from optimizer.search.max_load import OPTIMAL_GAP, solve_max_load
from optimizer.search.max_load_groups import coarsen
from optimizer.search.max_load_knapsack import Knapsack
from optimizer.search.max_load_order import order_plan, orders

CLASSES: tuple[PlanClass, ...] = ("contiguous", "non-contiguous")


def random_problem(seed: int, cpus: int) -> MaxLoadProblem:
    """5 to 7 nodes on 1 to 3 accelerators: idle nodes, classes, tight memory, CPU-only nodes, training, by seed."""
    rng = random.Random(seed)
    count = rng.randint(5, 7)
    accelerators = rng.randint(0 if cpus else 1, 3)
    classes = [rng.randint(0, count) for _ in range(count)]
    training = rng.random() < 0.25
    nodes = []
    for i in range(count):
        idle = rng.random() < 0.3
        time_ms = 0.0 if idle else rng.choice([0.5, 1.25, 3.1, 7.7]) * rng.uniform(0.8, 1.2)
        nodes.append(
            LoadNode(
                name=f"n{i}",
                accelerator_ms=time_ms,
                cpu_ms=time_ms * rng.choice([0.7, 2.0, 10.0]),
                size_bytes=float(rng.choice([0, 10, 20, 35])),
                out_ms=rng.choice([0.0, 0.1, 0.4, 2.3]) * rng.uniform(0.5, 1.5),
                supported=rng.random() < 0.93,
                backward=training and i >= count // 2,
                colocation=classes[i] if rng.random() < 0.3 else None,
            )
        )
    names = list(range(count))
    edges = tuple((u, v) for u, v in itertools.combinations(names, 2) if rng.random() < rng.choice([0.15, 0.4, 0.6]))
    memory = math.inf if rng.random() < 0.4 else rng.choice([45.0, 60.0, 90.0])
    return MaxLoadProblem("random", tuple(nodes), edges, accelerators, cpus, memory)


def brute_force(problem: MaxLoadProblem, plan_class: PlanClass) -> float:
    """Least max load over all placements; inf if none is allowed."""
    return min(
        (
            max_load(problem, placement)
            for placement in itertools.product(range(problem.devices), repeat=len(problem.nodes))
            if not violations(problem, placement, plan_class)
        ),
        default=math.inf,
    )


@pytest.mark.parametrize("cpus", [0, 1, 2])
@pytest.mark.parametrize(
    ("plan_class", "most_downsets"), [("contiguous", 10_000), ("contiguous", 0), ("non-contiguous", 0)]
)
def test_proven_value_is_that_of_brute_force(plan_class: PlanClass, most_downsets: int, cpus: int) -> None:
    kinds = {"infeasible": 0, "optimal": 0}
    for seed in range(24):
        problem = random_problem(seed, cpus)
        if problem.devices ** len(problem.nodes) > 5_000:
            continue
        truth = brute_force(problem, plan_class)
        result = solve_max_load(problem, plan_class, workers=1, most_downsets=most_downsets)
        kinds[result.status] += 1
        if math.isinf(truth):
            assert result.status == "infeasible" and result.placement is None, seed
            continue
        assert result.status == "optimal", seed
        assert result.value_ms == pytest.approx(truth, rel=OPTIMAL_GAP), seed
        assert result.bound_ms <= truth
        assert result.placement is not None
        assert violations(problem, result.placement, plan_class) == []
        assert max_load(problem, result.placement) == result.value_ms
    assert kinds["optimal"] >= 4


def diamond() -> MaxLoadProblem:
    """a1 -> b1 and b2 -> a2 on two accelerators."""
    nodes = tuple(LoadNode(name, 1.0, 10.0, 1.0) for name in ("a1", "b1", "b2", "a2"))
    return MaxLoadProblem("diamond", nodes, ((0, 1), (2, 3)), 2, 0)


def test_devices_that_need_each_other_are_not_contiguous() -> None:
    problem = diamond()
    assert violations(problem, (0, 1, 1, 0), "non-contiguous") == []
    assert violations(problem, (0, 1, 1, 0), "contiguous") == ["the devices cannot be put in an order"]
    assert violations(problem, (1, 0, 1, 0), "contiguous") == []


def test_backward_edges_bind_no_order() -> None:
    problem = diamond()
    backward = replace(problem, nodes=(*problem.nodes[:2], *(replace(n, backward=True) for n in problem.nodes[2:])))
    assert violations(backward, (0, 1, 1, 0), "contiguous") == []


def test_output_with_consumers_on_two_devices_is_paid_once_by_its_producer() -> None:
    nodes = (LoadNode("p", 1.0, 1.0, 0.0, out_ms=0.5), *(LoadNode(f"c{i}", 1.0, 1.0, 0.0) for i in range(3)))
    problem = MaxLoadProblem("star", nodes, ((0, 1), (0, 2), (0, 3)), 2, 1)
    assert max_load(problem, (0, 1, 1, 2)) == 2.5  # two consumers on accelerator 1: one transfer in
    assert max_load(problem, (0, 2, 2, 2)) == 3.0  # the CPU does not pay
    assert max_load(problem, (0, 0, 0, 0)) == 4.0


def test_too_much_memory_unsupported_and_parted_classes_are_named() -> None:
    nodes = (LoadNode("a", 1.0, 1.0, 6.0, colocation=1), LoadNode("b", 1.0, 1.0, 6.0, supported=False, colocation=1))
    problem = MaxLoadProblem("bad", nodes, (), 2, 1, memory_bytes=5.0)
    assert violations(problem, (0, 1), "non-contiguous") == [
        "b cannot run on an accelerator",
        "colocation class 1 is parted",
        "accelerator 0 holds 6 of 5 bytes",
        "accelerator 1 holds 6 of 5 bytes",
    ]
    assert violations(problem, (2, 2), "contiguous") == []


def test_idle_weights_join_their_consumer_only_where_memory_cannot_bind() -> None:
    nodes = (LoadNode("w", 0.0, 0.0, 6.0, out_ms=1.0), LoadNode("op", 1.0, 1.0, 6.0))
    problem = MaxLoadProblem("weights", nodes, ((0, 1),), 2, 0, memory_bytes=12.0)
    assert len(coarsen(problem, "non-contiguous").groups) == 1
    assert len(coarsen(replace(problem, memory_bytes=11.0), "non-contiguous").groups) == 2


def test_every_order_gives_a_plan_of_the_value_it_says() -> None:
    for seed in range(20):
        coarse = coarsen(replace(random_problem(seed, 1), memory_bytes=math.inf), "contiguous")
        for order in orders(coarse):
            found = order_plan(coarse, order)
            if found is None:
                continue  # unsupported nodes in the way
            placement = coarse.placement(found[1])
            assert violations(coarse.problem, placement, "contiguous") == []
            assert max_load(coarse.problem, placement) == pytest.approx(found[0])


def test_time_too_short_is_no_proof() -> None:
    nodes = tuple(LoadNode(f"n{i}", 1.0 + i % 7, 10.0, 1.0, out_ms=0.3) for i in range(60))
    problem = MaxLoadProblem("long", nodes, tuple((i, i + 1) for i in range(59)), 7, 0)
    result = solve_max_load(problem, "non-contiguous", time_limit_s=0.01)
    assert result.value_ms is not None and result.bound_ms <= result.value_ms
    assert result.status in ("feasible", "optimal")


def test_pigeonhole_bounds_near_equal_groups() -> None:
    nodes = tuple(LoadNode(f"n{i}", 3.0 + 0.01 * (i * 7 % 13), 100.0, 0.0, out_ms=0.001) for i in range(13))
    problem = MaxLoadProblem("equal", nodes, tuple((i, i + 1) for i in range(12)), 4, 1)
    result = solve_max_load(problem, "non-contiguous", time_limit_s=0.01)
    four_cheapest = sum(sorted(n.accelerator_ms for n in nodes)[:4])
    assert four_cheapest * (1 - 1e-6) <= result.bound_ms
    assert result.value_ms is not None and result.bound_ms <= result.value_ms


def test_a_knapsack_is_never_worth_less_than_any_set_that_fits() -> None:
    for seed in range(20):
        coarse = coarsen(random_problem(seed, 1), "non-contiguous")
        rng = random.Random(seed)
        prices = [rng.uniform(0.0, 2.0) for _ in coarse.groups]
        limit = 0.6 * sum(g.accelerator_ms for g in coarse.groups) + 0.1
        packing = Knapsack(coarse, limit, 4000).pack(prices, limit)
        best = 0.0
        for inside in itertools.product((False, True), repeat=len(coarse.groups)):
            cut = sum(net.ms for net in coarse.nets if len({inside[e] for e in net.ends}) > 1)
            load = cut + sum(g.accelerator_ms for g, i in zip(coarse.groups, inside, strict=True) if i)
            runs = all(g.supported for g, i in zip(coarse.groups, inside, strict=True) if i)
            if runs and load <= limit:
                best = max(best, sum(p for p, i in zip(prices, inside, strict=True) if i))
        worth = sum(p for p, i in zip(prices, packing.inside, strict=True) if i)
        assert worth == pytest.approx(packing.curve[-1])
        assert best <= packing.curve[-1] * (1 + 1e-9)
        assert packing.curve[-1] <= best * 1.2 + 1e-9, seed  # rounding down lets in a little more


@pytest.mark.parametrize("cpus", [0, 1, 2])
def test_priced_covers_bound_every_placement(cpus: int) -> None:
    better = 0
    for seed in range(30):
        problem = random_problem(seed, cpus)
        if problem.devices ** len(problem.nodes) > 1_000 or not problem.accelerators:
            continue
        truth = brute_force(problem, "non-contiguous")
        if math.isinf(truth) or truth == 0:
            continue
        coarse = coarsen(problem, "non-contiguous")
        fluid = fluid_ms(coarse)
        bound = cover_bound(coarse, truth * 1.02, 0.0, time.monotonic() + 5.0)
        assert fluid * (1 - 1e-6) <= bound <= truth, seed
        better += bound > fluid * 1.01
    assert better >= 1


def test_covers_see_what_borders_cost() -> None:
    """Thirty equal operators in a row on three accelerators: two of them pay one border, one pays two."""
    nodes = tuple(LoadNode(f"n{i}", 1.0, 100.0, 0.0, out_ms=0.5) for i in range(30))
    problem = MaxLoadProblem("chain", nodes, tuple((i, i + 1) for i in range(29)), 3, 0)
    coarse = coarsen(problem, "non-contiguous")
    assert fluid_ms(coarse) == pytest.approx(10.0)
    assert 10.5 < cover_bound(coarse, 11.0, 0.0, time.monotonic() + 5.0) <= 11.0
