"""The agent: what runs on a Linux-class board. Listens, opens connections, hands them to who serves them."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Callable
from typing import Any

from firmware_interface.auth import accept
from firmware_interface.errors import AuthenticationError, FramingError, MessageError, WireError
from firmware_interface.messages import ErrorCode, Hello, Purpose
from firmware_interface.transport import Connection
from hil.agent_bench import serve_probe
from hil.agent_session import Board, ControlSession, close_quietly
from hil.agent_store import AgentError, FileStore

__all__ = ["Agent"]

MAX_CONNECTIONS = 64  # a board of 16 neighbours uses 33; each has a thread
MAX_STRANGERS = 16  # connections that have not proven the key yet


class Agent:
    """Serves one board until `stop`. A context manager that closes every connection and removes its files."""

    def __init__(
        self,
        name: str,
        key: bytes,
        host: str,
        port: int,
        *,
        threads: int = 1,
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Bind and listen. Raises OSError when the address cannot be used."""
        self._listener = socket.create_server((host, port), backlog=MAX_CONNECTIONS)
        self.address: tuple[str, int] = self._listener.getsockname()[:2]
        self._wake_receive, self._wake_send = socket.socketpair()
        for end in (self._listener, self._wake_receive, self._wake_send):
            end.setblocking(False)
        self._stopping = False
        self._store = FileStore()
        self._board = Board(name, key, self._store, threads, self._spawn)
        self._log = log
        self._lock = threading.Lock()
        self._connections: set[Connection] = set()
        self._strangers = 0

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def serve(self) -> None:
        """Accept connections until `stop`."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._wake_receive, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._wake_receive in ready:
                    self._wake_receive.recv(4096)
                    if self._stopping:
                        return
                if self._listener not in ready:
                    continue
                with contextlib.suppress(OSError):  # the opener gave up between select and accept
                    sock, _ = self._listener.accept()
                    self._admit(Connection(sock))

    @property
    def wakeup_fd(self) -> int:
        """For `signal.set_wakeup_fd`: the kernel may hand a signal to any thread, and `serve` must notice."""
        return self._wake_send.fileno()

    def stop(self) -> None:
        """Make `serve` return; safe in a signal handler."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._wake_send.send(b"x")

    def close(self) -> None:
        """Close every connection, stop what runs, remove the files."""
        self._listener.close()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.shutdown()
        self._board.unload()
        self._store.close()
        self._wake_send.close()
        self._wake_receive.close()

    def _admit(self, connection: Connection) -> None:
        with self._lock:
            if len(self._connections) >= MAX_CONNECTIONS or self._strangers >= MAX_STRANGERS:
                connection.close()
                return
            self._connections.add(connection)
            self._strangers += 1
        self._spawn("opening", self._serve_connection, connection)

    def _spawn(self, name: str, function: Callable[..., None], *arguments: Any) -> None:
        threading.Thread(target=function, args=arguments, name=name, daemon=True).start()

    def _serve_connection(self, connection: Connection) -> None:
        try:
            hello = self._open(connection)
            if hello is not None:
                self._dispatch(hello, connection)
        except AgentError as error:
            self._log(f"refused: {error}")
            close_quietly(connection, error.code, error.text)
        except (FramingError, MessageError) as error:
            self._log(f"refused: {error}")
            close_quietly(connection, ErrorCode.BAD_MESSAGE, str(error))
        except WireError as error:
            self._log(f"connection ended: {error}")
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()

    def _open(self, connection: Connection) -> Hello | None:
        try:
            hello = accept(connection, self._board.key, self._board.name)
        except AuthenticationError as error:
            self._log(f"refused: {connection.addresses()[1]}: {error}")
            return None
        finally:
            with self._lock:
                self._strangers -= 1
        self._log(f"{hello.sender} opened {hello.subject or 'a connection'} ({hello.purpose})")
        return hello

    def _dispatch(self, hello: Hello, connection: Connection) -> None:
        if hello.purpose == Purpose.CONTROL:
            ControlSession(self._board, connection).serve()
        elif hello.purpose == Purpose.PROBE:
            serve_probe(connection)
        elif hello.purpose in (Purpose.LINK, Purpose.INPUT, Purpose.OUTPUT):
            runtime = self._board.runtime
            if runtime is None:
                raise AgentError(ErrorCode.WRONG_STATE, "nothing is deployed on this board")
            runtime.serve_connection(hello, connection)
        else:
            raise AgentError(ErrorCode.UNSUPPORTED, f"purpose {hello.purpose}")
