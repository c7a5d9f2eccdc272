"""Lowering to int8 records; see KERNELS.md for what each computes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from firmware_interface.compiler_emit import Emitter, window_of
from firmware_interface.compiler_graph import Constant, Step, Stored, Tensor
from firmware_interface.compiler_rows import Lowering, Precision, image_places, rows
from firmware_interface.compiler_shapes import (
    channel_vector,
    gemm_weights,
    is_depthwise,
    pool_kernel,
    rows_and_columns,
    split_operands,
)
from firmware_interface.records import (
    AddI8,
    ConvI8,
    MulI8,
    PoolI8,
    SoftmaxI8,
    TableI8,
    Window,
    add_multipliers,
    all_short,
    channel_table,
    fixed_point,
    function_table,
    multiplier_table,
    softmax_multiplier,
    softmax_table,
)

__all__ = ["FUNCTIONS", "INT8_LOWERINGS", "change_scale", "other_sign"]

_OTHER_SIGN = bytes(range(256))
"""By int8 + 128: the byte with its highest bit changed."""
_UNIT_WEIGHT = 127
"""Weight of a channel that is only scaled and shifted: its sums are fine enough to round the shift well."""


def _limits(step: Step) -> dict[str, int]:
    out = step.output
    low = -128 if step.low == -math.inf else out.quantized(step.low)
    return {"low": low, "high": 127 if step.high == math.inf else out.quantized(step.high)}


def _weights(step: Step, operand: object) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float64]]:
    """int8 weights and a scale for each output channel (along the first axis or one for all)."""
    if not isinstance(operand, Constant) or operand.scales is None or operand.zeros is None:
        raise step.refuse("weights that are no dequantized constant", "int8 weights, one scale a channel")
    if operand.values.dtype != np.int8 or np.any(operand.zeros):
        got = f"{operand.values.dtype} weights, zero points from {operand.zeros.min()} to {operand.zeros.max()}"
        raise step.refuse(got, "int8 weights with a zero point of 0")
    return operand.values, operand.scales


def _bias(step: Step, operand: object, units: npt.NDArray[np.float64], factor: float = 1.0) -> npt.NDArray[np.int64]:
    """The bias in the units of the sums."""
    if operand is None:
        return np.zeros(units.size, np.int64)
    if not isinstance(operand, Constant):
        raise step.refuse("a bias that is computed", "a constant bias")
    values = np.broadcast_to(operand.real().reshape(-1) * factor, units.shape)
    return np.rint(values / units).astype(np.int64)


def _convolution(
    step: Step,
    emit: Emitter,
    windows: Window,
    *,
    weights: npt.NDArray[np.int8],
    scales: npt.NDArray[np.float64],
    bias: npt.NDArray[np.int64],
    groups: int = 1,
    depthwise: bool = False,
) -> None:
    """One record an image. ``weights`` in the record's layout, ``scales`` of the sums in real values."""
    source, target = step.stored()[0], step.output
    by_channel = weights.reshape(-1, weights.shape[-1]).sum(0, dtype=np.int64) if depthwise else weights.reshape(
        windows.out_channels, -1
    ).sum(1, dtype=np.int64)  # fmt: skip
    channels = channel_table(bias - source.zero * by_channel, (scales / target.scale).tolist())
    table = emit.weight(channels)
    at = emit.weight(weights)
    for place_in, place_out in image_places(step, emit, windows):
        emit.emit(
            step,
            ConvI8(
                window=windows, input=place_in, output=place_out, weights=at, channels=table, groups=groups,
                input_zero=source.zero, output_zero=target.zero, depthwise=depthwise, short=all_short(channels),
                scratch=emit.scratch_place(step), **_limits(step),
            ),
        )  # fmt: skip


