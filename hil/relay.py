"""A userspace stand-in for a slow link, where the kernel may not shape one.

``python -m hil.relay ROUTES.json`` listens once a link, connects onwards to the receiving board, and passes
bytes through unchanged, paced to the link's payload rate and delayed by its latency. It knows nothing of
the protocol, so handshakes and frames pass as they are. Links of one medium (half duplex, a bus, the air)
share one bucket. What flows back on a connection (challenges, credits, acknowledgements) is delayed but not
paced.

The process prints one line of JSON, {"ports": {link: port}}, when it listens, and ends when its standard
input ends: it cannot outlive its starter.

A real link would still be shorter of buffers than this: a sender sees the bytes accepted by its own kernel
and this process's receive buffer (64 KiB) before they are "on the wire".
"""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["Pacer", "RelayRoute", "chunk_bytes", "load_routes", "save_routes", "serve"]

_RECEIVE_BUFFER_BYTES = 64 << 10
_MAX_CHUNK_BYTES = 64 << 10
_MIN_CHUNK_BYTES = 256
_CHUNK_S = 1e-3
"""Wire time of one chunk: short against a tensor, long against a sleep's error."""
_REPAID_S = 5e-3
"""How much lateness of our own (a sleep that overshot, a busy core) the pacer makes up for."""
_BLOCKED_S = 100e-6
"""A receive that took longer than this found the link idle."""
_CONNECT_TIMEOUT_S = 5.0
_QUEUED_CHUNKS = 1024
"""Bounds the bytes under way on a link with latency: 1024 chunks are about a second of wire time."""


@dataclass(frozen=True)
class RelayRoute:
    """One direction of a link. ``payload_bytes_per_s``: rate of the bytes that pass, headers discounted."""

    link: str
    medium: str
    payload_bytes_per_s: float
    latency_s: float
    target_host: str
    target_port: int
    listen_host: str = "127.0.0.1"


def save_routes(path: Path, routes: Sequence[RelayRoute]) -> None:
    """Write the file that the relay process reads."""
    path.write_text(json.dumps([asdict(route) for route in routes], indent=1), encoding="utf-8")


def load_routes(path: Path) -> tuple[RelayRoute, ...]:
    """Read what :func:`save_routes` wrote."""
    return tuple(RelayRoute(**entry) for entry in json.loads(path.read_text(encoding="utf-8")))


def chunk_bytes(payload_bytes_per_s: float) -> int:
    """Bytes forwarded at a time: about a millisecond of the link, within fixed bounds."""
    return int(min(_MAX_CHUNK_BYTES, max(_MIN_CHUNK_BYTES, payload_bytes_per_s * _CHUNK_S)))


