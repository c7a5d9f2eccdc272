"""Costs from catalog figures alone: an operator takes as long as its arithmetic or its bytes do.

time = operator overhead + max(MACs / rate, bytes moved / memory bandwidth); energy = time x active power.
Bytes moved are inputs, outputs and weights, each read or written once, floats at the width of the precision.
An operator whose MACs nobody knows has none and costs its bytes; one that only renames bytes (Reshape and its
kin) costs its overhead. Expect an error of tens of percent: this is for choosing what to profile.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from boards.board import ProcessorRef, System
from boards.units import format_bandwidth, format_compute
from optimizer.costs import BoundaryCost, CostTable, OperatorCost, OperatorKey
from optimizer.graph import Graph

__all__ = ["roofline_costs"]

_PRECISION_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
_FLOAT_BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
_VIEWS = frozenset({"Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
"""Operators that the runtimes we know turn into another view of the same bytes."""

Floats = npt.NDArray[np.float64]


def roofline_costs(graph: Graph, system: System) -> CostTable:
    """Rows for every operator, processor and precision; a boundary counts as one more invocation."""
    macs = np.array([op.macs for op in graph.operators], dtype=np.float64)
    precisions = dict.fromkeys(p for ref in system.processors for p in ref.processor.macs_per_s)
    moved = {precision: _bytes_moved(graph, precision) for precision in precisions}
    operators: dict[OperatorKey, OperatorCost] = {}
    for ref in system.processors:
        for precision, rate in ref.processor.macs_per_s.items():
            operators.update(_rows(graph, ref, precision, rate, macs, moved[precision]))
    boundaries = {ref.key: _boundary(ref) for ref in system.processors}
    return CostTable(operators=operators, boundaries=boundaries, model_sha256=graph.sha256)


def _rows(
    graph: Graph, ref: ProcessorRef, precision: str, rate: float, macs: Floats, moved: Floats
) -> Iterable[tuple[OperatorKey, OperatorCost]]:
    processor = ref.processor
    time_s = processor.operator_overhead_s + np.maximum(macs / rate, moved / processor.memory_bytes_per_s)
    energy_j = time_s * processor.active_power_w
    figures = f"{format_compute(rate)}, {format_bandwidth(processor.memory_bytes_per_s)}"
    with_macs = f"roofline: {ref.board.model}/{processor.name} {precision}, {figures}"
    bytes_only = f"{with_macs}; no MACs known, bytes only"
    key = ref.key
    for op, seconds, joules in zip(graph.operators, time_s.tolist(), energy_j.tolist(), strict=True):
        yield (op.name, key, precision), OperatorCost(seconds, joules, with_macs if op.macs else bytes_only)


def _bytes_moved(graph: Graph, precision: str) -> Floats:
    """(operators,) bytes read and written by each."""
    tensors = _widths((t.size_bytes, t.dtype) for t in graph.tensors)
    weights = _widths((i.size_bytes, i.dtype) for i in graph.initializers)
    tensor_bytes, weight_bytes = _at(tensors, precision), _at(weights, precision)
    moved = np.zeros(len(graph.operators))
    for i, op in enumerate(graph.operators):
        if op.op_type not in _VIEWS:
            activations = sum(tensor_bytes[t] for t in (*op.inputs, *op.outputs))
            moved[i] = activations + sum(weight_bytes[w] for w in op.initializers)
    return moved


def _widths(items: Iterable[tuple[int, str]]) -> list[tuple[int, int | None]]:
    return [(size, _FLOAT_BYTES.get(dtype)) for size, dtype in items]


def _at(items: Sequence[tuple[int, int | None]], precision: str) -> list[float]:
    """Bytes at a precision: floats narrow to it, never widen; integers stay, as does everything at fp32."""
    width = _PRECISION_BYTES[precision]
    if precision == "fp32":
        return [float(size) for size, _ in items]
    return [size * min(width, own) / own if own else float(size) for size, own in items]


def _boundary(ref: ProcessorRef) -> BoundaryCost:
    return BoundaryCost(
        s_per_byte=0.0,
        segment_s=ref.processor.operator_overhead_s,
        provenance="roofline: one more invocation as one more operator; work at the cut itself is not known",
    )
