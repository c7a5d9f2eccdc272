"""What lowering needs of shapes, whatever the precision: matrix products, pooling windows, operands that repeat."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from firmware_interface.compiler_graph import Constant, Step, Stored
from firmware_interface.records import Window

__all__ = [
    "MatrixProduct",
    "channel_vector",
    "gemm_weights",
    "is_depthwise",
    "pool_kernel",
    "rows_and_columns",
    "split_operands",
]


def is_depthwise(window: Window, groups: int) -> bool:
    """Whether each channel stands alone: the depthwise kernel's case. One channel is left to the convolution."""
    return groups == window.in_channels == window.out_channels and groups > 1


@dataclass(frozen=True)
class MatrixProduct:
    """A product by a constant matrix as a 1x1 window; ``rows``: [out][in]."""

    window: Window
    rows: npt.NDArray[Any]


def gemm_weights(step: Step, matrix: npt.NDArray[Any]) -> MatrixProduct:
    """The window and the weights of a Gemm or MatMul whose right operand is ``matrix``."""
    left = step.inputs[0]
    if not isinstance(left, Stored) or matrix.ndim != 2 or step.attributes.get("transA", 0):
        raise step.refuse("operands other than activations by a constant matrix", "left @ constant, transA 0")
    if len(left.tensor.shape) == 4:
        raise step.refuse("a left operand of four axes", "up to three axes; Flatten before it")
    rows = matrix if step.op_type == "Gemm" and step.attributes.get("transB", 0) else matrix.T
    outs, ins = rows.shape
    pixels = left.tensor.elements // ins
    return MatrixProduct(Window(1, pixels, ins, 1, pixels, outs), np.ascontiguousarray(rows))


def pool_kernel(
    step: Step, window_of: Callable[[Step, tuple[int, int]], Window]
) -> tuple[Window, bool, bool]:  # fmt: skip
    """The window of a pooling, whether padding counts, and whether some window reaches over an edge."""
    shape = step.stored()[0].tensor.shape
    if len(step.outputs) != 1:
        raise step.refuse("a second output", "the pooled values alone")
    if step.op_type in ("GlobalAveragePool", "GlobalMaxPool", "ReduceMean"):
        if len(shape) != 4 or (step.op_type == "ReduceMean" and _reduced_axes(step) != (2, 3)):
            raise step.refuse("other axes than the two of an image", "images of four axes, reduced over the last two")
        height, width, channels = shape[2], shape[3], shape[1]
        return Window(height, width, channels, 1, 1, channels, height, width), False, False
    window = window_of(step, tuple(step.attributes["kernel_shape"]))
    bottom = (window.out_height - 1) * window.stride_height + (window.kernel_height - 1) * window.dilation_height
    right = (window.out_width - 1) * window.stride_width + (window.kernel_width - 1) * window.dilation_width
    over = bottom - window.pad_top >= window.in_height or right - window.pad_left >= window.in_width
    counts_padding = bool(step.attributes.get("count_include_pad", 0))
    if counts_padding and step.attributes.get("ceil_mode", 0):
        raise step.refuse("count_include_pad with ceil_mode", "one of the two")
    return window, counts_padding, over or window.pad_top > 0 or window.pad_left > 0


def _reduced_axes(step: Step) -> tuple[int, ...]:
    rank = len(step.stored()[0].tensor.shape)
    axes = step.attributes.get("axes")
    if axes is None and len(step.inputs) > 1 and isinstance(step.inputs[1], Constant):
        axes = step.inputs[1].values.reshape(-1).tolist()
    return tuple(sorted(int(a) % rank for a in axes or ()))


