"""Serial lines: a device, a pseudo-terminal, a socket as emulators and serial servers make them.

``/dev/ttyUSB0``, ``/dev/pts/3`` and pyserial's URLs (``rfc2217://``) go through pyserial; ``unix:PATH`` and
``socket://HOST:PORT`` are sockets of our own: pyserial's socket leaks when the other side has gone first.
Whatever breaks, be it a reset connection, a pulled plug or a terminal whose other side has gone, is a
ConnectionLostError.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import serial

from firmware_interface.errors import ConnectionLostError, DeadlineError

__all__ = ["Port", "SerialPort", "SocketPort", "await_port", "open_port"]

DEFAULT_BAUD = 115200
_READ_BYTES = 4096
_UNIX, _TCP = "unix:", "socket://"


class Port(Protocol):
    """Bytes to and from a board."""

    def read(self, timeout_s: float) -> bytes:
        """What has come; waits until something does, b"" when nothing did in time. Raises ConnectionLostError."""
        ...

    def write(self, data: bytes, timeout_s: float) -> None:
        """Send everything. Raises ConnectionLostError, DeadlineError."""
        ...

    def set_baud(self, baud: int) -> None:
        """Change the rate once everything has left. Raises ConnectionLostError."""
        ...

    def close(self) -> None:
        """Close; never raises."""
        ...


class SerialPort:
    """A port of pyserial's: device, pseudo-terminal or URL."""

    def __init__(self, url: str, baud: int) -> None:
        self._url = url
        try:
            self._serial = serial.serial_for_url(url, baudrate=baud, timeout=0, exclusive=_exclusive(url))
        except (OSError, ValueError) as error:  # SerialException is an OSError
            raise ConnectionLostError(f"cannot open {url}: {error}") from error

    def read(self, timeout_s: float) -> bytes:
        """See `Port`."""
        try:
            self._serial.timeout = timeout_s
            data = bytes(self._serial.read(1))
            if data:
                self._serial.timeout = 0
                data += bytes(self._serial.read(_READ_BYTES))
            return data
        except (OSError, TypeError) as error:  # TypeError: pyserial, when another thread has closed the port
            raise ConnectionLostError(f"{self._url}: {error}") from error

    def write(self, data: bytes, timeout_s: float) -> None:
        """See `Port`."""
        try:
            self._serial.write_timeout = timeout_s
            self._serial.write(data)
        except serial.SerialTimeoutException as error:
            raise DeadlineError(f"room to send on {self._url}", timeout_s) from error
        except OSError as error:
            raise ConnectionLostError(f"{self._url}: {error}") from error

    def set_baud(self, baud: int) -> None:
        """See `Port`."""
        try:
            self._serial.flush()
            self._serial.baudrate = baud
        except OSError as error:
            raise ConnectionLostError(f"{self._url}: {error}") from error

    def close(self) -> None:
        """See `Port`."""
        with contextlib.suppress(OSError):
            self._serial.close()


def _exclusive(url: str) -> bool | None:
    return None if "://" in url else True  # two programs on one line would take each other's bytes


class SocketPort:
    """The socket of an emulated board's UART. It has no rate."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url
        self._socket = _connect(url, timeout_s)
        self._socket.setblocking(False)

    def read(self, timeout_s: float) -> bytes:
        """See `Port`."""
        try:
            if not select.select([self._socket], [], [], timeout_s)[0]:
                return b""
            data = self._socket.recv(_READ_BYTES)
        except (OSError, ValueError) as error:  # ValueError: closed by another thread
            raise ConnectionLostError(f"{self._url}: {error}") from error
        if not data:
            raise ConnectionLostError(f"{self._url}: closed by the other side")
        return data

    def write(self, data: bytes, timeout_s: float) -> None:
        """See `Port`."""
        end = time.monotonic() + timeout_s
        view = memoryview(data)
        while len(view):
            try:
                view = view[self._socket.send(view) :]
            except BlockingIOError:
                remaining = end - time.monotonic()
                if remaining <= 0 or not select.select([], [self._socket], [], remaining)[1]:
                    raise DeadlineError(f"room to send on {self._url}", timeout_s) from None
            except OSError as error:
                raise ConnectionLostError(f"{self._url}: {error}") from error

    def set_baud(self, baud: int) -> None:
        """See `Port`."""

    def close(self) -> None:
        """See `Port`."""
        with contextlib.suppress(OSError):
            self._socket.close()


def _connect(url: str, timeout_s: float) -> socket.socket:
    try:
        if url.startswith(_TCP):
            parts = urlsplit(url)
            sock = socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 0), timeout_s)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(timeout_s)
            sock.connect(url.removeprefix(_UNIX))
        except OSError:
            sock.close()
            raise
    except (OSError, ValueError) as error:  # ValueError: not a number of a port
        raise ConnectionLostError(f"cannot open {url}: {error}") from error
    return sock


def open_port(url: str, baud: int = DEFAULT_BAUD, *, timeout_s: float = 5.0) -> Port:
    """A port by its address. Raises ConnectionLostError."""
    if url.startswith((_UNIX, _TCP)):
        return SocketPort(url, timeout_s)
    return SerialPort(url, baud)


def await_port(path: Path, timeout_s: float, exit_code: Callable[[], int | None]) -> None:
    """Wait until an emulated board listens at a unix socket; it is left to whoever connects first.

    Raises TimeoutError when it does not in time, or has ended (``exit_code`` is not None any more).
    """
    end = time.monotonic() + timeout_s
    while not path.is_socket():
        code = exit_code()
        if code is not None:
            raise TimeoutError(f"its end with exit code {code}")
        if time.monotonic() > end:
            raise TimeoutError(f"nothing within {timeout_s:g} s")
        time.sleep(0.01)
