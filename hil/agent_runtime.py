"""A deployment on this board: sessions, slots, links to the neighbours, and one run after the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from firmware_interface.auth import opening
from firmware_interface.errors import FramingError, RemoteError, WireError
from firmware_interface.messages import ErrorCode, Hello, Mode, Ok, Purpose, Type
from firmware_interface.transport import Connection, connect
from hil.agent_deployment import Deployment
from hil.agent_links import Inlet, Outlet
from hil.agent_model import ORT_ERRORS, Array, Runner, aligned, open_session, session_options
from hil.agent_progress import Waiter
from hil.agent_reading import LinkReader
from hil.agent_run import Run
from hil.agent_store import AgentError, FileStore

__all__ = ["Runtime"]

CONNECT_TIMEOUT_S = 5.0
FINISH_POLL_S = 0.002
WARMUP_RUNS = 2  # the first allocates, the second shows that it was enough
MAX_RUN_INPUT_BYTES = 256 << 20  # of run inputs that wait on this board


class Runtime:
    """Holds what LOAD made until UNLOAD. Control calls come from one thread; links have their own."""

    def __init__(self, deployment: Deployment, store: FileStore, spawn: Callable[..., None]) -> None:
        """Load the segments and make the slots. ``spawn(name, function, *arguments)`` starts a thread."""
        self.deployment = deployment
        self._spawn = spawn
        self._out: dict[str, Connection] = {}
        self._in: dict[str, Connection] = {}
        self._output: Connection | None = None
        self._others: list[Connection] = []
        self._out_readers: dict[str, LinkReader] = {}
        self._in_readers: dict[str, LinkReader] = {}
        self.run: Run | None = None
        self.closed = False
        self._slots: dict[int, list[Array]] = {}
        for tensor in deployment.tensors.values():
            if tensor.origin != "input":
                self._slots[tensor.id] = [aligned(tensor.shape, tensor.dtype) for _ in range(tensor.depth)]
        self._stimuli = {t: self._read_stimuli(t, store) for t in deployment.stimuli}
        start = time.monotonic_ns()
        self._sessions = {s.name: self._session(s.name, store) for s in deployment.segments.values()}
        self._warm_up()
        self._load_ns = time.monotonic_ns() - start

    def _read_stimuli(self, tensor: int, store: FileStore) -> list[Array]:
        spec = self.deployment.tensors.get(tensor)
        if spec is None or spec.origin != "input":
            raise AgentError(ErrorCode.BAD_DEPLOYMENT, f"stimuli for tensor {tensor}, which is no input here")
        raw = store.path(self.deployment.stimuli[tensor]).read_bytes()
        if not raw or spec.size_bytes == 0 or len(raw) % spec.size_bytes:
            text = f"{len(raw)} bytes are not a whole number of frames of {spec.size_bytes}"
            raise AgentError(ErrorCode.BAD_DEPLOYMENT, f"stimuli of {spec.name}: {text}")
        frames = np.frombuffer(raw, dtype=spec.dtype).reshape(-1, *spec.shape)
        arrays = [aligned(spec.shape, spec.dtype) for _ in frames]
        for array, frame in zip(arrays, frames, strict=True):
            array[...] = frame
        return arrays

    def _session(self, name: str, store: FileStore) -> Any:
        segment = self.deployment.segments[name]
        path = store.lay_out(segment.sha256, segment.companions)
        options = session_options(self.deployment.level, self.deployment.threads, arena=self.deployment.arena)
        return open_session(path, options)

    def _input_slots(self, mode: Mode) -> dict[int, list[Array]]:
        """Slots of the model inputs: the stimuli themselves, or a ring for what the host sends."""
        slots: dict[int, list[Array]] = {}
        for tensor in self.deployment.tensors.values():
            if tensor.origin != "input":
                continue
            stimuli = self._stimuli.get(tensor.id)
            if mode is not Mode.RUN and stimuli:
                slots[tensor.id] = stimuli
            elif mode is Mode.RUN:
                slots[tensor.id] = [aligned(tensor.shape, tensor.dtype) for _ in range(self.input_window)]
            else:
                raise AgentError(ErrorCode.WRONG_STATE, f"no stimuli for input {tensor.name}; put them first")
        return slots

    @property
    def input_window(self) -> int:
        """Frames of run input that may wait here."""
        sizes = [t.size_bytes for t in self.deployment.tensors.values() if t.origin == "input"]
        return max(1, min(self.deployment.input_window, MAX_RUN_INPUT_BYTES // max(1, sum(sizes))))

    def _runners(self, slots: dict[int, list[Array]]) -> dict[str, Runner]:
        tensors = self.deployment.tensors
        return {
            s.name: Runner(
                self._sessions[s.name],
                {tensors[t].name: slots[t] for t in s.inputs},
                {tensors[t].name: slots[t] for t in s.outputs},
            )
            for s in self.deployment.segments.values()
        }

    def _warm_up(self) -> None:
        zeros = {t.id: [aligned(t.shape, t.dtype)] for t in self.deployment.tensors.values() if t.origin == "input"}
        try:
            for runner in self._runners(self._slots | zeros).values():
                for _ in range(WARMUP_RUNS):
                    runner.run(0)
        except ORT_ERRORS as error:
            raise AgentError(ErrorCode.MODEL, f"a segment does not run: {error}") from error

    def report(self) -> dict[str, Any]:
        """For LOADED."""
        return {
            "load_ns": self._load_ns,
            "input_window": self.input_window,
            "buffer_bytes": sum(a.nbytes for arrays in self._slots.values() for a in arrays),
            "segments": sorted(self._sessions),
        }

    # Links

    def connect(self, key: bytes) -> None:
        """Open all outgoing links. Raises AgentError PEER that names the link."""
        for link in self.deployment.out_links.values():
            if link.name in self._out:
                continue
            try:
                connection = connect(link.host, link.port, CONNECT_TIMEOUT_S)
                try:
                    self._open_link(connection, key, link.name, link.to)
                except WireError:
                    connection.close()
                    raise
            except WireError as error:
                raise AgentError(
                    ErrorCode.PEER, f"link {link.name} to {link.to} at {link.host}:{link.port}: {error}"
                ) from error
            self._out[link.name] = connection
            what = f"link {link.name} to {link.to}"
            reader = LinkReader(what, connection, Outlet(link.name))
            self._out_readers[link.name] = reader
            self._spawn(f"link {link.name}", self._guarded, what, partial(reader.serve, self._current_run))

    def _open_link(self, connection: Connection, key: bytes, name: str, to: str) -> None:
        opening(
            connection,
            key,
            purpose=Purpose.LINK,
            sender=self.deployment.board,
            receiver=to,
            subject=f"{name} {self.deployment.id}",
        )
        _, answer = connection.receive(timeout_s=CONNECT_TIMEOUT_S, allowed=(Type.OK, Type.ERROR))
        if not isinstance(answer, Ok):
            known = answer.code in set(ErrorCode)
            raise RemoteError(ErrorCode(answer.code).name if known else str(answer.code), answer.text)
        connection.make_blocking()

    def serve_connection(self, hello: Hello, connection: Connection) -> None:
        """Thread of an accepted LINK, INPUT or OUTPUT connection, until it ends.

        Raises AgentError when the connection does not fit the deployment, WireError when it breaks at once.
        """
        name, _, deployment = hello.subject.rpartition(" ")
        if deployment != self.deployment.id:
            raise AgentError(ErrorCode.WRONG_STATE, "this board has another deployment")
        serve: Callable[[], None]
        if hello.purpose == Purpose.LINK:
            link = self.deployment.in_links.get(name)
            if link is None or link.sender != hello.sender or name in self._in:
                raise AgentError(ErrorCode.PEER, f"no link {name!r} from {hello.sender} is awaited here")
            self._in[name] = connection
            what = f"link {name} from {hello.sender}"
            reader = LinkReader(what, connection, Inlet(name))
            self._in_readers[name] = reader
            serve = partial(reader.serve, self._current_run)
        elif hello.purpose == Purpose.INPUT:
            serve = partial(self._serve_input, connection)
        else:
            self._output = connection
            serve = partial(self._serve_output, connection)
        self._others.append(connection)
        connection.send(Ok(), timeout_s=CONNECT_TIMEOUT_S)
        connection.make_blocking()
        self._guarded(f"{name} from {hello.sender}", serve)

    def _current_run(self) -> Run:
        run = self.run
        if run is None:
            raise FramingError("type", expected="nothing before START", got="a message")
        return run

    def _guarded(self, what: str, serve: Callable[[], None]) -> None:
        """Run until the connection ends; outside of a run that is no failure yet."""
        try:
            serve()
        except WireError as error:
            run = self.run
            if run is not None and not self.closed and not run.drained():
                run.fail(f"{what}: {error}")

    def _serve_output(self, connection: Connection) -> None:
        header = connection.receive_header()  # the host only listens here: this ends when it closes
        raise FramingError("type", expected="nothing", got=str(header))

    def _serve_input(self, connection: Connection) -> None:
        waiter = Waiter("input")
        while True:
            self._receive_input(waiter, connection)

    def _receive_input(self, waiter: Waiter, connection: Connection) -> None:
        """Take one run input from the host into its ring."""
        header = connection.receive_header()
        run, frame = self._current_run(), header.sequence
        tensor = self.deployment.tensors.get(header.channel)
        if header.type is not Type.TENSOR or tensor is None or tensor.origin != "input":
            raise FramingError("type", expected="a TENSOR of an input", got=str(header))
        progress, number, room = run.progress, tensor.id, self.input_window
        if frame != progress.available[number] or header.length != tensor.size_bytes:
            raise FramingError("sequence", expected=f"the next frame of {tensor.name}", got=str(header))
        progress.wait(
            waiter,
            lambda: progress.ended[number] + room > frame,
            lambda: f"room for {tensor.name} frame {frame}",
        )
        connection.receive_into(run.view(number, frame))
        run.publish(tensor, frame)

    # Runs

    def start(self, mode: Mode, frames: int) -> None:
        """Begin a run. Raises AgentError WRONG_STATE, BAD_MESSAGE."""
        if self.run is not None and not self.run.drained():
            raise AgentError(ErrorCode.WRONG_STATE, "a run is going on; FINISH it first")
        if mode is not Mode.MEASURE and frames == 0:
            raise AgentError(ErrorCode.BAD_MESSAGE, f"{mode.name} needs a number of frames")
        missing = [n for n in self.deployment.in_links if n not in self._in]
        missing += [n for n in self.deployment.out_links if n not in self._out]
        if missing:
            raise AgentError(ErrorCode.WRONG_STATE, f"links not set up yet: {', '.join(missing)}")
        if self.run is not None:
            self.run.close()
        slots = self._slots | self._input_slots(mode)
        self.run = Run(
            self.deployment,
            mode,
            frames,
            self._runners(slots),
            slots,
            self._out,
            self._in,
            self._out_readers,
            self._in_readers,
        )
        if self.run.sink is not None:
            self.run.sink.output_connection = self._output
        self.run.start()

    def stop(self) -> int:
        """At the source: start no further frame; how many there are. Raises AgentError WRONG_STATE."""
        return self._running().stop_input()

    def finish(self, frames: int, give_up: Callable[[], bool]) -> dict[str, Any]:
        """Serve frames below ``frames`` to the end; the statistics.

        Raises AgentError RUN_FAILED when the run fails, DEADLINE when ``give_up()`` says so.
        """
        run = self._running()
        run.limit_frames(frames)
        while not run.drained():
            if run.progress.stopped:
                raise AgentError(ErrorCode.RUN_FAILED, run.progress.failure or "the run was stopped")
            if give_up():
                raise AgentError(ErrorCode.DEADLINE, f"still waiting: {run.statistics()['waiting']}")
            time.sleep(FINISH_POLL_S)
        return run.statistics()

    def _running(self) -> Run:
        if self.run is None:
            raise AgentError(ErrorCode.WRONG_STATE, "no run has been started")
        return self.run

    def statistics(self) -> dict[str, Any]:
        """Counters of the run. Raises AgentError WRONG_STATE."""
        return self._running().statistics()

    def close(self) -> None:
        """Stop the run, close all links, free the sessions."""
        self.closed = True
        if self.run is not None:
            self.run.fail("the deployment was taken away")
        for connection in (*self._out.values(), *self._others):
            connection.close()
        if self.run is not None:
            self.run.close()
        self._sessions.clear()
        self._slots.clear()
        self._stimuli.clear()
