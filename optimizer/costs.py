"""What operators, boundaries and links cost on a given system, and where each figure comes from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from boards.board import Processor, System
from optimizer.errors import CostError
from optimizer.graph import Graph

__all__ = [
    "JOINT",
    "BoundaryCost",
    "CostTable",
    "LinkCost",
    "OperatorCost",
    "OperatorKey",
    "check_costs",
    "default_precision",
    "joint_precision",
    "merge_costs",
    "missing_rows",
    "require_rows",
]

OperatorKey = tuple[str, str, str]
"""(operator name, processor key "board/processor", precision)."""

_NAMED_ROWS = 5  # of many missing rows; the rest are counted


@dataclass(frozen=True)
class OperatorCost:
    """Cost of one operator on one processor at one precision; ``energy_j`` is active, idle included."""

    time_s: float
    energy_j: float
    provenance: str
    """How the figure was made: "roofline: <figures>", "profile: <board>", "import: <file>:<line>", ..."""


@dataclass(frozen=True)
class BoundaryCost:
    """What a cut costs the processor on either side: lost fusion, layout changes, one more invocation.

    A segment's time is the sum of its operators' plus ``segment_s`` plus ``s_per_byte`` for every byte of the
    tensors that enter or leave it (model input and output included; each tensor once a segment).
    """

    s_per_byte: float
    segment_s: float
    provenance: str


@dataclass(frozen=True)
class LinkCost:
    """Measured figures that replace those of the system file for one link (see boards.board.Link)."""

    bandwidth_bytes_per_s: float
    setup_s: float
    latency_s: float
    send_s_per_byte: float
    receive_s_per_byte: float
    provenance: str


@dataclass(frozen=True)
class CostTable:
    """Costs by (operator name, processor key, precision); processor key is "board/processor"."""

    operators: Mapping[OperatorKey, OperatorCost]
    boundaries: Mapping[str, BoundaryCost] = field(default_factory=dict)
    """By processor key."""
    links: Mapping[str, LinkCost] = field(default_factory=dict)
    """By link name."""
    model_sha256: str | None = None
    """Hash of the model the table was made for; None when it fits any model with these operator names."""


JOINT = "|"
"""Between precisions of which each operator takes the best: what bounds a choice among them."""


def joint_precision(precisions: Sequence[str]) -> str:
    """Stands for all of these precisions where each operator takes the best of theirs."""
    return JOINT.join(precisions)


def default_precision(processor: Processor) -> str:
    """Precision of a float32 model on a processor: fp32 where the processor has it, else its first."""
    rates = processor.macs_per_s
    return "fp32" if "fp32" in rates else next(iter(rates))


def merge_costs(*tables: CostTable) -> CostTable:
    """All rows of the tables; where two have the same row the later wins. Raises CostError for two models."""
    hashes = list(dict.fromkeys(t.model_sha256 for t in tables if t.model_sha256 is not None))
    if len(hashes) > 1:
        raise CostError(
            "cost tables of different models cannot be merged",
            expected=f"model sha256 {hashes[0][:16]} in all of them",
            got=hashes[1][:16],
            hint="Make both tables for the same model file and batch.",
        )
    operators: dict[OperatorKey, OperatorCost] = {}
    boundaries: dict[str, BoundaryCost] = {}
    links: dict[str, LinkCost] = {}
    for table in tables:
        operators.update(table.operators)
        boundaries.update(table.boundaries)
        links.update(table.links)
    return CostTable(operators, boundaries, links, hashes[0] if hashes else None)


def missing_rows(table: CostTable, graph: Graph, system: System) -> tuple[OperatorKey, ...]:
    """Rows a plan of this graph on this system needs and the table lacks, processor by processor."""
    return tuple(
        (operator.name, ref.key, precision)
        for ref in system.processors
        for precision in (default_precision(ref.processor),)
        for operator in graph.operators
        if (operator.name, ref.key, precision) not in table.operators
    )


def require_rows(table: CostTable, graph: Graph, system: System, where: str = "") -> None:
    """Raises CostError that names the missing rows, if any are."""
    missing = missing_rows(table, graph, system)
    if missing:
        named = "; ".join(f"{op} on {processor} at {precision}" for op, processor, precision in missing[:_NAMED_ROWS])
        more = len(missing) - _NAMED_ROWS
        raise CostError(
            f"cost rows are missing: {named}" + (f" and {more} more" if more > 0 else ""),
            where=where,
            expected="one row for each operator, processor and precision",
            got=f"{len(table.operators)} rows, {len(missing)} of the needed ones missing",
            hint="Profile the model on that board or add the rows.",
        )


def check_costs(table: CostTable, where: str = "") -> None:
    """Raises CostError for the first figure that is NaN, infinite or negative, or a bandwidth of zero."""
    for what, label, value, provenance in _figures(table):
        is_bandwidth = label == "bandwidth_bytes_per_s"
        if not math.isfinite(value) or value < 0 or (is_bandwidth and value == 0):
            raise CostError(
                f"{label} of {what} is not usable ({provenance})",
                where=where,
                expected="a finite number above zero" if is_bandwidth else "a finite number, zero or more",
                got=repr(value),
            )


def _figures(table: CostTable) -> Iterator[tuple[str, str, float, str]]:
    for (operator, processor, precision), cost in table.operators.items():
        what = f"operator {operator!r} on {processor} at {precision}"
        yield what, "time_s", cost.time_s, cost.provenance
        yield what, "energy_j", cost.energy_j, cost.provenance
    for processor, boundary in table.boundaries.items():
        what = f"the boundary of {processor}"
        yield what, "s_per_byte", boundary.s_per_byte, boundary.provenance
        yield what, "segment_s", boundary.segment_s, boundary.provenance
    for name, link in table.links.items():
        for label in (
            "bandwidth_bytes_per_s",
            "setup_s",
            "latency_s",
            "send_s_per_byte",
            "receive_s_per_byte",
        ):
            yield f"link {name}", label, getattr(link, label), link.provenance
