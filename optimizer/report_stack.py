"""Stacking of the graph's blocks in rows, and the wires between them.

report.js holds the same rule in JavaScript (``stack``), because blocks change size when they are opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Face", "Stacked", "Wire", "block_rows", "lanes_last", "stack"]

_GAP_X = 36.0
_GAP_Y = 34.0
_LABEL_PX, _CHARACTER_PX = 16.0, 6.6
_LANE_FIRST_PX, _LANE_PX = 22.0, 14.0
_MARGIN = 6.0


@dataclass(frozen=True)
class Face:
    """One way to draw a block. ``ins`` and ``outs`` are the x of its ports, in the order of its wires."""

    width: float
    height: float
    ins: tuple[float, ...]
    outs: tuple[float, ...]
    svg: str


@dataclass(frozen=True)
class Wire:
    """All tensors from one block to another. ``crosses``: over a link; ``tensors`` are graph positions."""

    source: int
    target: int
    label: str
    tip: str
    crosses: bool
    tensors: tuple[int, ...]


@dataclass(frozen=True)
class Stacked:
    """Top-left corners by block; path data and label places by wire."""

    width: float
    height: float
    places: tuple[tuple[float, float], ...]
    paths: tuple[str, ...]
    labels: tuple[tuple[float, float], ...]


def block_rows(count: int, wires: Sequence[Wire]) -> tuple[tuple[int, ...], ...]:
    """Rows by longest path; block 0 (source) stands first and the last one (sink) below all others."""
    layer = [0] + [1] * (count - 2) + [0]
    for target in range(1, count - 1):
        befores = [layer[w.source] for w in wires if w.target == target and w.source < target]
        layer[target] = max([1, *(before + 1 for before in befores)])
    layer[-1] = max(layer) + 1
    return tuple(tuple(k for k in range(count) if layer[k] == depth) for depth in range(layer[-1] + 1))


def lanes_last(wires: Sequence[Wire], count: int) -> tuple[Wire, ...]:
    """The wires that pass a row after the others: lanes run at the right, so their ports belong there too."""
    row_of = {k: r for r, row in enumerate(block_rows(count, wires)) for k in row}
    return tuple(sorted(wires, key=lambda w: row_of[w.target] - row_of[w.source] != 1))


def stack(faces: Sequence[Face], rows: Sequence[Sequence[int]], wires: Sequence[Wire]) -> Stacked:
    """Rows one below the other, centred; a wire that passes a row runs in a lane at the right."""
    row_of = {k: r for r, row in enumerate(rows) for k in row}
    widths = [sum(faces[k].width for k in row) + _GAP_X * (len(row) - 1) for row in rows]
    widest = max(widths)
    lanes = [i for i, w in enumerate(wires) if row_of[w.target] - row_of[w.source] != 1]
    places: list[tuple[float, float]] = [(0.0, 0.0)] * len(faces)
    floors, y = [], _MARGIN
    for r, row in enumerate(rows):
        if r:
            incoming = max((sum(1 for w in wires if w.target == k) for k in row), default=0)
            y += _GAP_Y + _LABEL_PX * incoming
        x = _MARGIN + (widest - widths[r]) / 2
        for k in row:
            places[k] = (x, y)
            x += faces[k].width + _GAP_X
        y += max(faces[k].height for k in row)
        floors.append(y)
    paths, labels = [], []
    outs, ins = [0] * len(faces), [0] * len(faces)
    for i, wire in enumerate(wires):
        a, b = wire.source, wire.target
        x1 = places[a][0] + faces[a].outs[outs[a]]
        x2 = places[b][0] + faces[b].ins[ins[b]]
        y1, y2, floor = places[a][1] + faces[a].height, places[b][1], floors[row_of[a]]
        lane = _MARGIN + widest + _LANE_FIRST_PX + _LANE_PX * lanes.index(i) if i in lanes else None
        paths.append(_wire_path(x1, y1, x2, y2, floor, floors[max(0, row_of[b] - 1)], lane))
        labels.append((x2 + 9, y2 - 14 - _LABEL_PX * ins[b]))
        outs[a] += 1
        ins[b] += 1
    right = widest + 2 * _MARGIN + (_LANE_FIRST_PX + _LANE_PX * len(lanes) if lanes else 0.0)
    ends = [x + _CHARACTER_PX * len(w.label) for (x, _), w in zip(labels, wires, strict=True)]
    return Stacked(max(right, *ends), y + _MARGIN, tuple(places), tuple(paths), tuple(labels))


def _wire_path(x1: float, y1: float, x2: float, y2: float, floor: float, ceiling: float, lane: float | None) -> str:
    """From a block's port down to its row's ``floor``, over to the target; ``ceiling``: the row before its end."""
    start = f"M{x1:.1f} {y1:.1f}V{floor:.1f}"
    if lane is None:
        middle = (floor + y2) / 2
        return f"{start}C{x1:.1f} {middle:.1f} {x2:.1f} {middle:.1f} {x2:.1f} {y2:.1f}"
    return (
        f"{start}C{x1:.1f} {floor + 20:.1f} {lane:.1f} {floor:.1f} {lane:.1f} {floor + 24:.1f}"
        f"V{ceiling:.1f}C{lane:.1f} {ceiling + 14:.1f} {x2:.1f} {ceiling + 2:.1f} {x2:.1f} {ceiling + 22:.1f}"
        f"V{y2:.1f}"
    )
