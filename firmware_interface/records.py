"""The operators' records of a board image, as ``firmware/src/kernels/records.h`` lays them out; see KERNELS.md.

Each record packs itself; the tables that it points to (channels, multipliers, tables of 256) are made here as bytes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction

import numpy as np
import numpy.typing as npt

__all__ = [
    "RECORDS_VERSION", "AddI8", "ConvI8", "Kernel", "MulI8", "PoolI8", "SoftmaxI8", "TableI8", "Window",
    "add_multipliers", "all_short", "channel_table", "fixed_point", "function_table", "multiplier_table",
    "softmax_multiplier", "softmax_table", "with_head",
]  # fmt: skip

RECORDS_VERSION = 2
DOT_MOST = 65535
"""Products in one sum of a convolution."""
BIAS_MOST = 1 << 30
CONV_SHORT, CONV_POINTWISE = 1, 2
"""Flags of a convolution."""


class Kernel(IntEnum):
    """Numbers in the table of kernels."""

    COPY = 0
    CONV_I8 = 1
    DEPTHWISE_I8 = 2
    AVERAGE_POOL_I8 = 3
    MAX_POOL_I8 = 4
    ADD_I8 = 5
    MUL_I8 = 6
    TABLE_I8 = 7
    SOFTMAX_I8 = 8
    FILL = 9
    MOVE = 10
    RESIZE = 11
    QUANTIZE = 12
    DEQUANTIZE = 13
    CONV_F32 = 14
    DEPTHWISE_F32 = 15
    AVERAGE_POOL_F32 = 16
    MAX_POOL_F32 = 17
    ADD_F32 = 18
    MUL_F32 = 19
    UNARY_F32 = 20
    SOFTMAX_F32 = 21


def fixed_point(factor: float) -> tuple[int, int]:
    """Multiplier and shift of the requantisation: ``multiplier / 2 ** (32 + shift)`` nearest to ``factor``.

    The multiplier has 31 bits where the shift's range of -31 to 22 leaves it any. Raises ValueError for a factor
    that is negative, not finite, or 2 ** 30 and more.
    """
    if not (math.isfinite(factor) and 0 <= factor < 1 << 30):
        raise ValueError(f"a factor of {factor}: expected 0 to 2 ** 30")
    if factor == 0:
        return 0, 22
    _, exponent = math.frexp(factor)
    shift = min(-1 - exponent, 22)
    multiplier = round(Fraction(factor) * Fraction(2) ** (32 + shift))
    if multiplier == 1 << 31:
        multiplier, shift = 1 << 30, shift - 1
    return multiplier, max(shift, -31)


def add_multipliers(left_factor: float, right_factor: float) -> tuple[int, int, int]:
    """Left and right multiplier and their shift for an addition: factors are the inputs' scales over the output's.

    Raises ValueError for factors that are negative, not finite, or 2 ** 20 and more.
    """
    largest = max(left_factor, right_factor)
    if not (math.isfinite(largest) and min(left_factor, right_factor) >= 0 and largest < 1 << 20):
        raise ValueError(f"factors of {left_factor} and {right_factor}: expected 0 to 2 ** 20")
    _, exponent = math.frexp(largest)
    shift = min(max(21 - exponent, 1), 30)
    return round(Fraction(left_factor) * (1 << shift)), round(Fraction(right_factor) * (1 << shift)), shift


def channel_table(bias: npt.ArrayLike, factors: Sequence[float]) -> bytes:
    """Bias, multiplier and shift of each output channel.

    ``bias`` are integers with the input's zero point folded in: bias - zero * sum of the channel's weights. Raises
    ValueError for one beyond 2 ** 30.
    """
    rows = np.asarray(bias, np.int64).reshape(-1)
    if rows.size != len(factors):
        raise ValueError(f"{rows.size} biases for {len(factors)} factors")
    if rows.size and int(np.abs(rows).max()) > BIAS_MOST:
        raise ValueError(f"a bias of {int(np.abs(rows).max())} with the zero point folded in: at most 2 ** 30")
    return b"".join(struct.pack("<iii", b, *fixed_point(f)) for b, f in zip(rows.tolist(), factors, strict=True))


def all_short(table: bytes) -> bool:
    """Whether every shift of a table of channels is above 0."""
    return all(shift > 0 for _, _, shift in struct.iter_unpack("<iii", table))


def multiplier_table(factors: Sequence[float]) -> bytes:
    """Multipliers of an average pooling, by the count of elements from 1 on."""
    return b"".join(struct.pack("<ii", *fixed_point(factor)) for factor in factors)


def function_table(
    function: Callable[[float], float], in_scale: float, in_zero: int, out_scale: float, out_zero: int
) -> bytes:
    """int8 for each int8 of a function of one element: halves to even, saturated."""
    values = [function((q - in_zero) * in_scale) / out_scale for q in range(-128, 128)]
    return bytes(np.clip(np.rint(values) + out_zero, -128, 127).astype(np.int8))


def softmax_table(scale: float) -> bytes:
    """2 ** 23 times exp(-distance), for distances of 0 to 255 steps of the input's scale."""
    return np.array([round(math.exp(-d * scale) * (1 << 23)) for d in range(256)], "<u4").tobytes()


def softmax_multiplier(scale: float) -> int:
    """2 ** 8 over the output's scale. Raises ValueError where that is no u32 up to 2 ** 30."""
    multiplier = round(256 / scale)
    if not 0 <= multiplier <= 1 << 30:
        raise ValueError(f"an output scale of {scale}: expected at least 2 ** -22")
    return multiplier


