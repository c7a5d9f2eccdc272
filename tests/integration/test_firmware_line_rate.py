"""How fast an image goes over a paced line whose far side drops what it cannot hold."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from firmware_interface.board_client import BoardClient
from firmware_interface.board_line import BoardLine
from firmware_interface.errors import ConnectionLostError
from firmware_interface.serial_port import Port
from tests.firmware_interface.posix_board import PosixBoard, build, copying_image

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
FIFO_BYTES = 16_384
ADDED = 1.025
"""What frames and acknowledgements may add: less than one chunk that is sent twice."""
TRIES = 5


class PacedPort:
    """Sends at a baud rate: bytes wait in a FIFO, and what finds it full is lost."""

    def __init__(self, port: Port, baud: int) -> None:
        self._port, self._bytes_per_s = port, baud / 10
        self._fifo: deque[int] = deque()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.lost = self.sent = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        began, due = time.monotonic(), 0.0
        while not self._stop.wait(0.002):
            now = time.monotonic()
            due = min(due + (now - began) * self._bytes_per_s, 0.05 * self._bytes_per_s)
            began = now
            with self._lock:
                count = min(int(due), len(self._fifo))
                data = bytes(self._fifo.popleft() for _ in range(count))
            due -= count
            self.sent += count
            if data:
                try:
                    self._port.write(data, 5.0)
                except ConnectionLostError:
                    return

    def write(self, data: bytes, timeout_s: float) -> None:
        """As `Port.write`."""
        with self._lock:
            room = FIFO_BYTES - len(self._fifo)
            self._fifo.extend(data[:room])
            self.lost += max(0, len(data) - room)

    def read(self, timeout_s: float) -> bytes:
        """As `Port.read`."""
        return self._port.read(timeout_s)

    def set_baud(self, baud: int) -> None:
        """As `Port.set_baud`."""

    def close(self) -> None:
        """As `Port.close`."""
        self._stop.set()
        self._thread.join()
        self._port.close()


@pytest.fixture
def board(tmp_path: Path) -> Iterator[PosixBoard]:
    build("posix")
    with PosixBoard(tmp_path, sanitized=False) as running:
        yield running


@pytest.mark.parametrize("baud", [115_200, 921_600])
def test_image_of_100_kb_takes_little_more_than_its_bytes(board: PosixBoard, baud: int) -> None:
    """In one of several tries: what waits too long on a busy machine is sent again."""
    port = PacedPort(board.port(), baud)
    shares: list[float] = []
    with BoardClient(BoardLine(port, "left")) as client:
        client.attach(0)
        while not shares or (shares[-1] >= ADDED and len(shares) < TRIES):
            image = copying_image(filler=100_000 + len(shares))  # another one: an image that is there is not sent
            sent_before = port.sent
            client.load(client.write_image(image).sha256)
            shares.append((port.sent - sent_before) / len(image))
    assert port.lost == 0
    assert shares[-1] < ADDED, shares
