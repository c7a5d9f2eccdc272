"""What a test expects of an answer of the web application, and an order to send."""

from __future__ import annotations

from typing import Any

from werkzeug.test import TestResponse

SOLVE = {"kind": "solve", "model": "zoo:squeezenet1_1", "system": "demo"}


def expect(answer: TestResponse, status: int, kind: str) -> dict[str, Any]:
    """A problem of that kind, complete and without anything from the inside."""
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    found: dict[str, Any] = answer.get_json(force=True)
    assert found["type"] == f"urn:edgecut:problem:{kind}"
    assert found["status"] == status
    assert found["title"] and found["detail"]
    assert "Traceback" not in answer.text
    return found


def data(answer: TestResponse) -> Any:
    assert answer.status_code < 300, answer.text
    return answer.get_json()
