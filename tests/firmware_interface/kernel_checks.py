"""Checks of single kernels, wherever they run: int8 against the integer reference, float32 against double precision."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from firmware_interface import records as r
from firmware_interface import reference
from firmware_interface.records_f32 import BinaryF32, Convert, ConvF32, PoolF32, SoftmaxF32, Unary, UnaryF32
from firmware_interface.records_move import Fill, Move, Resize
from tests.firmware_interface.qdq import ScaleZero, quantize

Int8 = npt.NDArray[np.int8]
Real = npt.NDArray[np.float64]


class Kernels(Protocol):
    """Something that runs records: a process of this machine, or a board."""

    def run(self, record: bytes, *, arena: bytes, weights: bytes = b"", scratch_bytes: int = 0) -> bytes:
        """The arena afterwards."""
        ...


def image(rng: np.random.Generator, *shape: int) -> Int8:
    """Random int8."""
    return rng.integers(-128, 128, shape, dtype=np.int8)


def floats(rng: np.random.Generator, *shape: int) -> npt.NDArray[np.float32]:
    """Random float32."""
    return rng.normal(size=shape).astype(np.float32)


def close(made: bytes, expected: Real) -> None:
    """Within 1e-5 of the largest magnitude."""
    got = np.frombuffer(made, np.float32).reshape(expected.shape)
    assert np.abs(got - expected).max() <= 1e-5 * max(np.abs(expected).max(), 1e-30)


def under(w: r.Window, values: Real, outside: float) -> tuple[Real, Real]:
    """Elements under the window, [out height, out width, taps, channels], and how many lie in the image."""
    found = np.full((w.out_height, w.out_width, w.kernel_height * w.kernel_width, w.in_channels), outside)
    counts = np.zeros((w.out_height, w.out_width, 1))
    for oy, ox, ky, kx in np.ndindex(w.out_height, w.out_width, w.kernel_height, w.kernel_width):
        y = oy * w.stride_height - w.pad_top + ky * w.dilation_height
        x = ox * w.stride_width - w.pad_left + kx * w.dilation_width
        if 0 <= y < w.in_height and 0 <= x < w.in_width:
            found[oy, ox, ky * w.kernel_width + kx] = values[y, x]
            counts[oy, ox] += 1
    return found, counts


def check_conv_i8(host: Kernels, window: r.Window, values: Int8, weights: Int8, table: bytes, **rest: Any) -> Int8:
    """Convolution, depthwise or not; what was made."""
    out = window.out_height * window.out_width * window.out_channels
    rest = {"short": r.all_short(table), **rest}
    record = r.ConvI8(window=window, input=0, output=values.size, weights=len(table), channels=0, **rest)
    after = host.run(
        record.pack(), arena=values.tobytes() + bytes(out), weights=table + weights.tobytes(),
        scratch_bytes=record.scratch_bytes(),
    )  # fmt: skip
    expected = reference.conv_i8(record, values, weights, table)
    made = np.frombuffer(after[values.size :], np.int8).reshape(expected.shape)
    np.testing.assert_array_equal(made, expected)
    return made


def check_pool_i8(host: Kernels, window: r.Window, seed: int, *, average: bool, ragged: bool) -> None:
    """Pooling; ``ragged``: a multiplier for each count of elements."""
    rng = np.random.default_rng(seed)
    values = image(rng, window.in_height, window.in_width, window.in_channels)
    counts = window.kernel_height * window.kernel_width if ragged else 1
    factors = [float(rng.uniform(0.3, 3)) / (n + 1) for n in range(counts)]
    table = r.multiplier_table(factors)
    zeros = {"input_zero": int(rng.integers(-128, 128)), "output_zero": int(rng.integers(-128, 128))}
    record = r.PoolI8(window=window, input=0, output=values.size, counts=len(factors) if average else 0, **zeros)
    out = window.out_height * window.out_width * window.in_channels
    after = host.run(record.pack(), arena=values.tobytes() + bytes(out), weights=table)
    expected = reference.average_pool_i8(record, values, table) if average else reference.max_pool_i8(record, values)
    np.testing.assert_array_equal(np.frombuffer(after[values.size :], np.int8).reshape(expected.shape), expected)


def check_binary_i8(
    host: Kernels, seed: int, *, period: int, repeats: int, scales: tuple[float, float, float], multiply: bool
) -> None:
    """Addition or multiplication; scales of left, right, output."""
    rng = np.random.default_rng(seed)
    count = period * repeats
    left, right = image(rng, count), image(rng, period)
    zeros = dict(zip(("left_zero", "right_zero", "output_zero"), rng.integers(-128, 128, 3).tolist(), strict=True))
    places: dict[str, Any] = {"left": 0, "right": count, "output": count + period, "count": count, "period": period}
    expected: Int8
    if multiply:
        multiplier, shift = r.fixed_point(scales[0] * scales[1] / scales[2])
        mul = r.MulI8(**places, **zeros, multiplier=multiplier, shift=shift)
        packed, expected = mul.pack(), reference.mul_i8(mul, left, right)
    else:
        a, b, shift = r.add_multipliers(scales[0] / scales[2], scales[1] / scales[2])
        add = r.AddI8(**places, **zeros, left_multiplier=a, right_multiplier=b, shift=shift)
        packed, expected = add.pack(), reference.add_i8(add, left, right)
    after = host.run(packed, arena=left.tobytes() + right.tobytes() + bytes(count))
    np.testing.assert_array_equal(np.frombuffer(after[count + period :], np.int8), expected)


def check_softmax_i8(host: Kernels, seed: int, *, rows: int, columns: int, scale: float) -> None:
    """Equal to the reference, and within a step of the real function."""
    values = image(np.random.default_rng(seed), rows, columns)
    table = r.softmax_table(scale)
    record = r.SoftmaxI8(
        input=0, output=values.size, rows=rows, columns=columns, table=0,
        multiplier=r.softmax_multiplier(1 / 256), output_zero=-128,
    )  # fmt: skip
    after = host.run(record.pack(), arena=values.tobytes() * 2, weights=table)
    made = np.frombuffer(after[values.size :], np.int8).reshape(values.shape)
    np.testing.assert_array_equal(made, reference.softmax_i8(record, values, table))
    powers = np.exp((values.astype(float) - values.max(axis=1, keepdims=True)) * scale)
    real = np.clip(np.rint(powers / powers.sum(axis=1, keepdims=True) * 256) - 128, -128, 127)
    assert np.abs(made - real).max() <= 1


def check_table_i8(host: Kernels) -> None:
    """Every entry."""
    values = np.arange(-128, 128).astype(np.int8)
    table = np.random.default_rng(1).integers(-128, 128, 256, dtype=np.int8).tobytes()
    record = r.TableI8(input=0, output=0, count=256, table=0)
    assert host.run(record.pack(), arena=values.tobytes(), weights=table) == table
    assert reference.table_i8(record, values, table).tobytes() == table


def check_conv_f32(host: Kernels, w: r.Window, seed: int, *, groups: int, depthwise: bool) -> None:
    """Convolution that ends with a lower limit."""
    rng = np.random.default_rng(seed)
    each_in, each_out = w.in_channels // groups, w.out_channels // groups
    taps = w.kernel_height * w.kernel_width
    values = floats(rng, w.in_height, w.in_width, w.in_channels)
    weights, bias = floats(rng, groups, each_out, taps, each_in), floats(rng, w.out_channels)
    seen, _ = under(w, values.astype(float), 0.0)
    split = seen.reshape(w.out_height, w.out_width, taps, groups, each_in)
    expected = np.einsum("yxtgi,goti->yxgo", split, weights.astype(float)).reshape(w.out_height, w.out_width, -1) + bias
    laid = weights[:, 0, :, 0].T if depthwise else weights
    record = ConvF32(
        window=w, input=0, output=values.nbytes, weights=bias.nbytes, bias=0, groups=groups, depthwise=depthwise,
        low=-2.0,
    )  # fmt: skip
    after = host.run(
        record.pack(), arena=values.tobytes() + bytes(4 * expected.size), weights=bias.tobytes() + laid.tobytes(),
        scratch_bytes=record.scratch_bytes(),
    )  # fmt: skip
    close(after[values.nbytes :], np.maximum(expected, -2.0))


def check_pool_f32(host: Kernels, w: r.Window, seed: int, *, average: bool) -> None:
    """Pooling over the elements inside."""
    values = floats(np.random.default_rng(seed), w.in_height, w.in_width, w.in_channels)
    seen, counts = under(w, values.astype(float), 0.0 if average else -9.0)
    expected = seen.sum(axis=2) / np.maximum(counts, 1) if average else seen.max(axis=2)
    record = PoolF32(average=average, window=w, input=0, output=values.nbytes, low=-9.0)
    after = host.run(record.pack(), arena=values.tobytes() + bytes(4 * expected.size))
    close(after[values.nbytes :], expected)


def check_unary_f32(host: Kernels, function: Unary, count: int = 4001) -> None:
    """From -100 to 100."""
    values = np.concatenate([np.linspace(-100, 100, count), [0.0]]).astype(np.float32)
    record = UnaryF32(function=function, input=0, output=0, count=values.size, low=-5.0, high=50.0)
    x = values.astype(float)
    real = {Unary.CLIP: x, Unary.SIGMOID: 1 / (1 + np.exp(-x)), Unary.HARD_SWISH: x * np.clip(x / 6 + 0.5, 0, 1)}
    close(host.run(record.pack(), arena=values.tobytes()), np.clip(real[function], -5, 50))


def check_binary_and_softmax_f32(host: Kernels, seed: int, *, multiply: bool, period: int, rows: int) -> None:
    """Addition or multiplication by a vector that repeats, and softmax of its left operand's rows."""
    rng = np.random.default_rng(seed)
    left, right = floats(rng, rows, period) * 10, floats(rng, period)
    places: dict[str, Any] = {"left": 0, "right": left.nbytes, "output": left.nbytes + right.nbytes}
    record = BinaryF32(multiply=multiply, count=left.size, period=period, **places)
    after = host.run(record.pack(), arena=left.tobytes() + right.tobytes() + bytes(left.nbytes))
    a, b = left.astype(float), right.astype(float)
    close(after[places["output"] :], a * b if multiply else a + b)
    softmax = SoftmaxF32(input=0, output=0, rows=rows, columns=period)
    powers = np.exp(a - a.max(axis=1, keepdims=True))
    close(host.run(softmax.pack(), arena=left.tobytes()), powers / powers.sum(axis=1, keepdims=True))


