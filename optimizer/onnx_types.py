"""The type of one ONNX tensor."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["TensorType"]


@dataclass(frozen=True)
class TensorType:
    """Element type and shape as far as they are known."""

    elem_type: int
    """ONNX number of the element type; 0 where unknown or not a dense tensor."""
    shape: tuple[int, ...] | None
    """None where any dimension is unknown."""

    @property
    def elements(self) -> int:
        """Number of elements; 0 where the shape is unknown."""
        return 0 if self.shape is None else math.prod(self.shape)
