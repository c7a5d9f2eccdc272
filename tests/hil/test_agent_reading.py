"""Who reads a link: its thread, or the processor that waits for what comes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from firmware_interface.errors import ConnectionLostError
from firmware_interface.framing import Header
from firmware_interface.messages import Type
from firmware_interface.transport import Connection
from hil.agent_progress import Progress, Waiter
from hil.agent_reading import LinkReader
from tests.waiting import PATIENCE_S, wait_for


class Bench:
    """A link reader with its thread, the far end of its link, and what was handled by whom."""

    def __init__(self, *, signals_only: bool) -> None:
        tcp = socket.create_server(("127.0.0.1", 0))
        self.far = Connection(socket.create_connection(tcp.getsockname()))
        accepted, _ = tcp.accept()
        tcp.close()
        self.near = Connection(accepted)
        self.run: Any = SimpleNamespace(progress=Progress([1]), failure="")
        self.run.fail = lambda reason: setattr(self.run, "failure", reason)
        self.handled: list[tuple[int, str]] = []
        self.reader = LinkReader("link a->b to b", self.near, self._handle, signals_only=signals_only)
        self.thread = threading.Thread(target=self._serve, name="reader", daemon=True)

    def _serve(self) -> None:
        with pytest.raises(ConnectionLostError):
            self.reader.serve(lambda: self.run)

    def _handle(self, run: Any, header: Header) -> None:
        self.handled.append((header.sequence, threading.current_thread().name))
        run.progress.available[1] = header.sequence
        run.progress.wake()

    def signal(self, sequence: int) -> None:
        self.far.send_signal(Type.CREDIT, channel=1, sequence=sequence)

    def until(self, condition: Callable[[], bool]) -> None:
        wait_for(condition, lambda: self.handled)

    def parked(self) -> None:
        """Start the thread and park it, which takes effect with its next message."""
        self.thread.start()
        self.reader.park(self.run)
        self.signal(1)
        self.until(lambda: self.reader._asleep)
        assert self.handled == [(1, "reader")]


@pytest.fixture(params=[True, False], ids=["signals", "any message"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench = Bench(signals_only=request.param)
    yield bench
    bench.reader.release()
    bench.far.close()
    bench.thread.join(PATIENCE_S)
    assert not bench.thread.is_alive()
    bench.near.close()


def test_a_parked_reader_leaves_messages_to_the_processor(bench: Bench) -> None:
    bench.parked()
    bench.signal(2)
    if bench.reader._signals_only:
        bench.until(lambda: bool(bench.reader.look() or len(bench.handled) == 2))
    else:
        assert bench.reader.read(lambda: True)
    assert bench.handled[1] == (2, threading.current_thread().name)


def test_the_thread_reads_while_a_processor_sleeps(bench: Bench) -> None:
    bench.parked()

    def signal_once_the_thread_is_awake() -> None:
        bench.until(lambda: not bench.reader._asleep)
        bench.signal(2)

    signalling = threading.Thread(target=signal_once_the_thread_is_awake)
    signalling.start()
    bench.run.progress.wait(Waiter("cpu"), lambda: bench.run.progress.available[1] == 2, lambda: "news", [bench.reader])
    signalling.join()
    assert bench.handled[-1] == (2, "reader")


def test_a_released_reader_reads_everything_again(bench: Bench) -> None:
    bench.parked()
    bench.reader.release()
    bench.signal(2)
    bench.until(lambda: len(bench.handled) == 2)
    assert bench.handled[1] == (2, "reader")
    assert not bench.reader.read(lambda: True)


def test_nothing_is_read_that_is_not_needed(bench: Bench) -> None:
    bench.parked()
    bench.signal(2)
    assert bench.reader.read(lambda: False)
    assert len(bench.handled) == 1


def test_a_broken_link_ends_the_run(bench: Bench) -> None:
    bench.parked()
    bench.far.close()
    if bench.reader._signals_only:
        bench.until(lambda: bool(bench.reader.look() or bench.run.failure))
    else:
        assert not bench.reader.read(lambda: True)
    assert bench.run.failure.startswith("link a->b to b: ")
