"""Throughput, latency and stages of a bundle on microcontroller boards, by their own clocks.

The source repeats its first frames by itself and the sink counts, so that the host only looks on. The period is the
sink's time from completion to completion, latency the source's from frame to frame while it waits for the sink's
signal, less what that signal takes. Emulated boards keep their clocks to the wall; a window in which one has drifted is
void.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy.typing as npt

from firmware_interface.board_messages import BoardStatistics
from hil.deploy_document import routes_of
from hil.errors import DeviceTimeoutError
from hil.mcu_deploy import McuBench, McuDeployment
from hil.mcu_routes import SIGNAL_BYTES, ping_routes, way_back
from hil.mcu_run import wire_frames
from hil.measure_figures import Figures, Snapshot, figures
from hil.measurement import LatencyFigures, latency_figures, median_interval
from hil.targets.serial_mcu import SerialMcu

__all__ = ["MAX_DRIFT", "MOST_VOID", "Look", "McuFigures", "McuMeasurement", "round_trip_ns"]

Array = npt.NDArray[Any]
MAX_DRIFT = 0.005  # of a guest's clock against the wall in a window: above, boards were not in step
MOST_VOID = 1  # void windows that are made up for, to each that is wanted
LEAST_FRAMES = 3  # in a window
CLOCK_PINGS = 5
LATENCY_RUN_S = 4.0
CLOCK_READING_S = 0.002  # what two readings may be off
PINGS = 20
STALL_S = 60.0  # without any signal coming back
LOOK_S = 1.0
"""Between two looks at a board: each costs it the time of an answer."""


@dataclass(frozen=True)
class McuFigures:
    """What `McuMeasurement` found; ``windows`` of the figures are the valid ones."""

    figures: Figures
    latency: LatencyFigures | None
    void_windows: int
    drift: Mapping[str, float]
    """Largest by board over all windows, a share of the wall's time."""


@dataclass(frozen=True)
class Look:
    """All boards' counters at about one moment."""

    counters: Mapping[str, BoardStatistics]
    clocks: Mapping[str, tuple[float, float]]
    """Seconds by the board's clock, and by the host's at the same moment."""


