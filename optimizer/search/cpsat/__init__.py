"""Anchors and bounds by CP-SAT; nothing else of the search imports ortools."""

from optimizer.search.cpsat.prove import Bound, Budget, prove

__all__ = ["Bound", "Budget", "prove"]
