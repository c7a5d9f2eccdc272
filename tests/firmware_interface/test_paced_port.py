"""A paced line: everything arrives, never faster than its rate; a full FIFO drops; what broke is told."""

from __future__ import annotations

import threading
import time

import pytest

from firmware_interface.errors import ConnectionLostError
from firmware_interface.paced_port import CATCH_UP_S, PacedPort


class Sink:
    """A port that keeps what comes, or breaks."""

    def __init__(self, *, broken: bool = False) -> None:
        self.data = bytearray()
        self.broken = broken
        self.tried = threading.Event()
        self.baud = 0

    def read(self, timeout_s: float) -> bytes:
        return b"read"

    def write(self, data: bytes, timeout_s: float) -> None:
        if self.broken:
            self.tried.set()
            raise ConnectionLostError("pulled out")
        self.data += data

    def set_baud(self, baud: int) -> None:
        self.baud = baud

    def close(self) -> None:
        pass


def arrived(sink: Sink, count: int) -> None:
    end = time.monotonic() + 60
    while len(sink.data) < count:
        assert time.monotonic() < end, len(sink.data)
        time.sleep(0.001)


def test_all_bytes_arrive_in_order_and_not_faster_than_the_rate() -> None:
    sink = Sink()
    port = PacedPort(sink, 1_000_000)
    time.sleep(0.1)  # an idle line saves nothing up
    data = bytes(range(256)) * 60
    began = time.monotonic()
    port.write(data, 1.0)
    arrived(sink, len(data))
    took = time.monotonic() - began
    assert sink.data == data
    assert port.sent_bytes == len(data)
    assert took >= len(data) / 100_000 - CATCH_UP_S
    port.close()


def test_what_finds_the_fifo_full_is_lost() -> None:
    sink = Sink()
    port = PacedPort(sink, 9600, fifo_bytes=100)
    port.write(bytes(70), 1.0)
    port.write(bytes(10_000), 1.0)
    assert port.lost_bytes > 9000
    port.set_baud(10_000_000)
    arrived(sink, 100)
    assert port.lost_bytes + len(sink.data) == 10_070
    assert sink.baud == 10_000_000
    assert port.read(1.0) == b"read"
    port.close()


def test_a_broken_line_is_told_at_the_next_write() -> None:
    sink = Sink(broken=True)
    port = PacedPort(sink, 1_000_000)
    port.write(b"x", 1.0)
    assert sink.tried.wait(60)
    with pytest.raises(ConnectionLostError, match="pulled out"):
        while True:  # until the thread has noted it
            port.write(b"x", 1.0)
            time.sleep(0.001)
    port.close()