class McuMeasurement:
    """Measures a deployment; what was found until a failure can be had at any time."""

    def __init__(
        self, deployment: McuDeployment, inputs: Mapping[int, Array], stall_s: float, tell: Callable[[str], None]
    ) -> None:
        self._deployment, self._bundle = deployment, deployment.bundle
        self._stimuli = wire_frames(deployment, inputs)
        self._stall_s, self._tell = stall_s, tell
        self._looks: list[Look] = []
        self._latency: LatencyFigures | None = None
        self._void_latencies = 0

    @property
    def has_begun(self) -> bool:
        """Whether there is anything for `result`."""
        return bool(self._looks)

    def windows(self, wanted: int, window_s: float, warmup_s: float) -> None:
        """Frames without end; looks at the edges of the windows. Raises DeviceError."""
        deployment = self._deployment
        deployment.configure("measure")
        deployment.start()
        deployment.fill(self._stimuli)
        self._tell(f"warming up for {warmup_s:g} s")
        self._wait(warmup_s, "warm-up", 0)
        self._looks.append(self.look("measure"))
        while len(self._looks) <= wanted + MOST_VOID * wanted and self._valid() < wanted:
            before = self._looks[-1].counters[self._bundle.sink].frames
            self._wait(window_s, "measure", before)
            self._looks.append(self.look("measure"))
            void = "" if self.is_valid(*self._looks[-2:]) else " (void: a clock has drifted)"
            self._tell(f"window {len(self._looks) - 1}{void}")
        deployment.stop()

    def singles(self, frames: int, warmup: int) -> None:
        """Frames one at a time, at least so many. Raises DeviceError."""
        # Long enough for its clocks to be compared: reading one is off by milliseconds.
        frames = max(frames, math.ceil(LATENCY_RUN_S / self._bundle.prediction.latency_s))
        self._tell(f"latency: {frames} single frames")
        if self._bundle.source == self._bundle.sink and len(self._bundle.boards) > 1:
            return  # a ring: the source is its own sink, and no signal tells when the frame is back
        samples: list[int] = []
        for _ in range(1 + MOST_VOID):
            self._deployment.configure("latency")
            self._deployment.start(frames + warmup)
            self._deployment.fill(self._stimuli)
            before = self.look("latency")
            samples = self._samples(frames + warmup, warmup)
            valid = self.is_valid(before, self.look("latency"))
            self._deployment.stop()
            if valid:
                break
            self._void_latencies += 1
            self._tell("latency (void: a clock has drifted)")
        else:
            return
        back_ns = 0
        if self._bundle.source != self._bundle.sink:
            way = way_back(self._bundle, self._deployment.lab)
            back_ns = round_trip_ns(self._deployment, way, self._pause) // 2
        self._latency = latency_figures(samples, back_ns)

    def result(self) -> McuFigures:
        """Figures so far."""
        snapshots = [self._snapshot(look) for look in self._looks]
        found = figures(self._bundle, snapshots)
        valid = [self.is_valid(a, b) for a, b in pairwise(self._looks)]
        windows = tuple(w for w, holds in zip(found.windows, valid, strict=True) if holds)
        rates = [w.throughput_per_s for w in windows]
        found = replace(found, windows=windows, throughput_per_s=median_interval(rates) if rates else None)
        drift = {
            name: max((abs(self.drift(name, a, b)) for a, b in pairwise(self._looks)), default=0.0)
            for name in (self._deployment.boards if self._deployment.lab.emulated else ())
        }
        return McuFigures(found, self._latency, valid.count(False) + self._void_latencies, drift)

    # Looking

    def look(self, phase: str) -> Look:
        """All boards' counters and clocks now. Raises DeviceError."""
        counters = self._deployment.statistics(phase)
        emulated = self._deployment.lab.emulated
        return Look(counters, {n: _clock(b, phase) for n, b in self._deployment.boards.items()} if emulated else {})

    def _pause(self, seconds: float) -> None:
        """Serve the host's links where tensors go through it, else sleep."""
        end = time.monotonic() + seconds
        if not self._deployment.hands_on:
            time.sleep(seconds)
        while time.monotonic() < end:
            self._deployment.turn()

    def _wait(self, seconds: float, phase: str, frames_before: int) -> None:
        """Until the time is over and the sink has made enough frames."""
        self._pause(seconds)
        moved, last = time.monotonic(), frames_before
        while (frames := self._deployment.sink.statistics(phase).frames) < frames_before + LEAST_FRAMES:
            if frames != last:
                last, moved = frames, time.monotonic()
            if time.monotonic() - moved > self._patience():
                raise self._stalled(phase, frames)
            self._pause(LOOK_S)

    def _patience(self) -> float:
        """A stall is longer than the plan's latency, which a slow board may need for the first frame."""
        return self._stall_s + 3 * self._bundle.prediction.latency_s

    def _stalled(self, phase: str, frames: int) -> DeviceTimeoutError:
        states = "; ".join(
            f"{name}: {c.frames} frames, {c.parts_sent} parts sent, {c.parts_received} received"
            for name, c in self.look(phase).counters.items()
        )
        return DeviceTimeoutError(
            f"no frame was completed for {self._patience():.0f} s after {frames}; {states}",
            phase=phase,
            board=self._bundle.sink,
        )

    def _samples(self, frames: int, warmup: int) -> list[int]:
        """Nanoseconds from frame to frame at the source; where several ended between two looks, their mean."""
        source = self._deployment.source
        samples: list[int] = []
        seen, total_ticks, moved = 0, 0, time.monotonic()
        while seen < frames:
            self._pause(min(LOOK_S, max(0.05, self._bundle.prediction.latency_s)))
            now = source.statistics("latency")
            ticks = now.run_ticks + now.wait_ticks
            if now.frames > seen:
                each = round((ticks - total_ticks) / (now.frames - seen) / source.facts.tick_hz * 1e9)
                samples += [each] * (now.frames - seen)
                seen, total_ticks, moved = now.frames, ticks, time.monotonic()
            elif time.monotonic() - moved > self._patience():
                raise self._stalled("latency", seen)
        # The time from START to the end of the first frame holds the wait for the stimuli.
        return samples[warmup:]

    # Figures

    def drift(self, board: str, a: Look, b: Look) -> float:
        """How much faster a board's clock went than the host's, as a share."""
        (guest_a_s, host_a_s), (guest_b_s, host_b_s) = a.clocks[board], b.clocks[board]
        return (guest_b_s - guest_a_s) / (host_b_s - host_a_s) - 1

    def is_valid(self, a: Look, b: Look) -> bool:
        """Whether no guest's clock has drifted between the two."""
        if not self._deployment.lab.emulated:
            return True
        return all(self._keeps_to_the_wall(name, a, b) for name in self._deployment.boards)

    def _keeps_to_the_wall(self, board: str, a: Look, b: Look) -> bool:
        wall_s = b.clocks[board][1] - a.clocks[board][1]
        return abs(self.drift(board, a, b)) * wall_s <= MAX_DRIFT * wall_s + CLOCK_READING_S

    def _valid(self) -> int:
        return sum(self.is_valid(a, b) for a, b in pairwise(self._looks))

    def _ns(self, board: str, ticks: int) -> int:
        return round(ticks * 1e9 / self._deployment.boards[board].facts.tick_hz)

    def _snapshot(self, look: Look) -> Snapshot:
        sink = look.counters[self._bundle.sink]
        return Snapshot(
            frames=sink.frames,
            last_completion_ns=self._ns(self._bundle.sink, sink.run_ticks + sink.wait_ticks),
            mismatches=0,
            time_ns={name: self._ns(name, c.ticks) for name, c in look.counters.items()},
            processors={s.processor: self._processor(s.name, s.board, look) for s in self._bundle.segments},
            sent=self._traffic(look, sink.frames),
            received=self._traffic(look, sink.frames),
        )

    def document(self, board: str, look: Look, frames: int) -> dict[str, Any]:
        """A board's counters as an agent would tell them; ``frames`` are those of the sink."""
        hops = {hop.name: hop for t in self._bundle.tensors for hop in routes_of(t, self._bundle.boards)}
        traffic = self._traffic(look, frames)
        counters = look.counters[board]
        return {
            "time_ns": self._ns(board, counters.ticks),
            "processors": {
                s.processor: self._processor(s.name, board, look) for s in self._bundle.segments if s.board == board
            },
            "sent": {name: figures for name, figures in traffic.items() if hops[name].source == board},
            "received": {name: figures for name, figures in traffic.items() if hops[name].target == board},
            "sink": {
                "frames": counters.frames,
                "last_ns": self._ns(board, counters.run_ticks + counters.wait_ticks),
                "mismatches": 0,
            },
        }

    def _processor(self, segment: str, board: str, look: Look) -> dict[str, Any]:
        counters = look.counters[board]
        return {
            "segments": {segment: {"frames": counters.frames, "compute_ns": self._ns(board, counters.run_ticks)}},
            "wait_ns": self._ns(board, max(0, counters.wait_ticks - counters.send_ticks)),
            "send_ns": self._ns(board, counters.send_ticks),
        }

    def _traffic(self, look: Look, frames: int) -> dict[str, dict[str, int]]:
        """By link: the sink's frames stand for those of every hop, the sender's time at the line for the wire's."""
        hops = [(hop, t) for t in self._bundle.tensors for hop in routes_of(t, self._bundle.boards)]
        sent_bytes: dict[str, int] = {}
        for hop, tensor in hops:
            sent_bytes[hop.source] = sent_bytes.get(hop.source, 0) + tensor.size_bytes
        traffic: dict[str, dict[str, int]] = {}
        for hop, tensor in hops:
            entry = traffic.setdefault(hop.name, {"messages": 0, "bytes": 0, "busy_ns": 0})
            share = tensor.size_bytes / sent_bytes[hop.source]
            entry["messages"] += frames
            entry["bytes"] += frames * tensor.size_bytes
            if hop.source in look.counters:
                entry["busy_ns"] += round(self._ns(hop.source, look.counters[hop.source].send_ticks) * share)
        return traffic


