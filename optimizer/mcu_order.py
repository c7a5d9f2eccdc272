"""Segments on microcontroller boards within a problem: their memory, remembered, and the order that needs least."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from optimizer.graph import Graph
from optimizer.mcu import SmallProcessor
from optimizer.mcu_memory import SegmentMemory, SegmentPart, segment_memory, segment_part, turned_tensors
from optimizer.memory_order import OrderFound, behind, lowest_peak_order
from optimizer.plan import Segment, Transfer

if TYPE_CHECKING:
    from optimizer.problem import Problem

__all__ = ["small_memory", "small_order", "small_parts"]


def small_parts(problem: Problem, segments: Sequence[Segment], transfers: Sequence[Transfer]) -> dict[str, SegmentPart]:
    """By name: the segments on microcontroller boards."""
    small, index = problem.small_processors, problem.processor_index
    there = [s for s in segments if index[s.processor] in small]
    if not there:
        return {}
    turned = turned_tensors(problem.graph, problem.system, segments, transfers)
    leaving: dict[str, list[int]] = {}
    for t in transfers:
        if t.producer is not None:
            leaving.setdefault(t.producer, []).append(t.tensor)
    return {s.name: segment_part(problem.graph, s.operators, leaving.get(s.name, ()), turned) for s in there}


def small_memory(problem: Problem, processor: str, part: SegmentPart) -> SegmentMemory:
    """Memory of a segment, worked out once."""
    key = (processor, part)
    if key not in problem.small_memories:
        q = problem.processor_index[processor]
        sizes = problem.tables.tensor_bytes[:, q]
        problem.small_memories[key] = segment_memory(problem.graph, problem.small_processors[q], part, sizes)
    return problem.small_memories[key]


def small_order(problem: Problem, processor: str, part: SegmentPart) -> OrderFound:
    """The order of the segment's operators that claims the least RAM that we find; ``peak_bytes`` is that RAM."""
    found = small_memory(problem, processor, part).claimed_bytes
    best = part
    bound = _bound(problem, processor, part)
    if found <= bound:
        return OrderFound(part.operators, found, found)
    for operators in _candidates(problem, processor, part):
        trial = replace(part, operators=operators)
        claimed = small_memory(problem, processor, trial).claimed_bytes
        if claimed < found:
            best, found = trial, claimed
    return OrderFound(best.operators, found, min(bound, found))


def _candidates(problem: Problem, processor: str, part: SegmentPart) -> Iterable[tuple[int, ...]]:
    """The graph's own order, and the one that is best for what lives inside the segment alone."""
    yield tuple(sorted(part.operators))
    sizes = problem.tables.tensor_bytes[:, problem.processor_index[processor]]
    made = {t for v in part.operators for t in problem.graph.operators[v].outputs}
    held = {t: int(sizes[t]) for t in sorted(made.difference(part.leaving))}
    yield lowest_peak_order(problem.graph, problem.always_live, part.operators, held, in_place=True).operators


def _bound(problem: Problem, processor: str, part: SegmentPart) -> int:
    """RAM that the segment claims in every order: what is live beside one of its operators, whatever the order."""
    q = problem.processor_index[processor]
    small, graph = problem.small_processors[q], problem.graph
    runtime = small.runtime
    unit = runtime.arena_alignment
    sizes = -(-problem.tables.tensor_bytes[:, q] // unit) * unit
    after = behind(graph)
    operators = list(part.operators)
    needed = np.zeros(len(operators), dtype=np.int64)
    inside = set(operators)
    for t in dict.fromkeys([*part.entering, *(t for v in operators for t in graph.operators[v].outputs)]):
        tensor = graph.tensors[t]
        users = [c for c in tensor.consumers if c in inside]
        made = tensor.producer is not None and tensor.producer in inside
        from_here = after[tensor.producer, operators] if made else np.ones(len(operators), dtype=np.bool_)
        to_there = after[np.ix_(operators, users)].any(axis=1)
        live = from_here if t in part.leaving else from_here & to_there
        if made:
            live = live | (np.array(operators) == tensor.producer)
        needed += live * sizes[t]
    for at, v in enumerate(operators):
        needs = small.needs[v]
        scratch = 0 if needs is None else -(-needs.scratch_bytes // unit) * unit
        needed[at] += scratch - _shared(small, graph.operators[v].outputs, v, sizes)
    ends = [
        sum(int(sizes[t]) * (2 if t in part.turned else 1) for t in crossing)
        for crossing in (part.entering, part.leaving)
    ]
    arena = max(int(needed.max(initial=0)), *ends)
    return runtime.block(runtime.block(arena) + runtime.record_ram_bytes * _records(graph, small, part))


def _shared(
    small: SmallProcessor, outputs: Sequence[int], v: int, sizes: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> int:
    needs = small.needs[v]
    if needs is None or not outputs or not (needs.renames or needs.overwrites):
        return 0
    return int(sizes[outputs[0]])


def _records(graph: Graph, small: SmallProcessor, part: SegmentPart) -> int:
    """At least so many, whatever the order. uint8 that enter are changed one by one; what leaves may share a place."""
    needs = [small.needs[v] for v in part.operators]
    entering, leaving = (sum(graph.tensors[t].dtype == "uint8" for t in ts) for ts in (part.entering, part.leaving))
    own = sum(n.records for n in needs if n is not None and not n.folds)
    return own + len(part.turned) + entering + min(leaving, 1)
