"""What lowering fills: records with the operator each belongs to, weights, and the scratch that they need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from firmware_interface.compiler_graph import Step, Stored, Tensor
from firmware_interface.records import Window

__all__ = ["Emitter", "Record", "scratch_buffer", "window_of"]

BLOB_ALIGNMENT = 4


def scratch_buffer(operator: str) -> str:
    """Name in a layout of an operator's scratch."""
    return f"{operator}@scratch"


class Record(Protocol):
    """What all records can do."""

    def pack(self) -> bytes: ...


@dataclass
class Emitter:
    """Records in running order. ``places``: bytes in the arena by tensor name and by ``scratch_buffer(operator)``."""

    places: Mapping[str, int]
    records: list[Record] = field(default_factory=list)
    owners: list[str] = field(default_factory=list)
    weights: bytearray = field(default_factory=bytearray)
    scratch: dict[str, int] = field(default_factory=dict)
    """Bytes by operator that needs any."""
    tables: dict[bytes, int] = field(default_factory=dict)
    """Places of those that are kept once."""

    @property
    def scratch_bytes(self) -> int:
        """Up to where operators' scratch reaches."""
        return max((self.places.get(scratch_buffer(n), 0) + size for n, size in self.scratch.items()), default=0)

    def place(self, stored: Stored | Tensor) -> int:
        """Where a tensor lies."""
        return self.places[stored.tensor.name if isinstance(stored, Stored) else stored.name]

    def scratch_place(self, step: Step) -> int:
        """Where an operator's scratch lies, from the start of all scratch."""
        return self.places.get(scratch_buffer(step.name), 0)

    def weight(self, data: bytes | npt.NDArray[Any]) -> int:
        """Keep a table or weights; their place among the weights. Each begins at a multiple of 4."""
        at = len(self.weights)
        raw = data if isinstance(data, bytes) else np.ascontiguousarray(data).tobytes()
        self.weights += raw + bytes(-len(raw) % BLOB_ALIGNMENT)
        return at

    def shared(self, table: bytes) -> int:
        """The place of a table that is kept once."""
        if table not in self.tables:
            self.tables[table] = self.weight(table)
        return self.tables[table]

    def emit(self, step: Step | str, record: Record) -> None:
        """Add a record that belongs to an operator."""
        self.records.append(record)
        owner = step if isinstance(step, str) else step.name
        self.owners.append(owner)
        needed = getattr(record, "scratch_bytes", None)
        if needed is not None and needed():
            self.scratch[owner] = max(self.scratch.get(owner, 0), needed())


def window_of(step: Step, kernel: tuple[int, int]) -> Window:
    """The window of a convolution or pooling over images, from its attributes and shapes."""
    source, target = step.stored()[0].tensor, step.output.tensor
    if len(source.shape) != 4:
        raise step.refuse(f"an input of {len(source.shape)} axes", "images of four axes (batch, channels, two)")
    attributes = step.attributes
    strides = attributes.get("strides", [1, 1])
    dilations = attributes.get("dilations", [1, 1])
    pads = list(attributes.get("pads", [0, 0, 0, 0]))
    automatic = attributes.get("auto_pad", b"NOTSET").decode()
    if automatic.startswith("SAME"):
        for axis in (0, 1):
            reach = (target.shape[2 + axis] - 1) * strides[axis] + (kernel[axis] - 1) * dilations[axis] + 1
            missing = max(reach - source.shape[2 + axis], 0)
            pads[axis] = missing // 2 if automatic == "SAME_UPPER" else missing - missing // 2
    elif automatic == "VALID":
        pads = [0, 0, 0, 0]
    if min(pads) < 0:
        raise step.refuse(f"padding {pads}", "padding of zero or more")
    _, height, width, channels = source.stored_shape
    _, out_height, out_width, out_channels = target.stored_shape
    return Window(
        height, width, channels, out_height, out_width, out_channels, kernel[0], kernel[1], strides[0], strides[1],
        dilations[0], dilations[1], pads[0], pads[1],
    )  # fmt: skip
