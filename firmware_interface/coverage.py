"""What the compiler lowers and what that takes, as data: the source of boards/runtimes/edgecut-mcu.yaml.

The planner knows no compiler. It reads from that file which operators a board runs, in how many records of which
kernels, and with how many bytes of weights and scratch; formulas stand over the figures of an operator
(`FIGURES`). A test compares them with what the compiler makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from firmware_interface.compiler_i8 import FUNCTIONS
from firmware_interface.compiler_move import RESHAPES
from firmware_interface.records import Kernel

__all__ = [
    "ELEMENTWISE",
    "FIGURES",
    "LIMITED_KERNELS",
    "OPERATORS",
    "OVERWRITING",
    "SCRATCH",
    "VIEWS",
    "Case",
    "Coverage",
]

FIGURES: Mapping[str, str] = {
    "axes": "of the first activation",
    "batch": "images; 1 for everything but images of four axes",
    "height": "of the input image; 1 for a matrix product",
    "width": "of the input image; rows of a matrix product",
    "channels": "of the input; columns of the left operand; the axis stored last of an elementwise result",
    "out_height": "of the output image",
    "out_width": "of the output image",
    "out_channels": "of the output",
    "taps": "elements of the window for one channel",
    "stride_height": "of the window",
    "stride_width": "of the window",
    "pad_top": "of the window",
    "pad_left": "of the window",
    "groups": "of a convolution",
    "largest": "of all figures of the window",
    "ragged": "1 where some pooling window reaches over an edge",
    "counts_padding": "1 where padding counts in an average",
    "constant": "1 where all operands but the first activations are constants",
    "symmetric": "1 where weights are int8 with a zero point of 0, or uint8 with one of 128",
    "plain": "1 where the attributes are of the kind that the kernels take",
    "activations": "operands that are activations, repeats included",
    "outputs": "outputs that anybody reads",
    "repeats": "1 where the smaller operand is a scalar, one value a channel, or of the result's shape",
    "turned": "1 where the board stores input and output in different orders",
    "rescaled": "1 where input and output have different scales or zero points; of a Split, how many outputs have",
    "limited": "1 where a Relu or Clip ends the operator",
}


@dataclass(frozen=True)
class Case:
    """One way to lower an operator: taken where ``when`` holds. Formulas: number of records by kernel, weight bytes."""

    when: str
    records: Mapping[str, str]
    weights: str = "0"


@dataclass(frozen=True)
class Coverage:
    """What is taken of an operator, in words, and the cases by precision; the first that holds counts."""

    takes: str
    int8: tuple[Case, ...] = ()
    float32: tuple[Case, ...] = ()
    mixed: tuple[Case, ...] = field(default=())


SCRATCH: Mapping[str, str] = {
    "CONV_I8": (
        "0 if taps == 1 and groups == 1 and pad_top == 0 and pad_left == 0 and stride_height == 1 and "
        "stride_width == 1 and out_height == height and out_width == width else 2 * taps * (channels // groups)"
    ),
    "DEPTHWISE_I8": "29 * channels",
    "CONV_F32": "4 * taps * (channels // groups)",
}
"""Scratch bytes of a kernel; 0 for all others."""

LIMITED_KERNELS = ("CONV_F32", "DEPTHWISE_F32", "AVERAGE_POOL_F32", "MAX_POOL_F32", "ADD_F32", "MUL_F32", "UNARY_F32")
"""Kernels whose record takes in a Relu or Clip behind it, which then has none of its own."""
OVERWRITING = ("Add", "Mul", "Relu", "Clip", "Sigmoid", "HardSwish", "HardSigmoid", "LeakyRelu", "Elu", "Tanh", "Erf",
               "Abs", "Neg")  # fmt: skip
"""Operators whose result may lie where an input of its shape lay that nobody needs any more, where all their records
are of these kernels:"""
ELEMENTWISE = ("ADD_I8", "MUL_I8", "TABLE_I8", "ADD_F32", "MUL_F32", "UNARY_F32")
VIEWS = tuple(RESHAPES)
"""Operators whose result is the input itself where the board stores both alike."""

_WINDOW = "axes == 4 and plain and largest <= 65535"
_PRODUCTS = "constant and plain and axes <= 3 and largest <= 65535"
_DEPTHWISE = "groups == channels and groups == out_channels and groups > 1"
_CONV_I8 = "align(12 * out_channels) + align(taps * (channels // groups) * out_channels)"
_CONV_F32 = "4 * out_channels + 4 * taps * (channels // groups) * out_channels"
_SUM = "taps * (channels // groups) <= 65535"

_CONV = Coverage(
    "convolution over the two axes of images (one over a single axis as one of height 1), with constant weights (int8 "
    "with zero point 0, uint8 with 128) and bias",
    int8=(
        Case(f"{_WINDOW} and constant and symmetric and {_DEPTHWISE}", {"DEPTHWISE_I8": "batch"},
             "align(12 * channels) + align(taps * channels)"),
        Case(f"{_WINDOW} and constant and symmetric and {_SUM}", {"CONV_I8": "batch"}, _CONV_I8),
    ),
    float32=(
        Case(f"{_WINDOW} and constant and {_DEPTHWISE}", {"DEPTHWISE_F32": "batch"},
             "4 * channels + 4 * taps * channels"),
        Case(f"{_WINDOW} and constant", {"CONV_F32": "batch"}, _CONV_F32),
    ),
)  # fmt: skip
_PRODUCT = Coverage(
    "an activation of up to three axes by a constant matrix (int8 with zero point 0, uint8 with 128), with a constant "
    "bias",
    int8=(Case(f"{_PRODUCTS} and symmetric", {"CONV_I8": "1"}, _CONV_I8),),
    float32=(Case(_PRODUCTS, {"CONV_F32": "1"}, _CONV_F32),),
)
_AVERAGE = Coverage(
    "pooling over the two axes of images; padding that counts not together with ceil_mode",
    int8=(
        Case(_WINDOW, {"AVERAGE_POOL_I8": "batch"}, "8 * taps if ragged and not counts_padding else 8"),
    ),
    float32=(Case(_WINDOW, {"AVERAGE_POOL_F32": "batch"}),),
)  # fmt: skip
_MAXIMUM = Coverage(
    "pooling over the two axes of images, without indices",
    int8=(Case(_WINDOW, {"MAX_POOL_I8": "batch", "TABLE_I8": "rescaled"}, "256 * rescaled"),),
    float32=(Case(_WINDOW, {"MAX_POOL_F32": "batch"}),),
)
_BY_CHANNEL_I8 = Case("activations == 1 and constant and plain and largest <= 65535", {"DEPTHWISE_I8": "1"},
                      "align(12 * channels) + align(channels)")  # fmt: skip
_BY_CHANNEL_F32 = Case("activations == 1 and constant and plain and largest <= 65535", {"DEPTHWISE_F32": "1"},
                       "8 * channels")  # fmt: skip


def _binary(name: str) -> Coverage:
    return Coverage(
        "two activations, of which the smaller is a scalar or one value a channel; or a constant of that kind",
        int8=(Case("activations == 2 and repeats", {f"{name}_I8": "1"}), _BY_CHANNEL_I8),
        float32=(Case("activations == 2 and repeats", {f"{name}_F32": "1"}), _BY_CHANNEL_F32),
    )


_CHANNELWISE = Coverage(
    "a constant scalar or one constant value a channel", int8=(_BY_CHANNEL_I8,), float32=(_BY_CHANNEL_F32,)
)
_FUNCTION = Coverage("int8, by a table of all values", int8=(Case("constant", {"TABLE_I8": "1"}, "256"),))
_UNARY = Coverage(
    "int8 by a table of all values, or float32", int8=_FUNCTION.int8, float32=(Case("constant", {"UNARY_F32": "1"}),)
)
_RESHAPE = Coverage(
    "shapes whose axes are joined or split",
    int8=(
        Case("not turned and not rescaled and not limited", {}),
        Case("not turned", {"TABLE_I8": "1"}, "256"),
        Case("plain and not rescaled and not limited", {"MOVE": "1"}),
        Case("plain", {"MOVE": "1", "TABLE_I8": "1"}, "256"),
    ),
    float32=(Case("not turned", {}), Case("plain", {"MOVE": "1"})),
)


def _moved(takes: str, records: Mapping[str, str], weights: str = "0") -> Coverage:
    return Coverage(
        takes,
        int8=(Case("plain and constant and not rescaled and not limited", records, weights),),
        float32=(Case("plain and constant", records, weights),),
    )


OPERATORS: Mapping[str, Coverage] = {
    "Conv": _CONV,
    "Gemm": _PRODUCT,
    "MatMul": _PRODUCT,
    **dict.fromkeys(("AveragePool", "GlobalAveragePool", "ReduceMean"), _AVERAGE),
    **dict.fromkeys(("MaxPool", "GlobalMaxPool"), _MAXIMUM),
    "Softmax": Coverage(
        "along the channels of images or the last axis",
        int8=(Case("plain", {"SOFTMAX_I8": "1"}, "1024"),),
        float32=(Case("plain", {"SOFTMAX_F32": "1"}),),
    ),
    "Add": _binary("ADD"),
    "Mul": _binary("MUL"),
    **dict.fromkeys(("Sub", "Div", "BatchNormalization"), _CHANNELWISE),
    **dict.fromkeys(FUNCTIONS, _FUNCTION),
    **dict.fromkeys(("Relu", "Clip", "Sigmoid", "HardSwish"), _UNARY),
    "QuantizeLinear": Coverage(
        "float32 or int8 to int8 with one scale", int8=_FUNCTION.int8, mixed=(Case("plain", {"QUANTIZE": "1"}),)
    ),
    "DequantizeLinear": Coverage("int8 with one scale to float32", mixed=(Case("plain", {"DEQUANTIZE": "1"}),)),
    **dict.fromkeys(RESHAPES, _RESHAPE),
    "Transpose": _moved("at one scale", {"MOVE": "1"}),
    "Concat": _moved("activations at one scale", {"MOVE": "activations"}),
    "Slice": _moved("constant bounds, at one scale", {"MOVE": "1"}),
    "Split": Coverage(
        "constant sizes, all parts read, of int8 all quantized",
        int8=(Case("plain and constant", {"MOVE": "outputs", "TABLE_I8": "rescaled"}, "256 * rescaled"),),
        float32=(Case("plain and constant", {"MOVE": "outputs"}),),
    ),
    "Pad": _moved("constant padding of zero or more, at one scale", {"FILL": "1", "MOVE": "1"}),
    **dict.fromkeys(
        ("Resize", "Upsample"),
        _moved("images to the nearest pixel, at one scale", {"RESIZE": "batch"},
               "align(2 * out_height) + align(2 * out_width)"),
    ),
}  # fmt: skip
"""By operator type."""

KERNELS = tuple(kernel.name for kernel in Kernel)
