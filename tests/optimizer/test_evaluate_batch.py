"""Many schedules scored at once: each comes out as if it were alone, and as methods that look at one say."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boards.board import System
from optimizer.cycle_ratio import has_deadlock, maximum_cycle_ratio
from optimizer.evaluate import Schedule, arena_tensors, data_arcs, depth_arcs, evaluate, evaluate_batch, order_arcs
from optimizer.events import build_events
from optimizer.longest_paths import Graphs, earliest_starts, maximum_cycle_ratios
from optimizer.memory import arena_peak_bytes
from optimizer.plan import Segment, Slot
from optimizer.problem import Limits, Problem
from optimizer.schedule import Outline, complete, contiguous_segments
from optimizer.segment_table import SegmentTable, tensors_leaving
from optimizer.segments import acyclic_segments
from tests.optimizer.builders import make_processor, random_problem

KINDS = ("mesh", "line", "switch", "shared", "half-duplex", "polled", "busy", "two processors")
FEW = settings(max_examples=40, deadline=None)
CASE = {"seed": st.integers(0, 10**6), "kind": st.sampled_from(KINDS), "revisits": st.booleans()}


def a_problem(seed: int, kind: str, revisits: bool = False) -> Problem:
    """Random, with a mix of boards that work in place, share initializers, lack RAM."""
    rng = random.Random(seed)
    plain = kind if kind in ("mesh", "line", "switch", "shared", "polled", "busy") else "mesh"
    made = random_problem(seed, n=8, k=3, kind=plain)
    operators = tuple(
        replace(
            op,
            in_place_input=rng.choice([None, *(t for t in op.inputs if t > 0)]),
            initializers=tuple({*op.initializers, *rng.sample(range(8), rng.choice([0, 0, 1]))}),
        )
        for op in made.graph.operators
    )
    boards = tuple(
        replace(b, in_place=rng.random() < 0.6, ram_bytes=rng.choice([700, 3000, 10**9]), runtime_ram_bytes=10)
        for b in made.system.boards
    )
    links = made.system.links
    costs = made.costs
    if kind == "half-duplex":
        links = tuple(replace(x, medium="-".join(sorted((x.source, x.target)))) for x in links)
    if kind == "two processors":
        boards = tuple(replace(b, processors=(*b.processors, make_processor("npu"))) for b in boards)
        rows = {(op, f"{key.split('/')[0]}/npu", p): replace(c, time_s=c.time_s * rng.uniform(0.5, 2))
                for (op, key, p), c in costs.operators.items()}  # fmt: skip
        costs = replace(costs, operators={**costs.operators, **rows})
    return Problem(
        replace(made.graph, operators=operators),
        replace(made.system, boards=boards, links=links),
        costs,
        Limits(max_latency_s=rng.choice([None, 1.0]), max_boards=rng.choice([None, 2])),
        non_contiguous=revisits,
    )


def some_schedules(problem: Problem, seed: int, count: int = 5) -> list[Schedule]:
    """Schedules as the search makes them, and others with depths and stages out of tune, which may never run."""
    rng = random.Random(seed)
    n, k = len(problem.graph.operators), len(problem.processors)
    found: list[Schedule] = []
    for _ in range(4 * count):
        order = rng.sample(range(k), k)
        places = [rng.randrange(k) for _ in range(n)]
        assignment = np.array([order[p] for p in (places if rng.random() < 0.3 else sorted(places))])
        cut = acyclic_segments if problem.non_contiguous else contiguous_segments
        segments = cut(problem, assignment)
        if segments is None:
            continue
        schedule = complete(problem, segments)
        found.append(schedule)
        if rng.random() < 0.5:
            found.append(out_of_tune(schedule, rng))
    return found[:count]


def out_of_tune(schedule: Schedule, rng: random.Random) -> Schedule:
    transfers = tuple(replace(t, depth=max(1, t.depth + rng.choice([-1, 0, 0, 1]))) for t in schedule.transfers)
    orders = {
        r: tuple(Slot(s.activity, max(0, s.stage + rng.choice([0, 0, 0, 1]))) for s in slots)
        for r, slots in schedule.orders.items()
    }
    return replace(schedule, transfers=transfers, orders=orders)


def forgetful(problem: Problem) -> Problem:
    """The same problem with nothing remembered."""
    return replace(problem)


@FEW
@given(**CASE)
def test_a_score_is_the_same_bit_for_bit_whatever_it_is_scored_with(seed: int, kind: str, revisits: bool) -> None:
    problem = a_problem(seed, kind, revisits)
    schedules = some_schedules(problem, seed)
    rng = random.Random(seed)
    alone = [evaluate(forgetful(problem), s) for s in schedules]
    assert evaluate_batch(forgetful(problem), schedules) == alone
    mixed = [rng.randrange(len(schedules)) for _ in range(11)] if schedules else []
    assert evaluate_batch(problem, [schedules[i] for i in mixed]) == [alone[i] for i in mixed]


@FEW
@given(**CASE)
def test_periods_are_those_of_the_exact_method(seed: int, kind: str, revisits: bool) -> None:
    problem = a_problem(seed, kind, revisits)
    schedules = some_schedules(problem, seed)
    for schedule, score in zip(schedules, evaluate_batch(problem, schedules), strict=True):
        events = build_events(problem, schedule.segments, schedule.transfers)
        arcs = data_arcs(events) + order_arcs(events, schedule.orders)
        arcs += depth_arcs(events, [t.depth for t in schedule.transfers])
        bound = max(score.occupancy_s.values())
        stuck = has_deadlock(len(events.names), arcs)
        expected = math.inf if stuck else maximum_cycle_ratio(len(events.names), arcs, at_least=bound)
        assert score.period_s == expected


@FEW
@given(**CASE)
def test_memory_is_that_of_live_ranges_and_of_sets_of_initializers(seed: int, kind: str, revisits: bool) -> None:
    problem = a_problem(seed, kind, revisits)
    schedules = some_schedules(problem, seed)
    for schedule, score in zip(schedules, evaluate_batch(problem, schedules), strict=True):
        for b, board in enumerate(problem.system.boards):
            here = [s for s in schedule.segments if s.processor.split("/")[0] == board.name]
            held = {i for s in here for v in s.operators for i in problem.graph.operators[v].initializers}
            assert score.memory_bytes[board.name].weights_bytes == sum(
                int(problem.tables.initializer_bytes[i, 0]) for i in held
            )
            peaks: dict[str, int] = {}
            for s in here:
                peaks[s.processor] = max(peaks.get(s.processor, 0), peak_of(problem, s, schedule))
            assert score.memory_bytes[board.name].arena_bytes == sum(peaks.values())
            assert score.memory_bytes[board.name].ram_available_bytes == problem.tables.ram_limit[b]


def peak_of(problem: Problem, segment: Segment, schedule: Schedule) -> int:
    leaving = tensors_leaving(schedule.transfers).get(segment.name, ())
    board = problem.processors[problem.processor_index[segment.processor]].board
    sizes = arena_tensors(problem, segment, leaving)
    return arena_peak_bytes(problem.graph, segment.operators, sizes, in_place=board.in_place)


@FEW
@given(seed=st.integers(0, 10**6))
def test_peaks_of_segments_in_any_order_are_those_of_live_ranges(seed: int) -> None:
    problem = a_problem(seed, "mesh")
    rng = random.Random(seed)
    inside = [v for v in range(8) if rng.random() < 0.6]
    order = topological(problem, inside, rng)
    graph = problem.graph
    leaving = tuple(
        t
        for v in order
        for t in graph.operators[v].outputs
        if graph.tensors[t].is_output or not set(graph.tensors[t].consumers) <= set(inside)
    )
    key = rng.choice(problem.processors).key
    segment = Segment("s", key, "fp32", tuple(order))
    board = problem.processors[problem.processor_index[key]].board
    sizes = arena_tensors(problem, segment, leaving)
    expected = arena_peak_bytes(graph, order, sizes, in_place=board.in_place)
    assert SegmentTable(problem).peak_bytes(segment, leaving) == expected


def topological(problem: Problem, inside: list[int], rng: random.Random) -> list[int]:
    order: list[int] = []
    while len(order) < len(inside):
        makers = {v: {problem.graph.tensors[t].producer for t in problem.graph.operators[v].inputs} for v in inside}
        order.append(rng.choice([v for v in inside if v not in order and makers[v] & set(inside) <= set(order)]))
    return order


Drawn = list[tuple[int, list[tuple[int, int, float, int]]]]


@st.composite
def event_graphs(draw: st.DrawFn) -> Drawn:
    """Graphs with and without rings, rings without tokens, arcs without length."""
    graphs = []
    for _ in range(draw(st.integers(1, 5))):
        nodes = draw(st.integers(1, 6))
        node = st.integers(0, nodes - 1)
        length = st.sampled_from([0.0, 0.1, 0.3, 1.0, 2.5])
        arcs = draw(st.lists(st.tuples(node, node, length, st.integers(-1, 3)), max_size=10))
        graphs.append((nodes, arcs))
    return graphs


@settings(max_examples=200, deadline=None)
@given(graphs=event_graphs(), at_least=st.sampled_from([0.0, 0.5, 3.0]))
def test_cycle_ratios_of_many_graphs_are_those_of_each(graphs: Drawn, at_least: float) -> None:
    nodes, arcs = [n for n, _ in graphs], [a for _, a in graphs]
    found = maximum_cycle_ratios(Graphs.of(nodes, arcs), np.full(len(graphs), at_least), np.zeros(sum(nodes)))
    for (n, own), ratio in zip(graphs, found, strict=True):
        expected = math.inf if has_deadlock(n, own) else maximum_cycle_ratio(n, own, at_least)
        assert ratio == expected


@settings(max_examples=200, deadline=None)
@given(graphs=event_graphs())
def test_earliest_starts_of_many_graphs_are_longest_paths(graphs: Drawn) -> None:
    joined = Graphs.of([n for n, _ in graphs], [a for _, a in graphs])
    starts = earliest_starts(joined)
    for g, (n, arcs) in enumerate(graphs):
        expected = longest_paths(n, arcs)
        assert bool(starts.never[g]) == (expected is None)
        if expected is not None:
            assert starts.at_s[joined.first[g] : joined.first[g + 1]].tolist() == expected


def longest_paths(nodes: int, arcs: list[tuple[int, int, float, int]]) -> list[float] | None:
    """Longest way to each node over the orders in which the nodes may stand; None where there is no such order."""
    for order in itertools.permutations(range(nodes)):
        rank = {v: i for i, v in enumerate(order)}
        if all(rank[i] < rank[j] for i, j, _, _ in arcs):
            at = [0.0] * nodes
            for v in order:
                at[v] = max([0.0, *(at[i] + length for i, j, length, _ in arcs if j == v)])
            return at
    return None


def test_no_schedules_have_no_scores() -> None:
    assert evaluate_batch(a_problem(0, "mesh"), []) == []


def test_a_single_event_waits_for_nothing() -> None:
    graphs = Graphs.of([1, 2], [[], [(0, 1, 1.5, 0)]])
    starts = earliest_starts(graphs)
    assert starts.at_s.tolist() == [0.0, 0.0, 1.5]
    assert maximum_cycle_ratios(graphs, np.array([2.0, 0.0]), starts.at_s) == pytest.approx([2.0, 0.0])


def test_systems_of_the_tests_have_the_media_they_are_named_for() -> None:
    def media(system: System) -> int:
        return len({x.medium for x in system.links})

    duplex = a_problem(3, "half-duplex").system
    assert media(duplex) == len(duplex.links) // 2
    assert media(a_problem(3, "shared").system) == 1
    assert not any(x.overlap for x in a_problem(3, "polled").system.links)
    assert all(len(b.processors) == 2 for b in a_problem(3, "two processors").system.boards)


@FEW
@given(**CASE)
def test_activities_of_a_plan_are_the_same_whatever_stands_beside_it(seed: int, kind: str, revisits: bool) -> None:
    problem = a_problem(seed, kind, revisits)
    cuts = [s.segments for s in some_schedules(problem, seed)]
    assert Outline.of_many(problem, [*cuts, None]) == [*(Outline.of(forgetful(problem), cut) for cut in cuts), None]
