"""Benches of both kinds of boards: agents and microcontrollers, joined by the host."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from firmware_interface.messages import Mode
from hil.deploy import Deployment, deploy
from hil.errors import DeviceTimeoutError
from hil.lab_types import Lab
from hil.mcu_deploy import McuDeployment, deploy_mcus
from hil.mcu_gateway import Gateway
from hil.mcu_images import mcu_boards
from hil.mcu_run import McuFrames
from hil.run_streams import FINISH_TIMEOUT_S, Streams
from optimizer.split_manifest import Bundle

__all__ = ["Mixed", "Tell", "deploy_mixed", "run_mixed"]

Array = npt.NDArray[Any]
Tell = Callable[[str], None]
_LOOK_S = 2.0


@dataclass(frozen=True)
class Mixed:
    """A bundle on both kinds of boards."""

    agents: Deployment
    small: McuDeployment

    def start(self, mode: Mode, frames: int) -> None:
        """Begin a run: the side of the source last."""
        if self.agents.bundle.source in self.small.boards:
            self.agents.start(mode, frames)
            self.small.start()
        else:
            self.small.start()
            self.agents.start(mode, frames)


@contextmanager
def deploy_mixed(
    bundle: Bundle, lab: Lab, *, stimuli: Mapping[str, Array] | None = None, tell: Tell = lambda _: None
) -> Iterator[Mixed]:
    """Flash the microcontroller boards, load the agents, open the links between. Raises as `deploy`, `deploy_mcus`."""
    others = [name for name in bundle.boards if name not in mcu_boards(bundle, lab)]
    with (
        Gateway(bundle, lab) as gateway,
        deploy_mcus(bundle, lab, tell=tell) as small,
        deploy(bundle, gateway.lab(), stimuli=stimuli, progress=tell, only=others) as agents,
    ):
        small.gateway = gateway
        gateway.connect(agents.id)
        yield Mixed(agents, small)


def run_mixed(bundle: Bundle, lab: Lab, inputs: Mapping[int, Array], *, stall_s: float, tell: Tell) -> dict[int, Array]:
    """Feed frames (frames, *shape) by input tensor; outputs likewise. Raises as `deploy_mixed`."""
    frames = len(next(iter(inputs.values())))
    tensors = {t.id: t for t in bundle.tensors}
    results = {t: np.empty((frames, *tensors[t].shape), np.dtype(tensors[t].dtype)) for t in bundle.outputs}
    with deploy_mixed(bundle, lab, tell=tell) as mixed:
        mixed.small.configure("run")
        streams = Streams(mixed.agents, [tensors[t] for t in bundle.inputs], inputs, results, frames)
        ends = McuFrames(mixed.small, inputs)
        with streams.opened() as begin:
            mixed.start(Mode.RUN, frames)
            begin()
            _until_done(mixed, streams, ends, frames, stall_s, tell)
            _give_back(mixed, frames)
        mixed.small.stop()
    if bundle.sink in mixed.small.boards:
        return {t: np.stack(found) for t, found in ends.results.items()}
    return results


def _until_done(mixed: Mixed, streams: Streams, ends: McuFrames, frames: int, stall_s: float, tell: Tell) -> None:
    small_sink = mixed.agents.bundle.sink in mixed.small.boards
    done, moved = -1, time.monotonic()
    looked = moved
    while True:
        ends.serve()
        complete = min(len(r) for r in ends.results.values()) if small_sink else min(streams.received.values())
        now = time.monotonic()
        if complete != done:
            done, moved = complete, now
            tell(f"{done} of {frames} frames")
        if complete >= frames:
            return
        if now - looked > _LOOK_S:
            looked = now
            mixed.small.statistics("run")
            mixed.agents.statistics("run")
            streams.check()
        if now - moved > stall_s:
            raise DeviceTimeoutError(
                f"no output for {stall_s:.0f} s after {done} frames", phase="run", board=mixed.agents.bundle.sink
            )


def _give_back(mixed: Mixed, frames: int) -> None:
    """Let the last credits go back to the agents: they end a run when every frame is used up."""
    end = time.monotonic() + FINISH_TIMEOUT_S
    while not mixed.small.all_released(frames) and time.monotonic() < end:
        mixed.small.turn()
    mixed.agents.finish(frames, FINISH_TIMEOUT_S)
