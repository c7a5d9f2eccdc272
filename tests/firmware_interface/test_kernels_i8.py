"""int8 kernels in C against the integer reference, bit for bit, and against ONNX Runtime within one step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_interface import records as r
from tests.firmware_interface.kernel_checks import (
    check_binary_i8,
    check_conv_i8,
    check_pool_i8,
    check_softmax_i8,
    check_table_i8,
    image,
)
from tests.firmware_interface.kernel_host import KernelHost, RefusedError
from tests.firmware_interface.qdq import ScaleZero, depthwise_weights, quantize, run_qdq

FEW = settings(max_examples=60, deadline=None)


@pytest.fixture(scope="module")
def host() -> Iterator[KernelHost]:
    with KernelHost() as running:
        yield running


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


@st.composite
def axes(draw: st.DrawFn, dilations: int = 3) -> tuple[int, int, int, int, int, int]:
    """Input, output, kernel, stride, dilation, padding in front along one axis."""
    size, kernel = draw(st.integers(1, 9)), draw(st.integers(1, 4))
    stride, dilation = draw(st.integers(1, 3)), draw(st.integers(1, dilations))
    reach = (kernel - 1) * dilation + 1
    front, back = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    back = max(back, reach - size - front)
    return size, (size + front + back - reach) // stride + 1, kernel, stride, dilation, front


@st.composite
def windows(draw: st.DrawFn, in_channels: int, out_channels: int) -> r.Window:
    y, x = draw(axes()), draw(axes())
    return r.Window(y[0], x[0], in_channels, y[1], x[1], out_channels, y[2], x[2], y[3], x[3], y[4], x[4], y[5], x[5])


@FEW
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_conv_equals_the_reference(host: KernelHost, data: st.DataObject, seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = data.draw(st.integers(1, 3))
    each_in, each_out = data.draw(st.integers(1, 11)), data.draw(st.integers(1, 7))
    pointwise = data.draw(st.booleans())
    window = data.draw(windows(groups * each_in, groups * each_out))
    if pointwise:
        groups, window = 1, r.Window(window.in_height, window.in_width, each_in, window.in_height, window.in_width, 5)
        each_out = 5
    k = window.kernel_height * window.kernel_width * each_in
    table = r.channel_table(
        rng.integers(-5000, 5000, window.out_channels), (2.0 ** rng.uniform(-12, 1.5, window.out_channels)).tolist()
    )
    low, high = sorted(int(n) for n in rng.integers(-128, 128, 2)) if rng.random() < 0.3 else (-128, 127)
    check_conv_i8(
        host, window, image(rng, window.in_height, window.in_width, window.in_channels),
        image(rng, window.out_channels * k), table, groups=groups, input_zero=int(rng.integers(-128, 128)),
        output_zero=int(rng.integers(-128, 128)), low=low, high=high,
    )  # fmt: skip


@FEW
@given(data=st.data(), seed=st.integers(0, 2**32 - 1), channels=st.integers(1, 12))
def test_depthwise_equals_the_reference(host: KernelHost, data: st.DataObject, seed: int, channels: int) -> None:
    rng = np.random.default_rng(seed)
    window = data.draw(windows(channels, channels))
    table = r.channel_table(rng.integers(-900, 900, channels), (2.0 ** rng.uniform(-9, 1.5, channels)).tolist())
    check_conv_i8(
        host, window, image(rng, window.in_height, window.in_width, channels),
        image(rng, window.kernel_height * window.kernel_width * channels), table, groups=channels, depthwise=True,
        input_zero=int(rng.integers(-128, 128)), output_zero=int(rng.integers(-128, 128)),
    )  # fmt: skip


@FEW
@given(data=st.data(), seed=st.integers(0, 2**32 - 1), channels=st.integers(1, 5), average=st.booleans())
def test_pooling_equals_the_reference(
    host: KernelHost, data: st.DataObject, seed: int, channels: int, average: bool
) -> None:
    check_pool_i8(host, data.draw(windows(channels, channels)), seed, average=average, ragged=data.draw(st.booleans()))


@FEW
@given(
    seed=st.integers(0, 2**32 - 1),
    period=st.integers(1, 9),
    repeats=st.integers(1, 5),
    scales=st.tuples(*[st.floats(1e-4, 50)] * 3),
    multiply=st.booleans(),
)
def test_addition_and_multiplication_equal_the_reference(
    host: KernelHost, seed: int, period: int, repeats: int, scales: tuple[float, float, float], multiply: bool
) -> None:
    check_binary_i8(host, seed, period=period, repeats=repeats, scales=scales, multiply=multiply)


@FEW
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 3), columns=st.integers(1, 40), scale=st.floats(1e-4, 2))
def test_softmax_equals_the_reference_and_the_real_one(
    host: KernelHost, seed: int, rows: int, columns: int, scale: float
) -> None:
    check_softmax_i8(host, seed, rows=rows, columns=columns, scale=scale)


def test_table_is_looked_up(host: KernelHost) -> None:
    check_table_i8(host)


@settings(max_examples=300, deadline=None)
@given(factor=st.floats(2.0**-24, 2.0**29))
def test_fixed_point_is_the_factor_to_31_bits(factor: float) -> None:
    multiplier, shift = r.fixed_point(factor)
    assert 0 <= multiplier < 1 << 31
    assert -31 <= shift <= 22
    assert multiplier / 2.0 ** (32 + shift) == pytest.approx(factor, rel=2.0**-30)


@settings(max_examples=400, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_a_spoilt_record_is_refused_or_stays_in_its_memory(host: KernelHost, data: st.DataObject, seed: int) -> None:
    """The sanitizers end the process at any step outside arena, scratch and weights."""
    rng = np.random.default_rng(seed)
    window = r.Window(5, 5, 4, 5, 5, 4, 3, 3, pad_top=1, pad_left=1)
    table = r.channel_table([0] * 4, [0.01] * 4)
    packed = bytearray(
        data.draw(
            st.sampled_from(
                [
                    r.ConvI8(window=window, input=0, output=100, weights=48, channels=0).pack(),
                    r.ConvI8(
                        window=window, input=0, output=100, weights=48, channels=0, groups=4, depthwise=True
                    ).pack(),
                    r.PoolI8(window=window, input=0, output=100, multipliers=0, counts=9).pack(),
                    r.PoolI8(window=window, input=0, output=100).pack(),
                    r.TableI8(input=0, output=100, count=100, table=0).pack(),
                ]
            )
        )
    )
    for _ in range(data.draw(st.integers(1, 3))):
        packed[data.draw(st.integers(4, len(packed) - 1))] = data.draw(st.integers(0, 255))
    if int.from_bytes(packed[10:12], "little") * int.from_bytes(packed[12:14], "little") < 4000:
        weights = table + image(rng, 256).tobytes()
        host.ask(bytes(packed), arena=image(rng, 200).tobytes(), weights=weights, scratch_bytes=144)


def test_too_small_a_scratch_and_too_long_a_sum_are_refused(host: KernelHost) -> None:
    table = r.channel_table([0], [0.1])
    record = r.ConvI8(window=r.Window(3, 3, 1, 1, 1, 1, 3, 3), input=0, output=9, weights=12, channels=0)
    with pytest.raises(RefusedError):
        host.run(record.pack(), arena=bytes(10), weights=table + bytes(9), scratch_bytes=17)
    long = r.ConvI8(window=r.Window(4, 65535, 1, 1, 1, 1, 4, 65535), input=0, output=0, weights=12, channels=0)
    with pytest.raises(RefusedError):
        host.run(long.pack(), arena=bytes(4 * 65535), weights=table + bytes(4 * 65535), scratch_bytes=1 << 20)


@pytest.mark.parametrize("depthwise", [False, True])
def test_flags_and_places_of_scratch_that_are_not_true_are_refused(host: KernelHost, depthwise: bool) -> None:
    window = r.Window(3, 3, 4, 3, 3, 4, 3, 3, pad_top=1, pad_left=1)
    short, long = r.channel_table([0] * 4, [0.1] * 4), r.channel_table([0] * 4, [0.1, 0.1, 0.1, 0.7])
    assert (r.all_short(short), r.all_short(long)) == (True, False)
    record = r.ConvI8(
        window=window, input=0, output=36, weights=48, channels=0, groups=4 if depthwise else 1, depthwise=depthwise
    )
    needs = record.scratch_bytes()

    def ask(record: r.ConvI8, table: bytes, flags: int = 0) -> bool:
        packed = bytearray(record.pack())
        packed[54] |= flags
        memory = {"arena": bytes(72), "weights": table + bytes(144), "scratch_bytes": needs + 8}
        return host.ask(bytes(packed), **memory)[0]

    assert ask(record, short)
    assert ask(replace(record, short=True), short)
    assert not ask(replace(record, short=True), long)
    assert not ask(record, short, r.CONV_POINTWISE), "a window of nine elements"
    assert not ask(record, short, 4)
    assert ask(replace(record, scratch=8), short)
    assert not ask(replace(record, scratch=6), short)
    assert not ask(replace(record, scratch=12), short)


@settings(max_examples=30, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1), depthwise=st.booleans())
def test_convolution_is_within_a_step_of_onnx_runtime(
    host: KernelHost, data: st.DataObject, seed: int, depthwise: bool
) -> None:
    rng = np.random.default_rng(seed)
    channels = data.draw(st.integers(1, 8))
    outputs = channels if depthwise else data.draw(st.integers(1, 6))
    window = data.draw(windows(channels, outputs))
    w = window
    values = image(rng, w.in_height, w.in_width, channels)
    each = 1 if depthwise else channels
    weights = rng.integers(-127, 128, (outputs, each, w.kernel_height, w.kernel_width), dtype=np.int8)
    source = ScaleZero(float(rng.uniform(0.005, 0.05)), int(rng.integers(-100, 100)))
    target = ScaleZero(float(rng.uniform(0.05, 0.3)), int(rng.integers(-100, 100)))
    scales = rng.uniform(0.001, 0.02, outputs).astype(np.float32)
    bias = rng.integers(-500, 500, outputs, dtype=np.int32)
    bottom = (w.out_height - 1) * w.stride_height + (w.kernel_height - 1) * w.dilation_height + 1
    right = (w.out_width - 1) * w.stride_width + (w.kernel_width - 1) * w.dilation_width + 1
    pads = [w.pad_top, w.pad_left, max(0, bottom - w.in_height - w.pad_top), max(0, right - w.in_width - w.pad_left)]
    theirs = run_qdq(
        "Conv", [(values, source)], target, weights=(weights, scales, bias, source.scale * scales),
        pads=pads, strides=[w.stride_height, w.stride_width], dilations=[w.dilation_height, w.dilation_width],
        group=channels if depthwise else 1,
    )  # fmt: skip
    folded = bias.astype(np.int64) - source.zero * weights.astype(np.int64).sum(axis=(1, 2, 3))
    table = r.channel_table(
        folded, [float(np.float32(source.scale) * s) / float(np.float32(target.scale)) for s in scales]
    )
    laid = depthwise_weights(weights) if depthwise else np.ascontiguousarray(weights.transpose(0, 2, 3, 1))
    ours = check_conv_i8(
        host, window, values, laid.reshape(-1), table, groups=channels if depthwise else 1, depthwise=depthwise,
        input_zero=source.zero, output_zero=target.zero,
    )  # fmt: skip
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), multiply=st.booleans())
def test_addition_and_multiplication_are_within_a_step_of_onnx_runtime(
    host: KernelHost, seed: int, multiply: bool
) -> None:
    rng = np.random.default_rng(seed)
    sides = [
        (image(rng, 4, 5, 3), ScaleZero(float(rng.uniform(0.01, 0.1)), int(rng.integers(-128, 128)))) for _ in "ab"
    ]
    target = ScaleZero(float(rng.uniform(0.02, 0.2)), int(rng.integers(-128, 128)))
    theirs = run_qdq("Mul" if multiply else "Add", sides, target)
    (left, a), (right, b) = sides
    zeros = {"left_zero": a.zero, "right_zero": b.zero, "output_zero": target.zero}
    places: dict[str, Any] = {"left": 0, "right": 60, "output": 120, "count": 60, "period": 60}
    if multiply:
        m, s = r.fixed_point(a.scale * b.scale / target.scale)
        packed = r.MulI8(**places, **zeros, multiplier=m, shift=s).pack()
    else:
        m, n, s = r.add_multipliers(a.scale / target.scale, b.scale / target.scale)
        packed = r.AddI8(**places, **zeros, left_multiplier=m, right_multiplier=n, shift=s).pack()
    after = host.run(packed, arena=left.tobytes() + right.tobytes() + bytes(60))
    assert np.abs(np.frombuffer(after[120:], np.int8).reshape(4, 5, 3).astype(int) - theirs.astype(int)).max() <= 1


@pytest.mark.parametrize("operator", ["Sigmoid", "HardSwish", "Relu"])
def test_tables_are_within_a_step_of_onnx_runtime(host: KernelHost, operator: str) -> None:
    functions: dict[str, Callable[[float], float]] = {
        "Sigmoid": lambda x: 1 / (1 + math.exp(-x)),
        "HardSwish": lambda x: x * min(max(x / 6 + 0.5, 0), 1),
        "Relu": lambda x: max(x, 0),
    }
    source = ScaleZero(0.06, 10)
    target = ScaleZero(1 / 256, -128) if operator == "Sigmoid" else ScaleZero(0.04, -100)
    values = np.arange(-128, 128).astype(np.int8).reshape(16, 16, 1)
    theirs = run_qdq(operator, [(values, source)], target)
    table = r.function_table(functions[operator], source.scale, source.zero, target.scale, target.zero)
    after = host.run(r.TableI8(input=0, output=0, count=256, table=0).pack(), arena=values.tobytes(), weights=table)
    assert np.abs(np.frombuffer(after, np.int8).astype(int) - theirs.reshape(-1).astype(int)).max() <= 1


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), padding=st.integers(0, 1), counted=st.booleans(), maximum=st.booleans())
def test_pooling_is_within_a_step_of_onnx_runtime(
    host: KernelHost, seed: int, padding: int, counted: bool, maximum: bool
) -> None:
    rng = np.random.default_rng(seed)
    out = (6 + 2 * padding - 3) // 2 + 1
    window = r.Window(6, 6, 4, out, out, 4, 3, 3, 2, 2, pad_top=padding, pad_left=padding)
    values = image(rng, 6, 6, 4)
    source = ScaleZero(float(rng.uniform(0.01, 0.1)), int(rng.integers(-128, 128)))
    target = source if maximum else ScaleZero(float(rng.uniform(0.01, 0.1)), int(rng.integers(-128, 128)))
    rest = {} if maximum else {"count_include_pad": int(counted)}
    theirs = run_qdq(
        "MaxPool" if maximum else "AveragePool", [(values, source)], target, kernel_shape=[3, 3], strides=[2, 2],
        pads=[padding] * 4, **rest,
    )  # fmt: skip
    factors = [source.scale / target.scale / count for count in ([9] if counted else range(1, 10))]
    table = r.multiplier_table(factors)
    record = r.PoolI8(
        window=window, input=0, output=144, counts=0 if maximum else len(factors), input_zero=source.zero,
        output_zero=target.zero,
    )  # fmt: skip
    after = host.run(record.pack(), arena=values.tobytes() + bytes(theirs.size), weights=table)
    assert np.abs(np.frombuffer(after[144:], np.int8).reshape(theirs.shape).astype(int) - theirs.astype(int)).max() <= 1


def test_quantize_rounds_half_to_even() -> None:
    assert quantize(np.array([0.5, 1.5, -0.5, 300], np.float32), ScaleZero(1.0, 0)).tolist() == [0, 2, 0, 127]
