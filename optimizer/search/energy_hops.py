"""Joules of tensors over the links between the boards of a set."""

from __future__ import annotations

import itertools
from enum import Enum

import numpy as np
import numpy.typing as npt

from optimizer.problem import Problem

__all__ = ["Hops"]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class _Part(Enum):
    """Links of a route."""

    ALL = "all"
    FIRST = "the first"
    LAST = "the last, where it is not the first"


class Hops:
    """Joules over links between the boards of a set. ``names``: the board of each processor."""

    def __init__(self, problem: Problem, used: frozenset[str], names: tuple[str, ...], sizes: Ints) -> None:
        self.problem, self.used, self.names = problem, used, names
        self.sizes = sizes
        """(t, k) bytes of each tensor by its maker."""
        self._known: dict[tuple[str, str, int, _Part], float] = {}

    def between(self, t: int) -> Floats:
        """(k, k) of a tensor from its maker to one reader; inf where a board would relay that is not of the set."""
        return np.array(
            [[self.joules(a, b, int(self.sizes[t, i])) for b in self.names] for i, a in enumerate(self.names)]
        )

    def joules(self, a: str, b: str, size: int, part: _Part = _Part.ALL) -> float:
        """From board to board, or over some of the links only."""
        key = (a, b, size, part)
        if key not in self._known:
            self._known[key] = self._joules(*key)
        return self._known[key]

    def _joules(self, a: str, b: str, size: int, part: _Part) -> float:
        route = self.problem.system.route(a, b)
        if route is None:
            return np.inf
        links = [self.problem.links[i] for i in route]
        if any(x.target in self.problem.board_index and x.target not in self.used for x in links):
            return np.inf  # it would be used as a relay
        counted = {_Part.ALL: links, _Part.FIRST: links[:1], _Part.LAST: links[1:][-1:]}[part]
        return sum(x.wire_bytes(size) * x.energy_j_per_byte for x in counted)

    def tails(self, t: int) -> Floats:
        """(k, k) of the last link alone."""
        found = np.zeros((len(self.names),) * 2)
        for (q, a), (p, b) in itertools.product(enumerate(self.names), repeat=2):
            for link in (self.problem.system.route(a, b) or ())[-1:]:
                over = self.problem.links[link]
                found[q, p] = over.wire_bytes(int(self.sizes[t, q])) * over.energy_j_per_byte
        return found

    def apart(self) -> Bools:
        """(k, k, k): whether from the first to the last a link is needed beside the way to the second."""
        ways = [[self.problem.system.route(a, b) or () for b in self.names] for a in self.names]
        return np.array([[[bool(set(z[-1:]) - set(y)) for z in row] for y in row] for row in ways])

    def leaving(self, t: int) -> Floats:
        """(k,) at least, of a tensor made by a processor and read on another board: the first link of some route."""
        return np.array([self._least(q, int(self.sizes[t, q]), leaving=True) for q in range(len(self.names))])

    def entering(self, t: int) -> Floats:
        """(k,) at least, of a tensor read by a processor and made on another board: the last link, where not the
        first."""
        size = int(self.sizes[t].min())
        return np.array([self._least(q, size, leaving=False) for q in range(len(self.names))])

    def _least(self, q: int, size: int, *, leaving: bool) -> float:
        own = self.names[q]
        others = [b for b in dict.fromkeys(self.names) if b != own]
        ways = [
            self.joules(own, b, size, _Part.FIRST) if leaving else self.joules(b, own, size, _Part.LAST) for b in others
        ]
        return min(ways, default=0.0)
