"""How a bundle is measured on each kind of bench."""

from __future__ import annotations

import platform
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import numpy.typing as npt

from firmware_interface.messages import Mode
from hil.deploy import Deployment, Progress, Settings, deploy
from hil.errors import DeviceTimeoutError
from hil.lab_types import Lab
from hil.mcu_deploy import deploy_mcus
from hil.mcu_images import mcu_boards
from hil.mcu_measure import MAX_DRIFT, McuMeasurement
from hil.measure_figures import Figures, Snapshot, figures
from hil.measurement import LatencyFigures, Measurement, latency_figures
from hil.mixed import deploy_mixed
from hil.mixed_measure import MixedMeasurement
from hil.targets.target import Identity
from optimizer.split_manifest import Bundle

__all__ = ["MIN_WINDOWS", "Plan", "Session", "session_of"]

Array = npt.NDArray[Any]
MIN_WINDOWS = 6  # the smallest sample whose range covers its median with 95 % probability
POLL_S = 0.5  # how soon a dead board is noticed
FINISH_TIMEOUT_S = 110.0
LATENCY_WARMUP = 3  # single frames before the counted ones: caches and clocks settle


@dataclass(frozen=True)
class Plan:
    """How long to measure what."""

    windows: int = MIN_WINDOWS
    window_s: float = 10.0
    warmup_s: float = 3.0
    latency_frames: int = 50
    quick: bool = False

    @classmethod
    def of(
        cls,
        windows: int | None,
        window_s: float | None,
        warmup_s: float | None,
        latency_frames: int | None,
        quick: bool,
    ) -> Plan:
        """Defaults where nothing is given. Raises ValueError."""
        usual = cls(window_s=2.0, warmup_s=1.0, latency_frames=20, quick=True) if quick else cls()
        plan = cls(
            usual.windows if windows is None else windows,
            usual.window_s if window_s is None else window_s,
            usual.warmup_s if warmup_s is None else warmup_s,
            usual.latency_frames if latency_frames is None else latency_frames,
            quick,
        )
        if plan.windows < MIN_WINDOWS:
            raise ValueError(f"{plan.windows} windows; at least {MIN_WINDOWS} are needed for an interval")
        if plan.window_s <= 0 or plan.warmup_s < 0 or plan.latency_frames < 0:
            raise ValueError("windows, warm-up and frames cannot be negative")
        return plan


def session_of(bundle: Bundle, lab: Lab) -> type[Session]:
    """By the kinds of its boards. Raises LabError for boards that the lab lacks."""
    small = len(mcu_boards(bundle, lab))
    if small == 0:
        return _AgentSession
    return _McuSession if small == len(bundle.boards) else _MixedSession


@dataclass(frozen=True)
class _Found:
    """What a session has found so far."""

    figures: Figures
    latency: LatencyFigures | None
    void_windows: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)
    """For the environment."""


class Session(ABC):
    """Measures; `result` makes of what was found until then what it can at any time."""

    def __init__(self, bundle: Bundle, lab: Lab, plan: Plan, stall_s: float, progress: Progress) -> None:
        self._bundle, self._lab, self._plan = bundle, lab, plan
        self._stall_s, self._progress = stall_s, progress
        self._environment: dict[str, Any] = {}

    @abstractmethod
    def run(self, stimuli: Mapping[str, Array], settings: Settings | None) -> None:
        """Windows first, then single frames. Raises DeviceError."""

    @property
    @abstractmethod
    def has_begun(self) -> bool:
        """Whether anything was measured."""

    @abstractmethod
    def _found(self) -> _Found: ...

    def result(self, failure: str = "") -> Measurement:
        """The measurement so far."""
        found, latency = (state := self._found()).figures, state.latency
        prediction = {
            k: float(getattr(self._bundle.prediction, k))
            for k in ("period_s", "throughput_per_s", "latency_s", "energy_j")
        }
        return Measurement(
            model={
                "source": self._bundle.model_source,
                "sha256": self._bundle.model_sha256,
                "batch": self._bundle.batch,
            },
            source=self._bundle.source,
            sink=self._bundle.sink,
            emulated=self._lab.emulated,
            shaping=self._lab.shaping,
            quick=self._plan.quick,
            partial=bool(failure),
            failure=failure,
            warmup_s=self._plan.warmup_s,
            window_s=self._plan.window_s,
            windows=found.windows,
            throughput_per_s=found.throughput_per_s,
            latency=latency,
            stages=found.stages,
            links=found.links,
            modelled=found.modelled,
            prediction=prediction,
            relative_error=_relative_errors(prediction, found.throughput_per_s, latency, self._bundle),
            checksum_mismatches=found.checksum_mismatches,
            environment={**self._environment, **state.extra},
            void_windows=state.void_windows,
        )


