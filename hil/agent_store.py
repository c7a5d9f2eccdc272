"""Files that the host put on this board, by their SHA-256. Lives in a temporary folder of the agent."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from firmware_interface.messages import ErrorCode

__all__ = ["AgentError", "FileStore"]

_PREFIX = "edgecut-agent-"
_YOUNG_S = 60.0
"""A folder without a lock may belong to an agent that is just starting, as long as it is younger than this."""
SPARE_BYTES = 64 << 20  # left free on the disk, so that the board's other programs can go on


class AgentError(Exception):
    """A request cannot be carried out; becomes an ERROR message with this code and text."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        self.code, self.text = code, text
        super().__init__(f"{code.name}: {text}")


class FileStore:
    """Content-addressed files. One put at a time; a context manager that removes the folder in the end."""

    def __init__(self, parent: Path | None = None) -> None:
        remove_abandoned(Path(tempfile.gettempdir()) if parent is None else parent)
        self.root = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        self._lock = os.open(self.root, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._incoming: BinaryIO | None = None
        self._wanted, self._size, self._written = b"", 0, 0
        self._hash = hashlib.sha256()
        self._problem: AgentError | None = None

    def __enter__(self) -> FileStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove everything; a second call does nothing."""
        self._drop_incoming()
        shutil.rmtree(self.root, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def path(self, sha256: str) -> Path:
        """Where a file is stored. Raises AgentError NO_SUCH_FILE."""
        path = self.root / sha256
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef") or not path.is_file():
            raise AgentError(ErrorCode.NO_SUCH_FILE, f"no file {sha256[:64]} on this board; put it first")
        return path

    def state(self, sha256: bytes) -> tuple[int, int, bytes]:
        """Present (0 or 1), size, and the hash of the bytes as they are on the disk now."""
        path = self.root / sha256.hex()
        if not path.is_file():
            return 0, 0, bytes(32)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        if digest != sha256:
            path.unlink()  # spoilt on the disk: as good as not there
            return 0, 0, bytes(32)
        return 1, path.stat().st_size, digest

    def begin(self, sha256: bytes, size: int) -> None:
        """Start to take a file. A problem is kept until `end`, as chunks are on their way already."""
        self._drop_incoming()
        self._wanted, self._size, self._written = sha256, size, 0
        self._hash, self._problem = hashlib.sha256(), None
        try:
            free = shutil.disk_usage(self.root).free
            if free < size + SPARE_BYTES:
                self._problem = AgentError(
                    ErrorCode.STORAGE, f"{size} bytes needed in {self.root}, {free} free (64 MiB stay free)"
                )
                return
            self._incoming = (self.root / "incoming").open("wb")
        except OSError as error:
            self._problem = AgentError(ErrorCode.STORAGE, f"{self.root}: {error.strerror}")

    def chunk(self, offset: int, data: bytes) -> None:
        """Take the next bytes of the file."""
        if self._problem is not None:
            return
        if self._incoming is None or offset != self._written or self._written + len(data) > self._size:
            self._fail(ErrorCode.BAD_MESSAGE, f"chunk at {offset}, expected at {self._written}")
            return
        try:
            self._incoming.write(data)
        except OSError as error:
            self._fail(ErrorCode.STORAGE, f"{self.root}: {error.strerror}")
            return
        self._hash.update(data)
        self._written += len(data)

    def end(self) -> tuple[int, int, bytes]:
        """Finish the file; its state as read back. Raises AgentError: storage, wrong size or hash."""
        if self._problem is None and self._incoming is None:
            raise AgentError(ErrorCode.WRONG_STATE, "FILE_END without FILE_BEGIN")
        if self._problem is None and (self._written, self._hash.digest()) != (self._size, self._wanted):
            self._fail(
                ErrorCode.HASH_MISMATCH,
                f"{self._written} of {self._size} bytes, hash {self._hash.hexdigest()}, expected {self._wanted.hex()}",
            )
        if self._incoming is not None:
            try:
                self._incoming.close()
            except OSError as error:
                self._fail(ErrorCode.STORAGE, f"{self.root}: {error.strerror}")
            self._incoming = None
        if self._problem is not None:
            problem, self._problem = self._problem, None
            raise problem
        (self.root / "incoming").replace(self.root / self._wanted.hex())
        return self.state(self._wanted)

    def adopt(self, path: Path) -> tuple[str, int]:
        """Move a file that this board made into the store; its hash and size."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = path.stat().st_size
        path.replace(self.root / digest)
        return digest, size

    def read(self, sha256: bytes, offset: int, length: int) -> bytes:
        """Bytes of a stored file. Raises AgentError NO_SUCH_FILE."""
        with self.path(sha256.hex()).open("rb") as file:
            file.seek(offset)
            return file.read(length)

    def lay_out(self, model: str, companions: Mapping[str, str]) -> Path:
        """A model file with its external data beside it under their own names; the model's path.

        ``companions``: relative file name to hash. Raises AgentError for names that leave the folder.
        """
        source = self.path(model)
        if not companions:
            return source
        folder = Path(tempfile.mkdtemp(prefix="model-", dir=self.root))
        os.link(source, folder / "model.onnx")
        for name, sha256 in companions.items():
            relative = PurePosixPath(name)
            if relative.is_absolute() or ".." in relative.parts or not relative.parts or "\\" in name:
                raise AgentError(ErrorCode.BAD_DEPLOYMENT, f"file name {name!r} leaves its folder")
            target = folder.joinpath(*relative.parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(self.path(sha256), target)
        return folder / "model.onnx"

    def _fail(self, code: ErrorCode, text: str) -> None:
        self._problem = AgentError(code, text)
        self._drop_incoming()

    def _drop_incoming(self) -> None:
        if self._incoming is not None:
            incoming, self._incoming = self._incoming, None
            try:
                incoming.close()
            except OSError:
                return  # a full disk: the bytes are given up anyway


def remove_abandoned(parent: Path) -> None:
    """Remove folders of agents that were killed: nobody holds their lock any more."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, in use (BlockingIOError), or gone by now
            if time.time() - folder.stat().st_ctime < _YOUNG_S:
                continue
            lock = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
