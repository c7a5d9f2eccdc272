"""A control connection, served: one request after the other, until it closes. Then everything is freed."""

from __future__ import annotations

import os
import platform
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime as ort

from firmware_interface import messages as m
from firmware_interface.errors import MessageError, WireError
from firmware_interface.messages import ErrorCode
from firmware_interface.transport import Connection
from hil.agent_bench import probe_link, profile_model, time_model
from hil.agent_deployment import parse_deployment
from hil.agent_runtime import Runtime
from hil.agent_store import AgentError, FileStore

__all__ = ["Board", "ControlSession"]

FINISH_TIMEOUT_S = 120.0  # a drain is a few frames; a board that needs longer is stuck
GONE_CHECK_S = 0.2


class Board:
    """What an agent's connections share: name and key, the store, who controls it, the deployment."""

    def __init__(self, name: str, key: bytes, store: FileStore, threads: int, spawn: Callable[..., None]) -> None:
        self.name, self.key, self.store, self.threads = name, key, store, threads
        self.spawn = spawn
        self.runtime: Runtime | None = None
        self._controller: object | None = None
        self._lock = threading.Lock()

    def acquire(self, session: object) -> None:
        """Take control of the board. Raises AgentError BUSY."""
        with self._lock:
            if self._controller is not None and self._controller is not session:
                raise AgentError(ErrorCode.BUSY, "another controller holds this board; try again when it is done")
            self._controller = session

    def controlled_by(self, session: object) -> bool:
        """Whether this session is the controller."""
        with self._lock:
            return self._controller is session

    def release(self, session: object) -> None:
        """Give control back and free what was deployed."""
        with self._lock:
            if self._controller is not session:
                return
        self.unload()
        with self._lock:
            self._controller = None

    def unload(self) -> None:
        """Free the deployment."""
        runtime, self.runtime = self.runtime, None
        if runtime is not None:
            runtime.close()

    def state(self) -> str:
        """One word: idle, held or deployed."""
        if self.runtime is not None:
            return "deployed"
        return "held" if self._controller is not None else "idle"

    def facts(self) -> dict[str, Any]:
        """For IDENTITY."""
        affinity = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        return {
            "hostname": socket.gethostname(),
            "pid": os.getpid(),
            "python": platform.python_version(),
            "onnxruntime": ort.__version__,
            "numpy": np.__version__,
            "machine": platform.machine(),
            "system": f"{platform.system()} {platform.release()}",
            "cpu_count": os.cpu_count() or 1,
            "cores": affinity,
            "threads": self.threads,
            "protocol": m.PROTOCOL_VERSION,
            "clock": {
                "name": "monotonic",
                "resolution_ns": round(time.get_clock_info("monotonic").resolution * 1e9),
            },
            "switch_interval_s": sys.getswitchinterval(),
            "state": self.state(),
        }


