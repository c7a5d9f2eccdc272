"""Order-DP: the best contiguous plan whose segments are intervals of one order of the groups; an upper bound."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from optimizer.max_load import MEMORY_TOLERANCE
from optimizer.search.max_load_groups import Groups

__all__ = ["order_plan", "orders"]

_Costs = npt.NDArray[np.float64]


def orders(coarse: Groups) -> Iterator[list[int]]:
    """A few orders that the precedences allow: as numbered, breadth first, depth first from either end."""
    count = len(coarse.groups)
    yield list(range(count))
    after: list[list[int]] = [[] for _ in range(count)]
    before: list[list[int]] = [[] for _ in range(count)]
    for u, v in coarse.precedences:
        after[u].append(v)
        before[v].append(u)
    yield _walk(after, before, depth_first=False)
    yield _walk(after, before, depth_first=True)
    yield _walk(before, after, depth_first=True)[::-1]


def _walk(after: Sequence[Sequence[int]], before: Sequence[Sequence[int]], depth_first: bool) -> list[int]:
    missing = [len(b) for b in before]
    ready = deque(u for u, count in enumerate(missing) if count == 0)
    order = []
    while ready:
        u = ready.pop() if depth_first else ready.popleft()
        order.append(u)
        for v in after[u]:
            missing[v] -= 1
            if missing[v] == 0:
                ready.append(v)
    return order


def order_plan(coarse: Groups, order: Sequence[int], below: float = math.inf) -> tuple[float, list[int]] | None:
    """(max load in ms, device by group) of the best plan along the order that is better than ``below``, or None.

    O(n^2) intervals, each in time of the outputs it touches; times (k + 1)(l + 1) vectorised.
    """
    count = len(order)
    shape = (coarse.problem.accelerators + 1, coarse.problem.cpus + 1)
    best: _Costs = np.full((count + 1, *shape), math.inf)
    best[0] = 0.0
    source: npt.NDArray[np.int64] = np.full((count + 1, *shape, 2), -1, dtype=np.int64)
    intervals = _Intervals(coarse, order)
    for start in range(count):
        here = best[start]
        if not np.isfinite(here).any():
            continue
        for end, on_accelerator, on_cpu in intervals.starting_at(start, below):
            if on_accelerator < below:
                _relax(best[end], source[end], here, on_accelerator, start, axis=0)
            if on_cpu < below:
                _relax(best[end], source[end], here, on_cpu, start, axis=1)
    value = float(best[count].min())
    if not value < below:
        return None
    a, c = (int(x) for x in np.unravel_index(int(best[count].argmin()), shape))
    devices = [0] * count
    end = count
    while end > 0:
        start, axis = (int(x) for x in source[end, a, c])
        a, c = (a - 1, c) if axis == 0 else (a, c - 1)
        for group in order[start:end]:
            devices[group] = a if axis == 0 else coarse.problem.accelerators + c
        end = start
    return value, devices


def _relax(best: _Costs, source: npt.NDArray[np.int64], here: _Costs, load: float, start: int, axis: int) -> None:
    """One more device of the kind (axis 0: accelerator, 1: CPU) takes the interval."""
    if best.shape[axis] == 1:
        return
    old, new = (here[:-1], best[1:]) if axis == 0 else (here[:, :-1], best[:, 1:])
    trace = source[1:] if axis == 0 else source[:, 1:]
    reached = np.maximum(old, load)
    better = reached < new
    if better.any():
        new[better] = reached[better]
        trace[better] = (start, axis)


class _Intervals:
    """Loads of the intervals of an order, grown one group at a time."""

    def __init__(self, coarse: Groups, order: Sequence[int]) -> None:
        self.coarse, self.order = coarse, order
        self.limit = coarse.problem.memory_bytes * (1 + MEMORY_TOLERANCE)
        self.touching: list[list[int]] = [[] for _ in coarse.groups]
        for number, net in enumerate(coarse.nets):
            for end in net.ends:
                self.touching[end].append(number)

    def starting_at(self, start: int, below: float) -> Iterator[tuple[int, float, float]]:
        """(end, load on an accelerator or inf, load on a CPU) while either kind of device could do the work."""
        nets, inside = self.coarse.nets, dict[int, int]()
        work = transfers = cpu = size = 0.0
        supported = True
        for end in range(start, len(self.order)):
            group = self.coarse.groups[self.order[end]]
            work += group.accelerator_ms
            cpu += group.cpu_ms
            size += group.size_bytes
            supported = supported and group.supported
            for number in self.touching[self.order[end]]:
                seen = inside.get(number, 0) + 1
                inside[number] = seen
                if seen == 1:
                    transfers += nets[number].ms
                if seen == len(nets[number].ends):
                    transfers -= nets[number].ms
            fits = supported and size <= self.limit and work < below
            if not fits and (cpu >= below or self.coarse.problem.cpus == 0):
                return
            yield end + 1, work + transfers if fits else math.inf, cpu
