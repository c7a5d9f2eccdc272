"""Graph algorithms against their definitions, on random graphs."""

from __future__ import annotations

import random

import networkx as nx
from hypothesis import given
from hypothesis import strategies as st

from optimizer.graph import (
    Graph,
    Initializer,
    cut_points,
    is_topological,
    live_ranges,
    live_sets,
    predecessors,
    successors,
)
from tests.optimizer.builders import make_graph, random_graph

seeds = st.integers(0, 10**6)
sizes = st.integers(1, 14)


def _cuts_by_definition(graph: Graph) -> list[int]:
    """Tensors without which no output can be reached from any input."""
    reach: nx.DiGraph[str] = nx.DiGraph()
    for op in graph.operators:
        if not op.inputs:
            reach.add_edge("source", f"op{op.index}")
        for t in op.inputs:
            reach.add_edge(f"t{t}", f"op{op.index}")
        for t in op.outputs:
            reach.add_edge(f"op{op.index}", f"t{t}")
    reach.add_edges_from(("source", f"t{t}") for t in graph.inputs)
    reach.add_edges_from((f"t{t}", "sink") for t in graph.outputs)
    found = []
    for index, tensor in enumerate(graph.tensors):
        if tensor.producer is None or tensor.is_output:
            continue
        without = reach.copy()
        without.remove_node(f"t{index}")
        if not nx.has_path(without, "source", "sink"):
            found.append(index)
    return found


@given(seeds, sizes)
def test_cut_points_separate_inputs_from_outputs(seed: int, n: int) -> None:
    graph = random_graph(random.Random(seed), n)
    assert [c.tensor for c in cut_points(graph)] == _cuts_by_definition(graph)


@given(seeds, sizes)
def test_operators_before_a_cut_are_those_it_needs(seed: int, n: int) -> None:
    graph = random_graph(random.Random(seed), n)
    before = predecessors(graph)
    for cut in cut_points(graph):
        needed: set[int] = set()
        waiting = [graph.tensors[cut.tensor].producer]
        while waiting:
            op = waiting.pop()
            assert op is not None
            needed.add(op)
            waiting += [p for p in before[op] if p not in needed]
        assert needed == set(range(cut.operators_before))
        assert cut.macs_before == sum(graph.operators[i].macs for i in needed)


@given(seeds, sizes)
def test_live_sets_hold_what_is_made_and_still_needed(seed: int, n: int) -> None:
    rng = random.Random(seed)
    graph = random_graph(rng, n)
    order = _random_order(rng, graph)
    step_of = {op: step for step, op in enumerate(order)}
    for found in live_sets(graph, order):
        expected = [
            index
            for index, tensor in enumerate(graph.tensors)
            if (tensor.producer is None or step_of[tensor.producer] <= found.step)
            and (
                tensor.is_output
                or any(step_of[c] >= found.step for c in tensor.consumers)
                or (tensor.producer is not None and step_of[tensor.producer] == found.step)
            )
        ]
        assert list(found.tensors) == expected
        assert found.operator == order[found.step]
        assert found.size_bytes == sum(graph.tensors[t].size_bytes for t in expected)


@given(seeds, sizes)
def test_topological_orders_are_recognised(seed: int, n: int) -> None:
    rng = random.Random(seed)
    graph = random_graph(rng, n)
    order = _random_order(rng, graph)
    assert is_topological(graph, order)
    assert not is_topological(graph, order[:-1])
    edges = [(u, v) for v, before in enumerate(predecessors(graph)) for u in before]
    assert sorted(edges) == sorted((u, v) for u, after in enumerate(successors(graph)) for v in after)
    if edges:
        u, v = edges[0]
        swapped = [v if x == u else u if x == v else x for x in order]
        assert not is_topological(graph, swapped)


def test_a_diamond_has_cuts_only_before_and_behind_it() -> None:
    graph = make_graph([(0, 1), (0, 2), (1, 3), (2, 3), (3, 4)], 5, [1, 2, 3, 4, 5, 6])
    assert [c.name for c in cut_points(graph)] == ["t0", "t3"]
    assert [c.operators_before for c in cut_points(graph)] == [1, 4]
    assert live_ranges(graph) == [(0, 0), (0, 2), (1, 3), (2, 3), (3, 4), (4, 4)]
    assert max(s.size_bytes for s in live_sets(graph)) == 3 + 4 + 5


def test_cuts_of_very_many_paths_are_exact() -> None:
    """2^200 paths: floating point would call tensors inside the diamonds cuts."""
    edges = [
        edge
        for i in range(200)
        for edge in ((3 * i, 3 * i + 1), (3 * i, 3 * i + 2), (3 * i + 1, 3 * i + 3), (3 * i + 2, 3 * i + 3))
    ]
    graph = make_graph(edges, 601, [1] * 602)
    assert len(cut_points(graph)) == 200


def test_packed_weights_count_their_elements() -> None:
    assert Initializer("w", 8, "int4").elements == 16
    assert Initializer("w", 8, "float32").elements == 2


def _random_order(rng: random.Random, graph: Graph) -> list[int]:
    before = [set(p) for p in predecessors(graph)]
    order: list[int] = []
    while len(order) < len(before):
        ready = [i for i, p in enumerate(before) if i not in order and p <= set(order)]
        order.append(rng.choice(ready))
    return order