def _conv(step: Step, emit: Emitter) -> None:
    source = step.stored()[0]
    weights, scales = _weights(step, step.inputs[1])
    if weights.ndim != 4:
        raise step.refuse(f"weights of {weights.ndim} axes", "convolution over two axes")
    groups = int(step.attributes.get("group", 1))
    window = window_of(step, (weights.shape[2], weights.shape[3]))
    units = np.broadcast_to(source.scale * scales, (window.out_channels,))
    depthwise = is_depthwise(window, groups)
    _convolution(
        step, emit, window,
        weights=weights[:, 0].transpose(1, 2, 0) if depthwise else weights.transpose(0, 2, 3, 1),
        scales=units, bias=_bias(step, step.inputs[2] if len(step.inputs) > 2 else None, units),
        groups=groups, depthwise=depthwise,
    )  # fmt: skip


def _gemm(step: Step, emit: Emitter) -> None:
    source = step.stored()[0]
    weights, scales = _weights(step, step.inputs[1])
    product = gemm_weights(step, weights)
    alpha, beta = float(step.attributes.get("alpha", 1.0)), float(step.attributes.get("beta", 1.0))
    units = np.broadcast_to(source.scale * scales * alpha, (product.rows.shape[0],))
    bias = _bias(step, step.inputs[2] if len(step.inputs) > 2 else None, units, beta)
    _convolution(step, emit, product.window, weights=product.rows, scales=units, bias=bias)


def _pool(step: Step, emit: Emitter, *, average: bool) -> None:
    source, target = step.stored()[0], step.output
    window, counts_padding, ragged = pool_kernel(step, window_of)
    taps = window.kernel_height * window.kernel_width
    counts, table = 0, 0
    if average:
        factor = source.scale / target.scale
        divisors = range(1, taps + 1) if ragged and not counts_padding else [taps]
        counts, table = len(divisors), emit.weight(multiplier_table([factor / n for n in divisors]))
    same = average or source.alike(target)
    limits = _limits(step) if same else {}
    for place_in, place_out in image_places(step, emit, window):
        emit.emit(
            step,
            PoolI8(
                window=window, input=place_in, output=place_out, multipliers=table, counts=counts,
                input_zero=source.zero, output_zero=target.zero, **limits,
            ),
        )  # fmt: skip
    if not same:
        change_scale(step, emit, replace(source, tensor=target.tensor), target)


def change_scale(step: Step, emit: Emitter, source: Stored, target: Stored) -> None:
    """Elements of one scale in another, by a table; within the limits of the step."""
    _table(step, emit, source, target, lambda x: x)


def other_sign(tensors: Iterable[Tensor], emit: Emitter) -> None:
    """uint8 that enter or leave become int8 less 128, or the other way round, where they lie; shared places once."""
    for at, tensor in {emit.place(t): t for t in reversed([t for t in tensors if t.unsigned])}.items():
        emit.emit(tensor.name, TableI8(input=at, output=at, count=tensor.elements, table=emit.shared(_OTHER_SIGN)))


def _table(step: Step, emit: Emitter, source: Stored, target: Stored, function: Callable[[float], float]) -> None:
    def limited(x: float) -> float:
        return min(max(function(x), step.low), step.high)

    data = function_table(limited, source.scale, source.zero, target.scale, target.zero)
    emit.emit(
        step,
        TableI8(
            input=emit.place(source), output=emit.place(target), count=target.tensor.elements, table=emit.weight(data)
        ),
    )


def _clip(step: Step) -> Callable[[float], float]:
    low, high = step.attributes.get("min", -math.inf), step.attributes.get("max", math.inf)
    if len(step.inputs) > 1 and isinstance(step.inputs[1], Constant):
        low = float(step.inputs[1].real().reshape(()))
    if len(step.inputs) > 2 and isinstance(step.inputs[2], Constant):
        high = float(step.inputs[2].real().reshape(()))
    return lambda x: min(max(x, low), high)


def _hard_sigmoid(step: Step) -> Callable[[float], float]:
    alpha, beta = step.attributes.get("alpha", 0.2), step.attributes.get("beta", 0.5)
    return lambda x: min(max(alpha * x + beta, 0.0), 1.0)


def _leaky(step: Step) -> Callable[[float], float]:
    alpha = step.attributes.get("alpha", 0.01)
    return lambda x: x if x >= 0 else alpha * x


