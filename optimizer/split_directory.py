"""Writing a directory that appears whole or not at all."""

from __future__ import annotations

import errno
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optimizer.errors import PlanError
from optimizer.split_manifest import is_bundle

__all__ = ["bundle_directory"]


@contextmanager
def bundle_directory(target: Path) -> Iterator[Path]:
    """A new directory beside ``target`` that takes its place when the block ends without an error.

    An older bundle is replaced, anything else is left alone. Whatever goes wrong, nothing half-written stays.
    Raises PlanError where the target holds something else or cannot be written (a full disk, say).
    """
    target = target.absolute()
    _refuse_what_is_no_bundle(target)
    staging = target.parent / f".{target.name}.{secrets.token_hex(4)}"
    try:
        try:
            staging.mkdir(parents=True)
            yield staging
            _replace(target, staging)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as e:
        full = e.errno in (errno.ENOSPC, errno.EDQUOT)
        raise PlanError(
            "the disk is full; nothing was written" if full else "cannot write the bundle; nothing was written",
            where=str(target),
            expected="room for the sub-models" if full else "a place that can be written",
            got=e.strerror or type(e).__name__,
            hint="Free some space or choose another place." if full else "Choose another place.",
        ) from e


def _refuse_what_is_no_bundle(target: Path) -> None:
    if target.is_dir() and (is_bundle(target) or not any(target.iterdir())):
        return
    if target.is_dir() or target.exists() or target.is_symlink():
        raise PlanError(
            "something else stands where the bundle should go", where=str(target),
            expected="no such path, an empty directory or an older bundle",
            got="a directory with other files" if target.is_dir() else "a file",
            hint="Choose another place, or move it away.",
        )  # fmt: skip


def _replace(target: Path, staging: Path) -> None:
    if not target.exists():
        staging.rename(target)
        return
    old = staging.with_name(f"{staging.name}.old")
    target.rename(old)
    try:
        staging.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
