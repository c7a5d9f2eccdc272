"""Buffer depths: the fewest bytes that keep the period which unlimited depth allows.

Every cycle of the event graph with depths on it asks that its depths add up to some number; cycles are found as
they are violated, and the least-cost depths that meet all demands so far are found by branch and bound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optimizer.cycle_ratio import Arc, maximum_cycle_ratio, stuck_cycle, violated_cycle
from optimizer.evaluate import data_arcs, depth_arcs, order_arcs, resource_occupancy_s
from optimizer.events import Events
from optimizer.plan import Slot, Transfer

__all__ = ["Demand", "cheapest_depths", "smallest_depths"]

_EPSILON = 1e-9
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
    demands: list[Demand] = []
    budget = _Budget(_MAX_NODES)
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
        unmet = next((d for d in self.demands if not _met(d, depths)), None)
        if unmet is None:
            if (cost, depths) < (self.best_cost, self.best):
                self.best, self.best_cost = list(depths), cost
            return
        for t in sorted(unmet.transfers, reverse=True):  # later tensors first: lexicographically smaller
            if cost + self.costs[t] <= self.best_cost:
                depths[t] += 1
                self.branch(depths, cost + self.costs[t])
                depths[t] -= 1