class _AgentSession(Session):
    """On boards that run the agent: snapshots of their counters."""

    def __init__(self, bundle: Bundle, lab: Lab, plan: Plan, stall_s: float, progress: Progress) -> None:
        super().__init__(bundle, lab, plan, stall_s, progress)
        self.snapshots: list[Snapshot] = []
        self._latency: LatencyFigures | None = None
        self._last_frames, self._moved = -1, time.monotonic()

    def run(self, stimuli: Mapping[str, Array], settings: Settings | None) -> None:
        """See `Session`."""
        with deploy(self._bundle, self._lab, settings=settings, stimuli=stimuli, progress=self._progress) as deployment:
            reports = {name: r.get("input_window") for name, r in deployment.reports.items()}
            self._environment = {**_environment(deployment.identities(), self._lab), "input_window": reports}
            self._measure_windows(deployment)
            if self._plan.latency_frames:
                self._measure_latency(deployment)

    @property
    def has_begun(self) -> bool:
        """See `Session`."""
        return bool(self.snapshots)

    def _found(self) -> _Found:
        return _Found(figures(self._bundle, self.snapshots), self._latency)

    def _measure_windows(self, deployment: Deployment) -> None:
        plan = self._plan
        deployment.start(Mode.MEASURE, 0)
        self._progress(f"warming up for {plan.warmup_s:g} s")
        self._sleep_until(deployment, time.monotonic() + plan.warmup_s, "warm-up", minimum_frames=1)
        begin = time.monotonic()
        self.snapshots.append(self._snapshot(deployment, "measure"))
        for number in range(1, plan.windows + 1):
            self._sleep_until(deployment, begin + number * plan.window_s, "measure")
            self.snapshots.append(self._snapshot(deployment, "measure"))
            self._progress(f"window {number} of {plan.windows}: {self._window_text()}")
        frames = deployment.source.stop()
        deployment.finish(frames, FINISH_TIMEOUT_S)

    def _measure_latency(self, deployment: Deployment) -> None:
        frames = self._plan.latency_frames + LATENCY_WARMUP
        self._progress(f"latency: {self._plan.latency_frames} single frames")
        self._last_frames, self._moved = -1, time.monotonic()
        deployment.start(Mode.LATENCY, frames)
        while (done := self._snapshot(deployment, "latency").frames) < frames:
            time.sleep(min(POLL_S, 0.05 if done else 0.2))
        counters = deployment.finish(frames, FINISH_TIMEOUT_S)[self._bundle.source]["latency"]
        self._latency = latency_figures(counters["samples_ns"][LATENCY_WARMUP:], counters["return_ns"])

    def _sleep_until(self, deployment: Deployment, end: float, phase: str, minimum_frames: int = 0) -> None:
        """Sleep, looking after the boards; go on until ``minimum_frames`` are complete in any case."""
        while True:
            remaining = end - time.monotonic()
            if remaining > 0:
                time.sleep(min(POLL_S, remaining))
            if end - time.monotonic() > POLL_S / 2 or minimum_frames:
                frames = self._snapshot(deployment, phase).frames
                minimum_frames = 0 if frames >= minimum_frames else minimum_frames
            if time.monotonic() >= end and not minimum_frames:
                return

    def _snapshot(self, deployment: Deployment, phase: str) -> Snapshot:
        """Counters of all boards; notices boards that are lost and pipelines that stand still."""
        counters = deployment.statistics(phase)
        snapshot = Snapshot.of(counters, self._bundle)
        now = time.monotonic()
        if snapshot.frames != self._last_frames:
            self._last_frames, self._moved = snapshot.frames, now
        elif now - self._moved > self._stall_s:
            waits = "; ".join(f"{b}: {c['waiting']}" for b, c in counters.items())
            raise DeviceTimeoutError(
                f"no frame was completed for {self._stall_s:.0f} s; the boards wait: {waits}",
                phase=phase,
                board=self._bundle.sink,
            )
        return snapshot

    def _window_text(self) -> str:
        window = figures(self._bundle, self.snapshots[-2:]).windows[0]
        return f"{window.throughput_per_s:.4g} inferences/s"


