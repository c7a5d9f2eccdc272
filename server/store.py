"""Models and jobs in one SQLite file (WAL), shared by the web process and the workers.

Every method is one transaction on a connection of its own, so a Store may be used from any thread and
process. A job changes hands only by a conditional UPDATE: who updates a row owns what follows from it.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from server.errors import StartError
from server.records import Job, Loss, Model, NewJob

__all__ = ["MAX_ATTEMPTS_LOST", "IdempotencyKeyReused", "Store"]

_VERSION = 1
_BUSY_TIMEOUT_S = 10.0
MAX_ATTEMPTS_LOST = 2
"""A job whose worker died is queued again once; a second loss ends it as "interrupted"."""

_TABLES = """
CREATE TABLE models (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    operators INTEGER NOT NULL,
    macs INTEGER NOT NULL,
    parameters INTEGER NOT NULL,
    warnings TEXT NOT NULL,
    created_at TEXT NOT NULL
);
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    request TEXT NOT NULL,
    lab TEXT,
    worker TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL,
    started_at TEXT,
    finished_at TEXT,
    progress TEXT,
    error TEXT,
    result TEXT,
    losses TEXT NOT NULL DEFAULT '[]'
);
CREATE INDEX jobs_by_state ON jobs (state, number);
CREATE TABLE idempotency_keys (
    key TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    job TEXT NOT NULL REFERENCES jobs (id)
);
"""

# One measurement a lab at a time: two would disturb each other's figures.
_CLAIM = """
UPDATE jobs
SET state = 'running', worker = :worker, attempts = attempts + 1, started_at = :now, progress = NULL
WHERE number = (
    SELECT number FROM jobs
    WHERE state = 'queued'
      AND (lab IS NULL OR lab NOT IN (SELECT lab FROM jobs WHERE state = 'running' AND lab IS NOT NULL))
    ORDER BY number LIMIT 1
)
RETURNING *
"""


class IdempotencyKeyReused(Exception):  # noqa: N818  (an answer the caller asks for, not a failure)
    """The key was used for another request before."""


class Store:
    """The database of one server. Raises StartError for a file that cannot be used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with self._read() as db:
                db.execute("PRAGMA journal_mode = WAL")  # kept in the file
            with self._write() as db:
                version = db.execute("PRAGMA user_version").fetchone()[0]
                if version == 0:
                    for statement in filter(str.strip, _TABLES.split(";")):
                        db.execute(statement)
                    db.execute(f"PRAGMA user_version = {_VERSION}")
                    version = _VERSION
        except sqlite3.Error as e:
            raise StartError(
                f"the database {path} cannot be used",
                expected="a file of `edgecut server`, or none yet, in a folder that can be written to",
                got=str(e),
                hint="Give another folder with --data.",
            ) from e
        if version != _VERSION:
            raise StartError(
                f"the database {path} was made by another edgecut",
                expected=f"version {_VERSION}",
                got=f"version {version}",
                hint="Give another folder with --data.",
            )

    # Models

    def add_model(self, model: Model) -> tuple[Model, bool]:
        """The stored model, and whether it is new; the first upload's name stays."""
        row = {**asdict(model), "warnings": json.dumps(model.warnings)}
        names = ", ".join(row)
        marks = ", ".join(f":{name}" for name in row)
        with self._write() as db:
            inserted = db.execute(f"INSERT INTO models ({names}) VALUES ({marks}) ON CONFLICT (id) DO NOTHING", row)
            stored = db.execute("SELECT * FROM models WHERE id = ?", (model.id,)).fetchone()
            return _model(stored), inserted.rowcount == 1

    def model(self, model_id: str) -> Model | None:
        """The model of that id."""
        with self._read() as db:
            row = db.execute("SELECT * FROM models WHERE id = ?", (model_id,)).fetchone()
        return None if row is None else _model(row)

    def models(self) -> list[Model]:
        """All models, newest first."""
        with self._read() as db:
            return [_model(row) for row in db.execute("SELECT * FROM models ORDER BY number DESC")]

    # Jobs: what clients ask for

    def add_job(self, new: NewJob, *, key: str | None = None, fingerprint: str = "") -> Job:
        """Queue a job. Under a key that is known already: the job it was first used for.

        Raises IdempotencyKeyReused for a known key with another fingerprint.
        """
        with self._write() as db:
            if key is not None:
                known = _keyed(db, key, fingerprint)
                if known is not None:
                    return known
            row = db.execute(
                "INSERT INTO jobs (id, kind, state, request, lab, created_at)"
                " VALUES (?, ?, 'queued', ?, ?, ?) RETURNING *",
                (secrets.token_hex(8), new.kind, json.dumps(new.request), new.lab, now()),
            ).fetchone()
            if key is not None:
                db.execute("INSERT INTO idempotency_keys VALUES (?, ?, ?)", (key, fingerprint, row["id"]))
            return _job(row)

    def keyed_job(self, key: str, fingerprint: str) -> Job | None:
        """The job that the idempotency key was used for. Raises IdempotencyKeyReused as ``add_job`` does."""
        with self._read() as db:
            return _keyed(db, key, fingerprint)

    def job(self, job_id: str) -> Job | None:
        """The job of that id."""
        with self._read() as db:
            row = db.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return None if row is None else _job(row)

    def jobs(self, limit: int, before: int | None = None) -> list[Job]:
        """At most ``limit`` jobs, newest first; with ``before`` only those with a smaller number."""
        with self._read() as db:
            rows = db.execute(
                "SELECT * FROM jobs WHERE number < ? ORDER BY number DESC LIMIT ?",
                (2**62 if before is None else before, limit),
            )
            return [_job(row) for row in rows]

    def counts(self) -> dict[str, int]:
        """Number of jobs by state."""
        with self._read() as db:
            return dict(db.execute("SELECT state, count(*) FROM jobs GROUP BY state ORDER BY state"))

    def cancel(self, job_id: str) -> Job | None:
        """Cancel a queued job, ask the worker of a running one to stop; the job as it then is."""
        with self._write() as db:
            db.execute(
                "UPDATE jobs SET state = 'cancelled', cancel_requested = 1, finished_at = ?"
                " WHERE id = ? AND state = 'queued'",
                (now(), job_id),
            )
            db.execute("UPDATE jobs SET cancel_requested = 1 WHERE id = ? AND state = 'running'", (job_id,))
            row = db.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return None if row is None else _job(row)

    # Jobs: what workers and those who watch them do

    def claim(self, worker: str) -> Job | None:
        """The oldest queued job that may run now, made this worker's; None where there is none."""
        with self._write() as db:
            row = db.execute(_CLAIM, {"worker": worker, "now": now()}).fetchone()
        return None if row is None else _job(row)

    def set_progress(self, job_id: str, progress: Mapping[str, Any]) -> None:
        """What a running job is doing."""
        with self._write() as db:
            db.execute(
                "UPDATE jobs SET progress = ? WHERE id = ? AND state = 'running'",
                (json.dumps(progress), job_id),
            )

    def finish(
        self,
        job: Job,
        state: str,
        *,
        result: Mapping[str, Any] | None = None,
        error: Mapping[str, Any] | None = None,
    ) -> bool:
        """End a job that is still its worker's and not to be cancelled; whether it was."""
        with self._write() as db:
            cursor = db.execute(
                "UPDATE jobs SET state = ?, result = ?, error = ?, finished_at = ?, worker = NULL"
                " WHERE id = ? AND state = 'running' AND worker = ? AND cancel_requested = 0",
                (state, _json(result), _json(error), now(), job.id, job.worker),
            )
            return cursor.rowcount == 1

    def cancel_requested(self, worker: str) -> bool:
        """Whether the job this worker runs is to be cancelled."""
        with self._read() as db:
            query = "SELECT 1 FROM jobs WHERE worker = ? AND state = 'running' AND cancel_requested = 1"
            return db.execute(query, (worker,)).fetchone() is not None

    def fail_jobs_of(self, worker: str, error: Mapping[str, Any]) -> None:
        """End what the worker was running as failed."""
        with self._write() as db:
            for job in _running(db, worker):
                state = "cancelled" if job.cancel_requested else "failed"
                _end(db, job, state, None if job.cancel_requested else error)

    def release_jobs(self, worker: str | None, reason: str, error: Mapping[str, Any], *, counted: bool = True) -> None:
        """Take running jobs from a worker that is gone (None: from all).

        A job to be cancelled ends there. Otherwise the loss is noted in it and it is queued again, until
        ``MAX_ATTEMPTS_LOST`` counted losses end it as interrupted, with ``error``.
        """
        with self._write() as db:
            for job in _running(db, worker):
                losses = (*job.losses, Loss(now(), reason, counted))
                if job.cancel_requested:
                    _end(db, job, "cancelled", None)
                    continue
                db.execute(
                    "UPDATE jobs SET state = 'queued', worker = NULL, progress = NULL, losses = ? WHERE number = ?",
                    (json.dumps([asdict(loss) for loss in losses]), job.number),
                )
                if sum(loss.counted for loss in losses) >= MAX_ATTEMPTS_LOST:
                    _end(db, job, "interrupted", error)

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)) as db:
            db.row_factory = sqlite3.Row
            yield db

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._read() as db:
            db.execute("PRAGMA synchronous = FULL")  # a job that was accepted survives a power cut
            db.execute("BEGIN IMMEDIATE")
            with db:  # commits, or rolls back
                yield db


