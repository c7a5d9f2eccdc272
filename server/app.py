"""The Flask application."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Flask, Response, request

from server.config import ServerConfig
from server.context import Context
from server.errors import StartError
from server.jobs_api import jobs_api
from server.models_api import models_api
from server.pool import Workers
from server.problems import refuse, register_problem_handlers
from server.status_api import status_api
from server.store import Store
from server.work import CORE_ERRORS, problem_of

__all__ = ["create_app", "make_folders"]

_OWN_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})


def create_app(config: ServerConfig, workers: Workers | None = None) -> Flask:
    """The service over the data folder of ``config``, which is made where it is missing.

    ``workers`` are told of new jobs; without any, jobs stay queued until some process works on the same
    folder. Raises StartError where the folder or its database cannot be used.
    """
    make_folders(config)
    app = Flask(__name__, static_folder=None)
    # An exception nobody expected is an answer (500, problem+json) too, never an abort of the server.
    app.config["PROPAGATE_EXCEPTIONS"] = False
    Context(config, Store(config.database), workers or Workers()).bind(app)
    app.before_request(_refuse_other_sites)
    app.after_request(_forbid_sniffing)
    register_problem_handlers(app, CORE_ERRORS, problem_of)
    for blueprint in (status_api, models_api, jobs_api):
        app.register_blueprint(blueprint, url_prefix="/v1")
    return app


def make_folders(config: ServerConfig) -> None:
    """Make the data folder and those in it. Raises StartError."""
    try:
        for folder in (config.models, config.incoming, config.jobs, config.scratch):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise StartError(
            f"the data folder {config.data} cannot be used",
            expected="a folder that can be written to, or a place where one can be made",
            got=e.strerror or type(e).__name__,
            hint="Give another folder with --data.",
        ) from e


def _refuse_other_sites() -> None:
    """Nobody has to log in here, so a web page must not reach us through its reader's browser.

    A page of another site sends its Origin; one that had its own name resolve to this machine sends that
    name as Host.
    """
    for header, text in (("Host", f"//{request.host}"), ("Origin", request.headers.get("Origin"))):
        if text is not None and _host_name(text) not in _OWN_HOSTS:
            shown = text.removeprefix("//")
            raise refuse(
                "forbidden-origin",
                f"{header}: expected a name of this machine ({', '.join(sorted(_OWN_HOSTS))}); got {shown!r}.",
            )


def _host_name(text: str) -> str | None:
    try:
        return urlsplit(text).hostname
    except ValueError:
        return None


def _forbid_sniffing(response: Response) -> Response:
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
