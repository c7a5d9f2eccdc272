"""From the boards' counters at the edges of the windows to figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from hil.deploy_document import Route, routes_of
from hil.measurement import Interval, LinkFigures, Modelled, StageFigures, Window, median_interval
from optimizer.split_manifest import Bundle

__all__ = ["Figures", "Snapshot", "figures"]


@dataclass(frozen=True)
class Snapshot:
    """Counters of all boards at about the same moment; each board's times are by its own clock."""

    frames: int
    last_completion_ns: int
    mismatches: int
    time_ns: Mapping[str, int]
    """By board."""
    processors: Mapping[str, Mapping[str, Any]]
    """By processor key."""
    sent: Mapping[str, Mapping[str, int]]
    received: Mapping[str, Mapping[str, int]]
    """By link."""

    @classmethod
    def of(cls, counters: Mapping[str, Mapping[str, Any]], bundle: Bundle) -> Snapshot:
        """From the STATISTICS of all boards."""
        sink = counters[bundle.sink]["sink"]
        merged: dict[str, dict[str, Any]] = {"processors": {}, "sent": {}, "received": {}}
        for board in counters.values():
            for key, target in merged.items():
                target.update(board[key])
        return cls(
            frames=sink["frames"],
            last_completion_ns=sink["last_ns"],
            mismatches=sink["mismatches"],
            time_ns={name: c["time_ns"] for name, c in counters.items()},
            **merged,
        )


@dataclass(frozen=True)
class Figures:
    """What the snapshots say."""

    windows: tuple[Window, ...]
    throughput_per_s: Interval | None
    stages: tuple[StageFigures, ...]
    links: tuple[LinkFigures, ...]
    modelled: Modelled
    checksum_mismatches: int


def figures(bundle: Bundle, snapshots: Sequence[Snapshot]) -> Figures:
    """Figures of the windows between consecutive snapshots; empty ones for fewer than two."""
    windows = tuple(_window(bundle, a, b) for a, b in pairwise(snapshots))
    rates = [w.throughput_per_s for w in windows]
    if not windows:
        return Figures((), None, (), (), Modelled("model", None, {}), 0)
    first, last = snapshots[0], snapshots[-1]
    return Figures(
        windows=windows,
        throughput_per_s=median_interval(rates),
        stages=tuple(_stage(key, first, last) for key in sorted(last.processors)),
        links=_links(bundle, first, last),
        modelled=_modelled(bundle, first, last),
        checksum_mismatches=last.mismatches,
    )


def _window(bundle: Bundle, a: Snapshot, b: Snapshot) -> Window:
    frames = b.frames - a.frames
    # From completion to completion: no error from frames that are half done at the edges. A window in which
    # nothing was completed counts with the time that went by at the sink.
    if frames:
        duration_s = (b.last_completion_ns - a.last_completion_ns) / 1e9
    else:
        duration_s = (b.time_ns[bundle.sink] - a.time_ns[bundle.sink]) / 1e9
    compute: dict[str, float] = {}
    for key, processor in b.processors.items():
        for name, segment in processor["segments"].items():
            before = a.processors[key]["segments"][name]
            count = segment["frames"] - before["frames"]
            if count:
                compute[name] = (segment["compute_ns"] - before["compute_ns"]) / 1e9 / count
    rate = frames * bundle.batch / duration_s if duration_s > 0 else 0.0
    return Window(duration_s, frames, rate, compute)


def _stage(key: str, a: Snapshot, b: Snapshot) -> StageFigures:
    before, after = a.processors[key], b.processors[key]
    compute_ns, frames = 0, 0
    segments: dict[str, float] = {}
    for name, segment in after["segments"].items():
        count = segment["frames"] - before["segments"][name]["frames"]
        spent = segment["compute_ns"] - before["segments"][name]["compute_ns"]
        segments[name] = spent / 1e9 / count if count else 0.0
        compute_ns += spent
        frames = max(frames, count)
    elapsed_ns = _elapsed_ns(key, a, b)
    per_frame = 1e9 * max(1, frames)
    return StageFigures(
        processor=key,
        frames=frames,
        compute_s=compute_ns / per_frame,
        send_s=(after["send_ns"] - before["send_ns"]) / per_frame,
        wait_s=(after["wait_ns"] - before["wait_ns"]) / per_frame,
        segments=segments,
        busy_share=compute_ns / elapsed_ns if elapsed_ns else 0.0,
    )


def _elapsed_ns(processor: str, a: Snapshot, b: Snapshot) -> int:
    board = processor.partition("/")[0]
    return b.time_ns[board] - a.time_ns[board]


def _links(bundle: Bundle, a: Snapshot, b: Snapshot) -> tuple[LinkFigures, ...]:
    routes: dict[str, Route] = {r.name: r for t in bundle.tensors for r in routes_of(t, bundle.boards)}
    frames = max(1, b.frames - a.frames)

    def change(table: str, name: str, key: str) -> int:
        after: int = getattr(b, table)[name][key]
        before: int = getattr(a, table)[name][key]
        return after - before

    return tuple(
        LinkFigures(
            link=name,
            source=route.source,
            target=route.target,
            bytes_per_frame=change("received", name, "bytes") / frames,
            messages_per_frame=change("received", name, "messages") / frames,
            send_s=change("sent", name, "busy_ns") / 1e9 / frames,
            receive_s=change("received", name, "busy_ns") / 1e9 / frames,
        )
        for name, route in routes.items()
    )


def _modelled(bundle: Bundle, a: Snapshot, b: Snapshot) -> Modelled:
    """Energy: measured busy time x catalog power. No link energy: nothing about it is measured."""
    inferences = (b.frames - a.frames) * bundle.batch
    if inferences <= 0:
        return Modelled("model", None, {})
    spent: dict[str, float] = {}
    for key, power in bundle.power.items():
        board = key.partition("/")[0]
        if board not in b.time_ns:
            continue  # a board that the plan does not use
        elapsed_s = _elapsed_ns(key, a, b) / 1e9
        stage = _stage(key, a, b) if key in b.processors else None
        busy_s = stage.busy_share * elapsed_s if stage is not None else 0.0
        joules = power.active_power_w * busy_s + power.idle_power_w * max(0.0, elapsed_s - busy_s)
        spent[key] = joules / inferences
    return Modelled("model", sum(spent.values()) if spent else None, spent)
