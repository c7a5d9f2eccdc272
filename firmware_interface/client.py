"""The bench's side of a control connection: one request at a time, each with a deadline."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any, TypeVar

from firmware_interface.auth import HANDSHAKE_TIMEOUT_S, opening
from firmware_interface.errors import FramingError, WireError
from firmware_interface.framing import MAX_U32
from firmware_interface.messages import (
    MAX_CHUNK_BYTES,
    Bye,
    Error,
    FileBegin,
    FileChunk,
    FileEnd,
    FileQuery,
    FileRead,
    FileState,
    Log,
    Purpose,
)
from firmware_interface.transport import connect, remote_error

__all__ = ["Client", "sha256_of"]

M = TypeVar("M")
MAX_LOG_LINES = 1000  # kept of what a board says; more tells nothing new


def sha256_of(path: Path) -> bytes:
    """SHA-256 of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


class Client:
    """A control connection to a board. Every method raises WireError on failure."""

    def __init__(
        self,
        host: str,
        port: int,
        key: bytes,
        *,
        board: str,
        sender: str = "host",
        timeout_s: float = HANDSHAKE_TIMEOUT_S,
    ) -> None:
        """Connect and open. ``board`` "" accepts whoever answers."""
        self.connection = connect(host, port, timeout_s)
        self.log: list[str] = []
        self._sequence = 0
        try:
            self.board = opening(
                self.connection,
                key,
                purpose=Purpose.CONTROL,
                sender=sender,
                receiver=board,
                timeout_s=timeout_s,
            )
        except WireError:
            self.connection.close()
            raise

    def call(self, message: Any, expect: type[M], *, timeout_s: float = 5.0) -> M:
        """Send a request and return its answer, which must be an ``expect``. RemoteError for an ERROR."""
        self._sequence = self._sequence % MAX_U32 + 1
        end = time.monotonic() + timeout_s
        self.connection.send(message, sequence=self._sequence, timeout_s=timeout_s)
        while True:
            header, answer = self.connection.receive(timeout_s=max(0.001, end - time.monotonic()))
            if isinstance(answer, Log):
                if len(self.log) < MAX_LOG_LINES:
                    self.log.append(answer.text)
                continue
            if isinstance(answer, Error):
                raise remote_error(answer)
            if header.sequence != self._sequence or not isinstance(answer, expect):
                raise FramingError("sequence", expected=f"{expect.__name__} #{self._sequence}", got=str(header))
            return answer

    def put_file(self, path: Path, *, timeout_s: float = 60.0) -> bytes:
        """Bring a file to the board unless it has it; returns its SHA-256, read back and compared.

        ``timeout_s`` holds for each step, not for the whole file.
        """
        wanted = sha256_of(path)
        state = self.call(FileQuery(wanted), FileState, timeout_s=timeout_s)
        if not state.present:
            state = self._send_file(path, wanted, timeout_s)
        if state.sha256 != wanted:
            raise FramingError("read-back hash", expected=wanted.hex(), got=state.sha256.hex())
        return wanted

    def _send_file(self, path: Path, wanted: bytes, timeout_s: float) -> FileState:
        size = path.stat().st_size
        self.connection.send(FileBegin(wanted, size), timeout_s=timeout_s)
        with path.open("rb") as file:
            for offset in range(0, size, MAX_CHUNK_BYTES):
                self.connection.send(FileChunk(offset, file.read(MAX_CHUNK_BYTES)), timeout_s=timeout_s)
        return self.call(FileEnd(), FileState, timeout_s=timeout_s)

    def fetch_file(self, sha256: bytes, size_bytes: int, *, timeout_s: float = 60.0) -> bytes:
        """Read a stored file back; its hash is checked."""
        parts: list[bytes] = []
        offset = 0
        while offset < size_bytes:
            length = min(MAX_CHUNK_BYTES, size_bytes - offset)
            chunk = self.call(FileRead(sha256, offset, length), FileChunk, timeout_s=timeout_s)
            if chunk.offset != offset or len(chunk.data) != length:
                raise FramingError("chunk", expected=f"{length} at {offset}", got=f"{len(chunk.data)}")
            parts.append(chunk.data)
            offset += length
        data = b"".join(parts)
        got = hashlib.sha256(data).digest()
        if got != sha256:
            raise FramingError("file hash", expected=sha256.hex(), got=got.hex())
        return data

    def close(self, *, timeout_s: float = 1.0) -> None:
        """Say goodbye and close; never raises."""
        try:
            self.connection.send(Bye(), timeout_s=timeout_s)
        except WireError:
            pass  # the connection has gone already: nobody is left to be told
        finally:
            self.connection.close()

    @property
    def last_received(self) -> str:
        """The last header received, in words."""
        return self.connection.last_received
