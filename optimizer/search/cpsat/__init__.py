"""Anchors and bounds by CP-SAT; nothing else of the search imports ortools."""

from optimizer.search.cpsat.prove import Bound, Budget, Clock, prove

__all__ = ["Bound", "Budget", "Clock", "prove"]
