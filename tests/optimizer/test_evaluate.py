"""evaluate() against worked examples, brute force and a simulation that shares no code with it."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boards.board import Link, System
from optimizer.costs import CostTable, OperatorCost
from optimizer.evaluate import Schedule, evaluate
from optimizer.plan import Plan, Segment, Slot
from optimizer.problem import Problem
from optimizer.schedule import complete, contiguous_segments
from optimizer.segments import acyclic_segments
from tests.optimizer.builders import make_board, make_graph, make_processor, random_problem
from tests.optimizer.simulate import measured_latency, measured_period


def plan_of(problem: Problem, assignment: list[int]) -> Plan | None:
    segments = contiguous_segments(problem, np.array(assignment))
    if segments is None:
        return None
    schedule = complete(problem, segments)
    return Plan(schedule.segments, schedule.transfers, schedule.orders, evaluate(problem, schedule))


def mesh(boards: int, bandwidth: float = 1e15, **link: object) -> System:
    names = [f"b{i}" for i in range(boards)]
    links = tuple(
        replace(Link(f"{a}->{b}", a, b, f"{a}->{b}", bandwidth), **link)  # type: ignore[arg-type]
        for a in names
        for b in names
        if a != b
    )
    return System("mesh", tuple(make_board(n) for n in names), links, names[0], names[-1])


def uniform_costs(system: System, operators: int, seconds: float) -> CostTable:
    return CostTable(
        {
            (f"op{v}", ref.key, "fp32"): OperatorCost(seconds, 2 * seconds, "made")
            for v in range(operators)
            for ref in system.processors
        }
    )


@pytest.mark.parametrize(("depth", "period"), [(1, 4.0), (2, 2.0), (3, 4 / 3), (4, 1.0)])
def test_depth_of_a_skip_over_four_stages_sets_the_period(depth: int, period: float) -> None:
    graph = make_graph([(0, 1), (1, 2), (2, 3), (0, 3)], 4, [1] * 5)
    system = mesh(4)
    problem = Problem(graph, system, uniform_costs(system, 4, 1.0))
    plan = plan_of(problem, [0, 1, 2, 3])
    assert plan is not None
    transfers = tuple(replace(t, depth=depth if t.name == "t0" else 9) for t in plan.transfers)
    score = evaluate(problem, Schedule(plan.segments, transfers, plan.orders))
    assert score.period_s == pytest.approx(period, rel=1e-9)


def test_default_depths_reach_the_period_of_unlimited_depth_with_the_fewest_buffers() -> None:
    graph = make_graph([(0, 1), (1, 2), (2, 3), (0, 3)], 4, [1] * 5)
    system = mesh(4)
    problem = Problem(graph, system, uniform_costs(system, 4, 1.0))
    plan = plan_of(problem, [0, 1, 2, 3])
    assert plan is not None
    assert {t.name: t.depth for t in plan.transfers} == {"in": 1, "t0": 4, "t1": 2, "t2": 2, "t3": 1}
    assert plan.score.period_s == pytest.approx(1.0, rel=1e-9)


def test_three_rendezvous_in_a_triangle_take_turns() -> None:
    """Transfers A-B, B-C, A-C of 1 s that hold both boards: the busiest board has 2 s, the truth is 3 s."""
    graph = make_graph([(0, 1), (1, 2), (0, 2)], 3, [0, 1, 1, 1])
    system = mesh(3, bandwidth=1.0, overlap=False)
    problem = Problem(graph, system, uniform_costs(system, 3, 0.0))
    plan = plan_of(problem, [0, 1, 2])
    assert plan is not None
    assert max(plan.score.occupancy_s.values()) == pytest.approx(2.0)
    assert plan.score.period_s == pytest.approx(3.0)


def test_branches_on_different_boards_overlap_in_latency() -> None:
    """Ends of 1 s, two branches of 5 s: the makespan is 7 s, the sum 12 s."""
    graph = make_graph([(0, 1), (0, 2), (1, 3), (2, 3)], 4, [1] * 5)
    system = replace(mesh(4), source="b0", sink="b3")
    rows = {
        (f"op{v}", ref.key, "fp32"): OperatorCost(seconds, seconds, "made")
        for v, seconds in enumerate([1.0, 5.0, 5.0, 1.0])
        for ref in system.processors
    }
    plan = plan_of(Problem(graph, system, CostTable(rows)), [0, 1, 2, 3])
    assert plan is not None
    assert plan.score.latency_s == pytest.approx(7.0)
    assert plan.score.period_s == pytest.approx(5.0)


def test_a_tensor_crosses_each_link_once_however_many_consumers_lie_behind_it() -> None:
    graph = make_graph([(0, 1), (0, 2), (1, 3), (2, 3)], 4, [8, 100, 1, 1, 1])
    line = System(
        "line",
        tuple(make_board(f"b{i}") for i in range(3)),
        tuple(Link(f"b{a}->b{b}", f"b{a}", f"b{b}", f"b{a}->b{b}", 100.0) for a, b in ((0, 1), (1, 2))),
        "b0",
        "b2",
    )
    plan = plan_of(Problem(graph, line, uniform_costs(line, 4, 0.1)), [0, 1, 2, 2])
    assert plan is not None
    skip = next(t for t in plan.transfers if t.name == "t0")
    assert [h.link for h in skip.hops] == ["b0->b1", "b1->b2"]
    assert set(skip.boards) == {"b0", "b1", "b2"}
    assert plan.score.link_bytes == 100 + 100 + 1


def test_energy_counts_active_idle_and_wire() -> None:
    graph = make_graph([(0, 1)], 2, [0, 50, 10])
    system = System(
        "two",
        (
            make_board("b0", processors=(make_processor(active_w=4.0, idle_w=1.0),)),
            make_board("b1", processors=(make_processor(active_w=3.0, idle_w=0.5),)),
            make_board("b2", processors=(make_processor(idle_w=0.25),), removable=False),
        ),
        (Link("b0->b1", "b0", "b1", "b0->b1", 100.0, energy_j_per_byte=0.01),),
        "b0",
        "b1",
    )
    rows = {
        (f"op{v}", ref.key, "fp32"): OperatorCost(1.0 + v, 4.0 + v, "made") for v in (0, 1) for ref in system.processors
    }
    plan = plan_of(Problem(graph, system, CostTable(rows)), [0, 1])
    assert plan is not None
    assert plan.score.period_s == pytest.approx(2.0)
    active = 4.0 + 5.0
    idle = 1.0 * (2.0 - 1.0) + 0.5 * (2.0 - 2.0) + 0.25 * 2.0
    assert plan.score.energy_j == pytest.approx(active + idle + 50 * 0.01)


def line_with_messages(boards: int, overlap: bool = True) -> System:
    """A second a hop of 100 B; for these, sending costs a processor 2 s, receiving 3 s."""
    names = [f"b{i}" for i in range(boards)]
    links = tuple(
        Link(f"{a}->{b}", a, b, f"{a}->{b}", 100.0, overlap=overlap, send_s_per_byte=0.02, receive_s_per_byte=0.03)
        for a, b in itertools.pairwise(names)
    )
    return System("line", tuple(make_board(n) for n in names), links, names[0], names[-1])


def test_messages_keep_processors_busy_beside_the_hop_and_delay_no_frame() -> None:
    graph, system = make_graph([(0, 1)], 2, [0, 100, 0]), line_with_messages(2)
    plan = plan_of(Problem(graph, system, uniform_costs(system, 2, 1.0)), [0, 1])
    assert plan is not None
    assert plan.score.latency_s == pytest.approx(1 + 1 + 1)
    assert plan.score.period_s == pytest.approx(1 + 3)
    assert plan.score.occupancy_s == pytest.approx({"b0/cpu": 1 + 2, "b1/cpu": 1 + 3, "b0->b1": 1})


def test_messages_over_polled_links_come_before_and_after_the_hop() -> None:
    graph, system = make_graph([(0, 1)], 2, [0, 100, 0]), line_with_messages(2, overlap=False)
    plan = plan_of(Problem(graph, system, uniform_costs(system, 2, 1.0)), [0, 1])
    assert plan is not None
    assert plan.score.latency_s == pytest.approx(1 + 2 + 1 + 3 + 1)
    assert plan.score.period_s == pytest.approx(3 + 1 + 1)


def test_a_relay_passes_on_at_once_and_works_beside_what_it_runs() -> None:
    graph, system = make_graph([(0, 1), (2, 3)], 4, [0, 100, 0, 0, 0]), line_with_messages(3)
    problem = Problem(graph, system, uniform_costs(system, 4, 1.0))
    hosting, empty = plan_of(problem, [0, 2, 1, 1]), plan_of(problem, [0, 2, 0, 0])
    assert hosting is not None
    assert empty is not None
    assert [p.score.latency_s for p in (hosting, empty)] == pytest.approx([1 + 1 + 1 + 1, 3 + 1 + 1 + 1])
    assert [p.score.occupancy_s["b1/cpu"] for p in (hosting, empty)] == pytest.approx([2 + 3 + 2, 3 + 2])
    assert [s.activity for s in hosting.orders["b1/cpu"]] == ["segment:s1"]
    assert [s.activity for s in empty.orders["b1/cpu"]] == ["messages:b1/cpu"]


def test_what_follows_on_a_processor_waits_for_the_work_for_messages() -> None:
    graph, system = make_graph([(0, 1), (1, 2)], 3, [0, 100, 0, 0]), line_with_messages(2)
    back = replace(system.links[0], name="b1->b0", source="b1", target="b0", medium="b1->b0")
    system = replace(system, links=(*system.links, back))
    problem = Problem(graph, system, uniform_costs(system, 3, 1.0), non_contiguous=True)
    segments = acyclic_segments(problem, np.array([0, 1, 1]))
    assert len(segments) == 2
    once = evaluate(problem, complete(problem, segments))
    apart = evaluate(problem, complete(problem, (segments[0], *split_in_two(segments[1]))))
    assert once.latency_s == pytest.approx(1 + 1 + 2)
    assert apart.latency_s == pytest.approx(1 + 1 + 1 + 3 + 1)
    assert once.period_s == apart.period_s == pytest.approx(2 + 3)


def split_in_two(segment: Segment) -> tuple[Segment, Segment]:
    first, second = segment.operators
    return replace(segment, operators=(first,)), replace(segment, name="s2", operators=(second,))


def test_a_schedule_whose_lists_wait_for_each_other_has_an_infinite_period() -> None:
    graph = make_graph([(0, 1), (1, 2)], 3, [1] * 4)
    system = mesh(2, bandwidth=1.0)
    problem = Problem(graph, system, uniform_costs(system, 3, 1.0))
    plan = plan_of(problem, [0, 0, 1])
    assert plan is not None
    orders = {**plan.orders, "b0->b1": tuple(Slot(s.activity, s.stage - 1) for s in plan.orders["b0->b1"])}
    assert evaluate(problem, Schedule(plan.segments, plan.transfers, orders)).period_s < math.inf
    stuck = {**plan.orders, "b0/cpu": (*plan.orders["b0->b1"], *plan.orders["b0/cpu"])}
    score = evaluate(problem, Schedule(plan.segments, plan.transfers, stuck))
    assert math.isinf(score.period_s)
    assert "deadlock" in score.violations[0]


KINDS = ("mesh", "line", "switch", "shared", "polled", "busy")


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(KINDS), k=st.integers(2, 4))
def test_period_and_latency_agree_with_a_simulation(seed: int, kind: str, k: int) -> None:
    problem = random_problem(seed, n=8, k=k, kind=kind)
    rng = random.Random(seed)
    plan = plan_of(problem, sorted(rng.randrange(k) for _ in range(8)))
    if plan is None:
        return
    depths = tuple(replace(t, depth=max(1, t.depth - rng.choice([0, 0, 1]))) for t in plan.transfers)
    score = evaluate(problem, Schedule(plan.segments, depths, plan.orders))
    changed = replace(plan, transfers=depths)
    assert score.period_s == pytest.approx(measured_period(problem, changed), rel=1e-6)
    assert score.latency_s == pytest.approx(measured_latency(problem, changed), rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(KINDS), k=st.integers(2, 4))
def test_period_is_never_below_the_busiest_resource(seed: int, kind: str, k: int) -> None:
    problem = random_problem(seed, n=8, k=k, kind=kind)
    rng = random.Random(seed)
    plan = plan_of(problem, sorted(rng.randrange(k) for _ in range(8)))
    if plan is None:
        return
    busiest = max(plan.score.occupancy_s.values())
    assert plan.score.period_s >= busiest * (1 - 1e-12)
    if kind != "polled":
        assert plan.score.period_s == pytest.approx(busiest, rel=1e-6)
