"""Endpoints of jobs: order, list, show, cancel, results."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, request, send_file

from server.context import answer, context
from server.problems import fault, refuse
from server.records import Job, NewJob
from server.schemas import MeasureOrder, SolveOrder, parse_job, read_json
from server.sources import finished_solve, solve_sources
from server.store import IdempotencyKeyReused
from server.work import check_solve

__all__ = ["jobs_api"]

jobs_api = Blueprint("jobs", __name__)

RESULTS = {
    "plan": ("solve", "plan.json", "application/json"),
    "front": ("solve", "front.json", "application/json"),
    "report": ("solve", "report.html", "text/html"),
    "measurement": ("measure", "measurement.json", "application/json"),
}
"""Kind of job, file and media type by the last part of the address."""

# Reports show names out of uploaded models: whatever such a name does, it stays inside its page.
_REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
)
_MAX_LISTED = 500
_MAX_KEY_CHARACTERS = 255


@jobs_api.post("/jobs")
def order_job() -> Response:
    """Queue a job: 202 and where it will be found."""
    here = context()
    body = _body()
    fingerprint = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    key = _idempotency_key()
    try:
        known = here.store.keyed_job(key, fingerprint) if key is not None else None
        job = known or here.store.add_job(_checked(parse_job(body)), key=key, fingerprint=fingerprint)
    except IdempotencyKeyReused as e:
        raise refuse(
            "idempotency-conflict",
            f"Idempotency-Key: {key!r} was used for job {e} with another body. Use a new key for a new request.",
        ) from e
    here.workers.wake()
    return answer(_shown(job), 202, Location=_address(job), Retry_After="1")


@jobs_api.get("/jobs")
def list_jobs() -> Response:
    """Jobs in short, newest first; ``limit`` of them, and a link to the next where there are more."""
    limit = _number("limit", 100, 1, _MAX_LISTED)
    before = _number("before", 2**62, 1, 2**62)
    found = context().store.jobs(limit + 1, before)
    jobs = found[:limit]
    links = {"next": f"/v1/jobs?limit={limit}&before={jobs[-1].number}"} if len(found) > limit else {}
    return answer({"jobs": [_summary(job) for job in jobs], "links": links})


@jobs_api.get("/jobs/<job_id>")
def show_job(job_id: str) -> Response:
    """One job."""
    return answer(_shown(_job(job_id)))


@jobs_api.delete("/jobs/<job_id>")
def cancel_job(job_id: str) -> Response:
    """Cancel a job: 200 where it is cancelled now, 202 where its worker was asked to stop."""
    here = context()
    job = here.store.cancel(_job(job_id).id)
    if job is None or (job.is_finished and job.state != "cancelled"):
        state = "gone" if job is None else job.state
        raise refuse("already-finished", f"Job {job_id} cannot be cancelled: it is {state}.", state=state)
    here.workers.wake()
    return answer(_shown(job), 200 if job.is_finished else 202, Location=_address(job))


@jobs_api.get("/jobs/<job_id>/<any(plan, front, report, measurement):name>")
def show_result(job_id: str, name: str) -> Response:
    """A result file of a job that is done."""
    job = _job(job_id)
    kind, _, media_type = RESULTS[name]
    if job.kind != kind:
        raise refuse("not-found", f"Job {job_id} is a {job.kind} job; a {name} is the result of a {kind} job.")
    if not job.is_finished:
        raise refuse(
            "not-finished", f"Job {job_id} is {job.state}; its {name} is there when it is done.", state=job.state
        )
    path = _result_path(job, name)
    if path is None:
        raise refuse("no-result", f"Job {job_id} ended as {job.state}; it has no {name}.", state=job.state)
    response = send_file(path, mimetype=media_type)
    if name == "report":
        response.headers["Content-Security-Policy"] = _REPORT_POLICY
    return response


def _body() -> Any:
    """The JSON value of the request."""
    if request.mimetype != "application/json":
        raise refuse(
            "unsupported-media-type",
            f"Content-Type: expected application/json; got {request.mimetype or 'none'}.",
        )
    request.max_content_length = context().config.max_json_bytes
    return read_json(request.get_data(cache=False))


def _idempotency_key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (0 < len(key) <= _MAX_KEY_CHARACTERS and key.isascii() and key.isprintable()):
        raise refuse(
            "bad-request",
            f"Idempotency-Key: expected 1 to {_MAX_KEY_CHARACTERS} printable ASCII characters; got {len(key)}"
            " characters that are empty, too many or something else.",
        )
    return key


def _checked(order: SolveOrder | MeasureOrder) -> NewJob:
    """The order as a job, after everything that can be said before it runs."""
    here = context()
    if isinstance(order, SolveOrder):
        check_solve(order, solve_sources(here.config, here.store, order))
        return NewJob("solve", order.model_dump(exclude_unset=True))
    finished_solve(here.store, order.job, "job")
    if order.lab not in here.config.labs:
        known = ", ".join(sorted(here.config.labs)) or "none; `edgecut server dev --lab NAME=FILE` adds one"
        expected = f"a lab of this server ({known})"
        detail = f"lab: expected {expected}; got {order.lab!r}."
        raise refuse("invalid-input", detail, errors=[fault(["lab"], detail, expected, repr(order.lab))])
    return NewJob("measure", order.model_dump(exclude_unset=True), order.lab)


def _job(job_id: str) -> Job:
    job = context().store.job(job_id)
    if job is None:
        raise refuse("not-found", f"There is no job {job_id!r}; GET /v1/jobs lists all.")
    return job


def _number(name: str, default: int, least: int, most: int) -> int:
    text = request.args.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and least <= int(text) <= most):
        raise refuse("bad-request", f"{name}: expected a whole number from {least} to {most}; got {text!r}.")
    return int(text)


def _summary(job: Job) -> dict[str, Any]:
    """What lists show: without what may be megabytes, inline costs say."""
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "links": {"self": _address(job)},
    }


def _shown(job: Job) -> dict[str, Any]:
    links = {"self": _address(job)}
    if job.is_finished:
        links |= {name: f"{_address(job)}/{name}" for name in RESULTS if _result_path(job, name) is not None}
    if job.kind == "measure":
        links["solve"] = f"/v1/jobs/{job.request['job']}"
    return {
        **_summary(job),
        "attempts": job.attempts,
        "losses": [vars(loss) for loss in job.losses],
        "cancel_requested": job.cancel_requested,
        "progress": job.progress,
        "error": job.error,
        "result": job.result,
        "request": job.request,
        "links": links,
    }


def _result_path(job: Job, name: str) -> Path | None:
    """The file, where there is one: also what a failed measurement had measured."""
    kind, file, _ = RESULTS[name]
    path = context().config.jobs.absolute() / job.id / file
    return path if job.kind == kind and path.is_file() else None


def _address(job: Job) -> str:
    return f"/v1/jobs/{job.id}"
