"""Small changes of a genome of NSGA-II: cuts that move, segments that go elsewhere, join, or part.

A genome holds n places in the pipeline (0..k-1), then k keys whose order says which processor stands at which place.
Cuts move along one of a few topological orders, so that they reach more than one order's prefixes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Moves"]

Genome = npt.NDArray[np.float64]
Order = npt.NDArray[np.int64]
_SHARES = (0.25, 0.3, 0.2, 0.125, 0.125)
"""Of moved cuts, nudged operators, exchanged processors, joined and parted segments."""
_LAST = 0.55
"""Chance that a change is the last one: some fronts are only reached by two or three at once."""
_NEAR = 0.6
"""Share of cuts that move by an operator or two, not far."""


@dataclass(frozen=True)
class Moves:
    """``orders``: topological orders of the n operators. ``revisits``: processors may be come back to."""

    n: int
    k: int
    orders: Sequence[Order]
    edges: Order
    """(e, 2) operators that make and use a tensor."""
    revisits: bool

    def apply(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """A changed copy."""
        genome = genome.copy()
        if self.k == 1:
            return genome
        if self.revisits and rng.random() < 0.4:
            return self._send_run(genome, rng)
        kinds: tuple[Callable[[Genome, np.random.Generator], Genome], ...]
        kinds = (self._move_cut, self._nudge, self._exchange, self._join, self._part)
        for kind in rng.choice(len(kinds), size=min(4, int(rng.geometric(_LAST))), p=_SHARES).tolist():
            genome = kinds[kind](genome, rng)
        return genome

    def any_order(self, rng: np.random.Generator) -> Order:
        return self.orders[int(rng.integers(len(self.orders)))]

    def _send_run(self, genome: Genome, rng: np.random.Generator) -> Genome:
        at, length = int(rng.integers(self.n)), int(rng.geometric(0.15))
        genome[at : at + length] = rng.integers(self.k)
        return genome

    def _move_cut(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """The operators next to a cut go over to its other side."""
        order = self.any_order(rng)
        places = genome[: self.n][order]
        cuts = np.flatnonzero(np.diff(places)) + 1
        if len(cuts) == 0:
            return self._part(genome, rng)
        at = int(rng.choice(cuts))
        length = int(rng.integers(1, 3)) if rng.random() < _NEAR else int(rng.geometric(0.1))
        if rng.random() < 0.5:
            places[at : at + length] = places[at - 1]
        else:
            low = max(0, at - length)
            places[low:at] = places[at]
            np.minimum(places[:low], places[at], out=places[:low])
        genome[: self.n][order] = places
        return genome

    def _nudge(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """One operator at a cut goes over to the other side, whatever the order of operators."""
        makers, users = genome[self.edges[:, 0]], genome[self.edges[:, 1]]
        crossing = np.flatnonzero(makers != users)
        if len(crossing) == 0:
            return self._part(genome, rng)
        maker, user = self.edges[int(rng.choice(crossing))].tolist()
        if rng.random() < 0.5:
            genome[maker] = genome[user]
        else:
            genome[user] = genome[maker]
        return genome

    def _exchange(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """A segment's processor is exchanged for any other."""
        ranked = np.argsort(genome[self.n :], kind="stable")
        used = np.unique(np.clip(np.rint(genome[: self.n]), 0, self.k - 1).astype(np.int64))
        a = int(ranked[int(rng.choice(used))])
        b = int(rng.choice([q for q in range(self.k) if q != a]))
        genome[self.n + a], genome[self.n + b] = genome[self.n + b], genome[self.n + a]
        return genome

    def _join(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """A segment goes to a neighbour."""
        used = np.unique(genome[: self.n])
        if len(used) == 1:
            return self._exchange(genome, rng)
        gone = int(rng.integers(len(used)))
        beside = gone + 1 if gone == 0 or (gone + 1 < len(used) and rng.random() < 0.5) else gone - 1
        genome[: self.n][genome[: self.n] == used[gone]] = used[beside]
        return genome

    def _part(self, genome: Genome, rng: np.random.Generator) -> Genome:
        """One end of a segment goes to a processor that has nothing to do, next to it in the pipeline."""
        places = np.clip(np.rint(genome[: self.n]), 0, self.k - 1).astype(np.int64)
        ranked = np.argsort(genome[self.n :], kind="stable").tolist()
        used = np.unique(places).tolist()
        free = [p for p in range(self.k) if p not in used]
        if not free:
            return self._exchange(genome, rng)
        parted, taken = int(rng.choice(used)), int(rng.choice(free))
        line = [p for p in range(self.k) if p != taken]
        behind = bool(rng.random() < 0.5)
        line.insert(line.index(parted) + behind, taken)
        new_place = {old: new for new, old in enumerate(line)}
        genome[: self.n] = [new_place[p] for p in places.tolist()]
        for place, old in enumerate(line):
            genome[self.n + ranked[old]] = place
        order = self.any_order(rng)
        inside = order[places[order] == parted]
        at = int(rng.integers(len(inside) + 1))
        genome[inside[at:] if behind else inside[:at]] = new_place[taken]
        return genome