def now() -> str:
    """The time, UTC, as it is stored and shown."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _running(db: sqlite3.Connection, worker: str | None) -> list[Job]:
    query = "SELECT * FROM jobs WHERE state = 'running' AND (:worker IS NULL OR worker = :worker)"
    return [_job(row) for row in db.execute(query, {"worker": worker}).fetchall()]


def _end(db: sqlite3.Connection, job: Job, state: str, error: Mapping[str, Any] | None) -> None:
    db.execute(
        "UPDATE jobs SET state = ?, error = ?, finished_at = ?, worker = NULL WHERE number = ?",
        (state, _json(error), now(), job.number),
    )


def _keyed(db: sqlite3.Connection, key: str, fingerprint: str) -> Job | None:
    known = db.execute("SELECT fingerprint, job FROM idempotency_keys WHERE key = ?", (key,)).fetchone()
    if known is None:
        return None
    if known["fingerprint"] != fingerprint:
        raise IdempotencyKeyReused(known["job"])
    return _job(db.execute("SELECT * FROM jobs WHERE id = ?", (known["job"],)).fetchone())


def _json(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value)


def _model(row: sqlite3.Row) -> Model:
    values = {name: row[name] for name in row.keys() if name != "number"}  # noqa: SIM118  (a Row, not a dict)
    return Model(**{**values, "warnings": tuple(json.loads(row["warnings"]))})


def _job(row: sqlite3.Row) -> Job:
    values = {name: row[name] for name in row.keys()}  # noqa: SIM118  (a Row, not a dict)
    for name in ("request", "progress", "error", "result"):
        values[name] = None if row[name] is None else json.loads(row[name])
    values["losses"] = tuple(Loss(**loss) for loss in json.loads(row["losses"]))
    values["cancel_requested"] = bool(row["cancel_requested"])
    return Job(**values)
