"""One worker process: takes a job, runs it, records how it ended; again and again.

It runs one job at a time in its main thread. A second thread watches a pipe from the server: a byte means
"something changed", end of file that the server is gone. Solvers cannot be interrupted from inside, so a
worker that must stop in the middle of a job first settles the job in the store and then ends its own process
group; the server starts another worker. A defect ends the worker too, and the server records it.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from server.config import ServerConfig
from server.errors import RequestError
from server.problems import is_storage_full, problem, refuse
from server.records import Job
from server.schemas import SolveOrder, parse_job
from server.sources import solve_sources
from server.store import Store, now
from server.work import CORE_ERRORS, Outcome, Progress, problem_of, run_measure, run_solve

__all__ = ["LOST", "STOP", "WAKE", "Run", "Worker", "run_job", "run_worker"]

WAKE = b"w"
"""On the pipe: look at the store."""
STOP = b"q"
"""On the pipe, last byte before its end: the server stops on purpose."""

_POLL_S = 1.0  # the pipe tells of changes at once; this is for what came by another way
_PROGRESS_INTERVAL_S = 0.25

LOST = problem(
    "interrupted",
    "A worker process ended while it ran this job, and so did the next; the job is not tried again."
    " The model may need more memory than there is; `losses` says what is known. Post the job anew to retry.",
).to_json()

Run = Callable[[Job, Path, Progress], Outcome]
"""Does a job's work and leaves its result files in the folder."""


def run_job(config: ServerConfig, store: Store, job: Job, folder: Path, progress: Progress) -> Outcome:
    """Have the core do what the job asks; its errors become the job's."""
    order = parse_job(job.request)
    try:
        if isinstance(order, SolveOrder):
            return run_solve(order, solve_sources(config, store, order), folder, progress)
        lab = config.labs.get(order.lab)
        if lab is None:
            # The server was started anew since.
            known = ", ".join(sorted(config.labs)) or "none"
            raise refuse("invalid-input", f"lab: expected a lab of this server ({known}); got {order.lab!r}.")
        plan = config.jobs / order.job / "plan.json"
        return run_measure(order, plan, lab, folder.parent, folder, progress)
    except RequestError as e:
        return Outcome("failed", error=e.problem)
    except CORE_ERRORS as e:
        return Outcome("failed", error=problem_of(e))
    except OSError as e:
        if not is_storage_full(e):
            raise
        return Outcome("failed", error=problem("storage-full", f"The results could not be written: {e}."))


class Worker:
    """Runs jobs of the store under a name of its own. ``run`` does the work itself."""

    def __init__(self, name: str, config: ServerConfig, store: Store, run: Run) -> None:
        self._name, self._config, self._store, self._run = name, config, store, run

    def run_next(self) -> bool:
        """Claim one job and run it to its end; False where there is none to claim."""
        job = self._store.claim(self._name)
        if job is None:
            return False
        folder = self._config.scratch / self._name / f"{job.id}-{job.attempts}"
        folder.mkdir(parents=True)
        outcome = self._run(job, folder, self._progress(job))
        # Files first: whoever sees the job finished finds them.
        place = self._config.jobs / job.id
        shutil.rmtree(place, ignore_errors=True)
        folder.rename(place)
        error = None if outcome.error is None else outcome.error.to_json()
        if not self._store.finish(job, outcome.state, result=outcome.result, error=error):
            # Cancelled meanwhile, too late for the watch to see.
            shutil.rmtree(place)
            self._store.release_jobs(self._name, "cancelled", LOST)
        return True

    def _progress(self, job: Job) -> Progress:
        last_s = time.monotonic() - _PROGRESS_INTERVAL_S

        def tell(step: str, share: float | None) -> None:
            nonlocal last_s
            if time.monotonic() - last_s >= _PROGRESS_INTERVAL_S:
                last_s = time.monotonic()
                self._store.set_progress(job.id, {"step": step, "share": share, "at": now()})

        return tell


def run_worker(name: str, config: ServerConfig, pipe: int) -> None:
    """The life of a worker process whose server holds the other end of ``pipe``. Does not return.

    The process must lead a process group of its own: the whole group ends with it.
    """
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    store = Store(config.database)
    changed = threading.Event()
    threading.Thread(target=_watch, args=(name, store, pipe, changed), daemon=True).start()
    worker = Worker(name, config, store, partial(run_job, config, store))
    while True:
        if not worker.run_next():
            changed.wait(_POLL_S)
            changed.clear()


def _watch(name: str, store: Store, pipe: int, changed: threading.Event) -> None:
    """Wake the main thread, and end the process when its job is cancelled or the server is gone."""
    last = b""
    try:
        while True:
            if select.select([pipe], [], [], _POLL_S)[0]:
                received = os.read(pipe, 4096)
                if not received:
                    break
                last = received[-1:]
                changed.set()
            if store.cancel_requested(name):
                break
        on_purpose = last == STOP
        reason = "the server was stopped" if on_purpose else "the server's web process ended"
        store.release_jobs(name, reason, LOST, counted=not on_purpose)
    finally:
        # Also where the store cannot be written: the next start of the server settles the job then.
        os.killpg(0, signal.SIGKILL)
