"""Run inputs to a source that is an agent, outputs from a sink that is one: over streams, each in a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from firmware_interface.errors import FramingError, WireError
from firmware_interface.messages import Mode, Purpose, Type
from firmware_interface.transport import Connection
from hil.deploy import Deployment, Progress
from hil.errors import DeviceFailedError, DeviceTimeoutError
from optimizer.split_manifest import BundleTensor

__all__ = ["FINISH_TIMEOUT_S", "Streams"]

Array = npt.NDArray[Any]
POLL_S = 0.2
FINISH_TIMEOUT_S = 30.0


class Streams:
    """Feeds inputs and collects outputs at the same time, while the main thread watches the boards."""

    def __init__(
        self,
        deployment: Deployment,
        ins: list[BundleTensor],
        inputs: Mapping[int, Array],
        results: Mapping[int, Array],
        frames: int,
    ) -> None:
        self._deployment, self._ins = deployment, ins
        self._inputs, self._results, self._frames = inputs, results, frames
        self.received = dict.fromkeys(results, 0)
        self.failures: list[tuple[str, str, WireError]] = []

    def run(self, stall_s: float, progress: Progress) -> None:
        """Raises DeviceError."""
        with self.opened() as begin:
            self._deployment.start(Mode.RUN, self._frames)
            begin()
            self._watch(stall_s, progress)
            self._deployment.finish(self._frames, FINISH_TIMEOUT_S)

    @contextmanager
    def opened(self) -> Iterator[Callable[[], None]]:
        """Streams to the ends that are agents; yields what begins to feed and collect. Closed and joined at the end."""
        deployment, bundle = self._deployment, self._deployment.bundle
        threads: list[threading.Thread] = []
        connections: list[Connection] = []
        ends = ((bundle.sink, Purpose.OUTPUT, self._collect), (bundle.source, Purpose.INPUT, self._feed))
        try:
            for name, purpose, job in ends:
                if name in deployment.boards:
                    connections.append(deployment.boards[name].open_stream(purpose, deployment.id))
                    threads.append(threading.Thread(target=self._guard, args=(job, connections[-1], name)))
            yield lambda: _start(threads)
        finally:
            for connection in connections:
                connection.close()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()

    def _watch(self, stall_s: float, progress: Progress) -> None:
        done, since = -1, time.monotonic()
        while (received := min(self.received.values())) < self._frames:
            if received != done:
                done, since = received, time.monotonic()
                progress(f"{done} of {self._frames} frames")
            counters = self._deployment.statistics("run")
            self.check()
            if time.monotonic() - since > stall_s:
                waits = "; ".join(f"{b}: {c['waiting']}" for b, c in counters.items())
                raise DeviceTimeoutError(
                    f"no output for {stall_s:.0f} s after {done} frames; the boards wait: {waits}",
                    phase="run",
                    board=self._deployment.sink.name,
                )
            time.sleep(min(POLL_S, 0.01 if done < 1 else POLL_S))

    def check(self) -> None:
        """Raise DeviceFailedError when a stream has failed before everything was there."""
        if self.failures and min(self.received.values()) < self._frames:
            board, what, error = self.failures[0]
            raise DeviceFailedError(f"{what}: {error}", phase="run", board=board, code="STREAM") from error

    def _guard(self, job: Any, connection: Connection, board: str) -> None:
        try:
            job(connection)
        except WireError as error:
            self.failures.append((board, job.__name__.strip("_") + " stream", error))

    def _feed(self, connection: Connection) -> None:
        for frame in range(self._frames):
            for tensor in self._ins:
                data = np.ascontiguousarray(self._inputs[tensor.id][frame])
                connection.send_tensor(tensor.id, frame, data.reshape(-1).view(np.uint8).data)

    def _collect(self, connection: Connection) -> None:
        while min(self.received.values()) < self._frames:
            header = connection.receive_header()
            result = self._results.get(header.channel)
            if header.type is not Type.TENSOR or result is None or header.sequence >= self._frames:
                raise FramingError("type", expected="a TENSOR of an output", got=str(header))
            view = result[header.sequence].reshape(-1).view(np.uint8).data
            if header.length != len(view):
                raise FramingError("length", expected=str(len(view)), got=str(header))
            connection.receive_into(view)
            self.received[header.channel] = header.sequence + 1


def _start(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
