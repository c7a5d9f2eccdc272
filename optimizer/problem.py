"""A planning problem: graph + system + costs + limits, validated on construction and laid out as arrays.

Everything after this point trusts its input.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from boards.board import Link, ProcessorRef, System
from optimizer.costs import CostTable
from optimizer.errors import CostError, LimitError
from optimizer.graph import Graph
from optimizer.memory_order import OrderFound, always_live

__all__ = ["Limits", "Problem", "Tables"]

_WIDTH_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
_FLOAT_WIDTH = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True)
class Limits:
    """Hard limits on a plan. None and empty mean no limit. Pins name an operator and a board (or processor key)."""

    max_latency_s: float | None = None
    min_throughput_per_s: float | None = None
    max_energy_j: float | None = None
    max_ram_bytes: Mapping[str, int] = field(default_factory=dict)
    max_flash_bytes: Mapping[str, int] = field(default_factory=dict)
    pins: Mapping[str, str] = field(default_factory=dict)
    max_boards: int | None = None

    @property
    def max_period_s(self) -> float | None:
        return None if self.min_throughput_per_s is None else 1.0 / self.min_throughput_per_s


@dataclass(frozen=True)
class Tables:
    """The problem as arrays. Shapes: n operators, q processors, t tensors, b boards, i initializers."""

    time_s: npt.NDArray[np.float64]
    """(n, q) seconds of an operator on a processor."""
    energy_j: npt.NDArray[np.float64]
    """(n, q) active energy, idle included."""
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
    """(n, q) False where a pin forbids."""
    producer: npt.NDArray[np.int64]
    """(t,) operator index, -1 for a model input."""
    consumer_tensor: npt.NDArray[np.int64]
    consumer_operator: npt.NDArray[np.int64]
    """Edges tensor -> consuming operator, tensors ascending."""


@dataclass(frozen=True)
class Problem:
    """What is to be planned. Raises CostError or LimitError where the parts do not fit together."""

    graph: Graph
    system: System
    costs: CostTable
    limits: Limits = field(default_factory=Limits)
    non_contiguous: bool = False
    """Whether plans may come back to a processor (several segments a processor)."""

    def __post_init__(self) -> None:
        _check_limits(self)
        _check_costs(self)

    @cached_property
    def peaks(self) -> dict[tuple[str, tuple[int, ...], tuple[int, ...]], int]:
        """Arena peaks that ``evaluate`` has worked out, by processor, operators and crossing outputs."""
        return {}

    @cached_property
    def lowest_orders(self) -> dict[tuple[str, tuple[int, ...], tuple[int, ...]], OrderFound]:
        """Orders of segments with the lowest peak found, by processor, operators and crossing outputs."""
        return {}

    @cached_property
    def always_live(self) -> npt.NDArray[np.bool_]:
        """(t, n) True where a tensor is in memory while an operator runs, whatever the order."""
        return always_live(self.graph)

    @cached_property
    def processors(self) -> tuple[ProcessorRef, ...]:
        return self.system.processors

    @cached_property
    def precisions(self) -> tuple[str, ...]:
        """Precision by processor: fp32 where the processor has it, else its first."""
        return tuple(_precision(p) for p in self.system.processors)

    @cached_property
    def processor_index(self) -> dict[str, int]:
        return {p.key: i for i, p in enumerate(self.processors)}

    @cached_property
    def board_index(self) -> dict[str, int]:
        return {b.name: i for i, b in enumerate(self.system.boards)}

    @cached_property
    def links(self) -> tuple[Link, ...]:
        """The system's links with measured figures in place of the catalog's where there are any."""
        return tuple(_apply(link, self.costs) for link in self.system.links)

    @cached_property
    def link_by_name(self) -> dict[str, Link]:
        return {link.name: link for link in self.links}

    @cached_property
    def tables(self) -> Tables:
        return _build_tables(self)


def _precision(ref: ProcessorRef) -> str:
    rates = ref.processor.macs_per_s
    return "fp32" if "fp32" in rates else next(iter(rates))


def _apply(link: Link, costs: CostTable) -> Link:
    measured = costs.links.get(link.name)
    if measured is None:
        return link
    return replace(
        link,
        bandwidth_bytes_per_s=measured.bandwidth_bytes_per_s,
        setup_s=measured.setup_s,
        latency_s=measured.latency_s,
        send_s_per_byte=measured.send_s_per_byte,
        receive_s_per_byte=measured.receive_s_per_byte,
    )


def _check_limits(problem: Problem) -> None:
    limits, system = problem.limits, problem.system
    for label, value in (
        ("max latency", limits.max_latency_s),
        ("min throughput", limits.min_throughput_per_s),
        ("max energy", limits.max_energy_j),
        ("max boards", limits.max_boards),
    ):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise LimitError(f"{label} is not usable", expected="a finite number above zero", got=repr(value))
    names = [b.name for b in system.boards]
    for board in (*limits.max_ram_bytes, *limits.max_flash_bytes):
        if board not in names:
            raise LimitError(
                f"memory limit for unknown board {board!r}", expected=f"one of {', '.join(names)}", got=board
            )
    targets = {*names, *(p.key for p in system.processors)}
    for operator, target in limits.pins.items():
        if operator not in problem.graph.operator_by_name:
            raise LimitError(
                f"pinned operator {operator!r} is not in the model",
                expected="an operator name as `optimizer inspect` prints it",
                got=operator,
                hint=_near(operator, problem.graph.operator_by_name),
            )
        if target not in targets:
            raise LimitError(
                f"operator {operator!r} is pinned to unknown board {target!r}",
                expected=f"one of {', '.join(sorted(targets))}",
                got=target,
            )


def _near(name: str, names: Mapping[str, object]) -> str:
    import difflib

    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(close)}?" if close else ""


def _check_costs(problem: Problem) -> None:
    costs, graph = problem.costs, problem.graph
    if costs.model_sha256 is not None and costs.model_sha256 != graph.sha256:
        raise CostError(
            "the cost table was made for another model",
            expected=f"model sha256 {graph.sha256[:16]}",
            got=costs.model_sha256[:16],
            hint="Profile this model, or give the model the costs were made for.",
        )
    missing = [
        f"{op.name} on {ref.key} at {precision}"
        for ref, precision in zip(problem.system.processors, problem.precisions, strict=True)
        for op in graph.operators
        if (op.name, ref.key, precision) not in costs.operators
    ]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise CostError(
            "cost rows are missing: " + "; ".join(missing[:5]) + more,
            expected="one row for each operator, processor and precision",
            hint="Profile the model on that board or add the rows.",
        )
    for key, cost in costs.operators.items():
        for label, value in (("time_s", cost.time_s), ("energy_j", cost.energy_j)):
            if not (math.isfinite(value) and value >= 0):
                raise CostError(
                    f"{label} of operator {key[0]!r} on {key[1]} is not usable",
                    where=cost.provenance,
                    expected="a finite number, zero or more",
                    got=repr(value),
                )


def _build_tables(problem: Problem) -> Tables:
    graph, system = problem.graph, problem.system
    refs, precisions = problem.processors, problem.precisions
    board_index = problem.board_index
    n, q = len(graph.operators), len(refs)
    time_s, energy_j = np.zeros((n, q)), np.zeros((n, q))
    rows = problem.costs.operators
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
        tensor_bytes=np.array(
            [
                [
                    t.size_bytes if t.producer is None else _scaled(t.size_bytes, t.dtype, precision)
                    for precision in precisions
                ]
                for t in graph.tensors
            ],
            dtype=np.int64,
        ).reshape(len(graph.tensors), q),
        initializer_bytes=np.array(
            [[_scaled(i.size_bytes, i.dtype, p) for p in precisions] for i in graph.initializers],
            dtype=np.int64,
        ).reshape(len(graph.initializers), q),
        boundary_s_per_byte=np.array([b.s_per_byte if b else 0.0 for b in boundaries]),
        segment_s=np.array([b.segment_s if b else 0.0 for b in boundaries]),
        board_of=np.array([board_index[ref.board.name] for ref in refs], dtype=np.int64),
        ram_limit=np.array(
            [min(b.ram_bytes, problem.limits.max_ram_bytes.get(b.name, b.ram_bytes)) for b in system.boards],
            dtype=np.int64,
        ),
        flash_limit=tuple(
            _flash_limit(b.flash_bytes, problem.limits.max_flash_bytes.get(b.name)) for b in system.boards
        ),
        allowed=_allowed(problem),
        producer=producer,
        consumer_tensor=np.array([t for t, _ in edges], dtype=np.int64),
        consumer_operator=np.array([c for _, c in edges], dtype=np.int64),
    )


def _scaled(size_bytes: int, dtype: str, precision: str) -> int:
    """Bytes of a float tensor at a narrower precision; integers, bools and "fp32" keep the file's width."""
    width = _FLOAT_WIDTH.get(dtype)
    if width is None or precision == "fp32":
        return size_bytes
    return size_bytes * min(_WIDTH_BYTES[precision], width) // width


def _flash_limit(board: int | None, given: int | None) -> int | None:
    limits = [x for x in (board, given) if x is not None]
    return min(limits) if limits else None


def _allowed(problem: Problem) -> npt.NDArray[np.bool_]:
    allowed = np.ones((len(problem.graph.operators), len(problem.processors)), dtype=np.bool_)
    for name, target in problem.limits.pins.items():
        row = problem.graph.operator_by_name[name].index
        allowed[row] = [target in (ref.key, ref.board.name) for ref in problem.processors]
    return allowed
