"""A small layered drawing of a DAG: longest-path layers, barycenter order, least-squares x, curved edges.

Deterministic, and light enough for a thousand nodes: the report may not make `solve` slow.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Layout", "Net", "layered_layout"]

_ORDER_SWEEPS = 6
_PLACE_SWEEPS = 8
_LANE_PX = 8.0
"""Width that an edge takes where it passes a layer."""
_GAP_X = 12.0
_STRAIGHT_PX = 0.6
"""An edge that would bend by less is drawn straight."""


@dataclass(frozen=True)
class Net:
    """One tensor: from a node to one or more nodes that stand behind it."""

    source: int
    targets: tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """Positions in px, y downwards. ``nodes`` are top-left corners; ``paths`` is SVG path data by net."""

    width: float
    height: float
    nodes: tuple[tuple[float, float], ...]
    paths: tuple[str, ...]


@dataclass
class _Grid:
    """Nodes first, then the dummies that carry long edges; ``up`` and ``down`` join neighbouring layers."""

    layer: list[int]
    size: list[tuple[float, float]]
    up: list[list[int]]
    down: list[list[int]]
    links: list[list[tuple[int, int]]]
    """By net: its pieces, each between neighbouring layers."""


def layered_layout(
    sizes: Sequence[tuple[float, float]],
    nets: Sequence[Net],
    *,
    first: Sequence[int] = (),
    last: Sequence[int] = (),
    gap_y: float = 18.0,
) -> Layout:
    """Lay out nodes of ``sizes`` (width, height), numbered in topological order.

    ``first`` and ``last`` are nodes that stand alone in the top and bottom layer (the ports of a segment).
    """
    if not sizes:
        return Layout(0.0, 0.0, (), ())
    grid = _build_grid(sizes, nets, _layers(len(sizes), nets, first, last))
    rows = _ordered_rows(grid)
    xs = _place(grid, rows)
    tops, heights = _stack(grid, rows, gap_y)
    nodes = tuple(
        (xs[v] - sizes[v][0] / 2, tops[grid.layer[v]] + (heights[grid.layer[v]] - sizes[v][1]) / 2)
        for v in range(len(sizes))
    )
    paths = tuple(_net_path(grid, links, xs, tops, heights, len(sizes)) for links in grid.links)
    width = max(xs[v] + grid.size[v][0] / 2 for v in range(len(xs)))
    return Layout(width, tops[-1] + heights[-1], nodes, paths)


def _layers(n: int, nets: Sequence[Net], first: Sequence[int], last: Sequence[int]) -> list[int]:
    """Longest path from the top; ports keep the top and bottom layer to themselves."""
    before: list[list[int]] = [[] for _ in range(n)]
    for net in nets:
        for target in net.targets:
            before[target].append(net.source)
    top, bottom = set(first), set(last)
    floor = 1 if top else 0
    layer = [0] * n
    for v in range(n):
        if v not in top and v not in bottom:
            layer[v] = max((layer[u] + 1 for u in before[v]), default=floor)
    deepest = max((layer[v] for v in range(n) if v not in bottom), default=0)
    for v in bottom:
        layer[v] = deepest + 1
    return layer


def _build_grid(sizes: Sequence[tuple[float, float]], nets: Sequence[Net], layer: list[int]) -> _Grid:
    n = len(sizes)
    grid = _Grid(list(layer), list(sizes), [[] for _ in range(n)], [[] for _ in range(n)], [])
    for net in nets:
        links: list[tuple[int, int]] = []
        at, by_layer = net.source, {layer[net.source]: net.source}
        targets = [t for t in net.targets if layer[t] > layer[net.source]]
        for depth in range(layer[net.source] + 1, max((layer[t] for t in targets), default=0)):
            dummy = len(grid.layer)
            grid.layer.append(depth)
            grid.size.append((_LANE_PX, 0.0))
            grid.up.append([])
            grid.down.append([])
            links.append((at, dummy))
            by_layer[depth] = at = dummy
        links += [(by_layer[layer[t] - 1], t) for t in targets]
        for a, b in links:
            grid.down[a].append(b)
            grid.up[b].append(a)
        grid.links.append(links)
    return grid


def _ordered_rows(grid: _Grid) -> list[list[int]]:
    """Order within each layer by the mean place of the neighbours, swept down and up; the best one seen."""
    rows: list[list[int]] = [[] for _ in range(max(grid.layer) + 1)]
    for v in _depth_first(grid):
        rows[grid.layer[v]].append(v)
    place = [0.0] * len(grid.layer)
    for row in rows:
        _number(row, place)
    best, fewest = [list(r) for r in rows], _crossings(grid, rows, place)
    for sweep in range(_ORDER_SWEEPS):
        if fewest == 0:
            break
        downwards = sweep % 2 == 0
        neighbours = grid.up if downwards else grid.down
        for row in rows if downwards else reversed(rows):
            keys = {v: _mean([place[u] for u in neighbours[v]], place[v]) for v in row}
            row.sort(key=keys.__getitem__)
            _number(row, place)
        crossings = _crossings(grid, rows, place)
        if crossings < fewest:
            best, fewest = [list(r) for r in rows], crossings
    return best


def _depth_first(grid: _Grid) -> list[int]:
    """Visit order from the top: keeps branches side by side to begin with."""
    seen = [False] * len(grid.layer)
    order: list[int] = []
    roots = sorted(range(len(grid.layer)), key=lambda v: grid.layer[v])
    for root in roots:
        stack = [] if seen[root] or grid.up[root] else [root]
        while stack:
            v = stack.pop()
            if seen[v]:
                continue
            seen[v] = True
            order.append(v)
            stack.extend(u for u in reversed(grid.down[v]) if not seen[u])
    return order


def _number(row: list[int], place: list[float]) -> None:
    for position, v in enumerate(row):
        place[v] = position - (len(row) - 1) / 2


def _mean(values: list[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _crossings(grid: _Grid, rows: list[list[int]], place: list[float]) -> int:
    """Pairs of pieces that cross, summed over neighbouring layers (counted as inversions)."""
    total = 0
    for row in rows:
        ends = [place[b] for a in row for b in sorted(grid.down[a], key=place.__getitem__)]
        total += _inversions(ends)
    return total


def _inversions(values: list[float]) -> int:
    seen: list[float] = []
    total = 0
    for value in values:
        total += len(seen) - bisect_right(seen, value)
        insort(seen, value)
    return total


def _place(grid: _Grid, rows: list[list[int]]) -> list[float]:
    """Centres x: each layer in turn goes as near to its neighbours as order and distance allow.

    From rows that are all centred, with the neighbours on both sides, and chains moved as one: so a long chain
    does not drift.
    """
    xs = [0.0] * len(grid.layer)
    offsets = [_offsets(grid, row) for row in rows]
    for row, offset in zip(rows, offsets, strict=True):
        weight = sum(grid.size[v][0] for v in row)
        middle = sum(grid.size[v][0] * o for v, o in zip(row, offset, strict=True)) / weight
        for v, o in zip(row, offset, strict=True):
            xs[v] = o - middle
    around = [up + down for up, down in zip(grid.up, grid.down, strict=True)]
    chains = _chains(grid)
    for sweep in range(_PLACE_SWEEPS):
        for r in range(len(rows)) if sweep % 2 == 0 else range(len(rows) - 1, -1, -1):
            _pull(rows[r], offsets[r], around, grid, xs)
        _straighten(grid, rows, chains, xs)
    left = min(xs[v] - grid.size[v][0] / 2 for v in range(len(xs)))
    return [x - left for x in xs]


def _offsets(grid: _Grid, row: list[int]) -> list[float]:
    """Centres of a row packed from 0."""
    at, offset = 0.0, []
    for k, v in enumerate(row):
        if k:
            at += _distance(grid, row[k - 1], v)
        offset.append(at)
    return offset


def _distance(grid: _Grid, v: int, w: int) -> float:
    """Least distance of two neighbours' centres."""
    return (grid.size[v][0] + grid.size[w][0]) / 2 + _GAP_X


