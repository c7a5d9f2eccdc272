"""Measurements that need no deployment: a model's profile, a model's times, a link's figures."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from firmware_interface.auth import opening
from firmware_interface.errors import FramingError, WireError
from firmware_interface.messages import ErrorCode, Ok, ProbeBurst, ProbeReport, Purpose, Type
from firmware_interface.transport import Connection, connect
from hil.agent_model import ORT_ERRORS, Array, aligned, open_session, session_options
from hil.agent_store import AgentError, FileStore

__all__ = ["probe_link", "profile_model", "serve_probe", "time_model"]

MAX_RUNS = 100_000  # of one request: hours on the smallest board
MAX_PROBE_BYTES = 64 << 20  # of one probe message: a second on a link of 500 Mbit/s
MAX_PROBE_MESSAGES = 100_000
CONNECT_TIMEOUT_S = 5.0
PROBE_TIMEOUT_S = 60.0

GiveUp = Callable[[], bool]


class _Request:
    """The fields that PROFILE_MODEL and TIME_MODEL share, checked."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.model = str(raw.get("model", ""))
        self.runs = _whole(raw, "runs", 1, MAX_RUNS)
        self.warmup = _whole(raw, "warmup", 0, MAX_RUNS) if "warmup" in raw else 3
        self.level = str(raw.get("level", "all"))
        self.threads = _whole(raw, "threads", 1, 256) if "threads" in raw else 1
        self.companions = {str(k): str(v) for k, v in _table(raw, "companions").items()}
        self.dimensions = {str(k): int(v) for k, v in _table(raw, "dimensions").items()}

    def options(self) -> Any:
        options = session_options(self.level, self.threads)
        for name, size in self.dimensions.items():
            options.add_free_dimension_override_by_name(name, size)
        return options