def rows_and_columns(step: Step) -> tuple[int, int]:
    """Of a Softmax: along the axis that the board stores last."""
    tensor = step.output.tensor
    rank = len(tensor.shape)
    axis = int(step.attributes.get("axis", -1 if step.opset >= 13 else 1)) % rank
    if step.opset < 13 and rank != 4:
        return math.prod(tensor.shape[:axis]), math.prod(tensor.shape[axis:])
    flat = tensor.same_either_way and all(n == 1 for a, n in enumerate(tensor.shape) if a > axis)
    if axis != tensor.stored_axes[-1] and not flat:
        raise step.refuse(f"axis {axis} of {rank}", "the channels of an image, or the last axis")
    return tensor.elements // tensor.shape[axis], tensor.shape[axis]


def split_operands(step: Step, places: Mapping[str, int]) -> tuple[Stored, Stored, int] | None:
    """Left, right and the right one's period; None where one operand is a constant.

    The left one is the one that the result overwrites, where there is one.
    """
    first, second = step.inputs[:2]
    if isinstance(first, Constant) or isinstance(second, Constant):
        return None
    if not isinstance(first, Stored) or not isinstance(second, Stored):
        raise step.refuse("an operand that is left out", "two operands")
    out = step.output.tensor
    fits = [s for s in (first, second) if s.tensor.shape == out.shape]
    if not fits:
        raise step.refuse(f"shapes {first.tensor.shape} and {second.tensor.shape}", "one operand of the result's shape")
    over = [s for s in fits if places[s.tensor.name] == places[out.name]]
    left = (over or fits)[0]
    right = second if left is first else first
    return left, right, _period(step, right)


def _period(step: Step, right: Stored) -> int:
    """Elements of the right operand, which the board repeats: a suffix of the stored axes."""
    rank = len(step.output.tensor.shape)
    aligned = (1,) * (rank - len(right.tensor.shape)) + right.tensor.shape
    order = step.output.tensor.stored_axes
    if len(right.tensor.shape) < rank == 4 and right.tensor.elements > 1 and sum(n > 1 for n in aligned) > 1:
        raise step.refuse(f"an operand of shape {right.tensor.shape}", "a scalar, one value a channel, or all axes")
    stored = [aligned[a] for a in order]
    whole = [step.output.tensor.shape[a] for a in order]
    begin = next((i for i, n in enumerate(stored) if n != 1), rank)
    if stored[begin:] != whole[begin:]:
        raise step.refuse(f"an operand of shape {right.tensor.shape}", "a scalar, one value a channel, or all axes")
    return math.prod(stored)


def channel_vector(step: Step) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Scale and shift of each channel (the axis stored last) by a constant operand."""
    tensor = step.output.tensor
    channels = tensor.stored_shape[-1] if tensor.shape else 1
    if step.op_type == "BatchNormalization":
        gamma, beta, mean, variance = (_constant(step, at).real().reshape(-1) for at in range(1, 5))
        scale = gamma / np.sqrt(variance + step.attributes.get("epsilon", 1e-5))
        return scale, beta - mean * scale
    at = 0 if isinstance(step.inputs[0], Constant) else 1
    value = _constant(step, at).real()
    aligned = (1,) * (len(tensor.shape) - value.ndim) + value.shape
    last = tensor.stored_axes[-1] if tensor.shape else 0
    if value.size not in (1, channels) or (value.size > 1 and aligned[last] != channels):
        raise step.refuse(f"a constant of shape {value.shape}", "a scalar or one value a channel")
    values = np.broadcast_to(value.reshape(-1), (channels,))
    ones, zeros = np.ones(channels), np.zeros(channels)
    if step.op_type == "Add":
        return ones, values
    if step.op_type == "Mul":
        return values, zeros
    if step.op_type == "Sub":
        return (-ones, values) if at == 0 else (ones, -values)
    if at == 0 or np.any(values == 0):
        raise step.refuse("division by an activation or by zero", "division by a constant")
    return 1 / values, zeros


def _constant(step: Step, at: int) -> Constant:
    found = step.inputs[at] if at < len(step.inputs) else None
    if not isinstance(found, Constant):
        raise step.refuse("operands that are all computed", "one constant operand")
    return found