def _chains(grid: _Grid) -> list[list[int]]:
    """Maximal runs in which each has one neighbour below and that one has one above."""
    chains = []
    for v in range(len(grid.layer)):
        if len(grid.up[v]) == 1 and len(grid.down[grid.up[v][0]]) == 1:
            continue  # not the top of its run
        chain = [v]
        while len(grid.down[chain[-1]]) == 1 and len(grid.up[grid.down[chain[-1]][0]]) == 1:
            chain.append(grid.down[chain[-1]][0])
        if len(chain) > 1:
            chains.append(chain)
    return chains


def _straighten(grid: _Grid, rows: list[list[int]], chains: list[list[int]], xs: list[float]) -> None:
    """Put the members of a chain below each other where the rows leave room for it."""
    position = {v: k for row in rows for k, v in enumerate(row)}
    for chain in chains:
        low, high = -math.inf, math.inf
        for v in chain:
            row, k = rows[grid.layer[v]], position[v]
            if k:
                low = max(low, xs[row[k - 1]] + _distance(grid, row[k - 1], v))
            if k + 1 < len(row):
                high = min(high, xs[row[k + 1]] - _distance(grid, v, row[k + 1]))
        if low <= high:
            x = min(high, max(low, sum(xs[v] for v in chain) / len(chain)))
            for v in chain:
                xs[v] = x


