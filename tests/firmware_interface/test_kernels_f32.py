"""float32 kernels and those that move elements, in C, against NumPy in double precision."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_interface.records_f32 import Unary
from firmware_interface.records_move import Move
from tests.firmware_interface import kernel_checks as check
from tests.firmware_interface.kernel_host import KernelHost, RefusedError
from tests.firmware_interface.test_kernels_i8 import windows

FEW = settings(max_examples=40, deadline=None)


@pytest.fixture(scope="module")
def host() -> Iterator[KernelHost]:
    with KernelHost() as running:
        yield running


@FEW
@given(data=st.data(), seed=st.integers(0, 2**32 - 1), depthwise=st.booleans())
def test_convolution(host: KernelHost, data: st.DataObject, seed: int, depthwise: bool) -> None:
    groups = data.draw(st.integers(1, 5))
    each_in, each_out = (1, 1) if depthwise else (data.draw(st.integers(1, 9)), data.draw(st.integers(1, 4)))
    window = data.draw(windows(groups * each_in, groups * each_out))
    check.check_conv_f32(host, window, seed, groups=groups, depthwise=depthwise)


@FEW
@given(data=st.data(), seed=st.integers(0, 2**32 - 1), channels=st.integers(1, 4), average=st.booleans())
def test_pooling(host: KernelHost, data: st.DataObject, seed: int, channels: int, average: bool) -> None:
    check.check_pool_f32(host, data.draw(windows(channels, channels)), seed, average=average)


@pytest.mark.parametrize("function", list(Unary))
def test_functions_of_one_element(host: KernelHost, function: Unary) -> None:
    check.check_unary_f32(host, function)


@FEW
@given(seed=st.integers(0, 2**32 - 1), multiply=st.booleans(), period=st.integers(1, 6), rows=st.integers(1, 5))
def test_addition_multiplication_and_softmax(
    host: KernelHost, seed: int, multiply: bool, period: int, rows: int
) -> None:
    check.check_binary_and_softmax_f32(host, seed, multiply=multiply, period=period, rows=rows)


@FEW
@given(
    values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=30),
    scale=st.floats(2**-10, 4, width=32),
    zero=st.integers(-128, 127),
)
def test_quantize_and_dequantize_are_those_of_onnx(
    host: KernelHost, values: list[float], scale: float, zero: int
) -> None:
    check.check_convert(host, values, scale, zero)


@FEW
@given(data=st.data(), size=st.sampled_from([1, 2, 4]))
def test_transposes_and_slices_are_moves(host: KernelHost, data: st.DataObject, size: int) -> None:
    shape = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    order = data.draw(st.permutations(range(len(shape))))
    whole = np.arange(np.prod(shape), dtype={1: np.uint8, 2: np.uint16, 4: np.uint32}[size]).reshape(shape)
    steps = [data.draw(st.sampled_from([1, 2, -1])) for _ in shape]
    part = whole[tuple(slice(None, None, s) for s in steps)].transpose(order)
    record, after = check.check_move(host, whole, part)
    outside = Move(
        input=record.input + size, output=whole.nbytes, size_bytes=size, extents=[whole.size + part.size],
        input_steps=[1], output_steps=[1],
    )  # fmt: skip
    with pytest.raises(RefusedError):
        host.run(outside.pack(), arena=after)


def test_fill_and_resize(host: KernelHost) -> None:
    record = check.check_fill_and_resize(host)
    with pytest.raises(RefusedError):
        host.run(record.pack(), arena=bytes(105), weights=np.array([0, 0, 2, 0, 1, 1, 2, 2], "<u2").tobytes())
