"""The web application by its answers, without workers."""

from __future__ import annotations

import errno
import io
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from server.app import create_app
from server.config import ServerConfig
from server.errors import StartError
from server.records import Job
from server.store import Store
from tests.server.answers import SOLVE, data, expect
from tests.server.conftest import UPLOAD_LIMIT_BYTES
from tests.server.samples import LAYERS, WIDTH, small_model

ONNX = "application/octet-stream"


def run_one(store: Store, config: ServerConfig, state: str = "done", **files: str) -> Job:
    """Play the worker for the next job."""
    job = store.claim("w")
    assert job is not None
    folder = config.jobs / job.id
    folder.mkdir()
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    assert store.finish(job, state)
    return job


def test_health_says_that_nobody_works(client: FlaskClient) -> None:
    found = data(client.get("/v1/health"))
    assert (found["status"], found["workers"], found["labs"]) == ("no-workers", 0, ["bench"])


def test_ready_systems_are_listed_with_boards_and_links(client: FlaskClient) -> None:
    demo = next(s for s in data(client.get("/v1/systems"))["systems"] if s["name"] == "demo")
    assert [b["name"] for b in demo["boards"]] == ["left", "right"]
    assert "left->right" in demo["links"]


# Models


def test_upload_is_stored_by_its_hash_and_known_again(client: FlaskClient, config: ServerConfig) -> None:
    first = client.post("/v1/models?name=../My%20net.onnx", data=small_model(), content_type=ONNX)
    assert first.status_code == 201
    model = data(first)
    assert first.headers["Location"] == f"/v1/models/{model['id']}"
    assert (model["name"], model["operators"], model["macs"]) == ("My_net.onnx", 2 * LAYERS, LAYERS * WIDTH**2)
    assert (config.models / model["id"] / "My_net.onnx").read_bytes() == small_model()

    form = {"model": (io.BytesIO(small_model()), "other.onnx")}
    again = client.post("/v1/models", data=form, content_type="multipart/form-data")
    assert again.status_code == 200 and data(again) == model
    assert data(client.get("/v1/models"))["models"] == [model]
    assert data(client.get(f"/v1/models/{model['id']}")) == model
    assert list(config.incoming.iterdir()) == []


def test_upload_as_a_form_is_stored(client: FlaskClient) -> None:
    form = {"model": (io.BytesIO(small_model()), "net.onnx")}
    answer = client.post("/v1/models", data=form, content_type="multipart/form-data")
    assert answer.status_code == 201 and data(answer)["name"] == "net.onnx"


def test_zoo_is_listed(client: FlaskClient) -> None:
    assert {"zoo:efficientnet_b0", "zoo:tiny_digits_int8"} <= set(data(client.get("/v1/models"))["zoo"])


