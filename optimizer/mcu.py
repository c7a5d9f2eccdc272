"""Microcontroller boards in a problem: which operators their firmware has kernels for, and what each takes there.

The figures come from the board's runtime (``boards/runtime.py``); a graph that does not come from an ONNX file says
too little of its operators, and such boards are then planned like all others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from boards.board import Board, ProcessorRef, System
from boards.runtime import Runtime, firmware_limits, load_runtime
from optimizer.costs import JOINT, default_precision
from optimizer.graph import Graph, Initializer, Operator

__all__ = [
    "MCU_RUNTIME",
    "Needs",
    "SmallProcessor",
    "code_bytes",
    "coverage",
    "is_quantized",
    "slot_bytes",
    "small_processors",
    "usable_ram_bytes",
    "with_code",
    "with_flash",
    "with_ram",
    "working_precision",
]

MCU_RUNTIME = "edgecut-mcu"
_FOLDED = ("Relu", "Clip")


@dataclass(frozen=True)
class Needs:
    """What an operator takes of a board, by itself."""

    records: int
    record_bytes: int
    weights_bytes: int
    scratch_bytes: int
    takes_limits: bool
    """Whether a float32 Relu or Clip behind it can be part of its records."""
    folds: bool
    """Whether it is such a Relu or Clip."""
    renames: bool
    """Whether its result is its input, without any record."""
    overwrites: bool
    """Whether its result may lie where an input of its shape lay that nobody needs any more."""

    @property
    def code_bytes(self) -> int:
        """Bytes of an image that it surely takes."""
        return self.weights_bytes + (0 if self.folds else self.record_bytes)


@dataclass(frozen=True)
class SmallProcessor:
    """A processor whose board runs our firmware. ``needs`` by operator; None: no kernel for it."""

    board: Board
    runtime: Runtime
    needs: tuple[Needs | None, ...]


def small_processors(
    graph: Graph, processors: Sequence[ProcessorRef], precisions: Sequence[str]
) -> Mapping[int, SmallProcessor]:
    """By processor index: those of microcontroller boards, where the graph says enough of its operators."""
    if any(op.form is None for op in graph.operators):
        return {}
    found: dict[int, SmallProcessor] = {}
    as_is = is_quantized(graph)
    for q, (ref, precision) in enumerate(zip(processors, precisions, strict=True)):
        if ref.board.runtime == MCU_RUNTIME:
            runtime = load_runtime(MCU_RUNTIME)
            needs = tuple(_needs(op, runtime, "fp32" if as_is else precision) for op in graph.operators)
            found[q] = SmallProcessor(ref.board, runtime, needs)
    return found


def is_quantized(graph: Graph) -> bool:
    """Whether the model has integer operators already: a microcontroller then runs it as it is, floats as floats."""
    return any(op.form is not None and op.form.precision == "int8" for op in graph.operators)


def _needs(op: Operator, runtime: Runtime, precision: str) -> Needs | None:
    """What it takes at a precision; at several the least of each figure, since they stand for a bound."""
    found = [n for p in precision.split(JOINT) if (n := _needs_at(op, runtime, p)) is not None]
    if len(found) < 2:
        return next(iter(found), None)
    return Needs(
        *(min(getattr(n, f) for n in found) for f in ("records", "record_bytes", "weights_bytes", "scratch_bytes")),
        *(any(getattr(n, f) for n in found) for f in ("takes_limits", "folds", "renames", "overwrites")),
    )


def _needs_at(op: Operator, runtime: Runtime, precision: str) -> Needs | None:
    known, form = runtime.operators.get(op.op_type), op.form
    if known is None or form is None or not form.figures:
        return None
    kind, figures = form.precision, form.figures
    if kind == "float32" and precision == "int8":  # planned as if it were quantized
        kind, figures = "int8", {**figures, "symmetric": 1}
    case = known.case(kind, figures)
    if case is None:
        return None
    counts = {kernel: count(figures) for kernel, count in case.records.items()}
    kernels = {kernel: runtime.kernels[kernel] for kernel, count in counts.items() if count}
    view = op.op_type in runtime.views and not figures["turned"]
    return Needs(
        records=sum(counts.values()),
        record_bytes=sum(runtime.kernels[kernel].record_bytes * count for kernel, count in counts.items()),
        weights_bytes=case.weights_bytes(figures),
        scratch_bytes=max((kernel.scratch_bytes(figures) for kernel in kernels.values()), default=0),
        takes_limits=bool(kernels) and kernels.keys() <= runtime.limited,
        folds=kind == "float32" and op.op_type in _FOLDED,
        renames=view and not kernels,
        overwrites=(op.op_type in runtime.overwriting or view) and kernels.keys() <= runtime.elementwise,
    )


def coverage(
    graph: Graph, processors: Sequence[ProcessorRef], small: Mapping[int, SmallProcessor]
) -> npt.NDArray[np.bool_]:
    """(n, q) False where a processor's runtime has no kernel for an operator."""
    covered = np.ones((len(graph.operators), len(processors)), dtype=np.bool_)
    for q, processor in small.items():
        covered[:, q] = [needs is not None for needs in processor.needs]
    return covered


