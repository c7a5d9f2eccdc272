"""`edgecut server dev` as its users meet it: real processes, real HTTP, a real SQLite file."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from boards.catalog import load_system
from hil.emulate import Emulation
from tests.needs import needs_program
from tests.server.samples import LAYERS, WIDTH, small_model
from tests.server.service import ONNX, Service, command, environment
from tests.waiting import PATIENCE_S, wait_for

pytestmark = pytest.mark.integration

QUICK = {"kind": "solve", "model": "zoo:squeezenet1_1", "system": "demo", "time_limit": "10s"}
# Four different boards keep the solver busy to its time limit: time to do something to it.
SLOW = {"kind": "solve", "model": "zoo:googlenet", "system": "four-heterogeneous", "time_limit": "3s"}
VERY_SLOW = {**SLOW, "time_limit": "10min"}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with Service(tmp_path / "data", "--max-upload", "1MB") as running:
        yield running


def test_uploaded_model_is_solved_and_its_results_are_served(service: Service) -> None:
    first = service.call("POST", "/v1/models?name=mine.onnx", small_model(), ONNX)
    again = service.call("POST", "/v1/models", small_model(), ONNX)
    assert (first.status, again.status) == (201, 200)
    model = first.json
    assert model["operators"] == 2 * LAYERS
    assert model["macs"] == LAYERS * WIDTH**2
    assert model["parameters"] == LAYERS * WIDTH**2

    job = service.ordered({**QUICK, "model": model["id"]})
    done = service.wait_for_state(job, ["done"])
    assert done["result"]["throughput_per_s"] > 0
    plan, front, report = (service.get(done["links"][name]) for name in ("plan", "front", "report"))
    assert plan.json["schema"] == "edgecut/plan/2"
    assert plan.json["model"]["sha256"] == model["id"]
    assert plan.json["score"]["throughput_per_s"] == done["result"]["throughput_per_s"]
    assert front.json["schema"] == "edgecut/front/2"
    assert report.headers["Content-Type"].startswith("text/html")
    assert "sandbox" in report.headers["Content-Security-Policy"]
    assert b"mine" in report.body


def test_limits_nobody_can_meet_are_a_result(service: Service) -> None:
    job = service.ordered({**QUICK, "limits": {"max_latency": "1ns"}})
    found = service.wait_for_state(job, ["infeasible"])
    assert found["error"]["type"] == "urn:edgecut:problem:infeasible"
    assert found["error"]["clashes"]
    plan = service.get(f"{job}/plan")
    assert (plan.status, plan.json["type"]) == (409, "urn:edgecut:problem:no-result")


def test_oversize_upload_is_refused_before_and_while_it_is_read(service: Service) -> None:
    body = bytes(3_000_000)
    told = service.call("POST", "/v1/models", body, ONNX)
    assert (told.status, told.json["type"]) == (413, "urn:edgecut:problem:too-large")
    assert _chunked_upload(service, body).startswith(b"HTTP/1.1 413 ")
    assert service.get("/v1/models").json["models"] == []


def test_stop_in_the_middle_of_a_job_loses_nothing(service: Service) -> None:
    running, queued = service.ordered(SLOW), service.ordered(QUICK)
    service.wait_for_state(running, ["running"])
    assert service.end(signal.SIGTERM) == 0

    service.start()
    done = service.wait_for_state(running, ["done"])
    assert done["attempts"] == 2
    assert [(loss["reason"], loss["counted"]) for loss in done["losses"]] == [("the server was stopped", False)]
    assert service.wait_for_state(queued, ["done"])["attempts"] == 1


def test_ctrl_c_ends_server_and_workers_cleanly(service: Service) -> None:
    service.wait_for_state(service.ordered(VERY_SLOW), ["running"])
    assert service.end(signal.SIGINT) == 0


def test_workers_of_a_killed_web_process_end_by_themselves(service: Service) -> None:
    job = service.ordered(SLOW)
    service.wait_for_state(job, ["running"])
    assert service.end(signal.SIGKILL) == -signal.SIGKILL

    service.start()
    done = service.wait_for_state(job, ["done"])
    assert [loss["counted"] for loss in done["losses"]] == [True]


def test_job_of_a_killed_worker_runs_once_more_and_is_then_interrupted(service: Service) -> None:
    job = service.ordered(VERY_SLOW)
    for attempt in (1, 2):
        wait_for(lambda a=attempt: _runs_for(service, job, a), "the job does not run")  # type: ignore[misc]
        (worker,) = service.worker_pids()
        os.kill(worker, signal.SIGKILL)
    found = service.wait_for_state(job, ["interrupted"])
    assert found["error"]["type"] == "urn:edgecut:problem:interrupted"
    assert len(found["losses"]) == 2
    assert "SIGKILL" in found["losses"][0]["reason"]
    service.wait_for_state(service.ordered(QUICK), ["done"])  # a new worker works


def test_running_and_queued_jobs_can_be_cancelled(service: Service) -> None:
    running, queued = service.ordered(VERY_SLOW), service.ordered(QUICK)
    service.wait_for_state(running, ["running"])
    assert service.call("DELETE", queued).json["state"] == "cancelled"
    assert service.call("DELETE", running).status == 202
    found = service.wait_for_state(running, ["cancelled"])
    assert found["error"] is None and not found["losses"]
    assert service.get(f"{running}/plan").status == 409
    service.wait_for_state(service.ordered(QUICK), ["done"])


def test_plan_is_measured_on_emulated_boards(tmp_path: Path) -> None:
    lab = tmp_path / "lab.yaml"
    with (
        Emulation("demo-unshaped", shaping="none", lab_out=lab),
        Service(tmp_path / "data", "--lab", f"bench={lab}") as service,
    ):
        model = service.call("POST", "/v1/models", small_model(width=512), ONNX).json["id"]
        solved = service.ordered(
            {"kind": "solve", "model": model, "system": "demo-unshaped", "limits": {"pin": _pins()}}
        )
        identity = service.wait_for_state(solved, ["done"])["id"]
        order = {"kind": "measure", "job": identity, "lab": "bench", "quick": True}
        cancelled = service.ordered(order)
        wait_for(lambda: "window" in str(service.get(cancelled).json["progress"]), "nothing is measured")
        assert service.call("DELETE", cancelled).status == 202
        service.wait_for_state(cancelled, ["cancelled"])

        # The boards are free again for the next.
        job = service.ordered(order)
        found = service.wait_for_state(job, ["done", "failed"])
        assert found["state"] == "done", found["error"]
        measurement = service.get(f"{job}/measurement").json
        assert measurement["emulated"] and measurement["quick"] and not measurement["partial"]
        assert len(measurement["stages"]) == 2
        assert found["result"]["throughput_per_s"]["median"] == measurement["throughput_per_s"]["median"] > 0


def test_measurement_without_boards_says_which_board_does_not_answer(tmp_path: Path) -> None:
    lab = tmp_path / "lab.yaml"
    with Emulation("demo-unshaped", shaping="none", lab_out=lab):
        key = lab.read_text(), lab.with_suffix(".key").read_text()
    _restore(lab, *key)
    with Service(tmp_path / "data", "--lab", f"bench={lab}") as service:
        identity = service.wait_for_state(service.ordered({**QUICK, "system": "demo-unshaped"}), ["done"])["id"]
        job = service.ordered({"kind": "measure", "job": identity, "lab": "bench", "quick": True})
        error = service.wait_for_state(job, ["failed"])["error"]
        assert error["type"] == "urn:edgecut:problem:bench-failed"
        assert error["board"] in ("left", "right")
        assert service.get(f"{job}/measurement").status == 409


def test_port_in_use_is_a_message_and_exit_code_2(service: Service, tmp_path: Path) -> None:
    port = service.url.rpartition(":")[2]
    ended = _try_to_serve("--port", port, "--data", str(tmp_path / "other"))
    assert ended.returncode == 2
    assert f"port {port}" in ended.stderr and "--port" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_host_other_machines_can_reach_is_refused(tmp_path: Path) -> None:
    ended = _try_to_serve("--host", "0.0.0.0", "--port", "0", "--data", str(tmp_path / "data"))
    assert ended.returncode == 2
    assert "no log-in" in ended.stderr
    assert not (tmp_path / "data").exists()


def test_calls_of_the_document_work_in_its_order(tmp_path: Path) -> None:
    shell, _ = needs_program("sh", "apt-get install dash"), needs_program("curl", "apt-get install curl")
    document = (Path(__file__).parents[2] / "docs" / "http-api.md").read_text()
    blocks = [b for b in re.findall(r"```sh\n(.*?)```", document, re.DOTALL) if "curl" in b]
    (tmp_path / "model.onnx").write_bytes(small_model())
    (tmp_path / ".curlrc").write_text("silent\nshow-error\nfail-with-body\n")
    lab = tmp_path / "lab.yaml"
    with (
        Emulation("demo", shaping="none", lab_out=lab),
        Service(tmp_path / "data", "--lab", f"bench={lab}") as service,
    ):
        calls = "\n".join(blocks).replace("http://127.0.0.1:8080", service.url)
        home = {**os.environ, "CURL_HOME": str(tmp_path)}
        line = [shell, "-e", "-c", calls]
        ran = subprocess.run(line, cwd=tmp_path, env=home, capture_output=True, text=True, timeout=240, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        listed = service.get("/v1/jobs").json["jobs"]
    assert [job["kind"] for job in listed] == ["solve", "measure", "solve", "solve"]
    for name in ("plan", "front", "measurement.json"):
        assert json.loads((tmp_path / name).read_text())["schema"].startswith("edgecut/")
    assert "</html>" in (tmp_path / "report.html").read_text()


def _runs_for(service: Service, job: str, attempt: int) -> bool:
    found: dict[str, Any] = service.get(job).json
    return (found["state"], found["attempts"]) == ("running", attempt)


def _pins() -> dict[str, str]:
    """First layer on the one board, last on the other: there is something to send."""
    system = load_system("demo-unshaped")
    return {"/layer0/MatMul": system.source, f"/layer{LAYERS - 1}/Relu": system.boards[1].name}


def _restore(lab: Path, text: str, key: str) -> None:
    """The files of a lab whose boards are gone; an emulation takes its own away."""
    lab.write_text(text)
    key_file = lab.with_suffix(".key")
    key_file.write_text(key)
    key_file.chmod(0o600)


def _try_to_serve(*options: str) -> subprocess.CompletedProcess[str]:
    line = command("server", "dev", *options)
    return subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE_S, env=environment(), check=False)


def _chunked_upload(service: Service, body: bytes) -> bytes:
    """The start of the answer to an upload whose size nobody is told in advance."""
    host, port = service.url.removeprefix("http://").split(":")
    head = f"POST /v1/models HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/octet-stream\r\n"
    head += "Transfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as connection:
        connection.sendall(head.encode() + f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n")
        return connection.recv(4096)
