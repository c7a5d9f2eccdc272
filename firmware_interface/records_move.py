"""Records of the kernels that only move elements: slices, transposes, concatenation, padding, nearest resizing."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from firmware_interface.records import Kernel, with_head

__all__ = ["Fill", "Move", "Resize"]

MOVE_AXES = 6


@dataclass(frozen=True, kw_only=True)
class Fill:
    """``count`` equal elements of 1, 2 or 4 bytes; ``value`` is the element's bytes."""

    output: int
    count: int
    value: bytes

    def pack(self) -> bytes:
        """The record."""
        size = len(self.value)
        return with_head(Kernel.FILL, struct.pack("<III", self.output, self.count, size) + self.value.ljust(4, b"\0"))


@dataclass(frozen=True, kw_only=True)
class Move:
    """output[at] = input[at] over a box of up to six axes.

    Steps are elements and may be negative or zero; ``input`` and ``output`` are bytes of the element with index 0.
    """

    input: int
    output: int
    size_bytes: int
    extents: Sequence[int]
    input_steps: Sequence[int]
    output_steps: Sequence[int]

    def pack(self) -> bytes:
        """The record. Raises ValueError for more than six axes or lists of unlike length."""
        axes = len(self.extents)
        if axes > MOVE_AXES or len(self.input_steps) != axes or len(self.output_steps) != axes:
            raise ValueError(f"{axes} extents, {len(self.input_steps)} and {len(self.output_steps)} steps: at most 6")
        missing = MOVE_AXES - axes
        extents = [1] * missing + list(self.extents)
        steps = [0] * missing + list(self.input_steps) + [0] * missing + list(self.output_steps)
        return with_head(
            Kernel.MOVE, struct.pack("<III6I12i", self.input, self.output, self.size_bytes, *extents, *steps)
        )


@dataclass(frozen=True, kw_only=True)
class Resize:
    """output[y][x] = input[rows[y]][columns[x]]; ``rows`` and ``columns`` are places of u16 tables in the weights."""

    input: int
    output: int
    rows: int
    columns: int
    in_height: int
    in_width: int
    out_height: int
    out_width: int
    pixel_bytes: int

    def pack(self) -> bytes:
        """The record."""
        return with_head(
            Kernel.RESIZE,
            struct.pack(
                "<IIIIHHHHI", self.input, self.output, self.rows, self.columns, self.in_height, self.in_width,
                self.out_height, self.out_width, self.pixel_bytes,
            ),
        )  # fmt: skip
