"""Throughput of a bundle on both kinds of boards, by the sink's clock."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy.typing as npt

from firmware_interface.messages import Mode
from hil.errors import DeviceTimeoutError
from hil.mcu_measure import MOST_VOID, Look, McuFigures, McuMeasurement
from hil.mcu_run import wire_frames
from hil.measure_figures import Snapshot, figures
from hil.measurement import median_interval
from hil.mixed import Mixed, Tell

__all__ = ["MixedMeasurement"]

Array = npt.NDArray[Any]
LOOK_S = 0.5


class MixedMeasurement:
    """Windows as on agents alone. No latency: there are no signals between the two kinds of boards."""

    def __init__(self, mixed: Mixed, inputs: Mapping[int, Array], stall_s: float, tell: Tell) -> None:
        self._mixed, self._bundle = mixed, mixed.agents.bundle
        self._small = McuMeasurement(mixed.small, inputs, stall_s, tell)
        self._inputs, self._stall_s, self._tell = inputs, stall_s, tell
        self._looks: list[Look] = []
        self._snapshots: list[Snapshot] = []

    @property
    def has_begun(self) -> bool:
        """Whether there is anything for `result`."""
        return bool(self._snapshots)

    def windows(self, wanted: int, window_s: float, warmup_s: float) -> None:
        """Frames without end; looks at the edges of the windows. Raises DeviceError."""
        small = self._mixed.small
        small.configure("measure")
        self._mixed.start(Mode.MEASURE, 0)
        if self._bundle.source in small.boards:
            small.fill(wire_frames(small, self._inputs))
        self._tell(f"warming up for {warmup_s:g} s")
        self._wait(warmup_s, 0)
        self._look()
        while len(self._looks) <= wanted + MOST_VOID * wanted and self._valid().count(True) < wanted:
            self._wait(window_s, self._snapshots[-1].frames)
            self._look()
            void = "" if self._valid()[-1] else " (void: a clock has drifted)"
            self._tell(f"window {len(self._looks) - 1}{void}")
        small.stop()

    def result(self) -> McuFigures:
        """Figures so far."""
        found = figures(self._bundle, self._snapshots)
        valid = self._valid()
        windows = tuple(w for w, holds in zip(found.windows, valid, strict=True) if holds)
        rates = [w.throughput_per_s for w in windows]
        found = replace(found, windows=windows, throughput_per_s=median_interval(rates) if rates else None)
        small = self._mixed.small
        drift = {
            name: max((abs(self._small.drift(name, a, b)) for a, b in pairwise(self._looks)), default=0.0)
            for name in (small.boards if small.lab.emulated else ())
        }
        return McuFigures(found, None, valid.count(False), drift)

    def _valid(self) -> list[bool]:
        return [self._small.is_valid(a, b) for a, b in pairwise(self._looks)]

    def _frames(self) -> int:
        sink = self._bundle.sink
        if sink in self._mixed.small.boards:
            return self._mixed.small.sink.statistics("measure").frames
        return int(self._mixed.agents.boards[sink].statistics("measure")["sink"]["frames"])

    def _look(self) -> None:
        counters: dict[str, Mapping[str, Any]] = dict(self._mixed.agents.statistics("measure"))
        look = self._small.look("measure")
        frames = self._frames()
        for name in self._mixed.small.boards:
            counters[name] = self._small.document(name, look, frames)
        self._looks.append(look)
        self._snapshots.append(Snapshot.of(counters, self._bundle))

    def _wait(self, seconds: float, frames_before: int) -> None:
        """Hand tensors on until the time is over and the sink has made a frame."""
        end, looked = time.monotonic() + seconds, time.monotonic()
        moved = looked
        while True:
            self._mixed.small.turn()
            now = time.monotonic()
            if now < end or now - looked < LOOK_S:
                continue
            looked = now
            if self._frames() > frames_before:
                return
            if now - moved > self._stall_s + seconds + 3 * self._bundle.prediction.latency_s:
                raise DeviceTimeoutError(
                    f"no frame was completed for {now - moved:.0f} s", phase="measure", board=self._bundle.sink
                )
