"""Anchors and bounds by CP-SAT; nothing else of the search imports ortools."""

from optimizer.search.cpsat.prove import Bound, prove
from optimizer.search.cpsat.solver import Budget, Clock

__all__ = ["Bound", "Budget", "Clock", "prove"]
