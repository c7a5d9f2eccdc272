"""Result files appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from optimizer.errors import InputError

__all__ = ["write_atomically"]


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write the file through a temporary one beside it. Raises InputError where that is not possible.

    After an error (a full disk, say) the file that was there before is still there, and nothing else is.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o666 & ~_umask())  # mkstemp's 0600 is for secrets, which results are not
        Path(temporary).replace(path)
    except OSError as e:
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        raise InputError(
            "the result file cannot be written",
            where=str(path),
            expected=f"a folder that can be written to, with {len(data)} bytes free",
            got=e.strerror or type(e).__name__,
            hint="Give another place with -o, or make room.",
        ) from e


def _umask() -> int:
    """The process's umask. It can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
