"""Who reads a link: its thread, or the processor that waits for what comes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from firmware_interface.errors import ConnectionLostError
from firmware_interface.framing import Header, pack_header
from firmware_interface.messages import Type
from firmware_interface.transport import Connection
from hil.agent_progress import Progress, Waiter
from hil.agent_reading import LinkReader
from tests.waiting import PATIENCE_S, wait_for

TENSOR_BYTES = 100_000


class Bench:
    """A link reader with its thread, the far end of its link, and what was handled by whom."""

    def __init__(self) -> None:
        tcp = socket.create_server(("127.0.0.1", 0))
        self.far_socket = socket.create_connection(tcp.getsockname())
        self.far = Connection(self.far_socket)
        accepted, _ = tcp.accept()
        tcp.close()
        self.near = Connection(accepted)
        self.run: Any = SimpleNamespace(progress=Progress([1]), failure="")
        self.run.fail = self._fail
        self.handled: list[tuple[int, str]] = []
        self.slot = bytearray(TENSOR_BYTES)
        self.reader = LinkReader("link a->b to b", self.near, self)
        self.thread = threading.Thread(target=self._serve, name="reader", daemon=True)

    def _serve(self) -> None:
        with pytest.raises(ConnectionLostError):
            self.reader.serve(lambda: self.run)

    def _fail(self, reason: str) -> None:
        self.run.failure = reason
        self.run.progress.stop(reason)

    def begin(self, run: Any, header: Header) -> memoryview | None:
        if header.type is Type.TENSOR:
            return memoryview(self.slot)[: header.length]
        self.end(run, header)
        return None

    def end(self, run: Any, header: Header) -> None:
        self.handled.append((header.sequence, threading.current_thread().name))
        run.progress.available[1] = header.sequence
        run.progress.wake()

    def signal(self, sequence: int) -> None:
        self.far.send_signal(Type.CREDIT, channel=1, sequence=sequence)

    def until(self, condition: Callable[[], object]) -> None:
        wait_for(condition, lambda: self.handled)

    def look_until(self, condition: Callable[[], object]) -> None:
        """Look again and again."""

        def looked() -> object:
            self.reader.look()
            return condition()

        self.until(looked)

    def wait(self, sequence: int) -> None:
        """As a processor does that needs it."""
        progress = self.run.progress
        progress.wait(Waiter("cpu"), lambda: progress.available[1] >= sequence, lambda: "news", [self.reader])

    def parked(self) -> None:
        """Start the thread parked, and read a first message in its stead."""
        self.reader.park(self.run)
        self.thread.start()
        self.until(lambda: self.reader.parked)
        self.signal(1)
        self.look_until(lambda: self.handled)
        assert self.handled == [(1, ME)]


ME = threading.current_thread().name


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.reader.release()
    bench.far.close()
    bench.thread.join(PATIENCE_S)
    assert not bench.thread.is_alive()
    bench.near.close()


def test_a_parked_reader_leaves_messages_to_the_processor(bench: Bench) -> None:
    bench.parked()
    bench.reader.look()
    assert len(bench.handled) == 1, "nothing more has come: it does not wait"
    bench.signal(2)
    bench.signal(3)
    bench.look_until(lambda: len(bench.handled) == 3)
    assert bench.handled[1:] == [(2, ME), (3, ME)]


def test_a_sleeping_processor_is_woken_by_what_comes_and_reads_it(bench: Bench) -> None:
    bench.parked()

    def signal_once_it_sleeps() -> None:
        bench.until(bench.run.progress.waits)
        bench.signal(2)

    signalling = threading.Thread(target=signal_once_it_sleeps)
    signalling.start()
    bench.wait(2)
    signalling.join()
    assert bench.handled[-1] == (2, ME)


def test_a_processor_that_sleeps_before_the_thread_does_is_told(bench: Bench) -> None:
    """It slept in no socket then; what comes after the thread's last message is its own to read."""
    bench.thread.start()

    def park_once_it_sleeps() -> None:
        bench.until(bench.run.progress.waits)
        bench.reader.park(bench.run)
        bench.signal(1)
        bench.until(lambda: bench.reader.parked)
        bench.signal(2)

    parking = threading.Thread(target=park_once_it_sleeps)
    parking.start()
    bench.wait(2)
    parking.join()
    first, second = bench.handled
    assert first[0] == 1, "read by whoever was there first"
    assert second == (2, ME)


def test_a_tensor_in_pieces_is_taken_as_it_comes_without_waiting(bench: Bench) -> None:
    bench.parked()
    payload = bytes(range(250)) * (TENSOR_BYTES // 250)
    message = pack_header(Type.TENSOR, TENSOR_BYTES, channel=1, sequence=2) + payload
    for start, end in ((0, 15), (15, 300), (300, 90_000)):
        bench.far_socket.sendall(message[start:end])
        bench.reader.look()
        assert len(bench.handled) == 1
    bench.far_socket.sendall(message[90_000:])
    bench.signal(3)
    bench.wait(3)
    assert bench.handled[1:] == [(2, ME), (3, ME)]
    assert bytes(bench.slot) == payload


def test_a_released_reader_finishes_what_has_begun_and_reads_everything_again(bench: Bench) -> None:
    bench.parked()
    bench.far_socket.sendall(pack_header(Type.TENSOR, 8, channel=1, sequence=2) + b"half")
    bench.look_until(lambda: bench.slot.startswith(b"half"))
    bench.reader.release()
    bench.far_socket.sendall(b"more")
    bench.signal(3)
    bench.until(lambda: len(bench.handled) == 3)
    assert bench.handled[1:] == [(2, "reader"), (3, "reader")]
    assert bench.slot.startswith(b"halfmore")
    assert not bench.reader.read(lambda: True)


def test_the_one_frame_on_its_way_is_read_in_the_threads_stead(bench: Bench) -> None:
    bench.parked()
    bench.signal(2)
    assert bench.reader.read(lambda: False)
    assert len(bench.handled) == 1, "it was not needed"
    assert bench.reader.read(lambda: True)
    assert bench.handled[1] == (2, ME)


@pytest.mark.parametrize("how", ["look", "read", "sleep"])
def test_a_broken_link_ends_the_run(bench: Bench, how: str) -> None:
    bench.parked()
    bench.far.close()
    if how == "look":
        bench.look_until(lambda: bench.run.failure)
    elif how == "read":
        assert not bench.reader.read(lambda: True)
    else:
        bench.wait(2)
    assert bench.run.failure.startswith("link a->b to b: ")


def test_a_stopped_run_wakes_who_sleeps_in_sockets(bench: Bench) -> None:
    bench.parked()

    def stop_once_it_sleeps() -> None:
        bench.until(bench.run.progress.waits)
        bench.run.progress.stop("because")

    stopping = threading.Thread(target=stop_once_it_sleeps)
    stopping.start()
    bench.wait(2)
    stopping.join()


def test_the_kernel_says_whether_it_can_hold_a_frame(bench: Bench) -> None:
    bench.parked()
    assert bench.reader.can_hold(TENSOR_BYTES)
    assert not bench.reader.can_hold(1 << 40)
    bench.signal(2)
    bench.wait(2)
