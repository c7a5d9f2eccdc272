"""The pool with small scripts in place of workers."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from server import pool as pool_module
from server.config import ServerConfig
from server.pool import WorkerPool, worker_command
from server.records import Job, NewJob
from server.store import Store
from tests.waiting import wait_for

SOLVE = NewJob("solve", {"kind": "solve"})

OBEDIENT = "while sys.stdin.buffer.raw.read(1): pass"
STUBBORN = "time.sleep(1000)"
CLAIMING = "from server.store import Store; Store(Path(sys.argv[1])).claim(sys.argv[2])"


def script(config: ServerConfig, *lines: str) -> pool_module.Command:
    root = Path(__file__).parents[2]
    text = f"import os, subprocess, sys, time; from pathlib import Path; sys.path.insert(0, {str(root)!r})\n"

    def command(name: str) -> Sequence[str]:
        return [sys.executable, "-P", "-c", text + "\n".join(lines), str(config.database), name]

    return command


@contextmanager
def running(config: ServerConfig, store: Store, *lines: str, count: int = 1) -> Iterator[WorkerPool]:
    pool = WorkerPool(config, store, count, command=script(config, *lines))
    pool.start()
    try:
        yield pool
    finally:
        pool.stop()


def workers(config: ServerConfig) -> list[psutil.Process]:
    """Those of our children that a pool of this configuration has started: other tests may have left theirs."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if str(config.database) in child.cmdline():
                found.append(child)
    return found


def state(store: Store, job: Job) -> str:
    found = store.job(job.id)
    assert found is not None
    return found.state


def test_as_many_workers_run_as_asked_for(config: ServerConfig, store: Store) -> None:
    with running(config, store, OBEDIENT, count=3) as pool:
        wait_for(lambda: pool.alive == 3, "not all started")
        pool.wake()
    assert pool.alive == 0


def test_worker_that_ends_is_replaced(config: ServerConfig, store: Store) -> None:
    with running(config, store, OBEDIENT) as pool:
        wait_for(lambda: len(workers(config)) == 1, "not started")
        (first,) = workers(config)
        first.kill()
        wait_for(lambda: [c.pid for c in workers(config)] not in ([], [first.pid]), "not replaced")
        wait_for(lambda: pool.alive == 1, "not counted")


def test_job_of_a_killed_worker_is_queued_again(config: ServerConfig, store: Store) -> None:
    job = store.add_job(SOLVE)
    with running(config, store, CLAIMING, OBEDIENT):
        wait_for(lambda: state(store, job) == "running", "not claimed")
        workers(config)[0].kill()
        wait_for(lambda: len(store.job(job.id).losses) == 1, "loss not recorded")  # type: ignore[union-attr]
    found = store.job(job.id)
    assert found is not None and "SIGKILL" in found.losses[0].reason


def test_job_of_a_worker_with_a_defect_fails(config: ServerConfig, store: Store) -> None:
    job = store.add_job(SOLVE)
    with running(config, store, CLAIMING, "sys.exit(1)"):
        wait_for(lambda: state(store, job) == "failed", "not failed")
    error = store.job(job.id).error  # type: ignore[union-attr]
    assert error is not None and error["type"] == "urn:edgecut:problem:internal"


def test_worker_that_cannot_start_is_not_started_in_a_frenzy(config: ServerConfig, store: Store) -> None:
    starts = config.data / "starts"
    note = f"open({str(starts)!r}, 'a').write(f'{{time.monotonic()}}\\n')"
    with running(config, store, note, "sys.exit(1)") as pool:
        wait_for(lambda: starts.exists() and len(starts.read_text().splitlines()) >= 3, "not tried again")
        assert pool.alive <= 1
    times = [float(line) for line in starts.read_text().splitlines()]
    assert min(later - earlier for earlier, later in pairwise(times)) >= 1.0


def test_stop_ends_workers_that_do_not_listen_and_requeues_their_jobs(
    config: ServerConfig, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "_STOP_GRACE_S", 0.2)
    job = store.add_job(SOLVE)
    with running(config, store, CLAIMING, STUBBORN):
        wait_for(lambda: state(store, job) == "running", "not claimed")
    found = store.job(job.id)
    assert found is not None and found.state == "queued"
    assert [loss.counted for loss in found.losses] == [False]


def test_what_a_worker_started_ends_with_it(config: ServerConfig, store: Store) -> None:
    pid_file = config.data / "grandchild"
    sleeper = "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)'])"
    start = f"{sleeper}; Path({str(pid_file)!r}).write_text(str(p.pid))"
    with running(config, store, start, OBEDIENT):
        wait_for(lambda: pid_file.exists() and pid_file.read_text() != "", "nothing started")
        grandchild = psutil.Process(int(pid_file.read_text()))
        pid_file.unlink()
        workers(config)[0].kill()
        wait_for(lambda: not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE, "lives on")


def test_temporary_files_of_a_worker_go_with_it(config: ServerConfig, store: Store) -> None:
    with running(config, store, "import tempfile; tempfile.mkdtemp()", OBEDIENT):
        wait_for(lambda: any(config.scratch.glob("*/*")), "no temporary folder")
        workers(config)[0].kill()
        wait_for(lambda: not any(config.scratch.glob("*/*")) or len(list(config.scratch.iterdir())) == 1, "left")
    assert list(config.scratch.iterdir()) == []


def test_worker_that_hangs_does_not_make_the_server_wait(
    config: ServerConfig, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "_STOP_GRACE_S", 0.2)
    with running(config, store, STUBBORN) as pool:
        wait_for(lambda: pool.alive == 1, "not started")
        workers(config)[0].send_signal(signal.SIGSTOP)
        for _ in range(100_000):  # more bytes than a pipe holds
            pool.wake()


def test_command_names_data_and_labs(config: ServerConfig) -> None:
    line = worker_command(config)("w1")
    assert line[line.index("--data") + 1] == str(config.data)
    assert line[line.index("--lab") + 1] == f"bench={config.labs['bench']}"
    assert os.path.basename(line[0]).startswith("python")  # noqa: PTH119  (a text, not a path)
