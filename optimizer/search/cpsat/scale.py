"""Integer units of the bounding models: the one place where costs are rounded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

from optimizer.problem import Problem

__all__ = ["Expression", "Scale"]

Expression: TypeAlias = Any
"""A CP-SAT expression or an integer: OR-Tools' own alias mixes in NumPy integers that mypy cannot add."""
_UNITS = 2e8
_CAP = 2e12
"""Largest integer cost of one item: dearer ones are clipped, which only relaxes the model."""


@dataclass(frozen=True)
class Scale:
    """Integer units. ``floor`` for costs, ``ceil`` for limits: both only ever relax the model."""

    per_second: float
    per_joule: float

    @classmethod
    def of(cls, problem: Problem) -> Scale:
        """2e8 units for the cheapest way to run everything, so that rounding costs well under 1e-4."""
        tables = problem.tables
        seconds = float(tables.time_s.min(axis=1).sum())
        joules = float(tables.energy_j.min(axis=1).sum())
        return cls(per_second=_UNITS / max(seconds, 1e-9), per_joule=_UNITS / max(joules, 1e-9))

    def seconds(self, value: float) -> int:
        return math.floor(min(value * self.per_second, _CAP))

    def seconds_up(self, value: float) -> int:
        return math.ceil(value * self.per_second)

    def joules(self, value: float) -> int:
        return math.floor(min(value * self.per_joule, _CAP))

    def joules_up(self, value: float) -> int:
        return math.ceil(value * self.per_joule)
