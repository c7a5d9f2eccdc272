"""Labels on their way to the cuts at which their last stages end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.search.label_lattice import Ints
from optimizer.search.label_steps import Labels, concatenated

__all__ = ["LabelQueue"]


@dataclass(frozen=True)
class _Block:
    ends: Ints
    """(l,) ascending."""
    labels: Labels


class LabelQueue:
    """Labels by the cut at which they end; cuts are taken in ascending order.

    A few large blocks, each sorted by cut, instead of a list a cut: a stage makes two or three labels an end.
    """

    def __init__(self) -> None:
        self._blocks: list[_Block] = []
        self._taken = -1

    def add(self, parts: list[tuple[Ints, Labels]]) -> None:
        """``parts``: labels with the cuts at which they end, all behind the one taken last."""
        if parts:
            self._blocks.append(_sorted([_Block(ends, labels) for ends, labels in parts]))
            while len(self._blocks) > 1 and 2 * len(self._blocks[-1].ends) > len(self._blocks[-2].ends):
                last = [self._left(self._blocks.pop()), self._left(self._blocks.pop())]
                self._blocks.append(_sorted(last[::-1]))

    def take(self, cut: int) -> Labels | None:
        """The labels that end at the cut, in the order in which they were added; None where there are none."""
        self._taken = cut
        parts = []
        for block in self._blocks:
            first, last = np.searchsorted(block.ends, [cut, cut + 1]).tolist()
            if last > first:
                parts.append(block.labels.pick(slice(first, last)))
        return concatenated(parts) if parts else None

    def _left(self, block: _Block) -> _Block:
        """What of a block has not been taken yet."""
        first = int(np.searchsorted(block.ends, self._taken, side="right"))
        return _Block(block.ends[first:], block.labels.pick(slice(first, None)))


def _sorted(blocks: list[_Block]) -> _Block:
    ends = np.concatenate([block.ends for block in blocks])
    labels = concatenated([block.labels for block in blocks])
    order = np.argsort(ends, kind="stable")
    return _Block(ends[order], labels.pick(order))
