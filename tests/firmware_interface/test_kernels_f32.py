"""float32 kernels and those that move elements, in C, against NumPy in double precision."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_interface import records as r
from firmware_interface.records_f32 import BinaryF32, Convert, ConvF32, PoolF32, SoftmaxF32, Unary, UnaryF32
from firmware_interface.records_move import Fill, Move, Resize
from tests.firmware_interface.kernel_host import KernelHost, RefusedError
from tests.firmware_interface.qdq import ScaleZero, quantize
from tests.firmware_interface.test_kernels_i8 import windows

FEW = settings(max_examples=40, deadline=None)
Real = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def host() -> Iterator[KernelHost]:
    with KernelHost() as running:
        yield running


def under(w: r.Window, image: Real, outside: float) -> tuple[Real, Real]:
    """Elements under the window, [out height, out width, taps, channels], and how many lie in the image."""
    values = np.full((w.out_height, w.out_width, w.kernel_height * w.kernel_width, w.in_channels), outside)
    counts = np.zeros((w.out_height, w.out_width, 1))
    for oy, ox, ky, kx in np.ndindex(w.out_height, w.out_width, w.kernel_height, w.kernel_width):
        y = oy * w.stride_height - w.pad_top + ky * w.dilation_height
        x = ox * w.stride_width - w.pad_left + kx * w.dilation_width
        if 0 <= y < w.in_height and 0 <= x < w.in_width:
            values[oy, ox, ky * w.kernel_width + kx] = image[y, x]
            counts[oy, ox] += 1
    return values, counts


def floats(rng: np.random.Generator, *shape: int) -> npt.NDArray[np.float32]:
    return rng.normal(size=shape).astype(np.float32)


def close(made: bytes, expected: Real) -> None:
    got = np.frombuffer(made, np.float32).reshape(expected.shape)
    assert np.abs(got - expected).max() <= 1e-5 * max(np.abs(expected).max(), 1e-30)


@FEW
@given(data=st.data(), seed=st.integers(0, 2**32 - 1), depthwise=st.booleans())
def test_convolution(host: KernelHost, data: st.DataObject, seed: int, depthwise: bool) -> None:
    rng = np.random.default_rng(seed)
    groups = data.draw(st.integers(1, 5))
    each_in, each_out = (1, 1) if depthwise else (data.draw(st.integers(1, 9)), data.draw(st.integers(1, 4)))
    w = data.draw(windows(groups * each_in, groups * each_out))
    taps = w.kernel_height * w.kernel_width
    image = floats(rng, w.in_height, w.in_width, w.in_channels)
    weights, bias = floats(rng, groups, each_out, taps, each_in), floats(rng, w.out_channels)
    seen, _ = under(w, image.astype(float), 0.0)
    split = seen.reshape(w.out_height, w.out_width, taps, groups, each_in)
    expected = np.einsum("yxtgi,goti->yxgo", split, weights.astype(float)).reshape(w.out_height, w.out_width, -1) + bias
    laid = weights[:, 0, :, 0].T if depthwise else weights
    record = ConvF32(
        window=w,
        input=0,
        output=image.nbytes,
        weights=bias.nbytes,
        bias=0,
        groups=groups,
        depthwise=depthwise,
        low=-2.0,
    )
    after = host.run(
        record.pack(), arena=image.tobytes() + bytes(4 * expected.size), weights=bias.tobytes() + laid.tobytes(),
        scratch_bytes=record.scratch_bytes(),
    )  # fmt: skip
    close(after[image.nbytes :], np.maximum(expected, -2.0))


@FEW
@given(data=st.data(), seed=st.integers(0, 2**32 - 1), channels=st.integers(1, 4), average=st.booleans())
def test_pooling(host: KernelHost, data: st.DataObject, seed: int, channels: int, average: bool) -> None:
    rng = np.random.default_rng(seed)
    w = data.draw(windows(channels, channels))
    image = floats(rng, w.in_height, w.in_width, channels)
    seen, counts = under(w, image.astype(float), 0.0 if average else -9.0)
    expected = seen.sum(axis=2) / np.maximum(counts, 1) if average else seen.max(axis=2)
    record = PoolF32(average=average, window=w, input=0, output=image.nbytes, low=-9.0)
    after = host.run(record.pack(), arena=image.tobytes() + bytes(4 * expected.size))
    close(after[image.nbytes :], expected)


@pytest.mark.parametrize("function", list(Unary))
def test_functions_of_one_element(host: KernelHost, function: Unary) -> None:
    values = np.concatenate([np.linspace(-100, 100, 4001), [0.0]]).astype(np.float32)
    record = UnaryF32(function=function, input=0, output=0, count=values.size, low=-5.0, high=50.0)
    x = values.astype(float)
    real = {Unary.CLIP: x, Unary.SIGMOID: 1 / (1 + np.exp(-x)), Unary.HARD_SWISH: x * np.clip(x / 6 + 0.5, 0, 1)}
    close(host.run(record.pack(), arena=values.tobytes()), np.clip(real[function], -5, 50))


@FEW
@given(seed=st.integers(0, 2**32 - 1), multiply=st.booleans(), period=st.integers(1, 6), rows=st.integers(1, 5))
def test_addition_multiplication_and_softmax(
    host: KernelHost, seed: int, multiply: bool, period: int, rows: int
) -> None:
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


@FEW
@given(
    values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=30),
    scale=st.floats(2**-10, 4, width=32),
    zero=st.integers(-128, 127),
)
def test_quantize_and_dequantize_are_those_of_onnx(
    host: KernelHost, values: list[float], scale: float, zero: int
) -> None:
    reals = np.array([*values, scale * 0.5, scale * 1.5, -scale * 2.5], np.float32)
    record = Convert(to_int8=True, input=0, output=reals.nbytes, count=reals.size, scale=scale, zero=zero)
    after = host.run(record.pack(), arena=reals.tobytes() + bytes(reals.size))
    made = np.frombuffer(after[reals.nbytes :], np.int8)
    np.testing.assert_array_equal(made, quantize(reals, ScaleZero(scale, zero)))
    back = Convert(to_int8=False, input=reals.nbytes, output=0, count=reals.size, scale=scale, zero=zero)
    floats_again = np.frombuffer(host.run(back.pack(), arena=after)[: reals.nbytes], np.float32)
    np.testing.assert_array_equal(floats_again, (made.astype(np.float32) - np.float32(zero)) * np.float32(scale))


@FEW
@given(data=st.data(), size=st.sampled_from([1, 2, 4]))
def test_transposes_and_slices_are_moves(host: KernelHost, data: st.DataObject, size: int) -> None:
    shape = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    order = data.draw(st.permutations(range(len(shape))))
    kind = {1: np.uint8, 2: np.uint16, 4: np.uint32}[size]
    whole = np.arange(np.prod(shape), dtype=kind).reshape(shape)
    steps = [data.draw(st.sampled_from([1, 2, -1])) for _ in shape]
    part = whole[tuple(slice(None, None, s) for s in steps)].transpose(order)
    first = part.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    made = np.empty(part.shape, kind)
    record = Move(
        input=first, output=whole.nbytes, size_bytes=size, extents=part.shape,
        input_steps=[s // size for s in part.strides], output_steps=[s // size for s in made.strides],
    )  # fmt: skip
    after = host.run(record.pack(), arena=whole.tobytes() + bytes(made.nbytes))
    assert after[whole.nbytes :] == np.ascontiguousarray(part).tobytes()
    outside = Move(
        input=first + size, output=whole.nbytes, size_bytes=size, extents=[whole.size + part.size],
        input_steps=[1], output_steps=[1],
    )  # fmt: skip
    with pytest.raises(RefusedError):
        host.run(outside.pack(), arena=after)


def test_fill_and_resize(host: KernelHost) -> None:
    fill = Fill(output=4, count=3, value=np.float32(1.5).tobytes())
    assert host.run(fill.pack(), arena=bytes(20)) == bytes(4) + np.float32([1.5] * 3).tobytes() + bytes(4)
    image = np.arange(2 * 3 * 5, dtype=np.uint8).reshape(2, 3, 5)
    rows, columns = np.array([0, 0, 1], "<u2"), np.array([0, 1, 1, 2, 2], "<u2")
    record = Resize(
        input=0, output=30, rows=0, columns=6, in_height=2, in_width=3, out_height=3, out_width=5, pixel_bytes=5
    )
    after = host.run(record.pack(), arena=image.tobytes() + bytes(75), weights=rows.tobytes() + columns.tobytes())
    assert after[30:] == image[rows][:, columns].tobytes()
    with pytest.raises(RefusedError):
        host.run(record.pack(), arena=bytes(105), weights=np.array([0, 0, 2, 0, 1, 1, 2, 2], "<u2").tobytes())
