"""One frame at a time: latency from the frame's start to its completion, all by the source's clock."""

from __future__ import annotations

import statistics
import threading
import time
from typing import TYPE_CHECKING, Any

from firmware_interface.errors import WireError
from hil.agent_links import PING, send_token

if TYPE_CHECKING:
    from hil.agent_run import Run

__all__ = ["LatencyRecorder"]

PINGS = 50
"""The quarter of them that comes back fastest tells the way: on a busy machine most wait for a processor too, and
what a completion token does not wait for must not be taken off its frame."""
PING_TIMEOUT_S = 5.0


class LatencyRecorder:
    """Starts the next frame when the last one's token is back; first times the token's way.

    A sample is the time from the frame's start until its completion token has come back from the sink. The
    token's way back is taken as half the round trip of a ping along the same way, measured before (the lower
    quartile of `PINGS`).
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._started_ns: dict[int, int] = {}
        self._samples_ns: list[int] = []
        self._round_trips_ns: list[int] = []
        self._ping_ns = 0
        self._timeline: dict[str, list[tuple[int, int]]] = {}
        self._ping_back = threading.Event()

    def frame_started(self, frame: int) -> None:
        """The first segment or hop that takes an input of the frame begins now; later ones change nothing."""
        self._started_ns.setdefault(frame, time.monotonic_ns())

    def computed(self, segment: str, start_ns: int, end_ns: int) -> None:
        """A segment of this board has computed its part of the frame."""
        self._timeline.setdefault(segment, []).append((start_ns, end_ns))

    def token_arrived(self, channel: int, sequence: int) -> None:
        """A completion (``sequence`` frames are complete) or a ping is back. Raises WireError."""
        now = time.monotonic_ns()
        if channel == PING:
            self._round_trips_ns.append(now - self._ping_ns)
            self._ping_back.set()
            return
        start = self._started_ns.pop(sequence - 1, None)
        if start is not None:
            self._samples_ns.append(now - start)
        self._run.progress.complete(sequence)
        self._run.kick_senders()

    def calibrate(self) -> None:
        """Thread at the source: time the token's way, then let the frames go."""
        run = self._run
        try:
            if run.deployment.source != run.deployment.sink:
                for number in range(PINGS):
                    self._ping_once(number)
        except WireError as error:
            run.fail(f"timing the way to the sink: {error}")
            return
        run.progress.open_gate()
        run.kick_senders()

    def _ping_once(self, number: int) -> None:
        if self._run.progress.stopped:
            return
        self._ping_back.clear()
        self._ping_ns = time.monotonic_ns()
        send_token(self._run, PING, number)
        if not self._ping_back.wait(PING_TIMEOUT_S):
            self._run.fail(f"no answer from the sink to a ping within {PING_TIMEOUT_S} s")

    def done(self, frames: int) -> bool:
        """Whether all samples are in; only the source takes any."""
        source = self._run.deployment.board == self._run.deployment.source
        return not source or len(self._samples_ns) >= frames

    def close(self) -> None:
        """Let `calibrate` see the end."""
        self._ping_back.set()

    def as_document(self) -> dict[str, Any]:
        """For STATISTICS: samples as measured, what is to be taken off them, and when segments computed."""
        trips = self._round_trips_ns
        back = round(statistics.quantiles(trips, n=4)[0] / 2) if len(trips) > 1 else 0
        return {
            "samples_ns": list(self._samples_ns),
            "return_ns": back,
            "pings": len(trips),
            "timeline": {name: list(spans) for name, spans in self._timeline.items()},
        }