def check_convert(host: Kernels, values: list[float], scale: float, zero: int) -> None:
    """QuantizeLinear and DequantizeLinear, bit for bit; halves are among the values."""
    reals = np.array([*values, scale * 0.5, scale * 1.5, -scale * 2.5], np.float32)
    record = Convert(to_int8=True, input=0, output=reals.nbytes, count=reals.size, scale=scale, zero=zero)
    after = host.run(record.pack(), arena=reals.tobytes() + bytes(reals.size))
    made = np.frombuffer(after[reals.nbytes :], np.int8)
    np.testing.assert_array_equal(made, quantize(reals, ScaleZero(scale, zero)))
    back = Convert(to_int8=False, input=reals.nbytes, output=0, count=reals.size, scale=scale, zero=zero)
    floats_again = np.frombuffer(host.run(back.pack(), arena=after)[: reals.nbytes], np.float32)
    np.testing.assert_array_equal(floats_again, (made.astype(np.float32) - np.float32(zero)) * np.float32(scale))


def check_move(host: Kernels, whole: npt.NDArray[Any], part: npt.NDArray[Any]) -> tuple[Move, bytes]:
    """A view of ``whole``, made dense; the record and the arena afterwards."""
    size = whole.itemsize
    first = part.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    made = np.empty(part.shape, whole.dtype)
    record = Move(
        input=first, output=whole.nbytes, size_bytes=size, extents=part.shape,
        input_steps=[s // size for s in part.strides], output_steps=[s // size for s in made.strides],
    )  # fmt: skip
    after = host.run(record.pack(), arena=whole.tobytes() + bytes(made.nbytes))
    assert after[whole.nbytes :] == np.ascontiguousarray(part).tobytes()
    return record, after


def check_fill_and_resize(host: Kernels) -> Resize:
    """Some elements in the middle; an image by tables of rows and columns. The second record."""
    fill = Fill(output=4, count=3, value=np.float32(1.5).tobytes())
    assert host.run(fill.pack(), arena=bytes(20)) == bytes(4) + np.float32([1.5] * 3).tobytes() + bytes(4)
    pixels = np.arange(2 * 3 * 5, dtype=np.uint8).reshape(2, 3, 5)
    rows, columns = np.array([0, 0, 1], "<u2"), np.array([0, 1, 1, 2, 2], "<u2")
    record = Resize(
        input=0, output=30, rows=0, columns=6, in_height=2, in_width=3, out_height=3, out_width=5, pixel_bytes=5
    )
    after = host.run(record.pack(), arena=pixels.tobytes() + bytes(75), weights=rows.tobytes() + columns.tobytes())
    assert after[30:] == pixels[rows][:, columns].tobytes()
    return record
