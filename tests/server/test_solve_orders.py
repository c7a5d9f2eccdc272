"""Orders for a plan over HTTP: what is refused, by field, and what comes out of the options."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
from flask.testing import FlaskClient

from optimizer.objectives import OBJECTIVES
from server.config import ServerConfig
from server.store import Store
from server.worker import Worker, run_job
from tests.server.samples import small_model
from tests.server.test_app import data, expect, run_one

ONNX = "application/octet-stream"


@pytest.fixture
def order(model_id: str) -> dict[str, Any]:
    return {"kind": "solve", "model": model_id, "system": "demo", "time_limit": "5s"}


def solved(client: FlaskClient, store: Store, config: ServerConfig, order: dict[str, Any]) -> dict[str, Any]:
    """The job once a worker has run it."""
    posted = client.post("/v1/jobs", json=order)
    assert posted.status_code == 202, posted.text
    assert Worker("w", config, store, partial(run_job, config, store)).run_next()
    found: dict[str, Any] = data(client.get(posted.headers["Location"]))
    return found


def plan_of(client: FlaskClient, job: dict[str, Any]) -> dict[str, Any]:
    with client.get(job["links"]["plan"]) as answer:
        found: dict[str, Any] = answer.get_json()
    return found


@pytest.mark.parametrize(
    ("change", "pointer", "expected", "got"),
    [
        ({"objectives": ["throughput", "luck"]}, "/objectives", "accuracy-loss", "luck"),
        ({"objectives": ["accuracy-loss"]}, "/sensitivity", "a sensitivity table", "none"),
        ({"prefer": "luck"}, "/prefer", "latency:5%>energy>throughput", "luck"),
        ({"prefer": "throughput=-1,energy=2"}, "/prefer", "zero or more", "throughput=-1"),
        ({"precision": {"left": "int3"}}, "/precision", "int8", "int3"),
        ({"precision": {"nowhere": "int8"}}, "/precision", "left", "nowhere=int8"),
        ({"sensitivity": [{"operator": "*", "loss": 1}]}, "/sensitivity", "precision", "loss"),
        ({"sensitivity": [{"operator": "no", "precision": "int8", "loss": 1}]}, "/sensitivity", "operator names", ""),
        ({"gap": "100%"}, "/gap", "less than 100%", "100%"),
        ({"cost_uncertainty": "much"}, "/cost_uncertainty", "less than 100%", "much"),
        ({"workers": 0}, "/workers", "greater than or equal to 1", "0"),
        ({"limits": {"rate": "5"}}, "/limits/rate", "/s", "5"),
        ({"limits": {"max_link_bytes": "2 bananas"}}, "/limits/max_link_bytes", "KiB", "2 bananas"),
        ({"limits": {"max_accuracy_loss": 1.0}}, "/sensitivity", "a sensitivity table", ""),
        ({"limits": {"max_memory": {"left": {"ram": "lots"}}}}, "/limits/max_memory", "KiB", "lots"),
        ({"limits": {"max_memory": {"nowhere": {"ram": "1KiB"}}}}, "/limits/max_memory", "left, right", "nowhere"),
        ({"limits": {"pin": {"no*": "left"}}}, "/limits/pin", "a pattern", "no*"),
        ({"limits": {"forbid": {"/layer0/Relu": ["nowhere"]}}}, "/limits/forbid", "left", "nowhere"),
        ({"limits": {"forbid": {"/layer*": ["left", "right"]}}}, "/limits", "at least one processor", ""),
        ({"limits": {"colocate": [["/layer0/Relu"]]}}, "/limits/colocate/0", "at least 2 items", "/layer0/Relu"),
        ({"limits": {"colocate": [["/layer0/Relu", "no"]]}}, "/limits/colocate", "a pattern", "no"),
        ({"limits": {"max_latancy": "1s"}}, "/limits/max_latancy", "max_latency", "max_latancy"),
        ({"costs": {"schema": "x"}}, "/costs", "edgecut/costs/1", "x"),
        ({"system": "nope"}, "/system", "demo", "nope"),
        ({"system": {"schema": "edgecut/system/1", "name": "x", "boards": {"a": {"use": "no"}}}}, "/system", "", ""),
        ({"model": "zoo:nope"}, "/model", "", ""),
        ({"model": "nope"}, "/model", "the id of an uploaded model", "nope"),
        ({"start": 7}, "/start", "a valid string", "7"),
        ({"start": {"schema": "x"}}, "/start", "edgecut/plan/2", "x"),
        ({"start": "nope"}, "/start", "the id of a solve job", "nope"),
    ],
)
def test_fault_names_its_field_and_says_what_was_expected_and_got(
    client: FlaskClient, order: dict[str, Any], change: dict[str, Any], pointer: str, expected: str, got: str
) -> None:
    found = expect(client.post("/v1/jobs", json={**order, **change}), 422, "invalid-input")
    (fault,) = found["errors"]
    assert fault["pointer"] == pointer
    assert expected in fault["expected"] and got in fault["got"]
    assert fault["detail"] in found["detail"]
    assert data(client.get("/v1/jobs"))["jobs"] == []


def test_all_objectives_and_an_order_of_preference_are_solved(
    client: FlaskClient, store: Store, config: ServerConfig, order: dict[str, Any]
) -> None:
    wanted = {
        "objectives": list(OBJECTIVES),
        "prefer": "boards>latency:5%>energy",
        "sensitivity": [{"operator": "*", "precision": "int8", "loss": 0.25}],
        "cost_uncertainty": "10%",
        "gap": "1%",
    }
    job = solved(client, store, config, {**order, **wanted})
    assert job["state"] == "done", job["error"]
    result = job["result"]
    assert list(result["certificate"]) == list(OBJECTIVES)
    assert (result["boards_used"], result["accuracy_loss"]) == (2, 0.0)  # frames enter at one and leave at the other
    assert {o.field for o in OBJECTIVES.values()} <= set(result)
    assert result["uncertainty"]["share"] == 0.1
    plan = plan_of(client, job)
    assert plan["prefer"] == "boards>latency:5%>energy" and len(plan["preference_steps"]) == 3
    assert plan["gap"] == 0.01


def test_restrictions_precisions_and_class_reach_the_plan(
    client: FlaskClient, store: Store, config: ServerConfig, order: dict[str, Any]
) -> None:
    wanted = {
        "non_contiguous": True,
        "reproducible": True,
        "objectives": ["throughput", "energy"],
        "time_limit": "1s",
        "prefer": "throughput=0.5,energy=0.5",
        "precision": {"left": "int8", "right": ["fp32"]},
        "limits": {
            "forbid": {"/layer0/*": "right"},
            "pin": {"/layer5/Relu": "right"},
            "colocate": [["/layer1/MatMul", "/layer2/Relu"]],
            "rate": "5/s",
            "max_link_bytes": "1MiB",
        },
    }
    plan = plan_of(client, solved(client, store, config, {**order, **wanted}))
    at = {name: s["processor"].split("/")[0] for s in plan["segments"] for name in s["operators"]}
    assert at["/layer0/MatMul"] == at["/layer0/Relu"] == "left" and at["/layer5/Relu"] == "right"
    assert at["/layer1/MatMul"] == at["/layer2/Relu"]
    assert {s["processor"].split("/")[0]: s["precision"] for s in plan["segments"]} == {"left": "int8", "right": "fp32"}
    assert plan["non_contiguous"] and plan["limits"]["rate_per_s"] == 5.0
    assert "seconds" not in plan["certificate"]["throughput"]


def test_search_starts_from_a_job_or_from_a_plan(
    client: FlaskClient, store: Store, config: ServerConfig, order: dict[str, Any]
) -> None:
    first = solved(client, store, config, order)
    plan = plan_of(client, first)
    for start in (first["id"], plan):
        again = solved(client, store, config, {**order, "start": start})
        assert again["state"] == "done", again["error"]
        assert again["result"]["period_s"] == pytest.approx(first["result"]["period_s"])


def test_start_of_another_model_is_refused_and_called_by_its_job(
    client: FlaskClient, store: Store, config: ServerConfig, order: dict[str, Any]
) -> None:
    first = solved(client, store, config, order)
    other = client.post("/v1/models", data=small_model(seed=1), content_type=ONNX)
    answer = client.post("/v1/jobs", json={**order, "model": data(other)["id"], "start": first["id"]})
    found = expect(answer, 422, "invalid-input")
    assert found["detail"].startswith(f"the plan of job {first['id']}: the model ")
    assert str(config.data) not in json.dumps(found)
    assert found["errors"][0]["pointer"] == "/start"


def test_start_must_be_a_solve_job_that_is_done(
    client: FlaskClient, store: Store, config: ServerConfig, order: dict[str, Any]
) -> None:
    first = data(client.post("/v1/jobs", json=order))["id"]
    expect(client.post("/v1/jobs", json={**order, "start": first}), 409, "not-finished")
    run_one(store, config, "infeasible")
    expect(client.post("/v1/jobs", json={**order, "start": first}), 409, "no-result")


def test_result_with_replicas_says_which(
    client: FlaskClient, store: Store, config: ServerConfig, order: dict[str, Any]
) -> None:
    job = solved(client, store, config, {**order, "objectives": ["throughput"], "replicate": True})
    assert job["state"] == "done", job["error"]
    plan = plan_of(client, job)
    shown = [s.get("replicas", []) for s in job["result"]["segments"]]
    assert shown == [s.get("replicas", []) for s in plan["segments"]]