@pytest.mark.parametrize(
    "body",
    [b"not a model", small_model()[: len(small_model()) // 2], b"\0" * 1000],
    ids=["text", "truncated", "zeros"],
)
def test_upload_that_is_no_model_is_refused_and_not_kept(
    client: FlaskClient, config: ServerConfig, body: bytes
) -> None:
    found = expect(client.post("/v1/models?name=a.onnx", data=body, content_type=ONNX), 422, "invalid-input")
    assert found["detail"].startswith("a.onnx")
    assert str(config.data) not in found["detail"]
    assert data(client.get("/v1/models"))["models"] == []
    assert list(config.models.iterdir()) == [] == list(config.incoming.iterdir())


def test_upload_of_the_greatest_size_is_read_and_one_byte_more_is_not(client: FlaskClient) -> None:
    at_limit = client.post("/v1/models", data=bytes(UPLOAD_LIMIT_BYTES), content_type=ONNX)
    expect(at_limit, 422, "invalid-input")
    above = client.post("/v1/models", data=bytes(UPLOAD_LIMIT_BYTES + 1), content_type=ONNX)
    assert expect(above, 413, "too-large")["max_bytes"] == UPLOAD_LIMIT_BYTES
    form = {"model": (io.BytesIO(bytes(UPLOAD_LIMIT_BYTES + 1)), "net.onnx")}
    expect(client.post("/v1/models", data=form, content_type="multipart/form-data"), 413, "too-large")


def test_upload_without_end_is_cut_off(client: FlaskClient, config: ServerConfig) -> None:
    answer = client.post(
        "/v1/models",
        input_stream=io.BytesIO(bytes(2 * UPLOAD_LIMIT_BYTES)),
        content_type=ONNX,
        environ_overrides={"wsgi.input_terminated": True},
    )
    expect(answer, 413, "too-large")
    assert list(config.incoming.iterdir()) == []


def test_empty_or_strange_uploads_are_refused(client: FlaskClient) -> None:
    expect(client.post("/v1/models", content_type=ONNX), 400, "bad-request")
    expect(client.post("/v1/models", data=b"x", content_type="text/plain"), 415, "unsupported-media-type")
    expect(client.post("/v1/models"), 415, "unsupported-media-type")
    expect(client.post("/v1/models", data={"a": "b"}, content_type="multipart/form-data"), 400, "bad-request")
    two = {"a": (io.BytesIO(b"x"), "a"), "b": (io.BytesIO(b"y"), "b")}
    expect(client.post("/v1/models", data=two, content_type="multipart/form-data"), 400, "bad-request")
    expect(client.get("/v1/models/nope"), 404, "not-found")


def test_full_disk_while_uploading_is_said_and_nothing_is_kept(
    client: FlaskClient, config: ServerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("server.models_api.keep", full)
    expect(client.post("/v1/models", data=small_model(), content_type=ONNX), 507, "storage-full")
    assert data(client.get("/v1/models"))["models"] == []
    assert list(config.models.iterdir()) == [] == list(config.incoming.iterdir())


def test_results_are_there_when_the_job_is_done(client: FlaskClient, store: Store, config: ServerConfig) -> None:
    address = client.post("/v1/jobs", json=SOLVE).headers["Location"]
    for name in ("plan", "front", "report"):
        assert expect(client.get(f"{address}/{name}"), 409, "not-finished")["state"] == "queued"
    run_one(store, config, plan_json="{}", front_json="[]", report_html="<p>")
    links = data(client.get(address))["links"]
    assert sorted(links) == ["front", "plan", "report", "self"]
    for name, body, media in (
        ("plan", b"{}", "application/json"),
        ("front", b"[]", "application/json"),
        ("report", b"<p>", "text/html; charset=utf-8"),
    ):
        with client.get(links[name]) as answer:
            assert (answer.data, answer.content_type) == (body, media)
    expect(client.get(f"{address}/measurement"), 404, "not-found")
    expect(client.get(f"{address}/secrets"), 404, "not-found")


def test_job_that_failed_has_no_plan(client: FlaskClient, store: Store, config: ServerConfig) -> None:
    address = client.post("/v1/jobs", json=SOLVE).headers["Location"]
    run_one(store, config, "failed")
    assert expect(client.get(f"{address}/plan"), 409, "no-result")["state"] == "failed"
    assert list(data(client.get(address))["links"]) == ["self"]


def test_measure_needs_a_finished_plan_and_a_lab_of_the_server(
    client: FlaskClient, store: Store, config: ServerConfig
) -> None:
    solve = data(client.post("/v1/jobs", json=SOLVE))["id"]
    order = {"kind": "measure", "job": solve, "lab": "bench", "quick": True}
    expect(client.post("/v1/jobs", json={**order, "job": "nope"}), 422, "invalid-input")
    expect(client.post("/v1/jobs", json=order), 409, "not-finished")
    run_one(store, config, plan_json="{}")
    found = expect(client.post("/v1/jobs", json={**order, "lab": "../x"}), 422, "invalid-input")
    assert "bench" in found["detail"]
    measure = data(client.post("/v1/jobs", json=order))
    assert measure["links"]["solve"] == f"/v1/jobs/{solve}"
    expect(client.post("/v1/jobs", json={**order, "job": measure["id"]}), 422, "invalid-input")
    expect(client.get(f"/v1/jobs/{measure['id']}/plan"), 404, "not-found")


def test_failed_solve_cannot_be_measured(client: FlaskClient, store: Store, config: ServerConfig) -> None:
    solve = data(client.post("/v1/jobs", json=SOLVE))["id"]
    run_one(store, config, "infeasible")
    order = {"kind": "measure", "job": solve, "lab": "bench"}
    expect(client.post("/v1/jobs", json=order), 409, "no-result")


def test_what_a_failed_measurement_had_measured_is_served(
    client: FlaskClient, store: Store, config: ServerConfig
) -> None:
    solve = data(client.post("/v1/jobs", json=SOLVE))["id"]
    run_one(store, config, plan_json="{}")
    address = client.post("/v1/jobs", json={"kind": "measure", "job": solve, "lab": "bench"}).headers["Location"]
    run_one(store, config, "failed", measurement_json='{"partial": true}')
    with client.get(data(client.get(address))["links"]["measurement"]) as answer:
        assert answer.get_json() == {"partial": True}


def test_cancelled_job_stays_cancelled(client: FlaskClient, store: Store, config: ServerConfig) -> None:
    address = client.post("/v1/jobs", json=SOLVE).headers["Location"]
    assert client.delete(address).status_code == 200
    assert data(client.delete(address))["state"] == "cancelled"
    expect(client.get(f"{address}/plan"), 409, "no-result")
    done = client.post("/v1/jobs", json=SOLVE).headers["Location"]
    run_one(store, config)
    assert expect(client.delete(done), 409, "already-finished")["state"] == "done"
    expect(client.delete("/v1/jobs/nope"), 404, "not-found")


def test_cancelling_a_running_job_is_a_request_to_its_worker(client: FlaskClient, store: Store) -> None:
    address = client.post("/v1/jobs", json=SOLVE).headers["Location"]
    store.claim("w")
    answer = client.delete(address)
    assert (answer.status_code, data(answer)["cancel_requested"], data(answer)["state"]) == (202, True, "running")


def test_long_lists_come_in_pages(client: FlaskClient) -> None:
    ordered = [data(client.post("/v1/jobs", json={**SOLVE, "seed": i}))["id"] for i in range(5)]
    found, address = [], "/v1/jobs?limit=2"
    while address:
        page = data(client.get(address))
        found += [job["id"] for job in page["jobs"]]
        address = page["links"].get("next")
    assert found == ordered[::-1]
    for query in ("limit=0", "limit=501", "limit=-1", "limit=x", "limit=²", f"before={'9' * 30}"):
        expect(client.get(f"/v1/jobs?{query}"), 400, "bad-request")


# Everything else


def test_unknown_addresses_and_methods_are_problems(client: FlaskClient) -> None:
    expect(client.get("/"), 404, "not-found")
    expect(client.get("/v1/jobs/"), 404, "not-found")
    answer = client.put("/v1/jobs")
    assert "POST" in expect(answer, 405, "method-not-allowed")["detail"]
    assert "POST" in answer.headers["Allow"]


def test_defect_is_a_problem_without_its_details(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("the secret of the house")

    monkeypatch.setattr(Store, "counts", fail)
    found = expect(client.get("/v1/health"), 500, "internal")
    assert "secret" not in str(found)
    assert "the secret of the house" in caplog.text


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        (sqlite3.SQLITE_FULL, 507, "storage-full"),
        (sqlite3.SQLITE_BUSY, 503, "busy"),
        (sqlite3.SQLITE_CORRUPT, 500, "internal"),
    ],
)
def test_troubles_of_the_database_are_told_apart(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, code: int, status: int, kind: str
) -> None:
    def fail(*_: Any) -> None:
        error = sqlite3.OperationalError("trouble")
        error.sqlite_errorcode = code
        raise error

    monkeypatch.setattr(Store, "counts", fail)
    expect(client.get("/v1/health"), status, kind)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:80"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ],
)
def test_pages_of_other_sites_cannot_reach_us(client: FlaskClient, headers: dict[str, str]) -> None:
    expect(client.get("/v1/health", headers=headers), 403, "forbidden-origin")


@pytest.mark.parametrize(
    "headers", [{"Host": "localhost:1"}, {"Host": "[::1]:8080"}, {"Origin": "http://127.0.0.1:8080"}]
)
def test_this_machine_can_reach_us(client: FlaskClient, headers: dict[str, str]) -> None:
    assert client.get("/v1/health", headers=headers).status_code == 200


def test_data_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="--data"):
        create_app(ServerConfig(tmp_path / "file" / "data"))
