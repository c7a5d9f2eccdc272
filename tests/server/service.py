"""A real `edgecut server dev` as a process, and a small HTTP client for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.waiting import PATIENCE_S, wait_for

ROOT = Path(__file__).parents[2]
JSON = {"Content-Type": "application/json"}
ONNX = {"Content-Type": "application/octet-stream"}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "server.cli", *arguments]


def environment() -> dict[str, str]:
    """Where the rooms are found, whether edgecut is installed or not."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Service:
    """A server on a data folder; ``start`` and ``end`` as often as wanted."""

    def __init__(self, data: Path, *options: str) -> None:
        self._data, self._options = data, options
        self._process: subprocess.Popen[str] | None = None
        self._seen: set[int] = set()
        self.url = ""

    def __enter__(self) -> Service:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.end()

    def start(self) -> None:
        line = command("server", "dev", "--port", "0", "--data", str(self._data), *self._options)
        log = (self._data.parent / "server.log").open("a")
        with log:
            self._process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=log, text=True, env=environment())
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        assert self.url.startswith("http://127.0.0.1:"), (self._data.parent / "server.log").read_text()
        wait_for(lambda: self.get("/v1/health").json["workers"] > 0, "no worker started")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def worker_pids(self) -> list[int]:
        found = [p.pid for p in psutil.Process(self.pid).children()]
        self._seen.update(found)
        return found

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal and wait until the server and every worker it had are gone; the exit code."""
        self.worker_pids()
        assert self._process is not None and self._process.stdout is not None
        self._process.send_signal(number)
        code = self._process.wait(PATIENCE_S)
        self._process.stdout.close()
        self._process = None
        wait_for(lambda: not any(map(_runs, self._seen)), f"of workers {self._seen} some live on")
        return code

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        request = urllib.request.Request(self.url + path, data=body, method=method, headers=dict(headers or {}))
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                return Answer(answer.status, dict(answer.headers), answer.read())
        except urllib.error.HTTPError as e:
            with e:
                return Answer(e.code, dict(e.headers), e.read())

    def get(self, path: str) -> Answer:
        return self.call("GET", path)

    def order(self, order: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Answer:
        return self.call("POST", "/v1/jobs", json.dumps(order).encode(), {**JSON, **(headers or {})})

    def ordered(self, order: Mapping[str, Any]) -> str:
        """The address of a new job."""
        answer = self.order(order)
        assert answer.status == 202, answer.body
        return answer.headers["Location"]

    def wait_for_state(self, job: str, states: Sequence[str], patience_s: float = 2 * PATIENCE_S) -> dict[str, Any]:
        """The job once it is in one of the states."""
        found: dict[str, Any] = {}

        def reached() -> bool:
            found.update(self.get(job).json)
            return found["state"] in states

        wait_for(reached, lambda: f"expected {states}, got {found}", patience_s)
        return found


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
