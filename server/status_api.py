"""Endpoints that say what is here: health, ready systems."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from server.context import answer, context
from server.work import ready_systems, version

__all__ = ["status_api"]

status_api = Blueprint("status", __name__)


@status_api.get("/health")
def health() -> Response:
    """Whether jobs are being worked on; the labs that measure jobs may name."""
    here = context()
    alive = here.workers.alive
    value: dict[str, Any] = {
        "status": "ok" if alive else "no-workers",
        "version": version(),
        "workers": alive,
        "jobs": here.store.counts(),
        "labs": sorted(here.config.labs),
    }
    return answer(value)


@status_api.get("/systems")
def systems() -> Response:
    """The ready systems that solve jobs may name."""
    return answer({"systems": ready_systems()})
