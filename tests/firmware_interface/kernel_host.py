"""The firmware's kernels as a process, built with the address and undefined behaviour checks: one record at a time."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path
from types import TracebackType

from tests.firmware_interface.posix_board import BUILD, build


class RefusedError(Exception):
    """The kernel's check refused the record."""


class KernelHost:
    """Runs records in memory of exactly the sizes given."""

    def __init__(self) -> None:
        build(str(BUILD / "tests" / "kernels"))
        program: Path = BUILD / "tests" / "kernels"
        self._process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def run(self, record: bytes, *, arena: bytes, weights: bytes = b"", scratch_bytes: int = 0) -> bytes:
        """The arena afterwards. Raises RefusedError where the record is refused."""
        taken, after = self.ask(record, arena=arena, weights=weights, scratch_bytes=scratch_bytes)
        if not taken:
            raise RefusedError
        return after

    def ask(self, record: bytes, *, arena: bytes, weights: bytes = b"", scratch_bytes: int = 0) -> tuple[bool, bytes]:
        """Whether the record was taken, and the arena afterwards."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        head = struct.pack("<IIII", len(record), len(weights), len(arena), scratch_bytes)
        try:
            self._process.stdin.write(head + record + weights + arena)
            self._process.stdin.flush()
            answer = self._process.stdout.read(1 + len(arena))
        except BrokenPipeError:
            answer = b""
        if len(answer) != 1 + len(arena):
            assert self._process.stderr is not None
            raise AssertionError(self._process.stderr.read().decode())
        return answer[0] == 1, answer[1:]

    def __enter__(self) -> KernelHost:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()
