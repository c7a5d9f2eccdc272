"""Processes of an emulation: started on a core, heard when ready, ended without a trace."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

from hil.errors import EmulationError

__all__ = ["Child", "available_cores", "private_directory", "remove_leftovers"]

_STOP_S = 3.0
_LOG_LINES = 5
_PREFIX = "edgecut-emulation"


class Child:
    """One process of ours with its log file. It is in a session of its own: Ctrl-C reaches only the starter.

    ``core``: the processor core it is pinned to, None for any.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path, core: int | None = None) -> None:
        self.name, self.log, self._heard = name, log, b""
        with log.open("wb") as stream, _pinned(core):
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                start_new_session=True,
                bufsize=0,
            )
        self._input, self._output = (
            cast(IO[bytes], self._process.stdin),
            cast(IO[bytes], self._process.stdout),
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def exit_code(self) -> int | None:
        """Exit code once it has ended, else None."""
        return self._process.poll()

    def _end(self) -> str:
        """In words, of a process that has closed its output."""
        try:
            return f"its end with exit code {self._process.wait(_STOP_S)}"
        except subprocess.TimeoutExpired:
            return "the end of its output"

    def hear(self, what: str, timeout_s: float) -> dict[str, Any]:
        """The next line of its output as a JSON object. Raises EmulationError when none comes in time."""
        stream = self._output
        deadline = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            while b"\n" not in self._heard:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise self.failure(what, f"nothing within {timeout_s:g} s")
                data = os.read(stream.fileno(), 4096)
                if not data:
                    raise self.failure(what, self._end())
                self._heard += data
        line, _, self._heard = self._heard.partition(b"\n")
        try:
            message = json.loads(line)
        except ValueError as e:
            raise self.failure(what, repr(line[:80])) from e
        if not isinstance(message, dict):
            raise self.failure(what, repr(line[:80]))
        return message

    def failure(self, expected: str, got: str) -> EmulationError:
        """An error about this process, with the end of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        said = " ".join(line.strip() for line in lines[-_LOG_LINES:])
        return EmulationError(
            f"the process of {self.name} does not run as it should",
            where=f"process {self.pid}",
            expected=expected,
            got=got,
            hint=f"It said: {said}" if said else "It said nothing.",
        )

    def ask_to_stop(self) -> None:
        """Close its input and send SIGTERM; returns at once."""
        with contextlib.suppress(OSError):
            self._input.close()
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """End it, with SIGKILL if it does not listen, and reap it."""
        self.ask_to_stop()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()


def available_cores() -> tuple[int, ...]:
    """Cores that this process may use; () where the system cannot pin processes to cores."""
    if sys.platform == "linux":
        return tuple(sorted(os.sched_getaffinity(0)))
    return ()


def private_directory() -> Path:
    """A new directory for this process's emulation that only its user can enter. Raises EmulationError."""
    try:
        path = tempfile.mkdtemp(prefix=f"{_PREFIX}-{os.getuid()}-{os.getpid()}-", dir=_base())
    except OSError as e:
        raise EmulationError(
            "no directory for the emulation",
            where=str(_base()),
            expected="a folder that can be written",
            got=e.strerror or str(e),
            hint="Make room there, or set TMPDIR to another folder.",
        ) from e
    return Path(path)


def remove_leftovers() -> None:
    """Remove the directories of this user's emulations whose starter was killed."""
    for path in _base().glob(f"{_PREFIX}-{os.getuid()}-*"):
        pid = path.name.removeprefix(f"{_PREFIX}-{os.getuid()}-").partition("-")[0]
        if pid.isdigit() and not _is_alive(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def _base() -> Path:
    return Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def _pinned(core: int | None) -> Iterator[None]:
    """Pin the calling thread for a moment: a process started meanwhile is pinned from the first."""
    if core is None or sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
