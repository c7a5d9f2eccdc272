"""Buffer depths: the fewest bytes that keep the period which unlimited depth allows.

Every cycle of the event graph with depths on it asks that its depths add up to some number; cycles are found as
they are violated, and the least-cost depths that meet all demands so far are found by branch and bound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimizer.cycle_ratio import Arc, maximum_cycle_ratio, stuck_cycle, violated_cycle
from optimizer.evaluate import data_arcs, depth_arcs, order_arcs, resource_occupancy_s
from optimizer.events import Events
from optimizer.plan import Slot, Transfer

__all__ = ["Demand", "cheapest_depths", "smallest_depths"]

_EPSILON = 1e-9
_LOOP_EPSILON = 1e-12
_MAX_NODES = 3000


@dataclass(frozen=True)
class Demand:
    """The depths of these transfers must add up to at least ``total``."""

    transfers: frozenset[int]
    total: int


def smallest_depths(events: Events, orders: Mapping[str, Sequence[Slot]], transfers: Sequence[Transfer]) -> list[int]:
    """Depth by transfer: least bytes over all boards, subject to the least period of these orders.

    Among equals the depths that come first in lexicographic order of the declared tensors.
    """
    fixed = data_arcs(events) + order_arcs(events, orders)
    nodes = len(events.names)
    floor = max(resource_occupancy_s(events).values(), default=0.0)
    target = maximum_cycle_ratio(nodes, fixed, at_least=floor)
    depths = [1] * len(transfers)
    if not math.isfinite(target) or target <= 0:
        return depths
    allowed = target * (1 + _EPSILON)
    costs = [t.size_bytes * len(t.boards) for t in transfers]
    budget = _Budget(_MAX_NODES)
    demands: list[Demand] = []
    if events.frames == 1 and events.depth_arcs:
        loops = _Loops.of(events, fixed, allowed)
        demands = loops.of_one_buffer()
        while True:
            depths = cheapest_depths(costs, demands, budget)
            unmet = loops.violated(depths)
            if unmet is None or sum(depths[t] for t in unmet.transfers) >= unmet.total:
                break
            demands.append(unmet)
        # Rings in which nothing takes time do not show as loops that are too long.
        if min(length for _, _, length, _ in fixed) > 0:
            return depths
    while True:
        arcs = fixed + depth_arcs(events, depths)
        cycle = violated_cycle(nodes, arcs, allowed) or stuck_cycle(nodes, arcs)
        if cycle is None:
            return depths
        demand = _demand(cycle, arcs, events, len(fixed), allowed)
        if not demand.transfers or sum(depths[t] for t in demand.transfers) >= demand.total:
            return depths  # only rounding is left
        demands.append(demand)
        depths = cheapest_depths(costs, demands, budget)


@dataclass(frozen=True)
class _Loops:
    """Cycles through buffers: longest ways between them, along all that does not depend on depths.

    A buffer is a transfer with one of those who fill it; it is free again when the last of its users is done.
    """

    transfers: list[int]
    """By buffer."""
    gain_s: npt.NDArray[np.float64]
    """(a, b) seconds from when buffer a is filled until b is free, less the period for every frame between."""
    allowed_s: float

    @classmethod
    def of(cls, events: Events, fixed: Sequence[Arc], allowed_s: float) -> _Loops:
        """``fixed``: arcs of which no cycle is longer than ``allowed_s`` a frame."""
        groups = sorted({(t, taker) for _, taker, _, t in events.depth_arcs})
        sources = sorted({taker for _, taker in groups})
        ways = _longest_ways(len(events.names), fixed, allowed_s, sources)
        from_taker = ways[[sources.index(taker) for _, taker in groups]]
        gain_s = np.full((len(groups), len(groups)), -np.inf)
        column = {group: i for i, group in enumerate(groups)}
        for end, taker, lag, t in events.depth_arcs:
            b = column[t, taker]
            gain_s[:, b] = np.maximum(gain_s[:, b], from_taker[:, end] + (events.duration_s[end] + lag))
        return cls([t for t, _ in groups], gain_s, allowed_s)

    def of_one_buffer(self) -> list[Demand]:
        """What each transfer needs for itself."""
        least: dict[int, int] = {}
        for t, gain_s in zip(self.transfers, np.diagonal(self.gain_s).tolist(), strict=True):
            least[t] = max(least.get(t, 1), self._frames(gain_s))
        return [Demand(frozenset([t]), total) for t, total in least.items() if total > 1]

    def violated(self, depths: Sequence[int]) -> Demand | None:
        """A cycle on which these depths do not suffice (longest-path Bellman-Ford)."""
        weight = self.gain_s - self.allowed_s * np.array([depths[t] for t in self.transfers])
        slack = self.allowed_s * _LOOP_EPSILON
        arcs = len(weight)
        at, columns = np.zeros(arcs), np.arange(arcs)
        via = np.full(arcs, -1, dtype=np.int64)
        for _ in range(arcs + 1):
            reached = at[:, None] + weight
            best = reached.argmax(axis=0)
            pushed = reached[best, columns]
            late = pushed > at + slack
            if not late.any():
                return None
            at = np.where(late, pushed, at)
            via = np.where(late, best, via)
            cycle = _ring(via.tolist())
            if cycle:
                gain_s = math.fsum(float(self.gain_s[via[b], b]) for b in cycle)
                return Demand(frozenset(self.transfers[b] for b in cycle), self._frames(gain_s))
        return None

    def _frames(self, gain_s: float) -> int:
        return math.ceil(gain_s / self.allowed_s - _EPSILON) if math.isfinite(gain_s) else 0


def _ring(via: Sequence[int]) -> list[int]:
    """A ring of the predecessors, [] where they make none."""
    seen = [-1] * len(via)
    for first in range(len(via)):
        node = first
        while node >= 0 and seen[node] < 0:
            seen[node] = first
            node = via[node]
        if node >= 0 and seen[node] == first:
            ring, walk = [node], via[node]
            while walk != node:
                ring.append(walk)
                walk = via[walk]
            return ring
    return []


def _longest_ways(nodes: int, arcs: Sequence[Arc], period_s: float, sources: Sequence[int]) -> npt.NDArray[np.float64]:
    """(s, nodes) longest way from each source, every frame on it less ``period_s``; -inf where none leads."""
    table = np.array(sorted(arcs, key=_target))
    source, target = table[:, 0].astype(np.int64), table[:, 1].astype(np.int64)
    weight = table[:, 2] - period_s * table[:, 3]
    heads = np.flatnonzero(np.diff(target, prepend=-1))
    reached = target[heads]
    ways = np.full((len(sources), nodes), -np.inf)
    ways[np.arange(len(sources)), list(sources)] = 0.0
    slack = period_s * _LOOP_EPSILON
    for _ in range(nodes):
        pushed = np.maximum.reduceat(ways[:, source] + weight, heads, axis=1)
        here = ways[:, reached]
        late = pushed > here + slack
        if not late.any():
            break
        ways[:, reached] = np.where(late, pushed, here)
    return ways


def _target(arc: Arc) -> int:
    return arc[1]


def _demand(cycle: Sequence[int], arcs: Sequence[Arc], events: Events, fixed: int, allowed: float) -> Demand:
    held = [events.depth_arcs[a - fixed][3] for a in cycle if a >= fixed]
    length = math.fsum(arcs[a][2] for a in cycle)
    others = sum(arcs[a][3] for a in cycle if a < fixed)
    frames = max(1, math.ceil(length / allowed - _EPSILON))  # also where nothing on the cycle takes time
    return Demand(frozenset(held), frames - others)


@dataclass
class _Budget:
    """Nodes that branch and bound may still visit."""

    nodes: int


def cheapest_depths(costs: Sequence[int], demands: Sequence[Demand], budget: _Budget | None = None) -> list[int]:
    """Depths of at least 1 that meet all demands at the least total cost; lexicographically first among equals.

    Branch and bound on the transfers of an unmet demand. Beyond some thousand nodes the best so far is taken.
    """
    depths = [1] * len(costs)
    for demand in demands:
        if len(demand.transfers) == 1:
            (t,) = demand.transfers
            depths[t] = max(depths[t], demand.total)
    shared = [d for d in demands if len(d.transfers) > 1]
    if all(_met(d, depths) for d in shared):
        return depths
    search = _Search(costs, shared, _greedy(costs, shared, depths), budget or _Budget(_MAX_NODES))
    search.branch(depths, sum(c * d for c, d in zip(costs, depths, strict=True)))
    return search.best


def _met(demand: Demand, depths: Sequence[int]) -> bool:
    return sum(depths[t] for t in demand.transfers) >= demand.total


def _greedy(costs: Sequence[int], demands: Sequence[Demand], depths: Sequence[int]) -> list[int]:
    found = list(depths)
    for demand in demands:
        cheapest = min(demand.transfers, key=lambda t: (costs[t], -t))
        found[cheapest] += max(0, demand.total - sum(found[t] for t in demand.transfers))
    return found


class _Search:
    def __init__(self, costs: Sequence[int], demands: Sequence[Demand], start: list[int], budget: _Budget) -> None:
        self.costs, self.demands, self.budget = costs, demands, budget
        self.best = start
        self.best_cost = sum(c * d for c, d in zip(costs, start, strict=True))
        self.seen: set[tuple[int, ...]] = set()

    def branch(self, depths: list[int], cost: int) -> None:
        key = tuple(depths)
        if key in self.seen or self.budget.nodes <= 0:
            return
        self.budget.nodes -= 1
        self.seen.add(key)
        unmet, least = None, 0
        for demand in self.demands:
            missing = demand.total - sum([depths[t] for t in demand.transfers])
            if missing > 0:
                unmet = unmet or demand
                least = max(least, missing * min([self.costs[t] for t in demand.transfers]))
        if cost + least > self.best_cost:
            return
        if unmet is None:
            if (cost, depths) < (self.best_cost, self.best):
                self.best, self.best_cost = list(depths), cost
            return
        for t in sorted(unmet.transfers, reverse=True):  # later tensors first: lexicographically smaller
            if cost + self.costs[t] <= self.best_cost:
                depths[t] += 1
                self.branch(depths, cost + self.costs[t])
                depths[t] -= 1