def _table(raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = raw.get(key, {})
    if not isinstance(value, dict):
        raise AgentError(ErrorCode.BAD_MESSAGE, f"{key}: expected an object")
    return value


def _whole(raw: Mapping[str, Any], key: str, low: int, high: int) -> int:
    value = raw.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise AgentError(ErrorCode.BAD_MESSAGE, f"{key}: expected {low} to {high}, got {str(value)[:40]!r}")
    return value


_ELEMENT = {
    "tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64",
    "tensor(int8)": "int8", "tensor(uint8)": "uint8", "tensor(int16)": "int16", "tensor(uint16)": "uint16",
    "tensor(int32)": "int32", "tensor(uint32)": "uint32", "tensor(int64)": "int64",
    "tensor(uint64)": "uint64", "tensor(bool)": "bool",
}  # fmt: skip


def random_inputs(session: Any) -> dict[str, Array]:
    """Inputs by a fixed seed: floats around 0, bytes over their range, wider integers 0 (often indices)."""
    generator = np.random.default_rng(0)
    feed: dict[str, Array] = {}
    for value in session.get_inputs():
        dtype = _ELEMENT.get(value.type)
        if dtype is None:
            raise AgentError(ErrorCode.MODEL, f"input {value.name} is a {value.type}, which we cannot make")
        array = aligned([d if isinstance(d, int) and d > 0 else 1 for d in value.shape], dtype)
        if array.dtype.kind == "f":
            array[...] = generator.standard_normal(array.shape)
        elif array.dtype.itemsize == 1 and dtype != "bool":
            array[...] = generator.integers(0, 127, array.shape)
        feed[value.name] = array
    return feed


class _Timer:
    """A session with inputs, whose runs are timed."""

    def __init__(self, session: Any, give_up: GiveUp) -> None:
        self._session, self._give_up = session, give_up
        self._feed = random_inputs(session)
        self._binding = session.io_binding()
        for name, a in self._feed.items():
            self._binding.bind_input(name, "cpu", 0, a.dtype.type, a.shape, a.ctypes.data)
        for value in session.get_outputs():
            self._binding.bind_output(value.name, "cpu")

    def warm_up(self, runs: int) -> None:
        for _ in range(runs):
            self.run()

    def run(self) -> tuple[int, int]:
        """One run; wall and processor nanoseconds. Raises AgentError."""
        if self._give_up():
            raise AgentError(ErrorCode.DEADLINE, "the controller has gone")
        cpu, wall = time.process_time_ns(), time.monotonic_ns()
        try:
            self._session.run_with_iobinding(self._binding)
        except ORT_ERRORS as error:
            raise AgentError(ErrorCode.MODEL, f"the model does not run: {error}") from error
        return time.monotonic_ns() - wall, time.process_time_ns() - cpu


def _timed_runs(session: Any, request: _Request, give_up: GiveUp) -> tuple[list[int], list[int]]:
    """Wall and processor nanoseconds of each run after the warm-up."""
    timer = _Timer(session, give_up)
    timer.warm_up(request.warmup)
    times = [timer.run() for _ in range(request.runs)]
    return [wall for wall, _ in times], [cpu for _, cpu in times]


def time_model(raw: Mapping[str, Any], store: FileStore, give_up: GiveUp) -> dict[str, Any]:
    """Answer of TIME_MODEL. Raises AgentError."""
    request = _Request(raw)
    session = open_session(store.lay_out(request.model, request.companions), request.options())
    walls, cpus = _timed_runs(session, request, give_up)
    return {"times_ns": walls, "cpu_ns": cpus, "level": request.level, "threads": request.threads}


def profile_model(raw: Mapping[str, Any], store: FileStore, give_up: GiveUp) -> dict[str, Any]:
    """Answer of PROFILE_MODEL; the trace and the optimised graph go to the store. Raises AgentError."""
    request = _Request(raw)
    path = store.lay_out(request.model, request.companions)
    walls, _ = _timed_runs(open_session(path, request.options()), request, give_up)
    with tempfile.TemporaryDirectory(prefix="profile-", dir=store.root) as folder:
        options = request.options()
        graph = Path(folder) / "optimised.onnx"
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "trace")
        options.optimized_model_filepath = str(graph)
        # Weights go to a file of their own, which stays here: only the graph is asked for.
        entries = {
            "external_initializers_file_name": "weights.bin",
            "external_initializers_min_size_in_bytes": "0",
        }
        for key, value in entries.items():
            options.add_session_config_entry(f"session.optimized_model_{key}", value)
        session = open_session(path, options)
        profiled, _ = _timed_runs(session, request, give_up)
        trace = Path(session.end_profiling())
        trace_hash, trace_size = store.adopt(trace)
        graph_hash, graph_size = store.adopt(graph)
    return {
        "times_ns": walls,
        "profiled_ns": profiled,
        "warmup": request.warmup,
        "level": request.level,
        "threads": request.threads,
        "trace": {"sha256": trace_hash, "size_bytes": trace_size},
        "graph": {"sha256": graph_hash, "size_bytes": graph_size},
    }


# Links


def probe_link(raw: Mapping[str, Any], board: str, key: bytes, store: FileStore, give_up: GiveUp) -> dict[str, Any]:
    """Answer of PROBE_LINK: open a connection to the other board and time it. Raises AgentError."""
    host, target = str(raw.get("host", "")), str(raw.get("target", ""))
    port = _whole(raw, "port", 1, 65535)
    repeats = _whole(raw, "repeats", 1, 10_000)
    messages = _whole(raw, "burst_messages", 2, MAX_PROBE_MESSAGES)
    burst_size = _whole(raw, "burst_size", 1, MAX_PROBE_BYTES)
    sizes = raw.get("sizes")
    if not isinstance(sizes, list) or not all(isinstance(s, int) and 0 <= s <= MAX_PROBE_BYTES for s in sizes):
        raise AgentError(ErrorCode.BAD_MESSAGE, f"sizes: expected numbers of 0 to {MAX_PROBE_BYTES}")
    payload = memoryview(bytearray(max([burst_size, *sizes])))
    try:
        connection = connect(host, port, CONNECT_TIMEOUT_S)
        try:
            opening(connection, key, purpose=Purpose.PROBE, sender=board, receiver=target)
            connection.receive(timeout_s=CONNECT_TIMEOUT_S, allowed=(Type.OK,))
            connection.make_blocking()
            trips = {str(s): _round_trips(connection, payload[:s], repeats, give_up) for s in sizes}
            burst = _burst(connection, payload[:burst_size], messages)
            if "model" in raw:
                burst |= _burst_beside(connection, payload[:burst_size], messages, _Request(raw), store, give_up)
        finally:
            connection.close()
    except WireError as error:
        raise AgentError(ErrorCode.PEER, f"probe of {target} at {host}:{port}: {error}") from error
    return {"round_trip_ns": trips, **burst}


