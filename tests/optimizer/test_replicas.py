"""Plans with replicas: evaluate() against worked examples and the simulation, which shares no code with it."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boards.board import Link, System
from optimizer.costs import BoundaryCost, CostTable, OperatorCost
from optimizer.evaluate import Schedule, evaluate
from optimizer.events import UnroutableError, build_events
from optimizer.list_schedule import longest_path_s
from optimizer.plan import Plan, Segment
from optimizer.problem import Limits, Problem
from optimizer.replicas import copies, frames_of_turn, replica_faults, segments_of_frame
from optimizer.replicas_schedule import complete_replicated
from tests.optimizer.builders import make_board, make_graph, make_processor, random_graph, random_system
from tests.optimizer.simulate import measured_latency, measured_period, simulate

KINDS = ("mesh", "line", "switch", "shared", "polled", "busy")


def plan_of(problem: Problem, segments: list[Segment]) -> Plan:
    schedule = complete_replicated(problem, segments)
    return Plan(schedule.segments, schedule.transfers, schedule.orders, evaluate(problem, schedule))


def alike_problem(seed: int, n: int, k: int, kind: str, limits: Limits | None = None, kinds: int = 2) -> Problem:
    """A random problem whose boards are of few types: board i of type i mod ``kinds``."""
    rng = random.Random(seed)
    graph = random_graph(rng, n)
    system = random_system(rng, k, kind)
    boards = tuple(
        replace(b, processors=system.boards[i % kinds].processors, removable=system.boards[i % kinds].removable)
        for i, b in enumerate(system.boards)
    )
    system = replace(system, boards=boards)
    rows, boundaries = {}, {}
    for op in graph.operators:
        base = rng.choice([0.0, 0.05, 0.2, 1.0])
        seconds = [base * rng.uniform(0.3, 1.5) for _ in range(kinds)]
        for i, ref in enumerate(system.processors):
            time_s = seconds[i % kinds]
            rows[op.name, ref.key, "fp32"] = OperatorCost(time_s, time_s * ref.processor.active_power_w, "made")
    if rng.random() < 0.5:
        boundaries = {ref.key: BoundaryCost(1e-5, 0.01, "made") for ref in system.processors}
    return Problem(graph, system, CostTable(rows, boundaries), limits or Limits())


def random_segments(rng: random.Random, problem: Problem, kinds: int = 2) -> list[Segment]:
    """A few runs of operators, on disjoint sets of like boards; never quite without replicas."""
    k, n = len(problem.processors), len(problem.graph.operators)
    free = {kind: [q for q in range(k) if q % kinds == kind] for kind in range(kinds)}
    sets: list[list[int]] = []
    while any(free.values()) and len(sets) < 3:
        kind = rng.choice([x for x, members in free.items() if members])
        rng.shuffle(free[kind])
        count = rng.randint(1, len(free[kind]))
        sets.append(free[kind][:count])
        free[kind] = free[kind][count:]
    cuts = sorted(rng.sample(range(1, n), len(sets) - 1))
    segments = []
    for i, (a, b) in enumerate(zip([0, *cuts], [*cuts, n], strict=True)):
        keys = tuple(problem.processors[q].key for q in sets[i])
        segments.append(Segment(f"s{i}", keys[0], "fp32", tuple(range(a, b)), keys if len(keys) > 1 else ()))
    return segments


def pipeline(seconds: list[float], replicas: list[int], bandwidth: float = 1e12, **link: object) -> Problem:
    """A chain of operators and boards b0, b1, ... of one speed, with a link each way between any two."""
    names = [f"b{i}" for i in range(sum(replicas))]
    links = tuple(
        replace(Link(f"{a}->{b}", a, b, f"{a}->{b}", bandwidth), **link)  # type: ignore[arg-type]
        for a in names
        for b in names
        if a != b
    )
    system = System("mesh", tuple(make_board(n) for n in names), links, names[0], names[-1])
    n = len(seconds)
    graph = make_graph([(v, v + 1) for v in range(n - 1)], n, [100] * (n + 1), [10] * n)
    rows = {
        (f"op{v}", ref.key, "fp32"): OperatorCost(t, 2 * t, "made")
        for v, t in enumerate(seconds)
        for ref in system.processors
    }
    return Problem(graph, system, CostTable(rows))


def stages(problem: Problem, replicas: list[int]) -> list[Segment]:
    """One operator a stage, boards in declared order."""
    keys = iter([ref.key for ref in problem.processors])
    found = []
    for v, count in enumerate(replicas):
        own = tuple(next(keys) for _ in range(count))
        found.append(Segment(f"s{v}", own[0], "fp32", (v,), own if count > 1 else ()))
    return found


def test_a_stage_on_two_boards_takes_half_the_period_and_the_same_latency() -> None:
    problem = pipeline([1.0, 2.0, 1.0], [1, 2, 1])
    plan = plan_of(problem, stages(problem, [1, 2, 1]))
    assert plan.score.period_s == pytest.approx(1.0)
    assert plan.score.latency_s == pytest.approx(4.0)
    assert plan.score.occupancy_s["b1/cpu"] == pytest.approx(1.0)


@pytest.mark.parametrize(("replicas", "period"), [([2, 3], 1.0), ([3, 2], 1.5), ([4, 1], 3.0), ([1, 3], 2.0)])
def test_replica_counts_that_do_not_divide_each_other(replicas: list[int], period: float) -> None:
    problem = pipeline([2.0, 3.0], replicas)
    plan = plan_of(problem, stages(problem, replicas))
    assert plan.score.period_s == pytest.approx(period)
    assert plan.score.period_s == pytest.approx(measured_period(problem, plan), rel=1e-6)


def test_each_way_between_replicas_is_a_transfer_with_its_own_route_and_depth() -> None:
    problem = pipeline([2.0, 3.0], [2, 3])
    plan = plan_of(problem, stages(problem, [2, 3]))
    ways = {t.first: [h.link for h in t.hops] for t in plan.transfers if t.name == "t0"}
    assert ways == {n: [f"b{n % 2}->b{2 + n % 3}"] for n in range(6)}
    assert {t.every for t in plan.transfers if t.name == "t0"} == {6}


def test_replicas_hold_weights_and_buffers_each_and_idle_each() -> None:
    problem = pipeline([1.0, 2.0], [1, 2])
    plan = plan_of(problem, stages(problem, [1, 2]))
    memory = plan.score.memory_bytes
    assert [memory[b].weights_bytes for b in ("b0", "b1", "b2")] == [10, 10, 10]
    deep = {t.first: t.depth for t in plan.transfers if t.name == "t0"}
    assert memory["b1"].buffer_bytes >= 100 * deep[0]
    assert memory["b0"].buffer_bytes >= 100 * (deep[0] + deep[1])
    idle_w, active_j = 0.5, 2 * 1.0 + 2 * 2.0
    # b0 is never idle, b1 and b2 are busy 2 s of every 2 s
    assert plan.score.period_s == pytest.approx(1.0)
    assert plan.score.energy_j == pytest.approx(active_j)
    slow = evaluate(problem, Schedule(plan.segments, tuple(replace(t, depth=1) for t in plan.transfers), plan.orders))
    assert slow.period_s > 1.0
    assert slow.energy_j == pytest.approx(active_j + idle_w * (3 * slow.period_s - 3.0))


def test_frames_keep_their_order_on_every_resource() -> None:
    problem = pipeline([1.0, 3.0, 1.0], [1, 3, 1], bandwidth=1000.0, latency_s=0.1)
    plan = plan_of(problem, stages(problem, [1, 3, 1]))
    ends = simulate(problem, plan, 30)
    last = [frame["segment:s2"] for frame in ends]
    assert last == sorted(last)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(KINDS), k=st.integers(2, 6), kinds=st.integers(1, 2))
def test_period_and_latency_agree_with_a_simulation(seed: int, kind: str, k: int, kinds: int) -> None:
    problem = alike_problem(seed, 8, k, kind, kinds=kinds)
    rng = random.Random(seed)
    try:
        plan = plan_of(problem, random_segments(rng, problem, kinds))
    except UnroutableError:
        return
    assert not list(replica_faults(problem, plan.segments))
    assert math.isfinite(plan.score.period_s)
    busiest = max(plan.score.occupancy_s.values())
    if kind != "polled":
        assert plan.score.period_s == pytest.approx(busiest, rel=1e-6)
    assert plan.score.period_s == pytest.approx(measured_period(problem, plan), rel=1e-6)
    assert plan.score.latency_s == pytest.approx(measured_latency(problem, plan), rel=1e-6)
    shallow = tuple(replace(t, depth=max(1, t.depth - rng.choice([0, 0, 1]))) for t in plan.transfers)
    changed = replace(plan, transfers=shallow)
    score = evaluate(problem, Schedule(plan.segments, shallow, plan.orders))
    assert score.period_s == pytest.approx(measured_period(problem, changed), rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(KINDS), k=st.integers(2, 5))
def test_energy_and_bytes_are_the_mean_over_the_frames_and_memory_covers_each(seed: int, kind: str, k: int) -> None:
    """Each frame is a plan without replicas; only idle time between its own and the mean interval differs."""
    problem = alike_problem(seed, 7, k, kind)
    plan = plan_of(problem, random_segments(random.Random(seed), problem))
    frames = frames_of_turn(plan.segments)
    alone = [plan_of(problem, list(segments_of_frame(plan.segments, f))) for f in range(frames)]
    assert plan.score.link_bytes == pytest.approx(sum(p.score.link_bytes for p in alone) / frames, abs=0.5)
    paths = [longest_path_s(build_events(problem, p.segments, p.transfers)) for p in alone]
    assert plan.score.latency_s >= max(paths) * (1 - 1e-9)
    for p in alone:
        for name, use in p.score.memory_bytes.items():
            assert plan.score.memory_bytes[name].weights_bytes >= use.weights_bytes
            assert plan.score.memory_bytes[name].arena_bytes >= use.arena_bytes
    for ref in problem.processors:
        mean = sum(p.score.occupancy_s.get(ref.key, 0.0) for p in alone) / frames
        assert plan.score.occupancy_s.get(ref.key, 0.0) == pytest.approx(mean, rel=1e-9, abs=1e-12)


def test_replicas_on_boards_that_differ_are_a_fault() -> None:
    problem = alike_problem(3, 6, 4, "mesh")
    good = Segment("s0", "b0/cpu", "fp32", (0,), ("b0/cpu", "b2/cpu"))
    assert not list(replica_faults(problem, [good]))
    for replicas in (("b0/cpu", "b1/cpu"), ("b2/cpu", "b0/cpu"), ("b0/cpu",), ("b0/cpu", "b2/cpu", "b2/cpu")):
        assert list(replica_faults(problem, [replace(good, replicas=replicas)]))
    assert [s.processor for s in copies([good])] == ["b0/cpu", "b2/cpu"]


def test_a_power_that_differs_makes_boards_differ() -> None:
    problem = pipeline([1.0, 1.0], [1, 2])
    boards = problem.system.boards
    changed = replace(boards[2], processors=(make_processor(active_w=9.0),))
    other = replace(problem, system=replace(problem.system, boards=(*boards[:2], changed)))
    assert list(replica_faults(other, stages(problem, [1, 2])))