@dataclass(frozen=True)
class Window:
    """A window that slides over an image; elements. Bottom and right padding follow from the output's size."""

    in_height: int
    in_width: int
    in_channels: int
    out_height: int
    out_width: int
    out_channels: int
    kernel_height: int = 1
    kernel_width: int = 1
    stride_height: int = 1
    stride_width: int = 1
    dilation_height: int = 1
    dilation_width: int = 1
    pad_top: int = 0
    pad_left: int = 0

    def pack(self) -> bytes:
        """28 bytes. Raises struct.error for a figure that is no u16."""
        return struct.pack(
            "<14H", self.in_height, self.in_width, self.in_channels, self.out_height, self.out_width,
            self.out_channels, self.kernel_height, self.kernel_width, self.stride_height, self.stride_width,
            self.dilation_height, self.dilation_width, self.pad_top, self.pad_left,
        )  # fmt: skip


def with_head(kernel: Kernel, body: bytes) -> bytes:
    """A record: kernel, bytes, body."""
    return struct.pack("<HH", kernel, len(body) + 4) + body


@dataclass(frozen=True, kw_only=True)
class ConvI8:
    """int8 convolution; ``depthwise`` chooses the kernel and the layout of its weights."""

    window: Window
    input: int
    output: int
    weights: int
    channels: int
    groups: int = 1
    input_zero: int = 0
    output_zero: int = 0
    low: int = -128
    high: int = 127
    depthwise: bool = False
    short: bool = False
    """Whether all channels have a shift above 0 (`all_short`), so that sums are requantised the short way."""
    scratch: int = 0
    """Place in the scratch of what ``scratch_bytes`` says."""

    def pack(self) -> bytes:
        """The record."""
        return with_head(
            Kernel.DEPTHWISE_I8 if self.depthwise else Kernel.CONV_I8,
            self.window.pack()
            + struct.pack(
                "<IIIIHbbbbHI", self.input, self.output, self.weights, self.channels, self.groups, self.input_zero,
                self.output_zero, self.low, self.high, self._flags(), self.scratch,
            ),
        )  # fmt: skip

    def scratch_bytes(self) -> int:
        """What the kernel needs of the scratch."""
        w = self.window
        if self.depthwise:
            return 29 * w.in_channels
        return 0 if self._pointwise() else 2 * w.kernel_height * w.kernel_width * (w.in_channels // self.groups)

    def _pointwise(self) -> bool:
        """Whether output pixels are the input's one by one, and nothing is gathered."""
        w = self.window
        same = (w.out_height, w.out_width, w.stride_height, w.stride_width) == (w.in_height, w.in_width, 1, 1)
        point = (w.kernel_height, w.kernel_width, self.groups, w.pad_top, w.pad_left) == (1, 1, 1, 0, 0)
        return same and point and not self.depthwise

    def _flags(self) -> int:
        return (CONV_SHORT if self.short else 0) | (CONV_POINTWISE if self._pointwise() else 0)


@dataclass(frozen=True, kw_only=True)
class PoolI8:
    """int8 pooling; average where ``counts`` is not 0."""

    window: Window
    input: int
    output: int
    multipliers: int = 0
    counts: int = 0
    input_zero: int = 0
    output_zero: int = 0
    low: int = -128
    high: int = 127

    def pack(self) -> bytes:
        """The record."""
        return with_head(
            Kernel.AVERAGE_POOL_I8 if self.counts else Kernel.MAX_POOL_I8,
            self.window.pack()
            + struct.pack(
                "<IIIIbbbb", self.input, self.output, self.multipliers, self.counts, self.input_zero,
                self.output_zero, self.low, self.high,
            ),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class AddI8:
    """int8 addition; ``right`` has ``period`` elements and is repeated."""

    left: int
    right: int
    output: int
    count: int
    period: int
    left_multiplier: int
    right_multiplier: int
    shift: int
    left_zero: int = 0
    right_zero: int = 0
    output_zero: int = 0
    low: int = -128
    high: int = 127

    def pack(self) -> bytes:
        """The record."""
        return with_head(
            Kernel.ADD_I8,
            struct.pack(
                "<IIIIIiiibbbbb3x", self.left, self.right, self.output, self.count, self.period, self.left_multiplier,
                self.right_multiplier, self.shift, self.left_zero, self.right_zero, self.output_zero, self.low,
                self.high,
            ),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class MulI8:
    """int8 multiplication; ``right`` has ``period`` elements and is repeated."""

    left: int
    right: int
    output: int
    count: int
    period: int
    multiplier: int
    shift: int
    left_zero: int = 0
    right_zero: int = 0
    output_zero: int = 0
    low: int = -128
    high: int = 127

    def pack(self) -> bytes:
        """The record."""
        return with_head(
            Kernel.MUL_I8,
            struct.pack(
                "<IIIIIiibbbbb3x", self.left, self.right, self.output, self.count, self.period, self.multiplier,
                self.shift, self.left_zero, self.right_zero, self.output_zero, self.low, self.high,
            ),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TableI8:
    """A function of one int8 element."""

    input: int
    output: int
    count: int
    table: int

    def pack(self) -> bytes:
        """The record."""
        return with_head(Kernel.TABLE_I8, struct.pack("<IIII", self.input, self.output, self.count, self.table))


@dataclass(frozen=True, kw_only=True)
class SoftmaxI8:
    """int8 softmax of each row."""

    input: int
    output: int
    rows: int
    columns: int
    table: int
    multiplier: int
    output_zero: int

    def pack(self) -> bytes:
        """The record."""
        return with_head(
            Kernel.SOFTMAX_I8,
            struct.pack(
                "<IIIIIIb3x", self.input, self.output, self.rows, self.columns, self.table, self.multiplier,
                self.output_zero,
            ),
        )  # fmt: skip
