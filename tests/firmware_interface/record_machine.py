"""A compiled segment run record by record in exact integers, by reference.py; float32 records in double precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from firmware_interface import records as r
from firmware_interface import records_move as m
from firmware_interface import reference
from firmware_interface.compiler import Lowered
from firmware_interface.records_f32 import Convert

Bytes = npt.NDArray[np.int8]


class RecordMachine:
    """The arena and what happens in it."""

    def __init__(self, lowered: Lowered) -> None:
        self.lowered = lowered
        self.arena: Bytes = np.zeros(lowered.layout.arena_bytes, np.int8)
        self.weights = lowered.weights

    def run(self, inputs: Sequence[bytes]) -> list[bytes]:
        """Outputs by inputs, as bytes on the wire."""
        steps, offsets = self.lowered.steps, self.lowered.layout.offsets
        for tensor, data in zip(steps.inputs, inputs, strict=True):
            at = offsets[self._wire(tensor.name)]
            self.arena[at : at + len(data)] = np.frombuffer(data, np.int8)
        for record in self.lowered.records:
            _RUN[type(record)](self, record)
        places = [(offsets[self._wire(t.name)], t.size_bytes) for t in steps.outputs]
        return [self.arena[at : at + size].tobytes() for at, size in places]

    def _wire(self, name: str) -> str:
        return f"{name}@wire" if name in self.lowered.transposed else name

    def table(self, at: int, size: int) -> bytes:
        return self.weights[at : at + size]

    def read(self, at: int, *shape: int) -> Bytes:
        return self.arena[at : at + int(np.prod(shape))].reshape(shape).copy()

    def write(self, at: int, values: npt.NDArray[Any]) -> None:
        raw = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.int8)
        self.arena[at : at + raw.size] = raw

    def conv(self, c: r.ConvI8) -> None:
        w = c.window
        taps = w.kernel_height * w.kernel_width
        size = taps * (w.in_channels if c.depthwise else w.in_channels // c.groups * w.out_channels)
        image = self.read(c.input, w.in_height, w.in_width, w.in_channels)
        weights = np.frombuffer(self.table(c.weights, size), np.int8)
        self.write(c.output, reference.conv_i8(c, image, weights, self.table(c.channels, 12 * w.out_channels)))

    def pool(self, p: r.PoolI8) -> None:
        w = p.window
        image = self.read(p.input, w.in_height, w.in_width, w.in_channels)
        if p.counts:
            made = reference.average_pool_i8(p, image, self.table(p.multipliers, 8 * p.counts))
        else:
            made = reference.max_pool_i8(p, image)
        self.write(p.output, made)

    def add(self, a: r.AddI8) -> None:
        left, right = self.read(a.left, a.count), self.read(a.right, a.period)
        self.write(a.output, reference.add_i8(a, left, right))

    def mul(self, a: r.MulI8) -> None:
        left, right = self.read(a.left, a.count), self.read(a.right, a.period)
        self.write(a.output, reference.mul_i8(a, left, right))

    def function(self, t: r.TableI8) -> None:
        self.write(t.output, reference.table_i8(t, self.read(t.input, t.count), self.table(t.table, 256)))

    def softmax(self, s: r.SoftmaxI8) -> None:
        values = self.read(s.input, s.rows, s.columns)
        self.write(s.output, reference.softmax_i8(s, values, self.table(s.table, 1024)))

    def fill(self, f: m.Fill) -> None:
        self.write(f.output, np.frombuffer(f.value * f.count, np.int8))

    def move(self, v: m.Move) -> None:
        at = np.zeros((), np.int64), np.zeros((), np.int64)
        for n, *steps in zip(v.extents, v.input_steps, v.output_steps, strict=True):
            at = tuple(a[..., None] + np.arange(n) * s for a, s in zip(at, steps, strict=True))  # type: ignore[assignment]
        byte = np.arange(v.size_bytes)
        source = (v.input + at[0].reshape(-1, 1) * v.size_bytes + byte).reshape(-1)
        target = (v.output + at[1].reshape(-1, 1) * v.size_bytes + byte).reshape(-1)
        self.arena[target] = self.arena[source]

    def resize(self, z: m.Resize) -> None:
        rows = np.frombuffer(self.table(z.rows, 2 * z.out_height), "<u2")
        columns = np.frombuffer(self.table(z.columns, 2 * z.out_width), "<u2")
        image = self.read(z.input, z.in_height, z.in_width, z.pixel_bytes)
        self.write(z.output, image[rows][:, columns])

    def convert(self, c: Convert) -> None:
        if c.to_int8:
            values = self.read(c.input, 4 * c.count).view("<f4")
            made = np.rint(values / np.float32(c.scale)) + c.zero
            self.write(c.output, np.clip(made, -128, 127).astype(np.int8))
        else:
            values = self.read(c.input, c.count).astype(np.float32)
            self.write(c.output, ((values - np.float32(c.zero)) * np.float32(c.scale)).astype("<f4"))


_RUN: dict[type, Callable[[RecordMachine, Any], None]] = {
    r.ConvI8: RecordMachine.conv,
    r.PoolI8: RecordMachine.pool,
    r.AddI8: RecordMachine.add,
    r.MulI8: RecordMachine.mul,
    r.TableI8: RecordMachine.function,
    r.SoftmaxI8: RecordMachine.softmax,
    m.Fill: RecordMachine.fill,
    m.Move: RecordMachine.move,
    m.Resize: RecordMachine.resize,
    Convert: RecordMachine.convert,
}
