"""Model files on disk: received under a size limit, kept by their hash, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from boards.units import format_bytes
from server.config import ServerConfig
from server.problems import refuse

__all__ = ["Upload", "file_name", "keep", "model_path", "receive"]

_CHUNK_BYTES = 2**20
_MAX_NAME_CHARACTERS = 100


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class Upload:
    """A received file in a folder of its own, which holds nothing else."""

    path: Path
    sha256: str
    size_bytes: int


def file_name(given: str | None) -> str:
    """A plain file name for what a client calls its model: it becomes a path here, and a title in reports."""
    last = re.split(r"[/\\]", given or "")[-1]
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", last).strip("._-").removesuffix(".onnx")
    return f"{plain[:_MAX_NAME_CHARACTERS].strip('._-') or 'model'}.onnx"


def model_path(config: ServerConfig, model_id: str, name: str) -> Path:
    """Where the file of a stored model stands."""
    return config.models / model_id / name


@contextmanager
def receive(config: ServerConfig, stream: _Stream, name: str) -> Iterator[Upload]:
    """Write the stream to a file that goes away at the end unless it is kept.

    Raises RequestError for an empty stream (400) or one over ``config.max_upload_bytes`` (413).
    """
    folder = Path(tempfile.mkdtemp(dir=config.incoming))
    try:
        yield _write(stream, folder / name, config.max_upload_bytes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def keep(config: ServerConfig, upload: Upload) -> None:
    """Move the upload to its place.

    A file of that hash may stand there already, under this or another name: after a crash before it was
    recorded, or when two clients send it at once. It has the same bytes.
    """
    place = model_path(config, upload.sha256, upload.path.name)
    place.parent.mkdir(exist_ok=True)
    upload.path.replace(place)
    _sync_folder(place.parent)
    _sync_folder(config.models)


def _write(stream: _Stream, path: Path, limit_bytes: int) -> Upload:
    digest = hashlib.sha256()
    size_bytes = 0
    with path.open("wb") as file:
        while chunk := stream.read(_CHUNK_BYTES):
            size_bytes += len(chunk)
            if size_bytes > limit_bytes:
                raise refuse(
                    "too-large",
                    f"The model is too large for this server; expected at most {format_bytes(limit_bytes)}."
                    " The server's --max-upload sets the limit.",
                    max_bytes=limit_bytes,
                )
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    if size_bytes == 0:
        raise refuse("bad-request", "The body is empty; expected the bytes of an ONNX file.")
    return Upload(path, digest.hexdigest(), size_bytes)


def _sync_folder(folder: Path) -> None:
    """Make what was moved into the folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