def working_precision(ref: ProcessorRef, graph: Graph) -> str:
    """Precision of a processor unless said otherwise: see ``default_precision``.

    A quantized model is planned at int8 on a microcontroller board, whose runtime has kernels of both kinds.
    """
    has_int8 = ref.board.runtime == MCU_RUNTIME and "int8" in ref.processor.macs_per_s
    if has_int8 and is_quantized(graph):
        return "int8"
    return default_precision(ref.processor)


def slot_bytes(board: Board) -> int | None:
    """Flash that a model image may take: the slot of our firmware where the board has it, else all there is."""
    return firmware_limits(board).slot_bytes if board.firmware else board.flash_bytes


def usable_ram_bytes(board: Board) -> int:
    """RAM of a board but for what the layout of our firmware loses to alignment."""
    return board.ram_bytes - (load_runtime(MCU_RUNTIME).firmware[board.firmware].gap_bytes if board.firmware else 0)


def with_ram(board: Board, usable_bytes: int) -> Board:
    """The board with so much RAM that plans may use."""
    return replace(board, ram_bytes=usable_bytes + board.ram_bytes - usable_ram_bytes(board))


def with_flash(board: Board, usable_bytes: int) -> Board:
    """The board with so much flash that plans may use, in whole sectors where our firmware keeps a slot."""
    kept = load_runtime(MCU_RUNTIME).firmware[board.firmware].area_bytes if board.firmware else 0
    return replace(board, flash_bytes=usable_bytes + kept)


def with_code(graph: Graph, system: System) -> Graph:
    """The graph for a system with microcontroller boards: each operator has an initializer of its own, of no bytes.

    On those boards its size is what the operator takes of an image; everything that counts weights then counts that.
    """
    anchored = any(i.name == _code_name(op) for op in graph.operators[:1] for i in graph.initializers)
    if anchored or all(board.runtime != MCU_RUNTIME for board in system.boards):
        return graph
    first = len(graph.initializers)
    operators = tuple(
        replace(op, initializers=(*op.initializers, first + number)) for number, op in enumerate(graph.operators)
    )
    code = tuple(Initializer(_code_name(op), 0, "uint8") for op in graph.operators)
    return replace(graph, operators=operators, initializers=(*graph.initializers, *code))


def _code_name(op: Operator) -> str:
    return f"{op.name}:code"


def code_bytes(graph: Graph, small: SmallProcessor) -> npt.NDArray[np.int64]:
    """(i,) bytes of the initializers on a small processor: what ``with_code`` added stands for all of them."""
    sizes = np.zeros(len(graph.initializers), dtype=np.int64)
    index = {i.name: number for number, i in enumerate(graph.initializers)}
    for op, needs in zip(graph.operators, small.needs, strict=True):
        if needs is not None and _code_name(op) in index:
            sizes[index[_code_name(op)]] = needs.code_bytes
    return sizes
