from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.errors import StartError
from server.records import FINISHED, Job, Model, NewJob
from server.store import MAX_ATTEMPTS_LOST, IdempotencyKeyReused, Store

ERROR = {"type": "urn:edgecut:problem:interrupted", "title": "t", "detail": "d"}
SOLVE = NewJob("solve", {"kind": "solve"})
MODEL = Model("a" * 64, "net.onnx", 10, 2, 3, 4, ("one",), "2026-01-01T00:00:00.000Z")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "db")


def present(job: Job | None) -> Job:
    assert job is not None
    return job


def test_jobs_are_claimed_in_the_order_they_came(store: Store) -> None:
    ordered = [store.add_job(SOLVE).id for _ in range(3)]
    assert [present(store.claim("w")).id for _ in range(3)] == ordered
    assert store.claim("w") is None


def test_each_job_is_claimed_once_however_many_ask(store: Store) -> None:
    ordered = {store.add_job(SOLVE).id for _ in range(12)}
    with ThreadPoolExecutor(6) as pool:
        claimed = list(pool.map(store.claim, [f"w{i}" for i in range(20)]))
    assert sorted(job.id for job in claimed if job is not None) == sorted(ordered)


def test_claim_makes_the_job_the_workers(store: Store) -> None:
    store.add_job(SOLVE)
    job = present(store.claim("w"))
    assert (job.state, job.worker, job.attempts) == ("running", "w", 1)
    assert job.started_at is not None


def test_only_one_job_a_lab_runs_at_a_time(store: Store) -> None:
    first, second, elsewhere = (store.add_job(NewJob("measure", {}, lab)) for lab in ("a", "a", "b"))
    assert present(store.claim("w1")).id == first.id
    assert present(store.claim("w2")).id == elsewhere.id
    assert store.claim("w3") is None
    store.finish(present(store.job(first.id)), "done")
    assert present(store.claim("w3")).id == second.id


def test_only_the_worker_that_has_a_job_ends_it(store: Store) -> None:
    store.add_job(SOLVE)
    job = present(store.claim("w"))
    assert not store.finish(replace(job, worker="other"), "done")
    assert store.finish(job, "done", result={"x": 1})
    assert not store.finish(job, "failed", error=ERROR)
    found = present(store.job(job.id))
    assert (found.state, found.result, found.error, found.worker) == ("done", {"x": 1}, None, None)


def test_job_to_be_cancelled_does_not_end_as_done(store: Store) -> None:
    store.add_job(SOLVE)
    job = present(store.claim("w"))
    assert present(store.cancel(job.id)).state == "running"
    assert store.cancel_requested("w") and not store.cancel_requested("other")
    assert not store.finish(job, "done")
    store.release_jobs("w", "gone", ERROR)
    assert (present(store.job(job.id)).state, present(store.job(job.id)).losses) == ("cancelled", ())


def test_queued_job_is_cancelled_at_once(store: Store) -> None:
    job = store.add_job(SOLVE)
    assert present(store.cancel(job.id)).state == "cancelled"
    assert store.claim("w") is None
    assert store.cancel("unknown") is None


def test_lost_job_is_queued_again_once(store: Store) -> None:
    job = store.add_job(SOLVE)
    for lost in range(1, MAX_ATTEMPTS_LOST + 1):
        assert present(store.claim("w")).attempts == lost
        store.release_jobs("w", f"reason {lost}", ERROR)
    found = present(store.job(job.id))
    assert (found.state, found.error) == ("interrupted", ERROR)
    assert [loss.reason for loss in found.losses] == ["reason 1", "reason 2"]
    assert store.claim("w") is None


def test_stops_on_purpose_do_not_count(store: Store) -> None:
    job = store.add_job(SOLVE)
    for _ in range(5):
        assert store.claim("w") is not None
        store.release_jobs(None, "stopped", ERROR, counted=False)
    assert present(store.job(job.id)).state == "queued"


def test_release_touches_only_jobs_of_that_worker(store: Store) -> None:
    store.add_job(SOLVE), store.add_job(SOLVE)
    mine, other = present(store.claim("mine")), present(store.claim("other"))
    store.release_jobs("mine", "gone", ERROR)
    store.fail_jobs_of("mine", ERROR)
    assert present(store.job(mine.id)).state == "queued"
    assert present(store.job(other.id)).state == "running"


def test_job_of_a_crashed_worker_fails_unless_it_was_to_be_cancelled(store: Store) -> None:
    store.add_job(SOLVE), store.add_job(SOLVE)
    failed, cancelled = present(store.claim("w")), present(store.claim("w"))
    store.cancel(cancelled.id)
    store.fail_jobs_of("w", ERROR)
    assert (present(store.job(failed.id)).state, present(store.job(failed.id)).error) == ("failed", ERROR)
    assert (present(store.job(cancelled.id)).state, present(store.job(cancelled.id)).error) == ("cancelled", None)


