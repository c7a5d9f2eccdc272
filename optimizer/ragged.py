"""Lists of different lengths as arrays, to be looked up many at a time."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Floats", "Ints", "Ragged", "RaggedRows", "places"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def places(first: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """(list number, position) of every value of lists that stand at ``first`` and have ``counts`` values each."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(np.arange(len(counts)), counts), np.arange(total) + np.repeat(first - (ends - counts), counts)


@dataclass(frozen=True)
class Ragged:
    """Lists of whole numbers one after the other: list i is ``values[first[i] : first[i + 1]]``."""

    first: Ints
    values: Ints

    @classmethod
    def of(cls, lists: Sequence[Sequence[int]]) -> Ragged:
        first = np.zeros(len(lists) + 1, dtype=np.int64)
        np.cumsum([len(x) for x in lists], out=first[1:])
        return cls(first, np.fromiter(itertools.chain.from_iterable(lists), np.int64, int(first[-1])))

    def of_rows(self, rows: Ints) -> tuple[Ints, Ints]:
        """(position in ``rows``, value) for every value of these lists."""
        where, at = places(self.first[rows], self.first[rows + 1] - self.first[rows])
        return where, self.values[at]


class RaggedRows:
    """Lists of rows of figures, to which lists are added."""

    def __init__(self, width: int) -> None:
        self._rows: Floats = np.zeros((0, width))
        self._first: Ints = np.zeros(1, dtype=np.int64)
        self._new: list[float] = []
        self._counts: list[int] = []

    def append(self, figures: Sequence[float]) -> None:
        """One more list: its rows one after the other."""
        self._new += figures
        self._counts.append(len(figures) // self._rows.shape[1])

    def of(self, lists: Ints) -> tuple[Ints, Floats]:
        """(position in ``lists``, row) for every row of these lists."""
        if self._counts:
            new = np.array(self._new, dtype=np.float64).reshape(-1, self._rows.shape[1])
            self._rows = np.concatenate([self._rows, new])
            self._first = np.concatenate([self._first, self._first[-1] + np.cumsum(self._counts)])
            self._new, self._counts = [], []
        where, at = places(self._first[lists], self._first[lists + 1] - self._first[lists])
        return where, self._rows[at]
