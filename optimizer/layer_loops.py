"""Matrix and convolution operators as nested loops, the form in which accelerator models take them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onnx import NodeProto

from optimizer.onnx_file import load_onnx
from optimizer.onnx_model import build_graph
from optimizer.onnx_nodes import attribute
from optimizer.onnx_prepare import Prepared, prepare
from optimizer.onnx_types import TensorType

__all__ = ["Loops", "layer_loops"]

_CONVOLUTIONS = {"Conv": (0, 1), "QLinearConv": (0, 3), "ConvInteger": (0, 1)}
"""Positions of activations and weights among the inputs."""
_PRODUCTS = {"Gemm": (0, 1), "MatMul": (0, 1), "QLinearMatMul": (0, 3), "MatMulInteger": (0, 1)}


@dataclass(frozen=True)
class Loops:
    """Sizes of the loops of O[b][g][k][oy][ox] += W[g][k][c][fy][fx] x I[b][g][c][iy][ix], and what shifts them.

    A matrix product has one pixel; its rows are ``batch``, or ``groups`` where each row has a matrix of its own.
    """

    batch: int
    groups: int
    output_channels: int
    """Of one group."""
    input_channels: int
    """Of one group."""
    output_size: tuple[int, int]
    """Rows, columns."""
    input_size: tuple[int, int]
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Before the rows, before the columns, behind the rows, behind the columns."""

    @property
    def macs(self) -> int:
        per_pixel = self.output_channels * self.input_channels * math.prod(self.kernel)
        return self.batch * self.groups * math.prod(self.output_size) * per_pixel


def layer_loops(model: str, batch: int = 1) -> Mapping[str, Loops]:
    """Loops of the model's convolutions (one and two dimensions) and matrix products, by operator name.

    Raises ModelError as loading a model does. Other operators, transposed and three-dimensional convolutions are
    left out.
    """
    prepared = prepare(load_onnx(model, weights=False), batch)
    found: dict[str, Loops] = {}
    for operator in build_graph(prepared).operators:
        for position in operator.nodes:
            loops = _loops(prepared.nodes[position], prepared)
            if loops is not None:
                found[operator.name] = loops
    return found


def _loops(node: NodeProto, prepared: Prepared) -> Loops | None:
    if node.op_type in _CONVOLUTIONS:
        activations, weights = _shapes(node, _CONVOLUTIONS[node.op_type], prepared.types)
        output = _shape(node.output[0], prepared.types)
        return _convolution(node, activations, weights, output) if activations and weights and output else None
    if node.op_type in _PRODUCTS:
        left, right = _shapes(node, _PRODUCTS[node.op_type], prepared.types)
        output = _shape(node.output[0], prepared.types)
        return _product(node, left, right, output) if left and right and output else None
    return None


def _shapes(
    node: NodeProto, positions: tuple[int, int], types: Mapping[str, TensorType]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    first, second = positions
    return _shape(node.input[first], types), _shape(node.input[second], types)


def _shape(name: str, types: Mapping[str, TensorType]) -> tuple[int, ...]:
    """() where it is unknown."""
    known = types.get(name)
    return known.shape or () if known is not None else ()


def _convolution(
    node: NodeProto, activations: Sequence[int], weights: Sequence[int], output: Sequence[int]
) -> Loops | None:
    dimensions = len(weights) - 2
    if dimensions not in (1, 2):
        return None
    groups = attribute(node, "group", 1)
    kernel = _pair(weights[2:], 1)
    stride = _pair(attribute(node, "strides", ()), 1)
    dilation = _pair(attribute(node, "dilations", ()), 1)
    output_size, input_size = _pair(output[2:], 1), _pair(activations[2:], 1)
    return Loops(
        batch=output[0],
        groups=groups,
        output_channels=weights[0] // groups,
        input_channels=weights[1],
        output_size=output_size,
        input_size=input_size,
        kernel=kernel,
        stride=stride,
        dilation=dilation,
        padding=_padding(node, input_size, output_size, kernel, stride, dilation),
    )


def _padding(
    node: NodeProto,
    input_size: tuple[int, int],
    output_size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[int, int, int, int]:
    """As the attribute says, else what the sizes need (auto_pad), the odd one behind."""
    given = tuple(attribute(node, "pads", ()))
    if given:
        return (given[0], given[1], given[2], given[3]) if len(given) == 4 else (0, given[0], 0, given[1])
    needed = [
        max(0, (out - 1) * s + (k - 1) * d + 1 - size)
        for size, out, k, s, d in zip(input_size, output_size, kernel, stride, dilation, strict=True)
    ]
    before = [n // 2 for n in needed]
    return before[0], before[1], needed[0] - before[0], needed[1] - before[1]


def _pair(values: Sequence[int], missing: int) -> tuple[int, int]:
    """Rows and columns; one dimension is columns."""
    return (missing, missing) if not values else (missing, values[0]) if len(values) == 1 else (values[0], values[1])


def _product(node: NodeProto, left: Sequence[int], right: Sequence[int], output: Sequence[int]) -> Loops:
    """Rows of the left operand, times columns of the right one; stacked matrices on the right are groups."""
    inner = left[-2] if attribute(node, "transA", 0) and len(left) > 1 else left[-1]
    columns = 1 if len(right) == 1 else right[-2] if attribute(node, "transB", 0) else right[-1]
    groups = math.prod(right[:-2])
    rows = math.prod(output) // max(1, columns * groups)
    return Loops(rows, groups, columns, inner, (1, 1), (1, 1))
