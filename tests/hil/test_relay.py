"""The relay: pacing by a shared medium, and bytes that arrive as they were sent."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.relay import Pacer, RelayRoute, chunk_bytes, load_routes, save_routes, serve

PATIENCE_S = 60.0  # on a machine that is slow or busy: never what is tested


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_bytes_on_an_idle_medium_start_now() -> None:
    clock = _Clock()
    pacer = Pacer(clock)
    assert pacer.reserve(0.5, waited=False) == 100.5
    clock.now = 200.0
    assert pacer.reserve(0.5, waited=False) == 200.5


def test_bytes_behind_others_start_when_the_medium_is_free() -> None:
    pacer = Pacer(_Clock())
    assert [pacer.reserve(0.5, waited=False) for _ in range(3)] == [100.5, 101.0, 101.5]


def test_our_own_lateness_costs_waiting_bytes_nothing() -> None:
    clock = _Clock()
    pacer = Pacer(clock)
    pacer.reserve(0.5, waited=False)
    clock.now = 100.502  # we slept 2 ms too long
    assert pacer.reserve(0.5, waited=True) == 101.0


def test_bytes_that_waited_for_something_else_than_the_medium_start_now() -> None:
    clock = _Clock()
    pacer = Pacer(clock)
    pacer.reserve(0.5, waited=False)
    clock.now = 110.0  # idle for long: a connection was being made, say
    assert pacer.reserve(0.5, waited=True) == 110.5


@given(st.lists(st.tuples(st.floats(0, 0.1), st.floats(0, 0.1), st.booleans()), min_size=1))
def test_a_medium_is_never_occupied_twice(steps: list[tuple[float, float, bool]]) -> None:
    clock = _Clock()
    pacer = Pacer(clock)
    last = 0.0
    for pause, occupancy_s, waited in steps:
        clock.now += pause
        end = pacer.reserve(occupancy_s, waited=waited)
        assert end - occupancy_s >= last - 1e-9
        last = end


@pytest.mark.parametrize(("rate", "size"), [(1e3, 256), (1e7, 10_000), (1e12, 65536)])
def test_chunks_last_about_a_millisecond_within_bounds(rate: float, size: int) -> None:
    assert chunk_bytes(rate) == size


def test_routes_read_back_the_same(tmp_path: Path) -> None:
    routes = (RelayRoute("a->b", "air", 1e6, 0.01, "127.0.0.1", 1),)
    save_routes(tmp_path / "routes.json", routes)
    assert load_routes(tmp_path / "routes.json") == routes


@contextmanager
def _relay(*routes: RelayRoute) -> Iterator[dict[str, int]]:
    ports: dict[str, int] = {}
    listening, done = threading.Event(), threading.Event()

    def started(found: dict[str, int]) -> None:
        ports.update(found)
        listening.set()

    thread = threading.Thread(target=serve, args=(routes, started, done.wait))
    thread.start()
    assert listening.wait(PATIENCE_S)
    try:
        yield ports
    finally:
        done.set()
        thread.join(PATIENCE_S)


@contextmanager
def _echo() -> Iterator[int]:
    """Answers each message of 8 length bytes and a body with the body's hash: 8 bytes."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def serve_one(connection: socket.socket) -> None:
            with connection:
                while len(head := connection.recv(8, socket.MSG_WAITALL)) == 8:
                    body = connection.recv(int.from_bytes(head, "little"), socket.MSG_WAITALL)
                    connection.sendall(hash(body).to_bytes(8, "little", signed=True))

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve_one, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        # accept() would not notice that the listener was closed under it.
        listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def _through(latency_s: float, rate: float = 4e6) -> Iterator[socket.socket]:
    """A connection through a relay to the echo."""
    with ExitStack() as stack:
        port = stack.enter_context(_echo())
        ports = stack.enter_context(_relay(RelayRoute("l", "m", rate, latency_s, "127.0.0.1", port)))
        yield stack.enter_context(_connect(ports["l"]))


def _connect(port: int) -> closing[socket.socket]:
    connection = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    connection.settimeout(PATIENCE_S)
    return closing(connection)


def _send(connection: socket.socket, body: bytes) -> float:
    began = time.monotonic()
    connection.sendall(len(body).to_bytes(8, "little") + body)
    answer = connection.recv(8, socket.MSG_WAITALL)
    assert answer == hash(body).to_bytes(8, "little", signed=True)
    return time.monotonic() - began


def _quickest(connection: socket.socket, body: bytes, enough_s: float) -> float:
    """The shortest of several sends: at least three, and more on a busy machine while none is down to ``enough_s``."""
    took = [_send(connection, body) for _ in range(3)]
    deadline = time.monotonic() + PATIENCE_S
    while min(took) > enough_s and time.monotonic() < deadline:
        took.append(_send(connection, body))
    return min(took)


def test_bytes_arrive_unchanged_and_no_faster_than_the_paced_rate() -> None:
    with _through(0.0) as connection:
        seconds = _quickest(connection, os.urandom(800_000), 0.4)
    assert 0.9 * 0.2 < seconds < 0.4


def test_latency_delays_both_ways_and_does_not_slow_the_stream() -> None:
    with _through(0.05, rate=40e6) as connection:
        small = _quickest(connection, b"x", 0.2)
        large = _quickest(connection, os.urandom(2_000_000), 1.0)
    assert 0.1 <= small < 0.2
    assert 0.9 * 0.15 < large < 1.0  # a delay of each chunk by itself would make it 2.5


def test_links_of_one_medium_share_its_rate() -> None:
    body = os.urandom(400_000)
    with ExitStack() as stack:
        port = stack.enter_context(_echo())
        routes = [RelayRoute(name, "air", 4e6, 0.0, "127.0.0.1", port) for name in ("up", "down")]
        ports = stack.enter_context(_relay(*routes))
        connections = [stack.enter_context(_connect(ports[r.link])) for r in routes]
        began = time.monotonic()
        threads = [threading.Thread(target=_send, args=(c, body)) for c in connections]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.monotonic() - began
    assert seconds > 0.9 * 0.2


def test_sender_is_told_when_nobody_listens_behind() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as unused:
        port = unused.getsockname()[1]
    route = RelayRoute("l", "m", 4e6, 0.0, "127.0.0.1", port)
    with _relay(route) as ports, _connect(ports["l"]) as connection:
        assert connection.recv(1) == b""


@pytest.mark.parametrize("latency_s", [0.0, 0.001])
def test_receiver_going_away_ends_the_senders_connection(latency_s: float) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        route = RelayRoute("l", "m", 50e6, latency_s, "127.0.0.1", listener.getsockname()[1])
        with _relay(route) as ports, _connect(ports["l"]) as connection:
            listener.accept()[0].close()
            with pytest.raises(OSError) as error:
                while True:
                    connection.sendall(bytes(65536))
    assert not isinstance(error.value, TimeoutError)


def test_process_ends_when_its_starter_lets_go(tmp_path: Path) -> None:
    save_routes(tmp_path / "routes.json", [RelayRoute("l", "m", 4e6, 0.0, "127.0.0.1", 1)])
    command = [sys.executable, "-m", "hil.relay", str(tmp_path / "routes.json")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert set(json.loads(process.stdout.readline())["ports"]) == {"l"}
        process.stdin.close()
        assert process.wait(PATIENCE_S) == 0


def test_relay_that_ends_listens_no_more() -> None:
    with _relay(RelayRoute("l", "m", 4e6, 0.0, "127.0.0.1", 1)) as ports:
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", ports["l"]), PATIENCE_S)
