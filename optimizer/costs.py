"""What operators, boundaries and links cost on a given system, and where each figure comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["BoundaryCost", "CostTable", "LinkCost", "OperatorCost"]


@dataclass(frozen=True)
class OperatorCost:
    """Cost of one operator on one processor at one precision. ``energy_j`` is active energy, idle included."""

    time_s: float
    energy_j: float
    provenance: str
    """How the figure was made: "roofline", "profile: <board>, <date>", "import: <file>:<line>", ..."""


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

    operators: Mapping[tuple[str, str, str], OperatorCost]
    boundaries: Mapping[str, BoundaryCost] = field(default_factory=dict)
    """By processor key."""
    links: Mapping[str, LinkCost] = field(default_factory=dict)
    """By link name."""
    model_sha256: str | None = None
    """Hash of the model the table was made for; None when it fits any model with these operator names."""
