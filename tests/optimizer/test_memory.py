"""Live ranges and arena peaks against a simulation step by step."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.graph import Graph
from optimizer.memory import arena_peak_bytes, live_ranges
from tests.optimizer.builders import make_graph
from tests.optimizer.memory_samples import all_orders, inner_sizes, memory_graph, simulated_peak

SEEDS = st.integers(0, 10**6)


def in_place_graph(edges: list[tuple[int, int]], n: int, sizes: list[int], takes: dict[int, int]) -> Graph:
    """``takes``: operator -> tensor it may overwrite."""
    graph = make_graph(edges, n, sizes)
    return replace(graph, operators=tuple(replace(op, in_place_input=takes.get(op.index)) for op in graph.operators))


@settings(max_examples=200, deadline=None)
@given(seed=SEEDS, in_place=st.booleans())
def test_the_peak_is_what_running_the_operators_one_by_one_shows(seed: int, in_place: bool) -> None:
    rng = random.Random(seed)
    graph = memory_graph(seed)
    first, last = sorted(rng.sample(range(len(graph.operators) + 1), 2))
    operators = range(first, last)
    order = rng.choice(list(itertools.islice(all_orders(graph, operators), 50)))
    sizes = inner_sizes(graph, operators)
    expected = simulated_peak(graph, order, sizes, in_place=in_place)
    assert arena_peak_bytes(graph, order, sizes, in_place=in_place) == expected


@settings(max_examples=200, deadline=None)
@given(seed=SEEDS)
def test_the_short_cut_for_the_graphs_own_order_agrees_with_live_ranges(seed: int) -> None:
    rng = random.Random(seed)
    graph = memory_graph(seed, n=12)
    order = sorted(rng.sample(range(12), k=rng.randint(1, 12)))
    sizes = inner_sizes(graph, order)
    buffers = live_ranges(graph, order, sizes, in_place=False)
    by_step = [sum(b.size_bytes for b in buffers if b.first <= i <= b.last) for i in range(len(order))]
    assert arena_peak_bytes(graph, order, sizes, in_place=False) == max(by_step)


def test_a_chain_of_in_place_operators_is_one_buffer() -> None:
    graph = in_place_graph([(0, 1), (1, 2), (2, 3)], 4, [10, 100, 100, 100, 10], {1: 1, 2: 2})
    buffers = live_ranges(graph, range(4), {1: 100, 2: 100, 3: 100}, in_place=True)
    assert [(b.tensors, b.first, b.last) for b in buffers] == [((1, 2, 3), 0, 3)]


def test_an_input_that_is_needed_later_is_not_overwritten() -> None:
    graph = in_place_graph([(0, 1), (0, 2), (1, 2)], 3, [10, 100, 100, 10], {1: 1})
    assert arena_peak_bytes(graph, range(3), {1: 100, 2: 100}, in_place=True) == 200


def test_an_input_of_another_size_is_not_overwritten() -> None:
    graph = in_place_graph([(0, 1), (1, 2)], 3, [10, 100, 50, 10], {1: 1})
    assert arena_peak_bytes(graph, range(3), {1: 100, 2: 50}, in_place=True) == 150


def test_tensors_that_cross_the_segment_take_no_room() -> None:
    graph = make_graph([(0, 1), (1, 2), (0, 2)], 3, [10, 100, 50, 10])
    sizes = inner_sizes(graph, [0, 1])
    assert sizes == {}
    assert arena_peak_bytes(graph, [0, 1], sizes, in_place=True) == 0


def test_a_tensor_that_nobody_reads_lives_while_it_is_made() -> None:
    graph = make_graph([(0, 1)], 3, [10, 100, 10, 70])
    buffers = live_ranges(graph, [0, 2, 1], {1: 100, 3: 70}, in_place=False)
    assert [(b.tensors, b.first, b.last) for b in buffers] == [((1,), 0, 2), ((3,), 1, 1)]


def test_a_model_input_has_no_place_in_an_arena() -> None:
    graph = make_graph([(0, 1)], 2, [10, 100, 10])
    with pytest.raises(ValueError, match="'in' is a model input"):
        live_ranges(graph, range(2), {0: 10}, in_place=False)
