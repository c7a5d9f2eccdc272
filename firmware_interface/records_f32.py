"""Records of the float32 kernels, and of the ways between float32 and int8."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from enum import IntEnum

from firmware_interface.records import Kernel, Window, with_head

__all__ = ["BinaryF32", "ConvF32", "Convert", "PoolF32", "SoftmaxF32", "Unary", "UnaryF32"]


class Unary(IntEnum):
    """Functions of one element; the clip of the result to ``low`` and ``high`` comes last."""

    CLIP = 0
    SIGMOID = 1
    HARD_SWISH = 2


@dataclass(frozen=True, kw_only=True)
class Convert:
    """QuantizeLinear, or DequantizeLinear where ``to_int8`` is false; one scale for the tensor."""

    to_int8: bool
    input: int
    output: int
    count: int
    scale: float
    zero: int

    def pack(self) -> bytes:
        """The record."""
        kernel = Kernel.QUANTIZE if self.to_int8 else Kernel.DEQUANTIZE
        return with_head(kernel, struct.pack("<IIIfi", self.input, self.output, self.count, self.scale, self.zero))


@dataclass(frozen=True, kw_only=True)
class ConvF32:
    """float32 convolution; ``depthwise`` chooses the kernel and the layout of its weights."""

    window: Window
    input: int
    output: int
    weights: int
    bias: int
    groups: int = 1
    low: float = -math.inf
    high: float = math.inf
    depthwise: bool = False
    scratch: int = 0
    """Place in the scratch of what ``scratch_bytes`` says."""

    def pack(self) -> bytes:
        """The record."""
        kernel = Kernel.DEPTHWISE_F32 if self.depthwise else Kernel.CONV_F32
        places = (self.input, self.output, self.weights, self.bias)
        return with_head(
            kernel,
            self.window.pack() + struct.pack("<IIIIffII", *places, self.low, self.high, self.groups, self.scratch),
        )

    def scratch_bytes(self) -> int:
        """What the kernel needs of the scratch."""
        w = self.window
        return 0 if self.depthwise else 4 * w.kernel_height * w.kernel_width * (w.in_channels // self.groups)


@dataclass(frozen=True, kw_only=True)
class PoolF32:
    """float32 pooling. ``count`` divides the sum; 0: the count of the elements inside the image."""

    average: bool
    window: Window
    input: int
    output: int
    count: int = 0
    low: float = -math.inf
    high: float = math.inf

    def pack(self) -> bytes:
        """The record."""
        kernel = Kernel.AVERAGE_POOL_F32 if self.average else Kernel.MAX_POOL_F32
        rest = struct.pack("<IIIff", self.input, self.output, self.count, self.low, self.high)
        return with_head(kernel, self.window.pack() + rest)


@dataclass(frozen=True, kw_only=True)
class BinaryF32:
    """float32 addition or multiplication; ``right`` has ``period`` elements and is repeated."""

    multiply: bool
    left: int
    right: int
    output: int
    count: int
    period: int
    low: float = -math.inf
    high: float = math.inf

    def pack(self) -> bytes:
        """The record."""
        kernel = Kernel.MUL_F32 if self.multiply else Kernel.ADD_F32
        places = (self.left, self.right, self.output, self.count, self.period)
        return with_head(kernel, struct.pack("<IIIIIff", *places, self.low, self.high))


@dataclass(frozen=True, kw_only=True)
class UnaryF32:
    """A function of one float32 element."""

    function: Unary
    input: int
    output: int
    count: int
    low: float = -math.inf
    high: float = math.inf

    def pack(self) -> bytes:
        """The record."""
        places = (self.input, self.output, self.count, self.function)
        return with_head(Kernel.UNARY_F32, struct.pack("<IIIIff", *places, self.low, self.high))


@dataclass(frozen=True, kw_only=True)
class SoftmaxF32:
    """float32 softmax of each row."""

    input: int
    output: int
    rows: int
    columns: int

    def pack(self) -> bytes:
        """The record."""
        return with_head(Kernel.SOFTMAX_F32, struct.pack("<IIII", self.input, self.output, self.rows, self.columns))
