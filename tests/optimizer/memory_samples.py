"""Random graphs with in-place operators and several outputs, and arenas worked out step by step."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from optimizer.graph import Graph, Operator, Tensor


def memory_graph(seed: int, n: int = 8) -> Graph:
    """Operators with one to three inputs and outputs, some unread, some working in place."""
    rng = random.Random(seed)
    tensors = [Tensor("in", (100,), "uint8", 100, None, (), False)]
    operators = []
    for v in range(n):
        inputs = tuple(sorted(rng.sample(range(len(tensors)), k=min(len(tensors), rng.choice([1, 1, 2, 3])))))
        count = rng.choice([1, 1, 1, 2, 3])
        outputs = tuple(range(len(tensors), len(tensors) + count))
        for t in inputs:
            tensors[t] = replace(tensors[t], consumers=(*tensors[t].consumers, v))
        for t in outputs:
            size = rng.choice([10, 100, 100, 300])
            tensors.append(Tensor(f"t{t}", (size,), "uint8", size, v, (), rng.random() < 0.1))
        taken = rng.choice(inputs) if rng.random() < 0.6 else None
        operators.append(Operator(v, f"op{v}", "Any", inputs, outputs, (), 0, 0, taken))
    outputs = tuple(t for t, tensor in enumerate(tensors) if tensor.is_output)
    return Graph("made", "made", "0" * 64, 1, 17, tuple(operators), tuple(tensors), (), (0,), outputs)


def inner_sizes(graph: Graph, operators: Sequence[int]) -> dict[int, int]:
    """Bytes of the tensors that are made and wholly used among the operators."""
    members = set(operators)
    return {
        t: graph.tensors[t].size_bytes
        for v in sorted(members)
        for t in graph.operators[v].outputs
        if not graph.tensors[t].is_output and members.issuperset(graph.tensors[t].consumers)
    }


def simulated_peak(graph: Graph, order: Sequence[int], sizes: Mapping[int, int], *, in_place: bool) -> int:
    """Runs the operators one by one with a set of allocated tensors."""
    waiting = {t: set(graph.tensors[t].consumers) for t in sizes}
    allocated: set[int] = set()
    peak = 0
    for v in order:
        op = graph.operators[v]
        fresh = [t for t in op.outputs if t in sizes]
        taken = op.in_place_input
        if (
            in_place
            and taken in allocated
            and waiting[taken] == {v}
            and op.outputs[0] in sizes
            and sizes[op.outputs[0]] == sizes[taken]
        ):
            allocated.remove(taken)
        allocated.update(fresh)
        for t in op.inputs:
            if t in waiting:
                waiting[t].discard(v)
        kept_while_running = allocated | {t for t in op.inputs if t in allocated}
        peak = max(peak, sum(sizes[t] for t in kept_while_running))
        allocated -= {t for t in allocated if not waiting[t]}
    return peak


def all_orders(graph: Graph, operators: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Every order of the operators in which each comes behind those it reads from."""

    def grow(done: tuple[int, ...], left: frozenset[int]) -> Iterator[tuple[int, ...]]:
        if not left:
            yield done
        for v in sorted(left):
            if not any(graph.tensors[t].producer in left for t in graph.operators[v].inputs):
                yield from grow((*done, v), left - {v})

    return grow((), frozenset(operators))