class ControlSession:
    """Answers the requests of one control connection."""

    def __init__(self, board: Board, connection: Connection) -> None:
        self._board, self._connection = board, connection
        self._put_refused: AgentError | None = None
        self._handlers: dict[type[Any], Callable[[Any], Any]] = {
            m.Ping: lambda r: m.Pong(r.token, time.monotonic_ns()),
            m.Identify: lambda _: m.Identity(board.name, board.facts()),
            m.FileQuery: lambda r: m.FileState(*board.store.state(r.sha256)),
            m.FileBegin: self._file_begin,
            m.FileChunk: self._file_chunk,
            m.FileEnd: self._file_end,
            m.FileRead: self._file_read,
            m.Load: self._load,
            m.Connect: self._connect,
            m.Unload: self._unload,
            m.Start: self._start,
            m.Stop: lambda _: m.Stopped(self._runtime().stop()),
            m.Finish: self._finish,
            m.Status: lambda _: m.Statistics(self._runtime().statistics()),
            m.ProfileModel: self._profile,
            m.TimeModel: self._time,
            m.ProbeLink: self._probe,
        }

    def serve(self) -> None:
        """Until the other side says goodbye or vanishes. Raises WireError; frees everything in any case."""
        try:
            while self._serve_one():
                pass
        finally:
            self._board.release(self)

    def _serve_one(self) -> bool:
        try:
            header, request = self._connection.receive()
        except MessageError as error:
            # The frame was whole, only its payload is wrong: say so and go on.
            self._connection.send(m.Error(ErrorCode.BAD_MESSAGE, str(error)))
            return True
        if isinstance(request, m.Bye):
            return False
        handler = self._handlers.get(type(request))
        answer: Any
        if handler is None:
            answer = m.Error(ErrorCode.UNSUPPORTED, f"{header.type.name} is no request to an agent")
        else:
            try:
                answer = handler(request)
            except AgentError as error:
                answer = m.Error(error.code, error.text[: m.MAX_ERROR_TEXT])
            except OSError as error:
                answer = m.Error(ErrorCode.STORAGE, str(error)[: m.MAX_ERROR_TEXT])
        if answer is not None:
            self._connection.send(answer, sequence=header.sequence)
        return True

    def _give_up(self, timeout_s: float) -> Callable[[], bool]:
        """True once the controller has gone or the time is over; cheap enough to ask often."""
        end = time.monotonic() + timeout_s
        checked = time.monotonic()

        def gone() -> bool:
            nonlocal checked
            now = time.monotonic()
            if now - checked < GONE_CHECK_S:
                return False
            checked = now
            return now > end or self._connection.peer_gone()

        return gone

    def _runtime(self) -> Runtime:
        self._board.acquire(self)
        if self._board.runtime is None:
            raise AgentError(ErrorCode.WRONG_STATE, "nothing is deployed on this board; LOAD first")
        return self._board.runtime

    def _file_begin(self, request: m.FileBegin) -> None:
        """Not answered, like the chunks that are on their way already: FILE_END says how it went."""
        self._put_refused = None
        try:
            self._board.acquire(self)
        except AgentError as error:
            self._put_refused = error
            return
        self._board.store.begin(request.sha256, request.size)

    def _file_chunk(self, request: m.FileChunk) -> None:
        if self._put_refused is None and self._board.controlled_by(self):
            self._board.store.chunk(request.offset, request.data)

    def _file_end(self, _: m.FileEnd) -> m.FileState:
        if self._put_refused is not None:
            raise self._put_refused
        self._board.acquire(self)
        return m.FileState(*self._board.store.end())

    def _file_read(self, request: m.FileRead) -> m.FileChunk:
        length = min(request.length, m.MAX_CHUNK_BYTES)
        return m.FileChunk(request.offset, self._board.store.read(request.sha256, request.offset, length))

    def _load(self, request: m.Load) -> m.Loaded:
        self._board.acquire(self)
        if self._board.runtime is not None:
            raise AgentError(ErrorCode.WRONG_STATE, "a deployment is loaded already; UNLOAD it first")
        deployment = parse_deployment(request.deployment, self._board.name)
        self._board.runtime = Runtime(deployment, self._board.store, self._board.spawn)
        return m.Loaded(self._board.runtime.report())

    def _connect(self, _: m.Connect) -> m.Ok:
        self._runtime().connect(self._board.key)
        return m.Ok()

    def _unload(self, _: m.Unload) -> m.Ok:
        self._board.acquire(self)
        self._board.unload()
        return m.Ok()

    def _start(self, request: m.Start) -> m.Ok:
        if request.mode not in set(m.Mode):
            raise AgentError(ErrorCode.BAD_MESSAGE, f"mode {request.mode}")
        self._runtime().start(m.Mode(request.mode), request.frames)
        return m.Ok()

    def _finish(self, request: m.Finish) -> m.Statistics:
        return m.Statistics(self._runtime().finish(request.frames, self._give_up(FINISH_TIMEOUT_S)))

    def _profile(self, request: m.ProfileModel) -> m.ModelProfile:
        self._board.acquire(self)
        gone = self._give_up(float("inf"))
        return m.ModelProfile(profile_model(request.request, self._board.store, gone))

    def _time(self, request: m.TimeModel) -> m.ModelTimes:
        self._board.acquire(self)
        return m.ModelTimes(time_model(request.request, self._board.store, self._give_up(float("inf"))))

    def _probe(self, request: m.ProbeLink) -> m.LinkFigures:
        self._board.acquire(self)
        gone = self._give_up(float("inf"))
        board = self._board
        return m.LinkFigures(probe_link(request.request, board.name, board.key, board.store, gone))


def close_quietly(connection: Connection, code: ErrorCode, text: str) -> None:
    """Say why and close; the other side may have gone already."""
    try:
        connection.send(m.Error(code, text[: m.MAX_ERROR_TEXT]), timeout_s=1.0)
    except WireError:
        pass  # nobody is left to be told
    finally:
        connection.close()
