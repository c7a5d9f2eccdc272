"""Frames through microcontroller boards: inputs from the host to the source, outputs from the sink to the host."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.errors import DeviceTimeoutError
from hil.lab_types import Lab
from hil.mcu_deploy import McuDeployment, deploy_mcus
from hil.mcu_images import from_wire, to_wire
from optimizer.split_manifest import Bundle, BundleTensor

__all__ = ["McuFrames", "run_mcus", "wire_frames"]

Array = npt.NDArray[Any]
_LOOK_S = 2.0  # how soon a board that was reset is noticed


def run_mcus(
    bundle: Bundle, lab: Lab, inputs: Mapping[int, Array], *, stall_s: float, tell: Callable[[str], None]
) -> dict[int, Array]:
    """Feed frames (frames, *shape) by input tensor; the outputs (frames, *shape) by tensor. Raises as `deploy_mcus`."""
    with deploy_mcus(bundle, lab, tell=tell) as deployment:
        deployment.configure("run")
        deployment.start()
        found = McuFrames(deployment, inputs).run(stall_s, tell)
        deployment.stop()
    return found


def wire_frames(deployment: McuDeployment, inputs: Mapping[int, Array]) -> dict[int, list[bytes]]:
    """Input frames as their boards take them, by tensor."""
    tensors = {t.id: t for t in deployment.bundle.tensors}
    return {t: [to_wire(frame, deployment.layout(tensors[t])) for frame in array] for t, array in inputs.items()}


class McuFrames:
    """Inputs on their way in, outputs on their way out."""

    def __init__(self, deployment: McuDeployment, inputs: Mapping[int, Array]) -> None:
        self._deployment = deployment
        self._tensors: dict[int, BundleTensor] = {t.id: t for t in deployment.bundle.tensors}
        self._frames = len(next(iter(inputs.values())))
        self._waiting = wire_frames(deployment, inputs)
        self._results: dict[int, list[Array]] = {t: [] for t in deployment.bundle.outputs}

    def run(self, stall_s: float, tell: Callable[[str], None]) -> dict[int, Array]:
        """Until all outputs are there. Raises DeviceError."""
        done, moved = -1, time.monotonic()
        looked = moved
        while (complete := min(len(r) for r in self._results.values())) < self._frames:
            now = time.monotonic()
            if complete != done:
                done, moved = complete, now
                tell(f"{done} of {self._frames} frames")
            if now - looked > _LOOK_S:
                looked = now
                self._look(stall_s, now - moved, done)
            self.serve()
        return {t: np.stack(results) for t, results in self._results.items()}

    def serve(self) -> None:
        """Bring on what can be brought on at the ends that are microcontroller boards."""
        self._deployment.turn()
        bundle, boards = self._deployment.bundle, self._deployment.boards
        if bundle.source in boards:
            self._feed()
        if bundle.sink in boards:
            self._collect()

    @property
    def results(self) -> Mapping[int, list[Array]]:
        """Outputs so far, by tensor."""
        return self._results

    def _look(self, stall_s: float, still_s: float, done: int) -> None:
        counters = self._deployment.statistics("run")
        if still_s > stall_s:
            states = "; ".join(
                f"{name}: {c.frames} frames, {c.parts_sent} parts sent, {c.parts_received} received, phase {c.phase}"
                for name, c in counters.items()
            )
            raise DeviceTimeoutError(
                f"no output for {stall_s:.0f} s after {done} frames; {states}",
                phase="run",
                board=self._deployment.bundle.sink,
            )

    def _feed(self) -> None:
        link = self._deployment.links.get(self._deployment.bundle.source)
        if link is None:
            return
        with self._deployment.source.phase("run"):
            for tensor, frames in self._waiting.items():
                while link.queued(tensor) < self._frames and link.has_room(tensor) and link.is_idle:
                    link.put(tensor, frames[link.queued(tensor)])

    def _collect(self) -> None:
        link = self._deployment.links[self._deployment.bundle.sink]
        with self._deployment.sink.phase("run"):
            for tensor, results in self._results.items():
                while (data := link.take(tensor)) is not None:
                    described = self._tensors[tensor]
                    results.append(from_wire(data, described, self._deployment.layout(described)))
                link.release(tensor, len(results))
