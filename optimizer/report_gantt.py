"""The Gantt chart of one period: rows of bars in per cent of the period, wraps split at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from boards.board import System
from optimizer import report_format as fmt
from optimizer.report_data import GanttBar

__all__ = ["BarView", "GanttRow", "gantt_rows", "split_wraps", "ticks"]


@dataclass(frozen=True)
class BarView:
    """One drawn bar; ``left`` and ``width`` in per cent of the period."""

    left: float
    width: float
    name: str
    frame: str
    kind: str
    """"segment" or "hop"."""
    tip: str
    cut_left: bool
    cut_right: bool


@dataclass(frozen=True)
class GanttRow:
    """One resource. ``board`` is the board index of a processor, None for a link medium."""

    resource: str
    board: int | None
    occupancy: str
    occupancy_share: float
    bars: tuple[BarView, ...]


def split_wraps(bar: GanttBar, period_s: float) -> tuple[tuple[float, float, int], ...]:
    """Pieces (start_s, end_s, stage) of a bar in the window [0, period_s); the wrapped one is of the window before."""
    if bar.end_s <= period_s * (1 + 1e-9):
        return ((bar.start_s, min(bar.end_s, period_s), bar.stage),)
    return (
        (bar.start_s, period_s, bar.stage),
        (0.0, min(bar.end_s - period_s, period_s), bar.stage + bar.frames),
    )


def gantt_rows(
    system: System, timeline: Sequence[GanttBar], occupancy_s: Mapping[str, float], period_s: float
) -> tuple[GanttRow, ...]:
    """Processors in declared order, then link media, those that do something."""
    if not timeline or not 0 < period_s < float("inf"):
        return ()
    board_of = {b.name: i for i, b in enumerate(system.boards)}
    boards = {ref.key: board_of[ref.board.name] for ref in system.processors}
    bars: dict[str, list[GanttBar]] = {key: [] for key in (*boards, *system.media)}
    for bar in timeline:
        bars.setdefault(bar.resource, []).append(bar)
    rows = []
    for resource, mine in bars.items():
        if not mine:
            continue
        busy = occupancy_s.get(resource, sum((b.end_s - b.start_s) / b.frames for b in mine))
        rows.append(
            GanttRow(
                resource=resource,
                board=boards.get(resource),
                occupancy=fmt.percent(busy / period_s),
                occupancy_share=min(1.0, busy / period_s),
                bars=tuple(view for bar in mine for view in _views(bar, period_s * bar.frames)),
            )
        )
    return tuple(rows)


def _views(bar: GanttBar, period_s: float) -> list[BarView]:
    kind = "segment" if bar.activity.startswith("segment:") else "hop"
    pieces = split_wraps(bar, period_s)
    messages = f", the last {fmt.time(bar.messages_s)} of it for messages beside the hops" if bar.messages_s > 0 else ""
    views = []
    for k, (start, end, stage) in enumerate(pieces):
        frame = f"n{fmt.MINUS}{stage}" if stage > 0 else "n" if stage == 0 else f"n+{-stage}"
        views.append(
            BarView(
                left=100 * start / period_s,
                width=100 * max(0.0, end - start) / period_s,
                name=_name(bar.label),
                frame=frame,
                kind=kind,
                tip=f"{bar.label}, frame {frame}: {fmt.time(bar.end_s - bar.start_s)} on {bar.resource}{messages}, "
                f"starts {fmt.time(bar.start_s)} into the period" + (", runs over its end" if len(pieces) == 2 else ""),
                cut_left=k == 1,
                cut_right=k == 0 and len(pieces) == 2,
            )
        )
    return views


def _name(label: str) -> str:
    """The telling end of a tensor's path."""
    return fmt.shorten(label.rstrip("/").rsplit("/", 1)[-1], 20)


def ticks(period_s: float, parts: int = 4) -> tuple[tuple[float, str], ...]:
    """(per cent, label) along the time axis."""
    return tuple((100 * k / parts, "0" if k == 0 else fmt.time(period_s * k / parts)) for k in range(parts + 1))
