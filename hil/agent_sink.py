"""The sink, where model outputs arrive: counted and check-summed, or sent to the host in a run."""

from __future__ import annotations

import time
import zlib
from typing import TYPE_CHECKING, Any

from firmware_interface.errors import WireError
from firmware_interface.messages import Mode
from firmware_interface.transport import Connection
from hil.agent_deployment import Tensor
from hil.agent_links import COMPLETION, send_token
from hil.agent_progress import NO_LIMIT, Waiter

if TYPE_CHECKING:
    from hil.agent_run import Run

__all__ = ["Sink"]

CHECKED_BYTES = 1 << 16  # of each output: enough to notice a mix-up, 0.03 ms of work


class Sink:
    """Counts frames whose outputs have all arrived, by this board's clock."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._repeats_after = 0 if run.mode is Mode.RUN else run.deployment.repeats_after
        self._outputs = [t for t in run.deployment.tensors.values() if t.to_sink]
        self._arrived = {t.id: 0 for t in self._outputs}
        self.frames = 0
        self.output_connection: Connection | None = None
        self._first_ns = self._last_ns = 0
        self._checksums: dict[tuple[int, int], int] = {}
        self._mismatches = 0

    def arrived(self, tensor: Tensor, frame: int) -> None:
        """An output is here; its slot is free again at once. Raises WireError."""
        if self._repeats_after:
            checksum = zlib.crc32(self._run.view(tensor.id, frame)[:CHECKED_BYTES])
            if self._checksums.setdefault((tensor.id, frame % self._repeats_after), checksum) != checksum:
                self._mismatches += 1
        self._count(tensor, frame)
        self._run.use(tensor, "sink", frame + 1)

    def _count(self, tensor: Tensor, frame: int) -> None:
        now = time.monotonic_ns()
        with self._run.progress.lock:
            self._arrived[tensor.id] = frame + 1
            complete = min(self._arrived.values()) > self.frames
            if complete:
                self.frames += 1
                self._first_ns = self._first_ns or now
                self._last_ns = now
        if complete and self._run.mode is Mode.LATENCY:
            send_token(self._run, COMPLETION, self.frames, back=True)

    def deliver(self) -> None:
        """Thread of a run: send the outputs to the host, frame by frame."""
        waiter, progress = Waiter("sink"), self._run.progress
        frame = 0
        try:
            while frame < progress.limit and not progress.stopped:
                for tensor in self._outputs:
                    self._deliver(waiter, tensor, frame)
                frame += 1
        except WireError as error:
            self._run.fail(f"sink: sending outputs to the host: {error}")

    def _deliver(self, waiter: Waiter, tensor: Tensor, frame: int) -> None:
        progress = self._run.progress
        progress.wait(
            waiter,
            lambda: (
                self.output_connection is not None
                and (progress.available[tensor.id] > frame or frame >= progress.limit)
            ),
            lambda: f"{tensor.name} frame {frame}",
        )
        if progress.stopped or frame >= progress.limit or self.output_connection is None:
            return
        self.output_connection.send_tensor(tensor.id, frame, self._run.view(tensor.id, frame))
        self._count(tensor, frame)
        self._run.use(tensor, "sink", frame + 1)

    def as_document(self) -> dict[str, Any]:
        """For STATISTICS: frames, first and last completion by this board's clock, checksum mismatches."""
        with self._run.progress.lock:
            return {
                "frames": self.frames,
                "first_ns": self._first_ns,
                "last_ns": self._last_ns,
                "mismatches": self._mismatches,
                "limit": None if self._run.progress.limit == NO_LIMIT else self._run.progress.limit,
            }
