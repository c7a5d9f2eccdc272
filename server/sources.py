"""Where what an order names stands here: its model, and the plan that it starts from."""

from __future__ import annotations

from server.config import ServerConfig
from server.problems import fault, refuse
from server.records import Job
from server.schemas import SolveOrder
from server.store import Store
from server.uploads import model_path
from server.work import ModelSource, Sources, StartSource

__all__ = ["finished_solve", "solve_sources"]

_SHOWN_CHARACTERS = 80  # of an id that is quoted back


def solve_sources(config: ServerConfig, store: Store, order: SolveOrder) -> Sources:
    """What the core loads for the order. Raises RequestError for ids that stand for nothing that can be used."""
    return Sources(_model(config, store, order.model), _start(config, store, order))


def finished_solve(store: Store, job_id: str, key: str) -> Job:
    """The solve job that the order names under ``key``, once it has a plan. Raises RequestError (409, 422)."""
    job = store.job(job_id)
    if job is None or job.kind != "solve":
        expected, got = "the id of a solve job", repr(job_id[:_SHOWN_CHARACTERS])
        detail = f"{key}: expected {expected}; got {got}."
        raise refuse("invalid-input", detail, errors=[fault([key], detail, expected, got)])
    if not job.is_finished:
        raise refuse("not-finished", f"{key}: {job.id} is {job.state}; it has no plan yet.", state=job.state)
    if job.state != "done":
        raise refuse("no-result", f"{key}: {job.id} ended as {job.state}; it has no plan.", state=job.state)
    return job


def _model(config: ServerConfig, store: Store, model: str) -> ModelSource:
    if model.startswith("zoo:"):
        return ModelSource(model, model)
    stored = store.model(model)
    if stored is None:
        expected = "the id of an uploaded model (POST /v1/models), or zoo:NAME"
        got = repr(model[:_SHOWN_CHARACTERS])
        detail = f"model: expected {expected}; got {got}."
        raise refuse("invalid-input", detail, errors=[fault(["model"], detail, expected, got)])
    return ModelSource(str(model_path(config, stored.id, stored.name)), stored.name)


def _start(config: ServerConfig, store: Store, order: SolveOrder) -> StartSource | None:
    if not isinstance(order.start, str):
        return None if order.start is None else StartSource(order.start, "start")
    job = finished_solve(store, order.start, "start")
    return StartSource(config.jobs / job.id / "plan.json", f"the plan of job {job.id}")
