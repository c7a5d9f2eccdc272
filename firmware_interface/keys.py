"""Key files: the shared secret of a lab in hexadecimal, readable by its owner only."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from firmware_interface.errors import AuthenticationError

__all__ = ["MIN_KEY_BYTES", "read_key", "write_key"]

MIN_KEY_BYTES = 32  # as long as the hash of the proofs: shorter keys would be their weak side


def read_key(path: Path) -> bytes:
    """The key in a file. Raises AuthenticationError: missing, readable by others, not hexadecimal, short."""
    try:
        mode = path.stat().st_mode
        text = path.read_text("ascii").strip()
    except OSError as error:
        raise AuthenticationError(f"{path}: the key file cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise AuthenticationError(f"{path}: the key file is not hexadecimal text") from error
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise AuthenticationError(
            f"{path}: others can read the key file (mode {stat.S_IMODE(mode):04o}); run: chmod 600 {path}"
        )
    try:
        key = bytes.fromhex(text)
    except ValueError as error:
        raise AuthenticationError(f"{path}: the key file is not hexadecimal text") from error
    if len(key) < MIN_KEY_BYTES:
        raise AuthenticationError(f"{path}: the key has {len(key)} bytes; at least {MIN_KEY_BYTES} are needed")
    return key


def write_key(path: Path) -> bytes:
    """Make a new random key and store it with mode 0600, replacing the file. Raises OSError."""
    key = secrets.token_bytes(MIN_KEY_BYTES)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(key.hex() + "\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return key
