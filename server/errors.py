"""Errors of the server.

ServerError
├── StartError        exit code 2: the server cannot start here as asked
└── RequestError    the request cannot be served; answered as problem+json
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.problems import Problem

__all__ = ["RequestError", "ServerError", "StartError"]


class ServerError(Exception):
    """Base of all errors of this package."""


class StartError(ServerError):
    """The server cannot start: what, expected, got, what to do."""

    def __init__(self, what: str, *, expected: str = "", got: str = "", hint: str = "") -> None:
        self.what, self.expected, self.got, self.hint = what, expected, got, hint
        parts = [what]
        if expected:
            parts.append(f"expected {expected}")
        if got:
            parts.append(f"got {got}")
        message = "; ".join(parts) + "."
        super().__init__(f"{message} {hint}" if hint else message)


class RequestError(ServerError):
    """Ends a request with ``problem`` as its answer."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.detail)