class Pacer:
    """The time of one medium: who may occupy it, and until when. Shared by the links of the medium.

    ``clock`` in seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._free_at_s = -float("inf")

    def reserve(self, occupancy_s: float, *, waited: bool) -> float:
        """Occupy the medium next; the time at which the last byte has crossed.

        ``waited``: the bytes lay ready when we looked. If the medium became free only a moment ago (our own
        lateness, at most 5 ms), they start then, and not when we looked.
        """
        with self._lock:
            now = self._clock()
            just_free = waited and now - self._free_at_s <= _REPAID_S
            start = self._free_at_s if just_free else max(self._free_at_s, now)
            self._free_at_s = start + occupancy_s
            return self._free_at_s


def serve(routes: Sequence[RelayRoute], started: Callable[[dict[str, int]], None], stop: Callable[[], None]) -> None:
    """Listen for every route, report the ports to ``started``, and forward until ``stop()`` returns."""
    pacers = {route.medium: Pacer() for route in routes}
    with contextlib.ExitStack() as stack:
        ports: dict[str, int] = {}
        for route in routes:
            listener = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            # Before listen(): accepted sockets inherit it, and it bounds what hides in front of the pacer.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
            listener.bind((route.listen_host, 0))
            listener.listen()
            ports[route.link] = listener.getsockname()[1]
            accepting = _start(_accept, listener, route, pacers[route.medium])
            # A thread in accept() holds the socket open and listening, close() or not: it is woken first.
            stack.callback(accepting.join)
            stack.callback(_hang_up, listener)
        started(ports)
        stop()


def _start(function: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


def _accept(listener: socket.socket, route: RelayRoute, pacer: Pacer) -> None:
    while True:
        try:
            near, _ = listener.accept()
        except OSError:
            return  # the listener was shut down: the relay ends
        _start(_join, near, route, pacer)


def _join(near: socket.socket, route: RelayRoute, pacer: Pacer) -> None:
    """One connection: connect onwards, forward both ways, close both when both ways are done."""
    with near:
        try:
            far = socket.create_connection((route.target_host, route.target_port), _CONNECT_TIMEOUT_S)
        except OSError:
            return  # nobody there: the sender sees its connection closed, as on a direct one
        with far:
            far.settimeout(None)
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = _start(_forward, far, near, _MAX_CHUNK_BYTES, None, pacer, route.latency_s)
            size = chunk_bytes(route.payload_bytes_per_s)
            _forward(near, far, size, route.payload_bytes_per_s, pacer, route.latency_s)
            back.join()


def _forward(
    source: socket.socket,
    target: socket.socket,
    size: int,
    payload_bytes_per_s: float | None,
    pacer: Pacer,
    latency_s: float,
) -> None:
    """Pass bytes on until the source ends, then end the target's direction likewise."""
    buffer = memoryview(bytearray(size))
    delivery = _Delivery(source, target) if latency_s > 0 else None
    try:
        while True:
            began = time.monotonic()
            received = source.recv_into(buffer)
            if received == 0:
                break
            due_s = time.monotonic()
            if payload_bytes_per_s is not None:
                due_s = pacer.reserve(received / payload_bytes_per_s, waited=due_s - began < _BLOCKED_S)
                _sleep_until(due_s)
            if delivery is None:
                target.sendall(buffer[:received])
            elif delivery.failed:
                break  # a source that goes on sending would otherwise never be told
            else:
                delivery.pending.put((due_s + latency_s, bytes(buffer[:received])))
    except OSError:
        _hang_up(source, target)
    if delivery is None:
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
    else:
        delivery.pending.put((0.0, b""))
        delivery.thread.join()


class _Delivery:
    """Sends (due_s, bytes) in time, in order; empty bytes end the direction."""

    def __init__(self, source: socket.socket, target: socket.socket) -> None:
        self.pending: queue.Queue[tuple[float, bytes]] = queue.Queue(_QUEUED_CHUNKS)
        self._source, self._target = source, target
        self.failed = False
        self.thread = _start(self._run)

    def _run(self) -> None:
        while True:
            due_s, chunk = self.pending.get()
            if not chunk:
                with contextlib.suppress(OSError):
                    self._target.shutdown(socket.SHUT_WR)
                return
            if self.failed:
                continue  # keep emptying: the reader must not block on a full queue
            _sleep_until(due_s)
            try:
                self._target.sendall(chunk)
            except OSError:
                self.failed = True
                _hang_up(self._source, self._target)


def _hang_up(*ends: socket.socket) -> None:
    """One side is gone: let both see it at once."""
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _sleep_until(due_s: float) -> None:
    wait_s = due_s - time.monotonic()
    if wait_s > 0:
        time.sleep(wait_s)


def _main(arguments: Sequence[str]) -> int:
    routes = load_routes(Path(arguments[0]))

    def started(ports: dict[str, int]) -> None:
        sys.stdout.write(json.dumps({"ports": ports}) + "\n")
        sys.stdout.flush()

    def stop() -> None:
        while sys.stdin.buffer.read(1024):
            pass

    with contextlib.suppress(KeyboardInterrupt):
        serve(routes, started, stop)
    return 0


if __name__ == "__main__":
    raise SystemExit(_main(sys.argv[1:]))
