"""`edgecut server dev`: the web process and its workers on one machine, for test harnesses.

It has no log-in, so it is bound to this machine. It ends cleanly on SIGINT and SIGTERM; when it is killed, its
workers notice and end too, and the next start settles the jobs they had.
"""

from __future__ import annotations

import fcntl
import ipaddress
import logging
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from server.app import create_app, make_folders
from server.config import ServerConfig
from server.errors import StartError
from server.pool import WorkerPool
from server.store import Store
from server.worker import LOST

__all__ = ["serve"]

_log = logging.getLogger(__name__)

_LOCK_WAIT_S = 10.0  # workers of a killed server need a moment to notice
_IDLE_CONNECTION_S = 60.0  # a client that sends nothing for so long is hung up on


def serve(
    config: ServerConfig,
    host: str,
    port: int,
    workers: int,
    ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve until SIGINT or SIGTERM; ``ready`` is called with the address once requests are answered.

    Port 0 takes a free one. Raises StartError where the host is not this machine's own, the port is taken or
    the data folder is in use. Must run in the main thread.
    """
    family, address = _loopback(host)
    make_folders(config)
    with _listening(family, address, port) as listener, _locked(config) as lock, _signals() as stop:
        store = Store(config.database)
        _recover(config, store)
        pool = WorkerPool(config, store, workers, inherited=[lock])
        app = create_app(config, pool)
        pool.start()
        try:
            with _answering(app, listener, address) as bound_port:
                ready(f"http://{f'[{address}]' if ':' in address else address}:{bound_port}")
                stop.wait()
        finally:
            pool.stop()


def _loopback(host: str) -> tuple[socket.AddressFamily, str]:
    """The address of a host name; StartError unless every address it has is this machine's own."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as e:
        raise StartError(f"the host {host!r} has no address", expected="127.0.0.1, ::1 or localhost", got=str(e)) from e
    for _, _, _, _, (address, *_) in found:
        if not ipaddress.ip_address(str(address).partition("%")[0]).is_loopback:
            raise StartError(
                f"--host {host} would open the server to other machines, and it has no log-in yet",
                expected="an address of this machine only: 127.0.0.1, ::1 or localhost",
                got=str(address),
                hint="From another machine, forward a port: ssh -L 8080:127.0.0.1:8080 HOST.",
            )
    family, _, _, _, (address, *_) = found[0]
    return family, str(address)


@contextmanager
def _listening(family: socket.AddressFamily, address: str, port: int) -> Iterator[socket.socket]:
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address, port))
            listener.listen()
        except OSError as e:
            raise StartError(
                f"cannot listen on {address} port {port}",
                expected="a free port",
                got=e.strerror or str(e),
                hint="Another program (or another server) has it: end that one, or give --port (0 takes a free one).",
            ) from e
        yield listener


@contextmanager
def _locked(config: ServerConfig) -> Iterator[int]:
    """Hold the data folder; the lock's file descriptor.

    Workers inherit the descriptor, and the lock lasts as long as any holder lives: who gets it knows that no
    worker of a former server is left.
    """
    path = config.data / "lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + _LOCK_WAIT_S
        while not _try_lock(handle):
            if time.monotonic() > deadline:
                raise StartError(
                    f"the data folder {config.data} is in use",
                    expected="one server a folder",
                    got="a server, or a worker of one, that holds it",
                    hint="End that server, or give another folder with --data.",
                )
            time.sleep(0.1)
        yield handle
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _recover(config: ServerConfig, store: Store) -> None:
    """Settle what a server that was killed left behind. Only with the lock held: no worker lives."""
    store.release_jobs(None, "the server ended unexpectedly", LOST)
    for folder in (config.incoming, config.scratch):
        shutil.rmtree(folder)
        folder.mkdir()


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set."""
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _answering(app: Flask, listener: socket.socket, address: str) -> Iterator[int]:
    """Answer requests in threads; the port."""
    server = make_server(address, 0, app, threaded=True, request_handler=_Handler, fd=listener.fileno())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield server.port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(WSGIRequestHandler):
    """Werkzeug's, with a deadline for clients that stall, one plain log line a request, and no versions told."""

    timeout = _IDLE_CONNECTION_S

    def version_string(self) -> str:
        return "edgecut"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        # Escaped: a request line may hold what moves a terminal's cursor.
        line = getattr(self, "requestline", "").encode("unicode_escape").decode()
        _log.info("%s %s", line, int(code) if isinstance(code, int) else code)
