"""What every cost model is."""

from __future__ import annotations

from typing import Protocol

from boards.board import System
from optimizer.costs import CostTable
from optimizer.graph import Graph

__all__ = ["CostModel"]


class CostModel(Protocol):
    """Makes the cost table of a graph on a system.

    ``roofline_costs`` is one; ``functools.partial(import_costs, path)`` makes one of a file.
    """

    def __call__(self, graph: Graph, system: System) -> CostTable: ...
