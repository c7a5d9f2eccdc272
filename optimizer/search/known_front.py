"""Values of known plans, to be asked whether something new can still be worth having."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["KnownFront"]

_ROUNDING = 1e-9


class KnownFront:
    """Minimised values that no other dominates, as one array."""

    def __init__(self, values: Iterable[Sequence[float]]) -> None:
        rows = list(values)
        self.rows = np.array(rows, dtype=np.float64)

    def dominates(self, values: Sequence[float]) -> bool:
        """Whether some plan is nowhere worse and somewhere better."""
        if not len(self.rows):
            return False
        given = np.asarray(values)
        nowhere_worse = (self.rows <= given).all(axis=1)
        return bool((self.rows[nowhere_worse] < given).any())

    def reaches(self, values: Sequence[float] | npt.NDArray[np.float64]) -> bool:
        """Whether some plan is nowhere worse, but for rounding."""
        return bool(len(self.rows)) and bool((self.rows <= np.asarray(values) * (1 + _ROUNDING)).all(axis=1).any())

    def add(self, values: Sequence[float]) -> None:
        if not len(self.rows):
            self.rows = np.array([values], dtype=np.float64)
        elif not self.dominates(values):
            beaten = (self.rows >= np.asarray(values)).all(axis=1)
            self.rows = np.vstack([self.rows[~beaten], [values]])