class _McuSession(Session):
    """On microcontroller boards: by their own clocks (`hil.mcu_measure`)."""

    _measurement: McuMeasurement | MixedMeasurement | None = None

    def run(self, stimuli: Mapping[str, Array], settings: Settings | None) -> None:
        """See `Session`; there are no settings for such boards."""
        plan = self._plan
        with deploy_mcus(self._bundle, self._lab, tell=self._progress) as deployment:
            identities = {name: board.identify() for name, board in deployment.boards.items()}
            self._environment = _environment(identities, self._lab)
            measurement = McuMeasurement(deployment, self._by_tensor(stimuli), self._stall_s, self._progress)
            self._measurement = measurement
            measurement.windows(plan.windows, plan.window_s, plan.warmup_s)
            if plan.latency_frames:
                measurement.singles(plan.latency_frames, LATENCY_WARMUP)

    def _by_tensor(self, stimuli: Mapping[str, Array]) -> dict[int, Array]:
        return {t.id: stimuli[t.name] for t in self._bundle.tensors if t.id in self._bundle.inputs}

    @property
    def has_begun(self) -> bool:
        """See `Session`."""
        return self._measurement is not None and self._measurement.has_begun

    def _found(self) -> _Found:
        if self._measurement is None:
            return _Found(figures(self._bundle, ()), None)
        found = self._measurement.result()
        drift = {"largest_drift": dict(found.drift), "most_drift": MAX_DRIFT}
        return _Found(found.figures, found.latency, found.void_windows, drift if self._lab.emulated else {})


class _MixedSession(_McuSession):
    """On boards of both kinds, joined by the host: windows only."""

    def run(self, stimuli: Mapping[str, Array], settings: Settings | None) -> None:
        """See `Session`."""
        plan = self._plan
        with deploy_mixed(self._bundle, self._lab, stimuli=stimuli, tell=self._progress) as mixed:
            small = {name: board.identify() for name, board in mixed.small.boards.items()}
            self._environment = _environment({**mixed.agents.identities(), **small}, self._lab)
            measurement = MixedMeasurement(mixed, self._by_tensor(stimuli), self._stall_s, self._progress)
            self._measurement = measurement
            measurement.windows(plan.windows, plan.window_s, plan.warmup_s)


def _relative_errors(
    prediction: Mapping[str, float], throughput: Any, latency: LatencyFigures | None, bundle: Bundle
) -> dict[str, float]:
    measured: dict[str, float] = {}
    if throughput is not None and throughput.median > 0:
        measured["throughput_per_s"] = throughput.median
        measured["period_s"] = bundle.batch / throughput.median
    if latency is not None:
        measured["latency_s"] = latency.p50_s
    return {k: (prediction[k] - v) / v for k, v in measured.items() if v > 0}


def _environment(identities: Mapping[str, Identity], lab: Lab) -> dict[str, Any]:
    try:
        version = metadata.version("edgecut")
    except metadata.PackageNotFoundError:
        version = "unknown"
    return {
        "edgecut_version": version,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": {"hostname": platform.node(), "python": platform.python_version()},
        "lab": str(lab.path),
        "notes": list(lab.notes),
        "boards": {name: dict(i.facts) for name, i in identities.items()},
    }
