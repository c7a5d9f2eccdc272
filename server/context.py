"""What the endpoints share: settings, store, workers; and how they answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from flask import Flask, Response, current_app

from server.config import ServerConfig
from server.pool import Workers
from server.store import Store

__all__ = ["Context", "answer", "context"]

_KEY = "edgecut"


@dataclass(frozen=True)
class Context:
    """The parts of one application."""

    config: ServerConfig
    store: Store
    workers: Workers

    def bind(self, app: Flask) -> None:
        """Make these the parts of ``app``."""
        app.extensions[_KEY] = self


def context() -> Context:
    """The parts of the application that serves the current request."""
    found = current_app.extensions[_KEY]
    if not isinstance(found, Context):
        raise TypeError(f"app.extensions[{_KEY!r}]: expected a Context, got {type(found).__name__}")
    return found


def answer(value: Any, status: int = 200, **headers: str) -> Response:
    """A JSON answer."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Response(json.dumps(value) + "\n", status, named, content_type="application/json")
