"""A connection over TCP: whole messages with deadlines, and tensors without copies."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Container, Iterator, Sequence
from typing import Any

from firmware_interface.errors import ConnectionLostError, DeadlineError, FramingError, RemoteError
from firmware_interface.framing import HEADER, Header, decode_header, decode_payload, encode, pack_header
from firmware_interface.messages import MESSAGES, Error, ErrorCode, Type

__all__ = ["Connection", "Unsent", "connect", "remote_error"]

Unsent = tuple[memoryview, ...]
"""Parts of a tensor message that the kernel has not taken yet."""

# A header and a small payload come with one system call; of a large one this much is copied once more.
STAGING_BYTES = 8192
MAX_I32 = (1 << 31) - 1  # the largest value of a socket option
# A peer that vanished without a word (power off) is noticed after idle + interval x count seconds.
KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT = 5, 2, 3


class Connection:
    """One TCP connection. One thread receives; any thread may send.

    Deadlines hold for the opening and for control connections; a link blocks without one and is woken by
    `shutdown`. A ConnectionLostError is raised for end of file, reset, and our own shutdown alike.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_KEEPIDLE"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_COUNT)
        self._socket = sock
        self._send_lock = threading.Lock()
        self._staging_view = memoryview(bytearray(STAGING_BYTES))
        self._start = self._end = 0
        """Bytes of the staging buffer that have come but have not been asked for yet."""
        self.last_received = ""
        """The last header received, in words, for error messages."""

    # Messages of the catalogue

    def send(self, message: Any, *, sequence: int = 0, flags: int = 0, timeout_s: float | None = None) -> None:
        """Send one message. Raises DeadlineError, ConnectionLostError, MessageError."""
        data = encode(message, sequence, flags)
        with self._send_lock:
            try:
                self._socket.settimeout(timeout_s)
                self._socket.sendall(data)
            except TimeoutError as error:
                raise DeadlineError("room to send", timeout_s or 0.0, self.last_received) from error
            except OSError as error:
                raise ConnectionLostError(str(error), self.last_received) from error

    def receive(self, *, timeout_s: float | None = None, allowed: Container[Type] = MESSAGES) -> tuple[Header, Any]:
        """The next message. A type outside ``allowed`` is refused before its payload is allocated.

        Raises DeadlineError when the whole message is not there in time, ConnectionLostError, FramingError,
        MessageError.
        """
        end = None if timeout_s is None else time.monotonic() + timeout_s
        raw = bytearray(HEADER.size)
        self._fill(memoryview(raw), end, timeout_s, "message")
        header = decode_header(raw)
        self.last_received = str(header)
        if header.type not in allowed or header.type not in MESSAGES:
            raise FramingError("type", expected="one that fits here", got=header.type.name)
        payload = bytearray(header.length)
        self._fill(memoryview(payload), end, timeout_s, f"rest of {header}")
        return header, decode_payload(header, payload)

    def receive_payload(self, header: Header) -> Any:
        """The message that belongs to a header of `receive_header`. Raises as `receive` does."""
        if header.type not in MESSAGES:
            raise FramingError("type", expected="one that fits here", got=header.type.name)
        payload = bytearray(header.length)
        self.receive_into(memoryview(payload))
        return decode_payload(header, payload)

    def _fill(self, view: memoryview, end: float | None, timeout_s: float | None, what: str) -> None:
        view = view[self._take(view) :]
        while len(view):
            remaining = None
            if end is not None:
                remaining = end - time.monotonic()
                if remaining <= 0:
                    raise DeadlineError(what, timeout_s or 0.0, self.last_received)
            try:
                self._socket.settimeout(remaining)
                count = self._socket.recv_into(view)
            except TimeoutError as error:
                raise DeadlineError(what, timeout_s or 0.0, self.last_received) from error
            except OSError as error:
                raise ConnectionLostError(str(error), self.last_received) from error
            if count == 0:
                raise ConnectionLostError("closed by the other side", self.last_received)
            view = view[count:]

    # Links: header-only messages and tensors. Blocking; woken by shutdown().

    def make_blocking(self) -> None:
        """No deadlines from here on: the connection becomes a link. Raises ConnectionLostError."""
        try:
            self._socket.settimeout(None)
        except OSError as error:
            raise ConnectionLostError(str(error), self.last_received) from error

    def receive_header(self) -> Header:
        """The next header. Raises FramingError, ConnectionLostError."""
        start, end = self._start, self._end
        if end - start < HEADER.size:
            end = self._refill(start, end)
            start = 0
        self._start = start + HEADER.size
        return decode_header(self._staging_view[start : start + HEADER.size])

    def _refill(self, start: int, end: int) -> int:
        """Bring at least a header into the staging buffer; the new end of what it holds (from 0)."""
        held = end - start
        staging = self._staging_view
        if held:
            staging[:held] = bytes(staging[start:end])
        try:
            while held < HEADER.size:
                count = self._socket.recv_into(staging[held:] if held else staging)
                if count == 0:
                    raise ConnectionLostError("closed by the other side", self.last_received)
                held += count
        except OSError as error:
            raise ConnectionLostError(str(error), self.last_received) from error
        self._start, self._end = 0, held
        return held

    def poll_headers(self) -> Iterator[Header]:
        """Headers that have arrived, by one look at the socket, without waiting.

        A payload that belongs to one is to be received before the next is asked for. Raises FramingError,
        ConnectionLostError.
        """
        held = self._end - self._start
        staging = self._staging_view
        if held:
            staging[:held] = bytes(staging[self._start : self._end])
        self._start, self._end = 0, held
        try:
            count = self._socket.recv_into(staging[held:] if held else staging, 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            count = -1
        except OSError as error:
            raise ConnectionLostError(str(error), self.last_received) from error
        if count == 0:
            raise ConnectionLostError("closed by the other side", self.last_received)
        if count > 0:
            self._end = held + count
        while self._end - self._start >= HEADER.size:
            start = self._start
            self._start = start + HEADER.size
            yield decode_header(staging[start : start + HEADER.size])

    def receive_some(self, view: memoryview) -> int:
        """Fill as much of a buffer as has arrived, without waiting; how many bytes. Raises ConnectionLostError."""
        count = self._take(view)
        if count == len(view):
            return count
        try:
            more = self._socket.recv_into(view[count:] if count else view, 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return count
        except OSError as error:
            raise ConnectionLostError(str(error), self.last_received) from error
        if more == 0:
            raise ConnectionLostError("closed by the other side", self.last_received)
        return count + more

    def wake_for(self, size: int) -> bool:
        """Wake who waits for this connection only when so many bytes have come; 1 is the usual.

        False: the system cannot hold so many. Who asks for less than that must not wait.
        """
        if not hasattr(socket, "SO_RCVLOWAT") or size > MAX_I32:
            return size <= 1
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
            return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) >= size
        except OSError:
            return False

    def fileno(self) -> int:
        """For `select.poll`."""
        return self._socket.fileno()

    def receive_into(self, view: memoryview) -> None:
        """Fill a preallocated buffer from the connection. Raises ConnectionLostError."""
        held = self._take(view)
        wanted = len(view) - held
        if not wanted:
            return
        view = view[held:]
        try:
            while True:
                # MSG_WAITALL: the kernel fills the buffer while no Python runs.
                count = self._socket.recv_into(view, 0, socket.MSG_WAITALL)
                if count == wanted:
                    return
                if count == 0:
                    raise ConnectionLostError("closed by the other side", self.last_received)
                view = view[count:]
                wanted -= count
        except OSError as error:
            raise ConnectionLostError(str(error), self.last_received) from error

    def _take(self, view: memoryview) -> int:
        """Move what the staging buffer holds of a payload to its place; how many bytes."""
        count = min(self._end - self._start, len(view))
        if count:
            view[:count] = self._staging_view[self._start : self._start + count]
            self._start += count
        return count

    def send_signal(self, kind: Type, *, channel: int = 0, sequence: int = 0, flags: int = 0) -> None:
        """Send a header without a payload: CREDIT, TOKEN. Raises ConnectionLostError."""
        data = pack_header(kind, 0, channel=channel, sequence=sequence, flags=flags)
        try:
            with self._send_lock:
                self._socket.sendall(data)
        except OSError as error:
            raise ConnectionLostError(str(error), self.last_received) from error

    def start_tensor(self, channel: int, frame: int, data: memoryview, patience_s: float = 0.0) -> Unsent:
        """Hand a tensor to the kernel as far as it takes it without waiting; `finish_tensor` sends the rest.

        ``patience_s``: how long to wait for room each time that there is none. Nothing else is sent on this
        connection until the rest is sent. Raises ConnectionLostError.
        """
        header = pack_header(Type.TENSOR, len(data), channel=channel, sequence=frame)
        self._send_lock.acquire()
        try:
            sent = self._send_some((header, data), patience_s)
            unsent: Unsent = ()
            if sent != HEADER.size + len(data):  # else the kernel took all of it: the way of most
                unsent = self._send_on(_rest((memoryview(header), data), sent or 0), sent, patience_s)
        except OSError as error:
            self._send_lock.release()
            raise ConnectionLostError(str(error), self.last_received) from error
        if not unsent:
            self._send_lock.release()
        return unsent

    def _send_on(self, unsent: Unsent, sent: int | None, patience_s: float) -> Unsent:
        """Hand over more for as long as a part is taken, for a fast link has made room by then; what is left."""
        while unsent and sent is not None:
            sent = self._send_some(unsent, patience_s)
            unsent = _rest(unsent, sent or 0)
        return unsent

    def _send_some(self, parts: Sequence[bytes | memoryview], patience_s: float) -> int | None:
        """How many bytes the kernel took; None if there was no room."""
        try:
            return self._socket.sendmsg(parts, (), socket.MSG_DONTWAIT)
        except BlockingIOError:
            if not patience_s:
                return None
        room = select.poll()
        room.register(self._socket, select.POLLOUT)
        return 0 if room.poll(patience_s * 1e3) else None

    def finish_tensor(self, unsent: Unsent) -> None:
        """Send what `start_tensor` left over, waiting as long as it takes. Raises ConnectionLostError."""
        try:
            for part in unsent:
                self._socket.sendall(part)
        except OSError as error:
            raise ConnectionLostError(str(error), self.last_received) from error
        finally:
            if unsent:
                self._send_lock.release()

    def send_tensor(self, channel: int, frame: int, data: memoryview) -> None:
        """Send a tensor straight from its buffer. Raises ConnectionLostError."""
        self.finish_tensor(self.start_tensor(channel, frame, data))

    def peer_gone(self) -> bool:
        """Whether the other side has closed, without waiting and without taking bytes."""
        if self._end > self._start:
            return False
        try:
            return self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def addresses(self) -> tuple[str, str]:
        """Our and the other side's address, for logs."""
        try:
            return str(self._socket.getsockname()), str(self._socket.getpeername())
        except OSError:
            return "?", "?"

    def shutdown(self) -> None:
        """Wake every thread that waits in this connection; they raise ConnectionLostError."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close; never raises."""
        self.shutdown()
        with contextlib.suppress(OSError):
            self._socket.close()


def _rest(parts: Unsent, sent: int) -> Unsent:
    """What of the parts comes behind the first ``sent`` bytes."""
    rest = []
    for part in parts:
        if sent < len(part):
            rest.append(part[sent:])
        sent = max(0, sent - len(part))
    return tuple(rest)


def remote_error(message: Error) -> RemoteError:
    """The exception for an ERROR message."""
    known = message.code in set(ErrorCode)
    return RemoteError(ErrorCode(message.code).name if known else f"code {message.code}", message.text)


def connect(host: str, port: int, timeout_s: float) -> Connection:
    """Open a connection. Raises ConnectionLostError (refused, unreachable) or DeadlineError."""
    try:
        sock = socket.create_connection((host, port), timeout=timeout_s)
    except TimeoutError as error:
        raise DeadlineError(f"answer from {host}:{port}", timeout_s) from error
    except OSError as error:
        raise ConnectionLostError(f"cannot connect to {host}:{port}: {error}") from error
    return Connection(sock)
