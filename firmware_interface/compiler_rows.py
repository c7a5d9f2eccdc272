"""The rows that the lowering tables of all precisions have, and the images of a batch, one record each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from firmware_interface.compiler_emit import Emitter
from firmware_interface.compiler_graph import Step
from firmware_interface.records import Window

__all__ = ["Lowering", "PoolLowering", "Precision", "image_places", "rows"]

Lowering = Callable[[Step, Emitter], None]
"""Emits the records of one step. Raises CompileError for what the kernels do not take."""


class PoolLowering(Protocol):
    """A pooling; ``average`` or maximum."""

    def __call__(self, step: Step, emit: Emitter, *, average: bool) -> None: ...


@dataclass(frozen=True)
class Precision:
    """How one precision lowers the operators that every precision has."""

    conv: Lowering
    product: Lowering
    """By a constant matrix."""
    pool: PoolLowering
    softmax: Lowering
    add: Lowering
    multiply: Lowering
    by_channel: Lowering
    """A constant scale and shift of each channel."""


def rows(precision: Precision) -> dict[str, Lowering]:
    """Lowering by operator type."""
    average, maximum = partial(precision.pool, average=True), partial(precision.pool, average=False)
    return {
        "Conv": precision.conv,
        **dict.fromkeys(("Gemm", "MatMul"), precision.product),
        **dict.fromkeys(("AveragePool", "GlobalAveragePool", "ReduceMean"), average),
        **dict.fromkeys(("MaxPool", "GlobalMaxPool"), maximum),
        "Softmax": precision.softmax,
        "Add": precision.add,
        "Mul": precision.multiply,
        **dict.fromkeys(("Sub", "Div", "BatchNormalization"), precision.by_channel),
    }


def image_places(step: Step, emit: Emitter, window: Window) -> Iterator[tuple[int, int]]:
    """Where input and output of each image of the batch lie; bytes in the arena."""
    source, target = step.stored()[0].tensor, step.output.tensor
    pixel_in, pixel_out = window.in_channels * source.element_bytes, window.out_channels * target.element_bytes
    each_in = window.in_height * window.in_width * pixel_in
    each_out = window.out_height * window.out_width * pixel_out
    for image in range(target.size_bytes // each_out):
        yield emit.place(source) + image * each_in, emit.place(target) + image * each_out
