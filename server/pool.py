"""Keeps worker processes running, and settles the jobs of those that end."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from server.config import ServerConfig
from server.problems import problem
from server.store import Store
from server.worker import LOST, STOP, WAKE

__all__ = ["WorkerPool", "Workers", "worker_command"]

_log = logging.getLogger(__name__)

_STOP_GRACE_S = 5.0
_SHORT_LIFE_S = 5.0  # a worker that ends sooner, and without a job, cannot start at all
_MAX_PAUSE_S = 30.0

_CRASHED = problem(
    "internal", "Something went wrong in the worker while it ran this job; the server's log says what."
).to_json()


class Workers:
    """What the web application knows of workers. This one has none: jobs stay queued."""

    def wake(self) -> None:
        """Tell idle workers that there is a job, and busy ones that theirs may be cancelled."""

    @property
    def alive(self) -> int:
        """Number of worker processes that run now."""
        return 0


Command = Callable[[str], Sequence[str]]
"""The command line of the worker of that name."""


def worker_command(config: ServerConfig) -> Command:
    """How `edgecut server` starts a worker of its own."""

    def command(name: str) -> list[str]:
        # -P: never import from the current folder; "server" is a common name.
        line = [sys.executable, "-P", "-m", "server.cli", "server", "worker"]
        line += ["--data", str(config.data), "--name", name]
        for lab, path in config.labs.items():
            line += ["--lab", f"{lab}={path}"]
        return line

    return command


class WorkerPool(Workers):
    """``count`` worker processes, each started again when it ends.

    ``inherited`` are file descriptors that workers hold open as long as they live.
    """

    def __init__(
        self,
        config: ServerConfig,
        store: Store,
        count: int,
        *,
        inherited: Sequence[int] = (),
        command: Command | None = None,
    ) -> None:
        self._config, self._store, self._inherited = config, store, tuple(inherited)
        self._command = command or worker_command(config)
        self._lock = threading.Lock()
        self._running: dict[str, _Worker] = {}
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._keep_one, daemon=True) for _ in range(count)]

    def start(self) -> None:
        """Start the workers."""
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        with self._lock:
            for worker in self._running.values():
                worker.send(WAKE)

    @property
    def alive(self) -> int:
        with self._lock:
            return len(self._running)

    def stop(self) -> None:
        """End all workers; their jobs are queued again and run when a server starts next."""
        self._stopping.set()
        with self._lock:
            for worker in self._running.values():
                worker.send(STOP)
                worker.hang_up()
        deadline = time.monotonic() + _STOP_GRACE_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            for worker in self._running.values():
                _kill_group(worker.process.pid)
        for thread in self._threads:
            thread.join()
        try:
            self._store.release_jobs(None, "the server was stopped", LOST, counted=False)
        except sqlite3.OperationalError as e:
            _log.error("jobs that were running cannot be recorded; the next start does it: %s", e)

    def _keep_one(self) -> None:
        pause_s = 0.5
        while not self._stopping.is_set():
            name = secrets.token_hex(4)
            begin = time.monotonic()
            code = self._run_one(name)
            if self._stopping.is_set():
                return
            self._settle(name, code)
            short = time.monotonic() - begin < _SHORT_LIFE_S
            pause_s = min(2 * pause_s, _MAX_PAUSE_S) if short and code > 0 else 0.5
            self._stopping.wait(pause_s if short and code > 0 else 0.0)

    def _run_one(self, name: str) -> int:
        """Start a worker, wait for its end and that of its whole group; its exit code."""
        with self._lock:
            if self._stopping.is_set():
                return 0
            worker = self._running[name] = self._start(name)
        # Until it is reaped its id belongs to nobody else: only so long is its group surely its own.
        os.waitid(os.P_PID, worker.process.pid, os.WEXITED | os.WNOWAIT)
        _kill_group(worker.process.pid)
        with self._lock:
            del self._running[name]
            code = worker.process.wait()
            worker.hang_up()
        shutil.rmtree(self._config.scratch / name, ignore_errors=True)
        return code

    def _start(self, name: str) -> _Worker:
        scratch = self._config.scratch / name
        scratch.mkdir(parents=True)
        reading, writing = os.pipe()
        try:
            os.set_blocking(writing, False)  # a worker that hangs must not make the server wait
            process = subprocess.Popen(
                self._command(name),
                stdin=reading,
                env={**os.environ, "TMPDIR": str(scratch)},
                process_group=0,
                pass_fds=self._inherited,
            )
        except OSError:
            os.close(writing)
            raise
        finally:
            os.close(reading)
        return _Worker(process, writing)

    def _settle(self, name: str, code: int) -> None:
        """Record what became of the job the worker had, if it left one."""
        while not self._stopping.is_set():
            try:
                if code > 0:
                    _log.error("worker %s ended with exit code %d", name, code)
                    self._store.fail_jobs_of(name, _CRASHED)
                else:
                    how = f"signal {signal.Signals(-code).name}" if code else "exit code 0"
                    self._store.release_jobs(name, f"the worker process ended unexpectedly ({how})", LOST)
                return
            except sqlite3.OperationalError as e:
                # A full disk or a long writer: the job must not be left behind as running.
                _log.error("the end of worker %s cannot be recorded yet: %s", name, e)
                self._stopping.wait(1.0)


@dataclass
class _Worker:
    """A worker process and our end of the pipe to it."""

    process: subprocess.Popen[bytes]
    pipe: int | None

    def send(self, byte: bytes) -> None:
        if self.pipe is not None:
            # Gone: its thread sees to it. Full: thousands of bytes to wake it are there already.
            with suppress(BrokenPipeError, BlockingIOError):
                os.write(self.pipe, byte)

    def hang_up(self) -> None:
        if self.pipe is not None:
            os.close(self.pipe)
            self.pipe = None


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
