"""Errors as clients see them: problem details (RFC 9457) with stable types, never a traceback.

``KINDS`` is the whole list. A type's name, once published, keeps its meaning.
"""

from __future__ import annotations

import errno
import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from server.errors import RequestError

__all__ = ["KINDS", "Problem", "fault", "is_storage_full", "problem", "refuse", "register_problem_handlers"]

_URN = "urn:edgecut:problem:"

KINDS: Mapping[str, tuple[int | None, str]] = {
    "bad-request": (400, "The request cannot be read"),
    "forbidden-origin": (403, "The request comes from another site"),
    "not-found": (404, "There is no such thing"),
    "method-not-allowed": (405, "This address has no such method"),
    "not-finished": (409, "The job is not finished"),
    "already-finished": (409, "The job is already finished"),
    "no-result": (409, "The job ended without this result"),
    "idempotency-conflict": (409, "The idempotency key stands for another request"),
    "too-large": (413, "The body is too large"),
    "unsupported-media-type": (415, "The body's media type is not supported"),
    "invalid-input": (422, "The input cannot be used"),
    "http-error": (400, "The request cannot be served"),
    "internal": (500, "Internal error"),
    "busy": (503, "The server is busy"),
    "storage-full": (507, "The server's disk is full"),
    # How jobs end: these stand in a job's `error` only.
    "infeasible": (None, "No plan meets the limits"),
    "nothing-found": (None, "No plan was found in the time given"),
    "bench-failed": (None, "The bench could not do it"),
    "interrupted": (None, "The job was interrupted"),
}
"""HTTP status (None: never an answer by itself) and title by the last part of the type."""


@dataclass(frozen=True)
class Problem:
    """Problem details. ``more`` holds extension members."""

    kind: str
    detail: str
    title: str
    status: int | None
    more: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The problem as a JSON object."""
        status = {} if self.status is None else {"status": self.status}
        return {"type": _URN + self.kind, "title": self.title, **status, "detail": self.detail, **self.more}


def problem(kind: str, detail: str, **more: Any) -> Problem:
    """A problem of one of ``KINDS``."""
    status, title = KINDS[kind]
    return Problem(kind, detail, title, status, more)


def fault(path: Sequence[str | int], detail: str, expected: str = "", got: str = "") -> dict[str, str]:
    """One entry of a problem's ``errors``: the field as a JSON pointer into the body, what to tell people, and the
    parts of that for programs."""
    pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)
    return {"pointer": pointer, "detail": detail, "expected": expected, "got": got}


def refuse(kind: str, detail: str, **more: Any) -> RequestError:
    """The exception that answers with such a problem: ``raise refuse("not-found", ...)``."""
    return RequestError(problem(kind, detail, **more))


def is_storage_full(error: OSError | sqlite3.Error) -> bool:
    """Whether the error says that there is no room left on the disk (or in the quota)."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


def register_problem_handlers(
    app: Flask, expected: Iterable[type[Exception]], problem_of: Callable[[Exception], Problem]
) -> None:
    """Answer every error of the application as problem+json; those ``expected`` as ``problem_of`` says."""
    for kind in expected:
        app.register_error_handler(kind, lambda e: _answer(problem_of(e)))
    app.register_error_handler(RequestError, lambda e: _answer(e.problem))
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(OSError, _storage_error)
    app.register_error_handler(sqlite3.OperationalError, _storage_error)


def _answer(found: Problem) -> Response:
    return Response(json.dumps(found.to_json()) + "\n", status=found.status, content_type="application/problem+json")


def _http_error(error: HTTPException) -> Response:
    """What Flask and Werkzeug raise, unexpected exceptions (as 500) included."""
    code = error.code or 500
    where = f"{request.method} {request.path}"
    if code == 404:
        detail = f"{where}: no such address; docs/http-api.md lists all."
        found = problem("not-found", detail)
    elif code == 405:
        allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
        found = problem("method-not-allowed", f"{where}: expected one of {allowed}; got {request.method}.")
    elif code == 413:
        found = problem("too-large", f"{where}: the body is larger than this server takes.")
    elif code == 415:
        found = problem("unsupported-media-type", f"{where}: {error.description}")
    elif code == 400:
        found = problem("bad-request", f"{where}: {error.description}")
    elif code >= 500:
        found = problem("internal", f"{where}: something went wrong in the server; its log says what.")
    else:
        found = Problem("http-error", f"{where}: {error.description}", KINDS["http-error"][1], code)
    answer = _answer(found)
    allow = error.get_response().headers.get("Allow")
    if allow is not None:
        answer.headers["Allow"] = allow
    return answer


def _storage_error(error: OSError | sqlite3.OperationalError) -> Response:
    where = f"{request.method} {request.path}"
    if is_storage_full(error):
        return _answer(problem("storage-full", f"{where}: nothing was kept. Make room in the data folder."))
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
        return _answer(problem("busy", f"{where}: the database is held by another writer. Try again."))
    # Anything else is a defect: to the log with it, as Flask does with exceptions it does not know.
    raise error
