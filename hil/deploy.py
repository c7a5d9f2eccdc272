"""Bring a bundle to the boards of a lab and keep it there while it is used."""

from __future__ import annotations

import math
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from firmware_interface.messages import Mode
from hil.agent_deployment import MAX_REPEAT
from hil.deploy_bundle import companion_files
from hil.deploy_document import Settings, board_document
from hil.errors import DeviceError, DeviceLostError
from hil.lab_types import Lab
from hil.targets import connect_agent
from hil.targets.network_agent import NetworkAgent
from hil.targets.target import Identity
from optimizer.split_manifest import Bundle

__all__ = ["Deployment", "Settings", "deploy"]

Array = npt.NDArray[Any]
Progress = Callable[[str], None]


class Deployment:
    """A bundle that is loaded on all its boards, their links open. Made by `deploy`."""

    def __init__(
        self,
        bundle: Bundle,
        deployment_id: str,
        boards: Mapping[str, NetworkAgent],
        reports: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.bundle, self.id = bundle, deployment_id
        self.boards = boards
        self.reports = reports
        """By board: what it said after loading."""

    @property
    def source(self) -> NetworkAgent:
        """The board where frames enter."""
        return self.boards[self.bundle.source]

    @property
    def sink(self) -> NetworkAgent:
        """The board where results leave."""
        return self.boards[self.bundle.sink]

    def start(self, mode: Mode, frames: int) -> None:
        """Begin a run: the source last, so that everybody else is ready for its first frame."""
        for name in sorted(self.boards, key=lambda name: name == self.bundle.source):
            self.boards[name].start(mode, frames)

    def statistics(self, phase: str) -> dict[str, Mapping[str, Any]]:
        """Counters of all boards. Raises DeviceError when a board is lost or its run has failed."""
        return {name: board.statistics(phase) for name, board in self.boards.items()}

    def finish(self, frames: int, timeout_s: float) -> dict[str, Mapping[str, Any]]:
        """Have all boards serve frames below ``frames`` to the end; their counters."""
        return {name: board.finish(frames, timeout_s) for name, board in self.boards.items()}

    def identities(self) -> dict[str, Identity]:
        """Who the boards are."""
        return {name: board.identify() for name, board in self.boards.items()}

    def root_cause(self, error: DeviceError) -> DeviceError:
        """The error to report: when a board has died, its neighbours complain too; the dead one is the cause."""
        if isinstance(error, DeviceLostError):
            return error
        for board in self.boards.values():
            try:
                board.ping()
            except DeviceLostError as lost:
                lost.__cause__ = error
                return DeviceLostError(lost.what, phase=error.phase, board=lost.board, last_message=lost.last_message)
            except DeviceError:
                continue  # alive, or at least not lost: somebody else may be
        return error


@contextmanager
def deploy(
    bundle: Bundle,
    lab: Lab,
    *,
    settings: Settings | None = None,
    stimuli: Mapping[str, Array] | None = None,
    progress: Progress = lambda _: None,
    only: Sequence[str] | None = None,
) -> Iterator[Deployment]:
    """Connect to the bundle's boards, push files, load, open the links; free everything at the end.

    ``stimuli``: by input name, an array (frames, *shape) that the source repeats in a measurement. ``only``: the
    boards to take, where others are not agents.
    Raises LabError, BundleError, DeviceError.
    """
    settings = settings or Settings()
    lab.require(bundle.boards)
    with ExitStack() as stack:
        boards: dict[str, NetworkAgent] = {}
        for name in bundle.boards if only is None else only:
            progress(f"connecting to {name}")
            boards[name] = stack.enter_context(connect_agent(lab, name))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgecut-stimuli-")))
        put_stimuli: dict[int, str] = {}
        if bundle.source in boards:
            put_stimuli = _push_stimuli(bundle, boards[bundle.source], stimuli or {}, folder)
        deployment_id = secrets.token_hex(8)

        def load(name: str) -> Mapping[str, Any]:
            progress(f"loading {name}")
            companions = _push_segments(bundle, boards[name])
            document = board_document(
                bundle,
                name,
                lab,
                deployment_id=deployment_id,
                settings=settings,
                stimuli=put_stimuli,
                repeats_after=_repeats_after(bundle, stimuli) if stimuli and put_stimuli else 0,
                companions=companions,
            )
            return boards[name].load(document)

        with ThreadPoolExecutor(max_workers=min(8, len(boards))) as pool:
            reports = dict(zip(boards, pool.map(load, boards), strict=True))
        progress("connecting the boards")
        for board in boards.values():
            board.connect_links()
        deployment = Deployment(bundle, deployment_id, boards, reports)
        try:
            yield deployment
        except DeviceError as error:
            cause = deployment.root_cause(error)
            if cause is error:
                raise
            raise cause from error


def _push_segments(bundle: Bundle, board: NetworkAgent) -> dict[str, dict[str, str]]:
    """Put the board's segments; hashes of their external data by segment and name."""
    companions: dict[str, dict[str, str]] = {}
    for segment in bundle.segments:
        if segment.board == board.name:
            board.put_file(bundle.directory / segment.file)
            files = companion_files(bundle, segment)
            companions[segment.name] = {name: board.put_file(path) for name, path in files.items()}
    return companions


def _push_stimuli(bundle: Bundle, source: NetworkAgent, stimuli: Mapping[str, Array], folder: Path) -> dict[int, str]:
    hashes: dict[int, str] = {}
    for tensor in bundle.tensors:
        if tensor.name in stimuli and tensor.id in bundle.inputs:
            path = folder / f"{tensor.id}.bin"
            path.write_bytes(np.ascontiguousarray(stimuli[tensor.name]).tobytes())
            hashes[tensor.id] = source.put_file(path)
    return hashes


def _repeats_after(bundle: Bundle, stimuli: Mapping[str, Array]) -> int:
    """Frames after which all inputs repeat at once; 0 where these are too many to remember their outputs."""
    inputs = (t for t in bundle.tensors if t.name in stimuli and t.id in bundle.inputs)
    frames = math.lcm(*(stimuli[t.name].nbytes // max(1, t.size_bytes) for t in inputs))
    return frames if frames <= MAX_REPEAT else 0
