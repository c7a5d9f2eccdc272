"""A planning problem as arrays: what every search, bound and evaluation reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from optimizer.costs import JOINT
from optimizer.mcu import code_bytes, is_quantized, slot_bytes, usable_ram_bytes
from optimizer.restrictions import allowed_processors
from optimizer.sensitivity import loss_table

if TYPE_CHECKING:
    from optimizer.problem import Problem

__all__ = ["Tables", "build_tables"]

_WIDTH_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
_FLOAT_WIDTH = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class Tables:
    """The problem as arrays. Shapes: n operators, q processors, t tensors, b boards, i initializers."""

    time_s: npt.NDArray[np.float64]
    """(n, q) seconds of an operator on a processor."""
    energy_j: npt.NDArray[np.float64]
    """(n, q) active energy, idle included."""
    loss: npt.NDArray[np.float64] | None
    """(n, q) loss of accuracy; None without a sensitivity table."""
    tensor_bytes: npt.NDArray[np.int64]
    """(t, q) payload bytes by the producer's processor; model inputs have the same figure everywhere."""
    initializer_bytes: npt.NDArray[np.int64]
    """(i, q) bytes at the processor's precision."""
    boundary_s_per_byte: npt.NDArray[np.float64]
    segment_s: npt.NDArray[np.float64]
    board_of: npt.NDArray[np.int64]
    """(q,) board index."""
    ram_limit: npt.NDArray[np.int64]
    """(b,) RAM that may be used."""
    flash_limit: tuple[int | None, ...]
    allowed: npt.NDArray[np.bool_]
    """(n, q) False where pins, forbidden boards and colocations leave no plan; alike within ``Problem.together``."""
    producer: npt.NDArray[np.int64]
    """(t,) operator index, -1 for a model input."""
    consumer_tensor: npt.NDArray[np.int64]
    consumer_operator: npt.NDArray[np.int64]
    """Edges tensor -> consuming operator, tensors ascending."""


def build_tables(problem: Problem) -> Tables:
    """The arrays of a problem."""
    graph, system = problem.graph, problem.system
    refs, precisions = problem.processors, problem.precisions
    board_index = problem.board_index
    n, q = len(graph.operators), len(refs)
    time_s, energy_j = np.zeros((n, q)), np.zeros((n, q))
    rows = problem.costs.operators
    as_is = is_quantized(graph)
    widths = ["fp32" if as_is and j in problem.small_processors else p for j, p in enumerate(precisions)]
    for j, (ref, precision) in enumerate(zip(refs, precisions, strict=True)):
        for op in graph.operators:
            cost = rows[op.name, ref.key, precision]
            time_s[op.index, j] = cost.time_s
            energy_j[op.index, j] = cost.energy_j
    boundaries = [problem.costs.boundaries.get(ref.key) for ref in refs]
    edges = [(t, c) for t, tensor in enumerate(graph.tensors) for c in tensor.consumers]
    producer = np.array([-1 if t.producer is None else t.producer for t in graph.tensors], dtype=np.int64)
    return Tables(
        time_s=time_s,
        energy_j=energy_j,
        loss=None if problem.sensitivity is None else loss_table(problem.sensitivity, graph, precisions),
        tensor_bytes=np.array(
            [
                [
                    t.size_bytes if t.producer is None else _scaled(t.size_bytes, t.dtype, precision)
                    for precision in widths
                ]
                for t in graph.tensors
            ],
            dtype=np.int64,
        ).reshape(len(graph.tensors), q),
        initializer_bytes=_initializer_bytes(problem),
        boundary_s_per_byte=np.array([b.s_per_byte if b else 0.0 for b in boundaries]),
        segment_s=np.array([b.segment_s if b else 0.0 for b in boundaries]),
        board_of=np.array([board_index[ref.board.name] for ref in refs], dtype=np.int64),
        ram_limit=np.array(
            [min(usable_ram_bytes(b), problem.limits.max_ram_bytes.get(b.name, b.ram_bytes)) for b in system.boards],
            dtype=np.int64,
        ),
        flash_limit=tuple(
            _flash_limit(slot_bytes(b), problem.limits.max_flash_bytes.get(b.name)) for b in system.boards
        ),
        allowed=allowed_processors(graph, refs, problem.limits, problem.together, problem.covered),
        producer=producer,
        consumer_tensor=np.array([t for t, _ in edges], dtype=np.int64),
        consumer_operator=np.array([c for _, c in edges], dtype=np.int64),
    )


def _initializer_bytes(problem: Problem) -> npt.NDArray[np.int64]:
    """(i, q); on microcontroller boards all of an operator is its code (see optimizer.mcu)."""
    held = problem.graph.initializers
    sizes = [[_scaled(i.size_bytes, i.dtype, p) for p in problem.precisions] for i in held]
    found = np.array(sizes, dtype=np.int64).reshape(len(held), len(problem.processors))
    for q, processor in problem.small_processors.items():
        found[:, q] = code_bytes(problem.graph, processor)
    return found


def _scaled(size_bytes: int, dtype: str, precision: str) -> int:
    """Bytes of a float tensor at a narrower precision; integers, bools and "fp32" keep the file's width."""
    if JOINT in precision:
        return min(_scaled(size_bytes, dtype, p) for p in precision.split(JOINT))
    width = _FLOAT_WIDTH.get(dtype)
    if width is None or precision == "fp32":
        return size_bytes
    return size_bytes * min(_WIDTH_BYTES[precision], width) // width


def _flash_limit(board: int | None, given: int | None) -> int | None:
    limits = [x for x in (board, given) if x is not None]
    return min(limits) if limits else None
