"""Bytes of each kernel's record, as the classes that pack them say."""

from __future__ import annotations

from firmware_interface.compiler_emit import Record
from firmware_interface.image import copy_record
from firmware_interface.records import AddI8, ConvI8, Kernel, MulI8, PoolI8, SoftmaxI8, TableI8, Window
from firmware_interface.records_f32 import BinaryF32, Convert, ConvF32, PoolF32, SoftmaxF32, Unary, UnaryF32
from firmware_interface.records_move import Fill, Move, Resize

__all__ = ["record_sizes"]

_POINT = Window(1, 1, 1, 1, 1, 1)
_SAMPLES: tuple[Record, ...] = (
    ConvI8(window=_POINT, input=0, output=0, weights=0, channels=0),
    ConvI8(window=_POINT, input=0, output=0, weights=0, channels=0, depthwise=True),
    PoolI8(window=_POINT, input=0, output=0, counts=1),
    PoolI8(window=_POINT, input=0, output=0),
    AddI8(left=0, right=0, output=0, count=1, period=1, left_multiplier=0, right_multiplier=0, shift=1),
    MulI8(left=0, right=0, output=0, count=1, period=1, multiplier=0, shift=0),
    TableI8(input=0, output=0, count=1, table=0),
    SoftmaxI8(input=0, output=0, rows=1, columns=1, table=0, multiplier=0, output_zero=0),
    Fill(output=0, count=1, value=b"\0"),
    Move(input=0, output=0, size_bytes=1, extents=(), input_steps=(), output_steps=()),
    Resize(
        input=0, output=0, rows=0, columns=0, in_height=1, in_width=1, out_height=1, out_width=1, pixel_bytes=1
    ),
    Convert(to_int8=True, input=0, output=0, count=1, scale=1.0, zero=0),
    Convert(to_int8=False, input=0, output=0, count=1, scale=1.0, zero=0),
    ConvF32(window=_POINT, input=0, output=0, weights=0, bias=0),
    ConvF32(window=_POINT, input=0, output=0, weights=0, bias=0, depthwise=True),
    PoolF32(average=True, window=_POINT, input=0, output=0),
    PoolF32(average=False, window=_POINT, input=0, output=0),
    BinaryF32(multiply=False, left=0, right=0, output=0, count=1, period=1),
    BinaryF32(multiply=True, left=0, right=0, output=0, count=1, period=1),
    UnaryF32(function=Unary.CLIP, input=0, output=0, count=1),
    SoftmaxF32(input=0, output=0, rows=1, columns=1),
)  # fmt: skip


def record_sizes() -> dict[str, int]:
    """Bytes by kernel name, in the order of the kernels' numbers."""
    packed = [copy_record(0, 0, 0), *(record.pack() for record in _SAMPLES)]
    sizes = {int.from_bytes(raw[:2], "little"): len(raw) for raw in packed}
    return {kernel.name: sizes[kernel] for kernel in Kernel}