def _pull(row: list[int], offset: list[float], around: list[list[int]], grid: _Grid, xs: list[float]) -> None:
    """Least squares towards the neighbours' mean x under "stay in order, keep distance": isotonic regression.

    Wide boxes weigh more than passing edges, so that the trunk runs straight and the edges give way.
    """
    wanted, weights = [], []
    for v, o in zip(row, offset, strict=True):
        total = sum(grid.size[u][0] for u in around[v])
        x = sum(grid.size[u][0] * xs[u] for u in around[v]) / total if total else xs[v]
        wanted.append(x - o)
        weights.append(grid.size[v][0])
    for v, x, o in zip(row, _isotonic(wanted, weights), offset, strict=True):
        xs[v] = x + o


def _isotonic(values: list[float], weights: list[float]) -> list[float]:
    """The nearest non-decreasing sequence (pool adjacent violators)."""
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(values, weights, strict=True):
        pools.append((value, weight, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (a, wa, na), (b, wb, nb) = pools[-2], pools[-1]
            pools[-2:] = [((a * wa + b * wb) / (wa + wb), wa + wb, na + nb)]
    return [mean for mean, _, size in pools for _ in range(size)]


def _stack(grid: _Grid, rows: list[list[int]], gap_y: float) -> tuple[list[float], list[float]]:
    heights = [max((grid.size[v][1] for v in row), default=0.0) for row in rows]
    tops, at = [], 0.0
    for row, height in zip(rows, heights, strict=True):
        tops.append(at)
        # Many edges that bend in one gap need a little more of it to stay apart.
        bends = sum(len(grid.down[v]) for v in row)
        at += height + gap_y + min(30.0, 1.2 * max(0, bends - 6))
    return tops, heights


def _net_path(
    grid: _Grid,
    links: list[tuple[int, int]],
    xs: list[float],
    tops: list[float],
    heights: list[float],
    real: int,
) -> str:
    """One path for all pieces of a net; straight runs through layers become one vertical line."""
    parts: list[str] = []
    at = (-1.0, -1.0)
    for a, b in links:
        above, below = grid.layer[a], grid.layer[b]
        start = (
            xs[a],
            tops[above] + (heights[above] + grid.size[a][1] if a < real else 2 * heights[above]) / 2,
        )
        x, y = xs[b], tops[below] + ((heights[below] - grid.size[b][1]) / 2 if b < real else 0.0)
        if abs(at[0] - start[0]) > _STRAIGHT_PX or at[1] != start[1]:
            parts.append(f"M{_px(start[0])} {_px(start[1])}")
            at = start
        if abs(at[0] - x) > _STRAIGHT_PX:
            middle = _px((at[1] + y) / 2)
            parts.append(f"C{_px(at[0])} {middle} {_px(x)} {middle} {_px(x)} {_px(y)}")
            at = (x, y)
        if b >= real:  # pass the layer
            y = tops[below] + heights[below]
        if at[1] != y:
            parts.append(f"V{_px(y)}")
        at = (at[0], y)
    return _join_verticals(parts)


def _join_verticals(parts: Sequence[str]) -> str:
    """Of vertical lines in a row only the last one says anything."""
    kept = [p for p, after in pairwise((*parts, "")) if not (p[0] == "V" and after[:1] == "V")]
    return "".join(kept)


def _px(value: float) -> str:
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text
