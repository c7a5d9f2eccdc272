from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from hil.errors import ConnectError
from optimizer.errors import InternalError, ModelError
from server.config import ServerConfig
from server.problems import problem
from server.records import Job, NewJob
from server.store import Store
from server.work import Outcome, Progress
from server.worker import Run, Worker, run_job

SOLVE = NewJob("solve", {"kind": "solve", "model": "zoo:squeezenet1_1", "system": "demo"})
DONE = Outcome("done", {"x": 1})


def work(config: ServerConfig, store: Store, run: Run) -> bool:
    return Worker("w", config, store, run).run_next()


def only_job(store: Store) -> Job:
    (job,) = store.jobs(10)
    return job


def test_worker_without_jobs_has_nothing_to_do(config: ServerConfig, store: Store) -> None:
    assert not work(config, store, lambda *_: DONE)


def test_files_of_a_job_are_in_place_when_it_is_done(config: ServerConfig, store: Store) -> None:
    def run(job: Job, folder: Path, _: Progress) -> Outcome:
        assert not (config.jobs / job.id).exists()
        (folder / "plan.json").write_text("{}")
        return DONE

    job = store.add_job(SOLVE)
    assert work(config, store, run)
    assert (only_job(store).state, only_job(store).result) == ("done", {"x": 1})
    assert [p.name for p in (config.jobs / job.id).iterdir()] == ["plan.json"]
    assert list((config.scratch / "w").iterdir()) == []


def test_outcome_that_is_no_plan_is_recorded_with_its_problem(config: ServerConfig, store: Store) -> None:
    store.add_job(SOLVE)
    work(config, store, lambda *_: Outcome("infeasible", error=problem("infeasible", "too little RAM", clashes=[])))
    found = only_job(store)
    assert found.state == "infeasible" and found.error is not None
    assert found.error["detail"] == "too little RAM" and found.error["clashes"] == []


def test_job_cancelled_at_the_last_moment_leaves_nothing(config: ServerConfig, store: Store) -> None:
    def run(job: Job, folder: Path, _: Progress) -> Outcome:
        (folder / "plan.json").write_text("{}")
        store.cancel(job.id)
        return DONE

    store.add_job(SOLVE)
    assert work(config, store, run)
    assert (only_job(store).state, only_job(store).result) == ("cancelled", None)
    assert list(config.jobs.iterdir()) == []


def test_second_attempt_replaces_what_the_first_left(config: ServerConfig, store: Store) -> None:
    def run(_: Job, folder: Path, __: Progress) -> Outcome:
        (folder / "plan.json").write_text("new")
        return DONE

    job = store.add_job(SOLVE)
    (config.jobs / job.id).mkdir()
    (config.jobs / job.id / "plan.json").write_text("old")
    work(config, store, run)
    assert (config.jobs / job.id / "plan.json").read_text() == "new"


def test_progress_is_recorded_but_not_at_every_step(
    config: ServerConfig, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded: list[Any] = []
    monkeypatch.setattr(store, "set_progress", lambda _, progress: recorded.append(progress["step"]))

    def run(_: Job, __: Path, tell: Progress) -> Outcome:
        for i in range(1000):
            tell(f"step {i}", i / 1000)
        return DONE

    store.add_job(SOLVE)
    work(config, store, run)
    assert recorded[0] == "step 0" and len(recorded) < 100


def test_defect_is_not_swallowed(config: ServerConfig, store: Store) -> None:
    def run(*_: Any) -> Outcome:
        raise ZeroDivisionError

    store.add_job(SOLVE)
    with pytest.raises(ZeroDivisionError):
        work(config, store, run)
    assert only_job(store).state == "running"  # the pool settles it, see test_pool


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (ModelError("broken", where="a.onnx"), "invalid-input"),
        (ConnectError("no answer", phase="connect", board="left"), "bench-failed"),
        (InternalError("a promise is broken"), "internal"),
        (OSError(errno.ENOSPC, "No space left on device"), "storage-full"),
    ],
)
def test_errors_of_the_core_become_the_jobs(
    config: ServerConfig, store: Store, monkeypatch: pytest.MonkeyPatch, raised: Exception, kind: str
) -> None:
    def fail(*_: Any) -> Outcome:
        raise raised

    monkeypatch.setattr("server.worker.run_solve", fail)
    outcome = run_job(config, store, store.add_job(SOLVE), Path(), lambda *_: None)
    assert outcome.state == "failed" and outcome.error is not None
    assert outcome.error.kind == kind
    assert str(raised) in outcome.error.detail


def test_errors_of_the_machine_are_defects(config: ServerConfig, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Outcome:
        raise PermissionError

    monkeypatch.setattr("server.worker.run_solve", fail)
    with pytest.raises(PermissionError):
        run_job(config, store, store.add_job(SOLVE), Path(), lambda *_: None)


def test_lab_that_is_gone_after_a_restart_is_said(config: ServerConfig, store: Store) -> None:
    job = store.add_job(NewJob("measure", {"kind": "measure", "job": "x", "lab": "gone"}, "gone"))
    outcome = run_job(config, store, job, Path(), lambda *_: None)
    assert outcome.error is not None and "'gone'" in outcome.error.detail


def test_real_job_writes_plan_front_and_report(config: ServerConfig, store: Store) -> None:
    from functools import partial

    job = store.add_job(SOLVE)
    assert work(config, store, partial(run_job, config, store))
    assert only_job(store).state == "done"
    names = sorted(p.name for p in (config.jobs / job.id).iterdir())
    assert names == ["front.json", "plan.json", "report.html"]