def _clock(board: SerialMcu, phase: str) -> tuple[float, float]:
    """The board's clock and the host's, from the quickest of a few pings.

    A board that sends looks at its line only between two PARTs, and then answers at once: its time is that of the
    answer's coming, not of the middle between question and answer.
    """
    best: tuple[float, float, float] | None = None
    with board.phase(phase):
        for _ in range(CLOCK_PINGS):
            begin = time.monotonic()
            guest_s = board.client.ping() * 1e-9
            end = time.monotonic()
            if best is None or end - begin < best[0]:
                best = (end - begin, guest_s, end)
    assert best is not None
    return best[1], best[2]


def round_trip_ns(
    bench: McuBench,
    back: Sequence[str],
    pause: Callable[[float], None],
    size_bytes: int = SIGNAL_BYTES,
    pings: int = PINGS,
    patience_s: float = STALL_S,
    of: Callable[[Sequence[float]], float] = statistics.median,
) -> int:
    """Nanoseconds of a signal of ``size_bytes`` from the source to the sink and a small one back: ``of`` all samples.

    By the source's clock, without any model; ``back`` is the way from the sink to the source. Raises DeviceError.
    """
    bench.lay(ping_routes(bench.lab, back, size_bytes))
    bench.start(pings)
    source, seen, total_ticks, moved = bench.source, 0, 0, time.monotonic()
    samples: list[float] = []
    while seen < pings:
        pause(0.2)
        now = source.statistics("calibrate the way back")
        ticks = now.run_ticks + now.wait_ticks
        if now.frames > seen:
            samples += [(ticks - total_ticks) / (now.frames - seen)] * (now.frames - seen)
            seen, total_ticks, moved = now.frames, ticks, time.monotonic()
        elif time.monotonic() - moved > patience_s:
            raise DeviceTimeoutError(
                f"no signal came back for {patience_s:.0f} s", phase="calibrate the way back", board=source.name
            )
    bench.stop()
    return round(of(samples[1:]) / source.facts.tick_hz * 1e9)