def _elu(step: Step) -> Callable[[float], float]:
    alpha = step.attributes.get("alpha", 1.0)
    return lambda x: x if x >= 0 else alpha * math.expm1(x)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


FUNCTIONS: Mapping[str, Callable[[Step], Callable[[float], float]]] = {
    "Relu": lambda step: lambda x: max(x, 0.0),
    "Clip": _clip,
    "Sigmoid": lambda step: _sigmoid,
    "HardSwish": lambda step: lambda x: x * min(max(x / 6 + 0.5, 0.0), 1.0),
    "HardSigmoid": _hard_sigmoid,
    "LeakyRelu": _leaky,
    "Elu": _elu,
    "Tanh": lambda step: math.tanh,
    "Erf": lambda step: math.erf,
    "Abs": lambda step: abs,
    "Neg": lambda step: lambda x: -x,
    "QuantizeLinear": lambda step: lambda x: x,
}
"""Functions of one element, each a table in int8."""


def _function(step: Step, emit: Emitter) -> None:
    _table(step, emit, step.stored()[0], step.output, FUNCTIONS[step.op_type](step))


def _softmax(step: Step, emit: Emitter) -> None:
    source, target = step.stored()[0], step.output
    rows, columns = rows_and_columns(step)
    emit.emit(
        step,
        SoftmaxI8(
            input=emit.place(source), output=emit.place(target), rows=rows, columns=columns,
            table=emit.weight(softmax_table(source.scale)), multiplier=softmax_multiplier(target.scale),
            output_zero=target.zero,
        ),
    )  # fmt: skip


def _add(step: Step, emit: Emitter) -> None:
    operands = split_operands(step, emit.places)
    if operands is None:
        by_channel(step, emit)
        return
    left, right, period = operands
    out = step.output
    first, second, shift = add_multipliers(left.scale / out.scale, right.scale / out.scale)
    emit.emit(
        step,
        AddI8(
            left=emit.place(left), right=emit.place(right), output=emit.place(out), count=out.tensor.elements,
            period=period, left_multiplier=first, right_multiplier=second, shift=shift, left_zero=left.zero,
            right_zero=right.zero, output_zero=out.zero, **_limits(step),
        ),
    )  # fmt: skip


def _mul(step: Step, emit: Emitter) -> None:
    operands = split_operands(step, emit.places)
    if operands is None:
        by_channel(step, emit)
        return
    left, right, period = operands
    out = step.output
    multiplier, shift = fixed_point(left.scale * right.scale / out.scale)
    emit.emit(
        step,
        MulI8(
            left=emit.place(left), right=emit.place(right), output=emit.place(out), count=out.tensor.elements,
            period=period, multiplier=multiplier, shift=shift, left_zero=left.zero, right_zero=right.zero,
            output_zero=out.zero, **_limits(step),
        ),
    )  # fmt: skip


def by_channel(step: Step, emit: Emitter) -> None:
    """A constant scale and shift of each channel: a 1x1 depthwise convolution with weights of 127, -127 or 0."""
    source, target = step.stored()[0], step.output
    scale, shift = channel_vector(step)
    weights = (np.sign(scale) * _UNIT_WEIGHT).astype(np.int8)
    units = np.where(scale == 0, target.scale / 4096, source.scale * np.abs(scale) / _UNIT_WEIGHT)
    channels = scale.size
    window = Window(1, target.tensor.elements // channels, channels, 1, target.tensor.elements // channels, channels)
    bias = np.rint(shift / units).astype(np.int64)
    _convolution(step, emit, window, weights=weights, scales=units, bias=bias, groups=channels, depthwise=True)


INT8_LOWERINGS: Mapping[str, Lowering] = {
    **rows(
        Precision(
            conv=_conv, product=_gemm, pool=_pool, softmax=_softmax, add=_add, multiply=_mul, by_channel=by_channel
        )
    ),
    **dict.fromkeys(FUNCTIONS, _function),
}
