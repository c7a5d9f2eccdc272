"""How boards store shapes: images of four axes with channels last, everything else as ONNX has it."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["reshape_splits", "same_either_way", "stored_shape"]

Shape = tuple[int, ...]


def stored_shape(shape: Shape) -> Shape:
    """The shape in the order in which a board stores its axes."""
    return (shape[0], shape[2], shape[3], shape[1]) if len(shape) == 4 else shape


def same_either_way(shape: Shape) -> bool:
    """Whether channels first and channels last are the same bytes."""
    return len(shape) != 4 or shape[1] == 1 or shape[2] * shape[3] == 1


def reshape_splits(a: Sequence[int], b: Sequence[int]) -> bool:
    """Whether both shapes come from one finer shape by joining neighbouring axes."""
    left, right = [n for n in a if n != 1], [n for n in b if n != 1]
    while left and right:
        common = math.gcd(left[-1], right[-1])
        if common == 1:
            return False
        for axes in (left, right):
            axes[-1] //= common
            if axes[-1] == 1:
                axes.pop()
    return not left and not right
