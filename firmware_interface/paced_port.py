"""A line with a rate in front of a port that has none: what an emulated board's UART lacks."""

from __future__ import annotations

import threading
import time

from firmware_interface.errors import WireError
from firmware_interface.serial_port import Port

__all__ = ["FIFO_BYTES", "PacedPort"]

FIFO_BYTES = 16_384  # what a host's serial driver keeps
BITS_PER_BYTE = 10  # 8N1
STEP_S = 0.001
CATCH_UP_S = 0.05  # what a relay that was kept from running may make good, as a real UART's driver and FIFO would
WRITE_TIMEOUT_S = 10.0


class PacedPort:
    """A port that sends at a baud rate: bytes wait in a FIFO, and what finds it full is lost.

    Only what is written is paced: an emulated board can pace what it sends by its own clock.
    """

    def __init__(self, port: Port, baud: int, *, fifo_bytes: int = FIFO_BYTES) -> None:
        self._port, self._fifo_bytes = port, fifo_bytes
        self._bytes_per_s = baud / BITS_PER_BYTE
        self._fifo = bytearray()
        self._changed = threading.Condition()
        self._closed = False
        self._failure: WireError | None = None
        self.sent_bytes = 0
        self.lost_bytes = 0
        self._thread = threading.Thread(target=self._run, name="paced line", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._fifo or self._closed)
                if self._closed:
                    return
            try:
                self._send_until_empty()
            except WireError as error:
                with self._changed:
                    self._failure = error
                return

    def _send_until_empty(self) -> None:
        """From an idle line on: nothing has been saved up."""
        due = 0.0
        before = time.monotonic()
        while not self._closed:
            time.sleep(STEP_S)
            now = time.monotonic()
            due += min(now - before, CATCH_UP_S) * self._bytes_per_s
            before = now
            with self._changed:
                data = bytes(self._fifo[: int(due)])
                del self._fifo[: len(data)]
                left = len(self._fifo)
            if data:
                self._port.write(data, WRITE_TIMEOUT_S)
                self.sent_bytes += len(data)
                due -= len(data)
            if not left:
                return

    def read(self, timeout_s: float) -> bytes:
        """As `Port.read`."""
        return self._port.read(timeout_s)

    def write(self, data: bytes, timeout_s: float) -> None:
        """Queue; never waits. Raises what the line met with before."""
        with self._changed:
            if self._failure is not None:
                raise self._failure
            room = self._fifo_bytes - len(self._fifo)
            self._fifo += data[:room]
            self.lost_bytes += max(0, len(data) - room)
            self._changed.notify()

    def set_baud(self, baud: int) -> None:
        """Change the rate of what is still to be sent. Raises as `Port.set_baud`."""
        self._port.set_baud(baud)
        self._bytes_per_s = baud / BITS_PER_BYTE

    def close(self) -> None:
        """Drop what waits, close the port; never raises."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        self._port.close()