def test_same_key_and_request_is_the_same_job(store: Store) -> None:
    job = store.add_job(SOLVE, key="k", fingerprint="f")
    assert store.add_job(SOLVE, key="k", fingerprint="f").id == job.id
    assert present(store.keyed_job("k", "f")).id == job.id
    assert store.keyed_job("unused", "f") is None
    assert store.add_job(SOLVE, key="other", fingerprint="f").id != job.id
    with pytest.raises(IdempotencyKeyReused):
        store.add_job(SOLVE, key="k", fingerprint="g")
    assert len(store.jobs(10)) == 2


def test_one_key_makes_one_job_however_many_send_it(store: Store) -> None:
    with ThreadPoolExecutor(6) as pool:
        jobs = list(pool.map(lambda _: store.add_job(SOLVE, key="k", fingerprint="f").id, range(12)))
    assert len(set(jobs)) == 1 == len(store.jobs(100))


def test_jobs_are_listed_newest_first_and_page_by_page(store: Store) -> None:
    ordered = [store.add_job(SOLVE).id for _ in range(5)]
    page = store.jobs(2)
    assert [j.id for j in page] == [ordered[4], ordered[3]]
    assert [j.id for j in store.jobs(10, before=page[-1].number)] == ordered[2::-1]


def test_progress_is_only_of_running_jobs(store: Store) -> None:
    job = store.add_job(SOLVE)
    store.set_progress(job.id, {"step": "early"})
    assert present(store.job(job.id)).progress is None
    store.claim("w")
    store.set_progress(job.id, {"step": "now"})
    assert present(store.job(job.id)).progress == {"step": "now"}


def test_first_name_of_a_model_stays(store: Store) -> None:
    assert store.add_model(MODEL) == (MODEL, True)
    assert store.add_model(replace(MODEL, name="other.onnx")) == (MODEL, False)
    assert store.models() == [MODEL]
    assert store.model(MODEL.id) == MODEL and store.model("b") is None


def test_all_is_there_after_opening_the_file_again(tmp_path: Path) -> None:
    first = Store(tmp_path / "db")
    first.add_model(MODEL)
    job = first.add_job(NewJob("solve", {"model": "ä", "limits": {"boards": 1}}))
    second = Store(tmp_path / "db")
    assert second.job(job.id) == job
    assert second.models() == [MODEL]
    assert second.counts() == {"queued": 1}


def test_file_of_another_version_is_refused(tmp_path: Path) -> None:
    Store(tmp_path / "db")
    with closing(sqlite3.connect(tmp_path / "db")) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StartError, match="version 99"):
        Store(tmp_path / "db")


def test_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(b"my diary " * 1000)
    with pytest.raises(StartError, match="cannot be used"):
        Store(tmp_path / "db")
    assert (tmp_path / "db").read_bytes() == b"my diary " * 1000


def test_half_a_transaction_is_none(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr("server.store._job", fail)
    with pytest.raises(RuntimeError):
        store.add_job(SOLVE, key="k", fingerprint="f")
    monkeypatch.undo()
    assert store.jobs(10) == [] and store.keyed_job("k", "g") is None


STEPS = st.sampled_from(
    ["order", "claim a", "claim b", "finish", "cancel", "lose a", "lose all", "stop all", "crash b"]
)


@settings(max_examples=25)
@given(steps=st.lists(STEPS, max_size=25), pick=st.randoms(use_true_random=False))
def test_whatever_happens_jobs_end_once_and_for_good(
    steps: list[str], pick: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = Store(tmp_path_factory.mktemp("store") / "db")
    ended: dict[str, Job] = {}
    for step in steps:
        _apply(store, step, pick)
        for job in store.jobs(100):
            assert (job.state == "running") == (job.worker is not None)
            assert (job.state in FINISHED) == (job.finished_at is not None)
            assert sum(loss.counted for loss in job.losses) <= MAX_ATTEMPTS_LOST
            assert job.attempts >= len(job.losses)
            if job.id in ended:
                assert job == ended[job.id]
            elif job.is_finished:
                ended[job.id] = job


def _apply(store: Store, step: str, pick: Any) -> None:
    jobs = store.jobs(100)
    match step.split():
        case ["order"]:
            store.add_job(SOLVE)
        case ["claim", worker]:
            if not any(job.worker == worker for job in jobs):
                store.claim(worker)
        case ["finish"] if jobs:
            store.finish(pick.choice(jobs), pick.choice(["done", "failed", "infeasible"]))
        case ["cancel"] if jobs:
            store.cancel(pick.choice(jobs).id)
        case ["lose", "a"]:
            store.release_jobs("a", "gone", ERROR)
        case ["lose", "all"]:
            store.release_jobs(None, "gone", ERROR)
        case ["stop", "all"]:
            store.release_jobs(None, "stopped", ERROR, counted=False)
        case ["crash", worker]:
            store.fail_jobs_of(worker, ERROR)