def _round_trips(connection: Connection, data: memoryview, repeats: int, give_up: GiveUp) -> list[int]:
    trips: list[int] = []
    for number in range(repeats):
        if give_up():
            raise AgentError(ErrorCode.DEADLINE, "the controller has gone")
        start = time.monotonic_ns()
        connection.send_tensor(0, number, data)
        header = connection.receive_header()
        trips.append(time.monotonic_ns() - start)
        if header.type is not Type.CREDIT or header.sequence != number:
            raise FramingError("type", expected=f"CREDIT #{number}", got=str(header))
    return trips


def _burst(connection: Connection, data: memoryview, messages: int) -> dict[str, int]:
    cpu = time.thread_time_ns()
    connection.send(ProbeBurst(messages, len(data)))
    for number in range(messages):
        connection.send_tensor(0, number, data)
    cpu = time.thread_time_ns() - cpu
    _, report = connection.receive(timeout_s=PROBE_TIMEOUT_S, allowed=(Type.PROBE_REPORT,))
    return {
        "burst_bytes": report.bytes,
        "burst_receive_ns": report.receive_ns,
        "burst_send_cpu_ns": cpu,
        "burst_receive_cpu_ns": report.cpu_ns,
        "burst_messages": messages,
        "burst_size": len(data),
    }


def _burst_beside(
    connection: Connection, data: memoryview, messages: int, request: _Request, store: FileStore, give_up: GiveUp
) -> dict[str, Any]:
    """The burst again while a model runs, and runs without a burst before: what sending takes from computing.

    The processor time of the sending calls is not all: timers, acknowledgements and spoilt caches cost too.
    """
    timer = _Timer(open_session(store.lay_out(request.model, request.companions), request.options()), give_up)
    timer.warm_up(request.warmup)
    alone = [timer.run()[0] for _ in range(request.runs)]
    with ThreadPoolExecutor(1) as pool:
        burst = pool.submit(_burst, connection, data, messages)
        beside = [timer.run()[0]]
        while not burst.done():
            beside.append(timer.run()[0])
    figures = burst.result()
    return {
        "alone_ns": alone,
        "beside_ns": beside[:-1] or beside,  # the last run went on when the burst was over
        "beside_bytes": figures["burst_bytes"],
        "beside_receive_ns": figures["burst_receive_ns"],
    }


def serve_probe(connection: Connection) -> None:
    """The other end: acknowledge every message, time every burst. Raises WireError when it ends."""
    connection.send(Ok())
    connection.make_blocking()
    buffer = memoryview(bytearray(1 << 20))
    while True:
        header = connection.receive_header()
        if header.type is Type.PROBE_BURST:
            burst: ProbeBurst = connection.receive_payload(header)
            connection.send(_receive_burst(connection, burst, buffer))
            connection.make_blocking()
        elif header.type is Type.TENSOR:
            _discard(connection, header.length, buffer)
            connection.send_signal(Type.CREDIT, sequence=header.sequence)
        else:
            raise FramingError("type", expected="TENSOR or PROBE_BURST", got=str(header))


def _receive_burst(connection: Connection, burst: ProbeBurst, buffer: memoryview) -> ProbeReport:
    if burst.messages > MAX_PROBE_MESSAGES or burst.size > MAX_PROBE_BYTES:
        raise FramingError("burst", expected="within the bounds of a probe", got=str(burst))
    cpu = time.thread_time_ns()
    start, total = 0, 0
    for _ in range(burst.messages):
        header = connection.receive_header()
        start = start or time.monotonic_ns()
        _discard(connection, header.length, buffer)
        total += header.length
    return ProbeReport(total, time.monotonic_ns() - start, time.thread_time_ns() - cpu)


def _discard(connection: Connection, length: int, buffer: memoryview) -> None:
    if length > MAX_PROBE_BYTES:
        raise FramingError("length", expected=f"at most {MAX_PROBE_BYTES} in a probe", got=str(length))
    while length:
        part = min(length, len(buffer))
        connection.receive_into(buffer[:part])
        length -= part
