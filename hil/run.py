"""Run a bundle on given inputs and bring the outputs back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hil.deploy import Progress, Settings, deploy
from hil.deploy_bundle import open_bundle
from hil.errors import BundleError
from hil.lab_types import Lab
from hil.mcu_images import mcu_boards
from hil.mcu_run import run_mcus
from hil.mixed import run_mixed
from hil.run_streams import Streams
from optimizer.split_manifest import BundleTensor

__all__ = ["run"]

Array = npt.NDArray[Any]
STALL_S = 60.0  # without a single output: slower than any network we know on any board we know


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
    small = mcu_boards(bundle, lab)
    if frames and len(small) == len(bundle.boards):
        results = run_mcus(bundle, lab, stacked, stall_s=stall_s, tell=progress)
    elif frames and small:
        results = run_mixed(bundle, lab, stacked, stall_s=stall_s, tell=progress)
    elif frames:
        with deploy(bundle, lab, settings=settings, progress=progress) as deployment:
            Streams(deployment, ins, stacked, results, frames).run(stall_s, progress)
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
