"""Measure a bundle on the boards of a lab: throughput in windows, latency of single frames, times per stage."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.deploy import Progress, Settings
from hil.deploy_bundle import open_bundle
from hil.errors import DeviceError, MeasurementAbortedError
from hil.lab_types import Lab
from hil.measure_sessions import MIN_WINDOWS, Plan, session_of
from hil.measurement import Measurement, save_measurement
from optimizer.split_manifest import Bundle

__all__ = ["MIN_WINDOWS", "Plan", "measure", "random_stimuli"]

Array = npt.NDArray[Any]
STALL_S = 30.0
STIMULI = 4  # different frames that the source repeats: enough to notice a mix-up


def measure(
    bundle_dir: Path,
    lab: Lab,
    *,
    windows: int | None = None,
    window_s: float | None = None,
    warmup_s: float | None = None,
    latency_frames: int | None = None,
    quick: bool = False,
    settings: Settings | None = None,
    inputs: Mapping[str, Array] | None = None,
    output: Path | None = None,
    stall_s: float = STALL_S,
    progress: Progress = lambda _: None,
) -> Measurement:
    """Measure; write the result to ``output`` if given.

    Defaults: 3 s warm-up, 6 windows of 10 s, 50 single frames; ``quick``: 1 s, 6 of 2 s, 20. ``inputs``: by
    name (frames, *shape), repeated; random ones by default. Raises ValueError for impossible settings,
    LabError, BundleError, DeviceError before anything was measured, MeasurementAbortedError after (its
    ``partial`` is written too, marked as such), OSError when ``output`` cannot be written.
    """
    plan = Plan.of(windows, window_s, warmup_s, latency_frames, quick)
    bundle = open_bundle(bundle_dir)
    stimuli = inputs if inputs is not None else random_stimuli(bundle)
    session = session_of(bundle, lab)(bundle, lab, plan, stall_s, progress)
    try:
        session.run(stimuli, settings)
    except DeviceError as error:
        if not session.has_begun:
            raise
        partial = session.result(failure=str(error))
        if output is not None:
            save_measurement(output, partial)
        raise MeasurementAbortedError(error, partial) from error
    measurement = session.result()
    if output is not None:
        save_measurement(output, measurement)
    return measurement


def random_stimuli(bundle: Bundle, frames: int = STIMULI) -> dict[str, Array]:
    """Frames by a fixed seed: floats around 0, bytes over their range, wider integers 0 (often indices)."""
    generator = np.random.default_rng(0)
    stimuli: dict[str, Array] = {}
    for tensor in bundle.tensors:
        if tensor.id not in bundle.inputs:
            continue
        dtype = np.dtype(tensor.dtype)
        shape = (frames, *tensor.shape)
        if dtype.kind == "f":
            stimuli[tensor.name] = generator.standard_normal(shape).astype(dtype)
        elif dtype.itemsize == 1 and dtype.kind in "iu":
            stimuli[tensor.name] = generator.integers(0, 127, shape).astype(dtype)
        else:
            stimuli[tensor.name] = np.zeros(shape, dtype)
    return stimuli
