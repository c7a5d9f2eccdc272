"""What each int8 record computes, in exact integers: the kernels equal it bit for bit. KERNELS.md is its text.

Functions take tensors as NumPy arrays [height, width, channels] and return int8; Python's and NumPy's int64 do not
overflow within the limits that the records have.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from firmware_interface.records import AddI8, ConvI8, MulI8, PoolI8, SoftmaxI8, TableI8, Window

__all__ = ["add_i8", "average_pool_i8", "conv_i8", "max_pool_i8", "mul_i8", "requantize", "softmax_i8", "table_i8"]

Int8 = npt.NDArray[np.int8]
Int64 = npt.NDArray[np.int64]


def requantize(accumulator: npt.ArrayLike, multiplier: npt.ArrayLike, shift: npt.ArrayLike, zero: int) -> Int8:
    """zero + floor((accumulator * multiplier + 2 ** (31 + shift)) / 2 ** (32 + shift)), saturated to int8."""
    bits = np.asarray(shift, np.int64) + 32
    product = np.asarray(accumulator, np.int64) * np.asarray(multiplier, np.int64)
    rounded = (product + (np.int64(1) << (bits - 1))) >> bits
    return _limited(rounded + zero, -128, 127)


def _limited(values: npt.NDArray[np.integer[Any]], low: int, high: int) -> Int8:
    return np.asarray(np.clip(values, low, high), np.int8)


@dataclass(frozen=True)
class _Channels:
    bias: Int64
    multiplier: Int64
    shift: Int64


def _channels(table: bytes) -> _Channels:
    rows = np.frombuffer(table, "<i4").astype(np.int64).reshape(-1, 3)
    return _Channels(rows[:, 0], rows[:, 1], rows[:, 2])


def _under(window: Window, image: Int64, outside: int) -> tuple[Int64, npt.NDArray[np.bool_]]:
    """Elements under the window at each place, [out height, out width, taps, channels], and which lie in the image."""
    taps = window.kernel_height * window.kernel_width
    rows = np.arange(window.out_height)[:, None] * window.stride_height - window.pad_top
    rows = rows + np.arange(window.kernel_height) * window.dilation_height
    columns = np.arange(window.out_width)[:, None] * window.stride_width - window.pad_left
    columns = columns + np.arange(window.kernel_width) * window.dilation_width
    y = np.broadcast_to(rows[:, None, :, None], (*rows.shape[:1], columns.shape[0], rows.shape[1], columns.shape[1]))
    x = np.broadcast_to(columns[None, :, None, :], y.shape)
    valid = (y >= 0) & (y < window.in_height) & (x >= 0) & (x < window.in_width)
    found = image[np.where(valid, y, 0), np.where(valid, x, 0)]
    values = np.where(valid[..., None], found, outside)
    shape = (window.out_height, window.out_width, taps)
    return values.reshape(*shape, window.in_channels), valid.reshape(shape)


def conv_i8(record: ConvI8, image: Int8, weights: Int8, channels: bytes) -> Int8:
    """Convolution; depthwise where the record says so. ``weights`` in the record's layout, flat or shaped."""
    w = record.window
    under, _ = _under(w, image.astype(np.int64), record.input_zero)
    taps = w.kernel_height * w.kernel_width
    if record.depthwise:
        sums = np.einsum("yxtc,tc->yxc", under, weights.astype(np.int64).reshape(taps, w.in_channels))
    else:
        each_in, each_out = w.in_channels // record.groups, w.out_channels // record.groups
        rows = weights.astype(np.int64).reshape(record.groups, each_out, taps, each_in)
        split = under.reshape(w.out_height, w.out_width, taps, record.groups, each_in)
        sums = np.einsum("yxtgi,goti->yxgo", split, rows).reshape(w.out_height, w.out_width, w.out_channels)
    table = _channels(channels)
    output = requantize(sums + table.bias, table.multiplier, table.shift, record.output_zero)
    return _limited(output, record.low, record.high)


def average_pool_i8(record: PoolI8, image: Int8, multipliers: bytes) -> Int8:
    """Average pooling: the sum of the elements inside less their zero point, by the multiplier of their count."""
    under, valid = _under(record.window, image.astype(np.int64), record.input_zero)
    sums = (under - record.input_zero).sum(axis=2)
    counts = valid.sum(axis=2)
    table = np.frombuffer(multipliers, "<i4").astype(np.int64).reshape(-1, 2)
    entry = table[np.zeros_like(counts) if record.counts == 1 else np.maximum(counts - 1, 0)]
    output = requantize(sums, entry[..., 0:1], entry[..., 1:2], record.output_zero)
    return _limited(output, record.low, record.high)


def max_pool_i8(record: PoolI8, image: Int8) -> Int8:
    """Maximum of the elements inside; -128 where there is none."""
    under, _ = _under(record.window, image.astype(np.int64), -128)
    return _limited(under.max(axis=2), record.low, record.high)


def _repeated(right: Int8, record: AddI8 | MulI8) -> Int64:
    return np.tile(right.astype(np.int64).reshape(-1), record.count // record.period)


def add_i8(record: AddI8, left: Int8, right: Int8) -> Int8:
    """output zero + floor((l * left multiplier + r * right multiplier + 2 ** (shift - 1)) / 2 ** shift)."""
    a = (left.astype(np.int64).reshape(-1) - record.left_zero) * record.left_multiplier
    b = (_repeated(right, record) - record.right_zero) * record.right_multiplier
    rounded = ((a + b + (1 << (record.shift - 1))) >> record.shift) + record.output_zero
    return _limited(rounded, record.low, record.high)


def mul_i8(record: MulI8, left: Int8, right: Int8) -> Int8:
    """The product of what lies above the zero points, requantised."""
    a = left.astype(np.int64).reshape(-1) - record.left_zero
    b = _repeated(right, record) - record.right_zero
    return _limited(requantize(a * b, record.multiplier, record.shift, record.output_zero), record.low, record.high)


def table_i8(record: TableI8, values: Int8, table: bytes) -> Int8:
    """Entry ``value + 128`` of the table."""
    return np.frombuffer(table, np.int8)[values.astype(np.int64).reshape(-1)[: record.count] + 128]


def softmax_i8(record: SoftmaxI8, values: Int8, table: bytes) -> Int8:
    """output zero + floor((2 * e * multiplier + 2 ** 8 * sum) / (2 ** 9 * sum)), e by the distance from the maximum."""
    rows = values.astype(np.int64).reshape(record.rows, record.columns)
    entries = struct.unpack("<256I", table)
    output = np.empty(rows.shape, np.int8)
    for at, row in enumerate(rows.tolist()):
        parts = [entries[max(row) - value] for value in row]
        total = sum(parts)
        numbers = [(2 * e * record.multiplier + (total << 8)) // (total << 9) + record.output_zero for e in parts]
        output[at] = [min(number, 127) for number in numbers]
    return output
