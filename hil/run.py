"""Run a bundle on given inputs and bring the outputs back."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from firmware_interface.errors import FramingError, WireError
from firmware_interface.messages import Mode, Purpose, Type
from firmware_interface.transport import Connection
from hil.deploy import Deployment, Progress, Settings, deploy
from hil.deploy_bundle import open_bundle
from hil.errors import BundleError, DeviceFailedError, DeviceTimeoutError
from hil.lab_types import Lab
from hil.mcu_images import mcu_boards
from hil.mcu_run import run_mcus
from optimizer.split_manifest import BundleTensor

__all__ = ["run"]

Array = npt.NDArray[Any]
POLL_S = 0.2
STALL_S = 60.0  # without a single output: slower than any network we know on any board we know
FINISH_TIMEOUT_S = 30.0


def run(
    bundle_dir: Path,
    lab: Lab,
    inputs: Mapping[str, Array],
    *,
    settings: Settings | None = None,
    stall_s: float = STALL_S,
    progress: Progress = lambda _: None,
) -> dict[str, Array]:
    """Feed frames through the boards; the model's outputs by name.

    ``inputs``: by input name, either (frames, *shape) or (frames x batch, *shape[1:]), where shape is the
    model's and batch its first dimension; outputs come in the same form. Raises LabError, BundleError (also
    for inputs that do not fit), DeviceError.
    """
    bundle = open_bundle(bundle_dir)
    tensors = {t.id: t for t in bundle.tensors}
    ins = [tensors[t] for t in bundle.inputs]
    outs = [tensors[t] for t in bundle.outputs]
    stacked, flat = _stacked(ins, inputs)
    frames = len(next(iter(stacked.values())))
    results = {t.id: np.empty((frames, *t.shape), np.dtype(t.dtype)) for t in outs}
    if frames and len(mcu_boards(bundle, lab)) == len(bundle.boards):
        results = run_mcus(bundle, lab, stacked, stall_s=stall_s, tell=progress)
    elif frames:
        with deploy(bundle, lab, settings=settings, progress=progress) as deployment:
            _Streams(deployment, ins, stacked, results, frames).run(stall_s, progress)
    return {t.name: _in_form(results[t.id], flat) for t in outs}


def _stacked(ins: list[BundleTensor], inputs: Mapping[str, Array]) -> tuple[dict[int, Array], bool]:
    """Inputs as (frames, *shape) by tensor, and whether they came with batch and frames in one dimension."""
    names = {t.name for t in ins}
    if set(inputs) != names:
        raise BundleError("inputs do not fit the model", expected=str(sorted(names)), got=str(sorted(inputs)))
    found: dict[int, Array] = {}
    flat = False
    for tensor in ins:
        array = np.asarray(inputs[tensor.name])
        where = f"input {tensor.name}"
        if array.dtype != np.dtype(tensor.dtype):
            raise BundleError("wrong type", where=where, expected=tensor.dtype, got=str(array.dtype))
        if array.shape[1:] == tensor.shape:
            found[tensor.id] = array
        elif tensor.shape and array.shape[1:] == tensor.shape[1:] and not len(array) % tensor.shape[0]:
            found[tensor.id] = array.reshape(-1, *tensor.shape)
            flat = True
        else:
            expected = f"(frames, {', '.join(map(str, tensor.shape))})"
            raise BundleError("wrong shape", where=where, expected=expected, got=str(array.shape))
    if len({len(a) for a in found.values()}) != 1:
        lengths = {t.name: len(found[t.id]) for t in ins}
        raise BundleError("inputs have different numbers of frames", got=str(lengths))
    return found, flat


def _in_form(result: Array, flat: bool) -> Array:
    return result.reshape(-1, *result.shape[2:]) if flat and result.ndim > 1 else result


class _Streams:
    """Feeds inputs and collects outputs at the same time, while the main thread watches the boards."""

    def __init__(
        self,
        deployment: Deployment,
        ins: list[BundleTensor],
        inputs: Mapping[int, Array],
        results: Mapping[int, Array],
        frames: int,
    ) -> None:
        self._deployment, self._ins = deployment, ins
        self._inputs, self._results, self._frames = inputs, results, frames
        self._received = dict.fromkeys(results, 0)
        self._failures: list[tuple[str, str, WireError]] = []

    def run(self, stall_s: float, progress: Progress) -> None:
        """Raises DeviceError."""
        deployment = self._deployment
        output = deployment.sink.open_stream(Purpose.OUTPUT, deployment.id)
        feed = deployment.source.open_stream(Purpose.INPUT, deployment.id)
        threads = [
            threading.Thread(target=self._guard, args=(self._collect, output, deployment.sink.name)),
            threading.Thread(target=self._guard, args=(self._feed, feed, deployment.source.name)),
        ]
        try:
            deployment.start(Mode.RUN, self._frames)
            for thread in threads:
                thread.start()
            self._watch(stall_s, progress)
            deployment.finish(self._frames, FINISH_TIMEOUT_S)
        finally:
            for connection in (feed, output):
                connection.close()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()

    def _watch(self, stall_s: float, progress: Progress) -> None:
        done, since = -1, time.monotonic()
        while (received := min(self._received.values())) < self._frames:
            if received != done:
                done, since = received, time.monotonic()
                progress(f"{done} of {self._frames} frames")
            counters = self._deployment.statistics("run")
            if self._failures and min(self._received.values()) < self._frames:
                board, what, error = self._failures[0]
                raise DeviceFailedError(f"{what}: {error}", phase="run", board=board, code="STREAM") from error
            if time.monotonic() - since > stall_s:
                waits = "; ".join(f"{b}: {c['waiting']}" for b, c in counters.items())
                raise DeviceTimeoutError(
                    f"no output for {stall_s:.0f} s after {done} frames; the boards wait: {waits}",
                    phase="run",
                    board=self._deployment.sink.name,
                )
            time.sleep(min(POLL_S, 0.01 if done < 1 else POLL_S))

    def _guard(self, job: Any, connection: Connection, board: str) -> None:
        try:
            job(connection)
        except WireError as error:
            self._failures.append((board, job.__name__.strip("_") + " stream", error))

    def _feed(self, connection: Connection) -> None:
        for frame in range(self._frames):
            for tensor in self._ins:
                data = np.ascontiguousarray(self._inputs[tensor.id][frame])
                connection.send_tensor(tensor.id, frame, data.reshape(-1).view(np.uint8).data)

    def _collect(self, connection: Connection) -> None:
        while min(self._received.values()) < self._frames:
            header = connection.receive_header()
            result = self._results.get(header.channel)
            if header.type is not Type.TENSOR or result is None or header.sequence >= self._frames:
                raise FramingError("type", expected="a TENSOR of an output", got=str(header))
            view = result[header.sequence].reshape(-1).view(np.uint8).data
            if header.length != len(view):
                raise FramingError("length", expected=str(len(view)), got=str(header))
            connection.receive_into(view)
            self._received[header.channel] = header.sequence + 1
