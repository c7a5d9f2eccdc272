"""Maximum cycle ratio of an event graph: the steady-state period of a periodic schedule.

Arc (i, j, length, tokens) says: event j of frame n starts no earlier than event i of frame n - tokens starts,
plus length. The period is the largest sum(length) / sum(tokens) over the cycles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["Arc", "has_deadlock", "maximum_cycle_ratio", "stuck_cycle", "violated_cycle"]

Arc = tuple[int, int, float, int]
_RELATIVE_EPSILON = 1e-12


def maximum_cycle_ratio(nodes: int, arcs: Sequence[Arc], at_least: float = 0.0) -> float:
    """The ratio, or ``at_least`` where that is larger; inf where a cycle can never be served (a deadlock).

    Cycle-ratio iteration: find a cycle longer than the present period allows, take its ratio, repeat until
    there is none; each ratio is that of a real cycle, so the last one is exact.
    """
    period = at_least
    while True:
        cycle = violated_cycle(nodes, arcs, period)
        if cycle is None:
            return period
        length = math.fsum(arcs[a][2] for a in cycle)
        tokens = sum(arcs[a][3] for a in cycle)
        if tokens <= 0:
            return math.inf
        ratio = length / tokens
        if ratio <= period:  # only rounding separates them
            return period
        period = ratio


def violated_cycle(nodes: int, arcs: Sequence[Arc], period: float) -> list[int] | None:
    """Arc positions of a cycle with sum(length) > period x sum(tokens), or None (longest-path Bellman-Ford)."""
    scale = max((abs(a[2]) for a in arcs), default=0.0) + period
    epsilon = scale * _RELATIVE_EPSILON
    weights = [(i, j, length - period * tokens) for i, j, length, tokens in arcs]
    start = [0.0] * nodes
    via = [-1] * nodes
    for _ in range(nodes + 1):
        changed = -1
        for position, (i, j, weight) in enumerate(weights):
            if start[i] + weight > start[j] + epsilon:
                start[j] = start[i] + weight
                via[j] = position
                changed = j
        if changed < 0:
            return None
        cycle = _cycle_of(via, weights, nodes)
        if cycle is not None:
            return cycle
    return None


def _cycle_of(via: list[int], weights: list[tuple[int, int, float]], nodes: int) -> list[int] | None:
    """A cycle of the predecessor graph, if it has one (then its weight is positive)."""
    state = [0] * nodes
    for first in range(nodes):
        node, path = first, []
        while node >= 0 and state[node] == 0 and via[node] >= 0:
            state[node] = 1
            path.append(node)
            node = weights[via[node]][0]
        if state[node] == 1 and node in path:
            cycle = [via[node]]
            walk = weights[via[node]][0]
            while walk != node:
                cycle.append(via[walk])
                walk = weights[via[walk]][0]
            return cycle
        for seen in path:
            state[seen] = 2
    return None


def has_deadlock(nodes: int, arcs: Sequence[Arc]) -> bool:
    """Whether some cycle holds no token (or fewer), so that its events wait for each other for ever."""
    return stuck_cycle(nodes, arcs) is not None


def stuck_cycle(nodes: int, arcs: Sequence[Arc]) -> list[int] | None:
    """Arc positions of a cycle that holds no token (or fewer), whether its events take time or not; or None."""
    unit = [(i, j, 1.0, tokens) for i, j, _, tokens in arcs]
    return violated_cycle(nodes, unit, float(nodes + 1))
