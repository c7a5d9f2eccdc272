"""Orders of jobs: what is taken, refused, and known again."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from server.app import create_app
from server.config import ServerConfig
from server.pool import Workers
from tests.server.answers import SOLVE, data, expect
from tests.server.conftest import JSON_LIMIT_BYTES


def test_order_is_queued_and_workers_are_told(config: ServerConfig) -> None:
    class Told(Workers):
        times = 0

        def wake(self) -> None:
            self.times += 1

    told = Told()
    client = create_app(config, told).test_client()
    answer = client.post("/v1/jobs", json=SOLVE)
    assert answer.status_code == 202
    job = data(answer)
    assert answer.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert (job["state"], job["request"], told.times) == ("queued", SOLVE, 1)
    assert data(client.get(answer.headers["Location"])) == job
    (listed,) = data(client.get("/v1/jobs"))["jobs"]
    assert listed.items() <= job.items() and "request" not in listed
    assert data(client.get("/v1/health"))["jobs"] == {"queued": 1}


def test_uploaded_model_may_be_ordered(client: FlaskClient, model_id: str) -> None:
    assert client.post("/v1/jobs", json={**SOLVE, "model": model_id}).status_code == 202


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "guess"}, "kind"),
        ({"model": "zoo:nope"}, "there is no network 'nope' in the zoo"),
        ({"model": "/etc/passwd"}, "expected the id of an uploaded model"),
        ({"model": "a" * 64}, "expected the id of an uploaded model"),
        ({"system": "nope"}, "unknown system"),
        ({"system": "/etc/passwd"}, "unknown system"),
        ({"system": {"schema": "edgecut/system/1"}}, "system"),
        ({"costs": "guess"}, "costs"),
        ({"costs": {"schema": "nope"}}, "costs"),
        ({"limits": {"max_latency": "50"}}, "limits.max_latency: time: the unit is missing"),
        ({"limits": {"max_latency": 0.05}}, "limits.max_latency: expected a valid string; got 0.05"),
        ({"limits": {"max_energy": "0J"}}, "--max-energy"),
        ({"limits": {"max_memory": {"nope": {"ram": "1KiB"}}}}, "unknown board 'nope'"),
        ({"limits": {"pin": {"nope": "left"}}}, "pinned operator 'nope'"),
        ({"limits": {"boards": 0}}, "limits.boards"),
        ({"limit": {}}, "limit: is no known key"),
        ({"prefer": "luck"}, "prefer"),
        ({"objectives": []}, "objectives"),
        ({"seed": -1}, "seed"),
        ({"time_limit": "2h"}, "time_limit"),
        ({"time_limit": "0s"}, "time_limit"),
        ({"time_limit": "soon"}, "time_limit"),
        ({"batch": 0}, "batch"),
    ],
)
def test_order_that_cannot_be_used_is_answered_as_the_command_line_says_it(
    client: FlaskClient, change: dict[str, Any], said: str
) -> None:
    found = expect(client.post("/v1/jobs", json={**SOLVE, **change}), 422, "invalid-input")
    assert said in found["detail"]
    assert data(client.get("/v1/jobs"))["jobs"] == []


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"seed": NaN}', b"[" * 9000], ids=repr)
def test_body_that_is_no_json_is_a_bad_request(client: FlaskClient, body: bytes) -> None:
    expect(client.post("/v1/jobs", data=body, content_type="application/json"), 400, "bad-request")


@pytest.mark.parametrize("depth", [40, 900, 990, 1100, 4000])
def test_deeply_nested_body_is_a_bad_request(client: FlaskClient, depth: int) -> None:
    body = f'{{"kind": "solve", "system": {{"use": {"[" * depth}{"]" * depth}}}}}'
    expect(client.post("/v1/jobs", data=body, content_type="application/json"), 400, "bad-request")


def test_body_that_is_too_large_or_of_another_type_is_refused(client: FlaskClient) -> None:
    long = {**SOLVE, "model": "x" * JSON_LIMIT_BYTES}
    expect(client.post("/v1/jobs", json=long), 413, "too-large")
    expect(client.post("/v1/jobs", data="{}", content_type="text/plain"), 415, "unsupported-media-type")


def test_same_idempotency_key_is_the_same_job(client: FlaskClient) -> None:
    key = {"Idempotency-Key": "k1"}
    first = client.post("/v1/jobs", json=SOLVE, headers=key)
    again = client.post("/v1/jobs", json=dict(reversed(SOLVE.items())), headers=key)
    assert data(first) == data(again) and again.status_code == 202
    other = client.post("/v1/jobs", json={**SOLVE, "seed": 1}, headers=key)
    expect(other, 409, "idempotency-conflict")
    assert len(data(client.get("/v1/jobs"))["jobs"]) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "\x01", "ä"])
def test_idempotency_key_must_be_short_plain_text(client: FlaskClient, key: str) -> None:
    expect(client.post("/v1/jobs", json=SOLVE, headers={"Idempotency-Key": key}), 400, "bad-request")
