"""Lowering to float32 records, and to the ways between float32 and int8; see KERNELS.md for what each computes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from firmware_interface.compiler_emit import Emitter, window_of
from firmware_interface.compiler_graph import Constant, Step
from firmware_interface.compiler_rows import Lowering, Precision, image_places, rows
from firmware_interface.compiler_shapes import (
    channel_vector,
    gemm_weights,
    is_depthwise,
    pool_kernel,
    rows_and_columns,
    split_operands,
)
from firmware_interface.records import Window
from firmware_interface.records_f32 import BinaryF32, Convert, ConvF32, PoolF32, SoftmaxF32, Unary, UnaryF32

__all__ = ["FLOAT_LOWERINGS", "LIMITED", "convert", "fold_limits", "limits_of"]

_UNARY = {"Relu": Unary.CLIP, "Clip": Unary.CLIP, "Sigmoid": Unary.SIGMOID, "HardSwish": Unary.HARD_SWISH}
LIMITED = (ConvF32, PoolF32, BinaryF32, UnaryF32)
"""Records that can take a Relu or Clip behind them in."""


def limits_of(step: Step) -> tuple[float, float]:
    """The limits that a Relu or Clip sets. Raises CompileError where they are computed."""
    if step.op_type == "Relu":
        return 0.0, math.inf
    found = [step.attributes.get("min", -math.inf), step.attributes.get("max", math.inf)]
    for slot, operand in enumerate(step.inputs[1:3]):
        if operand is None:
            continue
        if not isinstance(operand, Constant):
            raise step.refuse("limits that are computed", "constant limits")
        found[slot] = float(operand.real().reshape(()))
    return float(found[0]), float(found[1])


def fold_limits(step: Step, emit: Emitter, owner: str) -> bool:
    """Let the last record, which belongs to ``owner``, clip its result itself; whether it can."""
    if step.op_type not in ("Relu", "Clip") or not emit.records or emit.owners[-1] != owner:
        return False
    low, high = limits_of(step)
    at = len(emit.records)
    while at > 0 and emit.owners[at - 1] == owner:  # one an image of a batch
        at -= 1
        record = emit.records[at]
        if not isinstance(record, LIMITED):
            return False
        emit.records[at] = replace(
            record, low=min(max(record.low, low), high), high=max(min(record.high, high), low)
        )  # fmt: skip
    return True


def _constant(step: Step, at: int, what: str) -> npt.NDArray[np.float32]:
    found = step.inputs[at] if at < len(step.inputs) else None
    if not isinstance(found, Constant) or found.scales is not None:
        raise step.refuse(f"a {what} that is no float32 constant", f"a constant {what}")
    return np.asarray(found.values, np.float32)


def _convolution(
    step: Step,
    emit: Emitter,
    window: Window,
    weights: npt.NDArray[np.float32],
    bias: npt.NDArray[np.float32],
    *,
    groups: int = 1,
    depthwise: bool = False,
) -> None:
    shift = emit.weight(np.asarray(bias, "<f4"))
    at = emit.weight(np.asarray(weights, "<f4"))
    for place_in, place_out in image_places(step, emit, window):
        emit.emit(
            step,
            ConvF32(
                window=window, input=place_in, output=place_out, weights=at, bias=shift, groups=groups,
                depthwise=depthwise, scratch=emit.scratch_place(step),
            ),
        )  # fmt: skip


def _bias(step: Step, outs: int, factor: float = 1.0) -> npt.NDArray[np.float32]:
    if len(step.inputs) < 3 or step.inputs[2] is None:
        return np.zeros(outs, np.float32)
    return np.broadcast_to(_constant(step, 2, "bias").reshape(-1) * np.float32(factor), (outs,))


def _conv(step: Step, emit: Emitter) -> None:
    weights = _constant(step, 1, "weight")
    if weights.ndim != 4:
        raise step.refuse(f"weights of {weights.ndim} axes", "convolution over two axes")
    groups = int(step.attributes.get("group", 1))
    window = window_of(step, (weights.shape[2], weights.shape[3]))
    depthwise = is_depthwise(window, groups)
    laid_out = weights[:, 0].transpose(1, 2, 0) if depthwise else weights.transpose(0, 2, 3, 1)
    _convolution(
        step, emit, window, laid_out, _bias(step, window.out_channels), groups=groups, depthwise=depthwise
    )  # fmt: skip


def _gemm(step: Step, emit: Emitter) -> None:
    product = gemm_weights(step, _constant(step, 1, "matrix"))
    alpha, beta = float(step.attributes.get("alpha", 1.0)), float(step.attributes.get("beta", 1.0))
    bias = _bias(step, product.window.out_channels, beta)
    _convolution(step, emit, product.window, product.rows * np.float32(alpha), bias)


def _pool(step: Step, emit: Emitter, *, average: bool) -> None:
    window, counts_padding, ragged = pool_kernel(step, window_of)
    taps = window.kernel_height * window.kernel_width
    count = taps if average and (counts_padding or not ragged) else 0
    for place_in, place_out in image_places(step, emit, window):
        emit.emit(step, PoolF32(average=average, window=window, input=place_in, output=place_out, count=count))


def _binary(step: Step, emit: Emitter) -> None:
    operands = split_operands(step, emit.places)
    if operands is None:
        _by_channel(step, emit)
        return
    left, right, period = operands
    emit.emit(
        step,
        BinaryF32(
            multiply=step.op_type == "Mul", left=emit.place(left), right=emit.place(right),
            output=emit.place(step.output), count=step.output.tensor.elements, period=period,
        ),
    )  # fmt: skip


def _by_channel(step: Step, emit: Emitter) -> None:
    scale, shift = channel_vector(step)
    pixels = step.output.tensor.elements // scale.size
    window = Window(1, pixels, scale.size, 1, pixels, scale.size)
    _convolution(
        step, emit, window, scale.astype(np.float32), shift.astype(np.float32), groups=scale.size, depthwise=True
    )  # fmt: skip


def _unary(step: Step, emit: Emitter) -> None:
    low, high = limits_of(step) if _UNARY[step.op_type] is Unary.CLIP else (-math.inf, math.inf)
    emit.emit(
        step,
        UnaryF32(
            function=_UNARY[step.op_type], input=emit.place(step.stored()[0]), output=emit.place(step.output),
            count=step.output.tensor.elements, low=low, high=high,
        ),
    )  # fmt: skip


def _softmax(step: Step, emit: Emitter) -> None:
    rows, columns = rows_and_columns(step)
    emit.emit(
        step,
        SoftmaxF32(input=emit.place(step.stored()[0]), output=emit.place(step.output), rows=rows, columns=columns),
    )


def convert(step: Step, emit: Emitter) -> None:
    """QuantizeLinear of a float32 tensor, DequantizeLinear."""
    source, target = step.stored()[0], step.output
    quantized = target if step.integer else source
    emit.emit(
        step,
        Convert(
            to_int8=step.integer, input=emit.place(source), output=emit.place(target), count=target.tensor.elements,
            scale=quantized.scale, zero=quantized.zero,
        ),
    )  # fmt: skip


FLOAT_LOWERINGS: Mapping[str, Lowering] = {
    **rows(
        Precision(
            conv=_conv, product=_gemm, pool=_pool, softmax=_softmax, add=_binary, multiply=_binary,
            by_channel=_by_channel,
        )
    ),
    **dict.fromkeys(_UNARY, _unary),
}  # fmt: skip
