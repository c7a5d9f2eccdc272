"""Driver for boards that run the agent: a control connection over TCP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from firmware_interface import messages as m
from firmware_interface.auth import opening
from firmware_interface.client import Client
from firmware_interface.errors import (
    AuthenticationError,
    ConnectionLostError,
    DeadlineError,
    FramingError,
    MessageError,
    RemoteError,
    WireError,
)
from firmware_interface.transport import Connection, connect, remote_error
from hil.errors import (
    BusyError,
    ConnectError,
    DeviceError,
    DeviceFailedError,
    DeviceLostError,
    DeviceTimeoutError,
    WrongBoardError,
    WrongKeyError,
)
from hil.lab_types import LabTarget
from hil.targets.session import Session
from hil.targets.target import Beside, BesideModel, Identity, LinkProbe, ModelProfile, ModelTimes

__all__ = ["NetworkAgent"]

M = TypeVar("M")
CALL_TIMEOUT_S = 5.0
FILE_TIMEOUT_S = 60.0  # for each step of a file: a chunk of 1 MiB, or the hash of the whole
LOAD_TIMEOUT_S = 120.0  # ONNX Runtime optimises a large model for tens of seconds on a small board


class NetworkAgent(Session[Client]):
    """A board behind an agent, which frees everything at the end; see `hil.targets.target.Target`."""

    def __init__(self, target: LabTarget, key: bytes) -> None:
        """Raises ConnectError, WrongKeyError, WrongBoardError, DeviceTimeoutError."""
        super().__init__(target.name)
        self.address = (target.host, target.port)
        self._key = key
        with self.phase("connect"):
            self._client = Client(target.host, target.port, key, board=target.name)
        if self._client.board != self.name:
            self.close()
            raise WrongBoardError(
                f"board {self._client.board} answers at {target.host}:{target.port}",
                phase="connect",
                board=self.name,
            )

    # Facts and files

    def identify(self) -> Identity:
        """Who the board is."""
        answer = self._call("identify", m.Identify(), m.Identity)
        facts = answer.facts
        return Identity(answer.board, str(facts.get("hostname", "")), int(facts.get("pid", 0)), facts)

    def ping(self, timeout_s: float = 1.0) -> int:
        """The board's monotonic clock, ns: it is alive."""
        return self._call("ping", m.Ping(0), m.Pong, timeout_s).time_ns

    def put_file(self, path: Path) -> str:
        """Bring a file to the board unless it is there; its hash, read back."""
        with self.phase("push files"):
            return self.client.put_file(path, timeout_s=FILE_TIMEOUT_S).hex()

    def fetch_file(self, sha256: str, size_bytes: int) -> bytes:
        """Read a file of the board back."""
        with self.phase("fetch files"):
            return self.client.fetch_file(bytes.fromhex(sha256), size_bytes, timeout_s=FILE_TIMEOUT_S)

    # Measurements without a deployment

    def profile_model(
        self,
        model: str,
        *,
        runs: int,
        level: str = "all",
        threads: int = 1,
        companions: Mapping[str, str] | None = None,
        dimensions: Mapping[str, int] | None = None,
        timeout_s: float = 300.0,
    ) -> ModelProfile:
        """Profile a model that was put before."""
        request = _model_request(model, runs, level, threads, companions, dimensions)
        report = self._call("profile", m.ProfileModel(request), m.ModelProfile, timeout_s).report
        trace, graph = report["trace"], report["graph"]
        return ModelProfile(
            board=self.name,
            trace=self.fetch_file(trace["sha256"], trace["size_bytes"]),
            optimised_model=self.fetch_file(graph["sha256"], graph["size_bytes"]),
            times_ns=tuple(report["times_ns"]),
            profiled_ns=tuple(report["profiled_ns"]),
            runs=runs,
            level=level,
            threads=threads,
        )

    def time_model(
        self,
        model: str,
        *,
        runs: int,
        warmup: int = 3,
        level: str = "all",
        threads: int = 1,
        companions: Mapping[str, str] | None = None,
        dimensions: Mapping[str, int] | None = None,
        timeout_s: float = 300.0,
    ) -> ModelTimes:
        """Time a model that was put before."""
        request = _model_request(model, runs, level, threads, companions, dimensions)
        request["warmup"] = warmup
        report = self._call("time a model", m.TimeModel(request), m.ModelTimes, timeout_s).report
        return ModelTimes(self.name, tuple(report["times_ns"]), tuple(report["cpu_ns"]), level, threads)

    def probe_link(
        self,
        link: str,
        target: str,
        address: tuple[str, int],
        *,
        sizes: Sequence[int] = (0, 4096, 65536, 802816),
        repeats: int = 20,
        burst_messages: int = 8,
        burst_size: int = 1 << 20,
        beside: BesideModel | None = None,
        timeout_s: float = 120.0,
    ) -> LinkProbe:
        """Measure a directed link from this board to another."""
        request = {
            "target": target,
            "host": address[0],
            "port": address[1],
            "sizes": list(sizes),
            "repeats": repeats,
            "burst_messages": burst_messages,
            "burst_size": burst_size,
        }
        if beside is not None:
            b = beside
            request |= _model_request(b.model, b.runs, b.level, b.threads, b.companions, None)
        phase = f"probe link {link}"
        report = self._call(phase, m.ProbeLink(request), m.LinkFigures, timeout_s).report
        return LinkProbe(
            source=self.name,
            target=target,
            round_trip_ns={int(k): tuple(v) for k, v in report["round_trip_ns"].items()},
            burst_bytes=report["burst_bytes"],
            burst_receive_ns=report["burst_receive_ns"],
            burst_send_cpu_ns=report["burst_send_cpu_ns"],
            burst_receive_cpu_ns=report["burst_receive_cpu_ns"],
            beside=None if beside is None else _beside(report),
        )

    # Deployments (see hil.deploy)

    def load(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """Load this board's part of a deployment; the board's report."""
        return self._call("load", m.Load(dict(document)), m.Loaded, LOAD_TIMEOUT_S).report

    def connect_links(self) -> None:
        """Have the board open its outgoing links."""
        self._call("connect links", m.Connect(), m.Ok, timeout_s=30.0)

    def start(self, mode: m.Mode, frames: int) -> None:
        """Begin a run."""
        self._call("start", m.Start(mode, frames), m.Ok)

    def stop(self) -> int:
        """At the source: no further frames; how many there are."""
        return self._call("stop", m.Stop(), m.Stopped).frames

    def finish(self, frames: int, timeout_s: float) -> Mapping[str, Any]:
        """Serve frames below ``frames`` to the end; the board's counters."""
        return self._call("finish", m.Finish(frames), m.Statistics, timeout_s).counters

    def statistics(self, phase: str) -> Mapping[str, Any]:
        """The board's counters. Raises DeviceFailedError when its run has failed."""
        counters = self._call(phase, m.Status(), m.Statistics).counters
        failure = counters.get("failure")
        if failure:
            raise DeviceFailedError(str(failure), phase=phase, board=self.name, code="RUN_FAILED")
        return counters

    def unload(self) -> None:
        """Free the deployment."""
        self._call("unload", m.Unload(), m.Ok, timeout_s=15.0)

    def open_stream(self, purpose: m.Purpose, deployment_id: str) -> Connection:
        """A connection that brings run inputs to the source, or outputs from the sink."""
        phase = f"open {purpose.name.lower()} stream"
        with self.phase(phase):
            connection = connect(*self.address, CALL_TIMEOUT_S)
            try:
                subject = f"{purpose.name.lower()} {deployment_id}"
                opening(connection, self._key, purpose=purpose, sender="host", receiver=self.name, subject=subject)
                _, answer = connection.receive(timeout_s=CALL_TIMEOUT_S, allowed=(m.Type.OK, m.Type.ERROR))
                if isinstance(answer, m.Error):
                    raise remote_error(answer)
                connection.make_blocking()
            except WireError:
                connection.close()
                raise
            return connection

    # The common part

    def _call(self, phase: str, request: Any, expect: type[M], timeout_s: float = CALL_TIMEOUT_S) -> M:
        with self.phase(phase):
            return self.client.call(request, expect, timeout_s=timeout_s)

    def _device_error(self, error: WireError, phase: str) -> DeviceError:
        last = self._client.last_received if self._client is not None else ""
        host, port = self.address
        where = {"phase": phase, "board": self.name, "last_message": last}
        if isinstance(error, AuthenticationError):
            hint = "Give the agent and lab.yaml the same key file."
            return WrongKeyError(f"the key is wrong at {host}:{port}: {error}", **where, hint=hint)
        if isinstance(error, RemoteError):
            return _refusal(error, where)
        if isinstance(error, DeadlineError):
            return DeviceTimeoutError(str(error), **where)
        if isinstance(error, ConnectionLostError) and self._client is None:
            hint = "Is the agent running there? Start it with `hil agent` or `hil emulate`."
            return ConnectError(error.reason, **where, hint=hint)
        if isinstance(error, FramingError | MessageError):
            return DeviceFailedError(str(error), **where, code="PROTOCOL")
        return DeviceLostError(str(error), **where)


def _refusal(error: RemoteError, where: Mapping[str, str]) -> DeviceError:
    if error.code == m.ErrorCode.WRONG_BOARD.name:
        hint = "Compare the addresses in lab.yaml with the boards behind them."
        return WrongBoardError(error.text, **where, hint=hint)
    if error.code == m.ErrorCode.BUSY.name:
        return BusyError(error.text, **where)
    return DeviceFailedError(f"{error.code}: {error.text}", **where, code=error.code)


def _beside(report: Mapping[str, Any]) -> Beside:
    return Beside(
        tuple(report["alone_ns"]), tuple(report["beside_ns"]), report["beside_bytes"], report["beside_receive_ns"]
    )


def _model_request(
    model: str,
    runs: int,
    level: str,
    threads: int,
    companions: Mapping[str, str] | None,
    dimensions: Mapping[str, int] | None,
) -> dict[str, Any]:
    return {
        "model": model,
        "runs": runs,
        "level": level,
        "threads": threads,
        "companions": dict(companions or {}),
        "dimensions": dict(dimensions or {}),
    }
