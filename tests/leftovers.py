"""What a test module leaves behind: processes, threads, listening sockets.

The next module may count its own, or listen where these listen: so who leaves something is named at once.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

import psutil

__all__ = ["MARK", "Leftovers", "await_gone", "look"]

MARK = "EDGECUT_TEST_SESSION"
"""Environment variable whose value this session's processes inherit, and no other session's."""

# One of each interpreter, which multiprocessing starts when it is first needed and ends with the interpreter.
_OF_THE_INTERPRETER = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")


@dataclass(frozen=True)
class Leftovers:
    """What runs or listens now, each as a line for people."""

    lines: frozenset[str]

    def __sub__(self, before: Leftovers) -> list[str]:
        return sorted(self.lines - before.lines)


def look() -> Leftovers:
    """What this session runs at the moment, the interpreter itself left out."""
    return Leftovers(frozenset(_processes() | _threads() | _listeners()))


def await_gone(before: Leftovers, patience_s: float) -> list[str]:
    """What is there that was not before; what is about to end is given ``patience_s`` to do so."""
    gc.collect()
    deadline = time.monotonic() + patience_s
    while left := look() - before:
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return left


def _processes() -> set[str]:
    """Of this session, by the mark: so a process that its parent has left is found, and another session's is not."""
    mark = os.environ[MARK]
    found = set()
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            ours = process.ppid() == os.getpid() or process.environ().get(MARK) == mark
            if not ours or process.pid == os.getpid():
                continue
            line = " ".join(process.cmdline()) or process.name()
            if not any(word in line for word in _OF_THE_INTERPRETER):
                found.add(f"process {process.pid} ({process.status()}): {line[:200]}")
    return found


def _threads() -> set[str]:
    return {f"thread {thread.name} ({thread.ident})" for thread in threading.enumerate()}


def _listeners() -> set[str]:
    connections = psutil.Process().net_connections(kind="inet")
    return {f"listening socket {c.laddr} (fd {c.fd})" for c in connections if c.status == psutil.CONN_LISTEN}
