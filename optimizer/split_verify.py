"""Does the chain of sub-models compute what the whole model computes? ONNX Runtime answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from optimizer.errors import InternalError, ModelError
from optimizer.graph import Tensor
from optimizer.split_manifest import BundleSegment, BundleTensor, Verification
from optimizer.split_runtime import EXACT_LEVELS, LEVEL_ALL, ORT_ERRORS, open_session

__all__ = ["HALF_TOLERANCE", "TOLERANCE", "random_inputs", "verify_chain"]

TOLERANCE = 1e-5
"""Largest difference allowed at level ALL, relative to the output's largest magnitude."""
HALF_TOLERANCE = 2.0**-7
"""The same, at every level, where float16 tensors cross: ONNX Runtime computes neighbouring half-precision
operators in single precision on a CPU and rounds only what is handed over, so a cut adds a rounding (2^-11)."""

_INTEGER_RANGES = {"uint8": (0, 256), "int8": (-128, 128)}
"""Other integers are indices of something as a rule; 0 and 1 are indices of almost anything."""

_Array = npt.NDArray[np.generic]
_Frame = Mapping[str, _Array]


@dataclass(frozen=True)
class _Difference:
    tensor: str
    bit_exact: bool
    max_abs: float
    max_relative: float
    """Of the output's largest magnitude."""


def verify_chain(
    whole: Path,
    inputs: Sequence[Tensor],
    folder: Path,
    segments: Sequence[BundleSegment],
    tensors: Sequence[BundleTensor],
    random_operators: Sequence[str] = (),
    seeds: Sequence[int] = (0, 1),
    progress: Callable[[str], None] | None = None,
) -> Verification:
    """Compare at every level; ``segments`` in an order in which they can run, files below ``folder``.

    Bit for bit at level EXTENDED, or at the highest level below where fusions across a cut (convolution with
    batch normalisation, say) change the rounding; within the tolerance at ALL and wherever not bit for bit.
    Half-precision models are compared within their tolerance only. Raises InternalError where they differ
    (ModelError where operators that draw random numbers explain it), ModelError where a model does not run.
    """
    half = any(t.dtype in ("float16", "bfloat16") for t in tensors)
    tolerance = HALF_TOLERANCE if half else TOLERANCE
    frames = [random_inputs(inputs, seed) for seed in seeds]
    chain = _Chain(whole, folder, segments, tensors, frames, random_operators)
    for name, level in EXACT_LEVELS.items():
        _report(progress, f"checking the chain at ONNX Runtime level {name}")
        exact = chain.difference(level)
        _require(chain, name, exact, exact.max_relative <= tolerance)
        if exact.bit_exact or half:
            break
    else:
        _require(chain, name, exact, exact.bit_exact)
    _report(progress, "checking the chain at ONNX Runtime level all")
    loose = chain.difference(LEVEL_ALL)
    _require(chain, "all", loose, loose.max_relative <= tolerance)
    return Verification(
        checked=True,
        ort_level=name,
        bit_exact=exact.bit_exact,
        max_abs=exact.max_abs,
        ort_level_all_max_relative=loose.max_relative,
        runs=len(frames),
    )


def random_inputs(inputs: Sequence[Tensor], seed: int) -> dict[str, _Array]:
    """One frame by tensor name: normal floats, whole-range bytes, other integers and booleans 0 or 1."""
    generator = np.random.default_rng(seed)
    return {tensor.name: _random(tensor, generator) for tensor in inputs}


def _random(tensor: Tensor, generator: np.random.Generator) -> _Array:
    if tensor.dtype in ("float16", "float32", "float64"):
        return generator.standard_normal(tensor.shape).astype(tensor.dtype)
    if tensor.dtype == "bool" or tensor.dtype in ("int16", "int32", "int64", "uint16", "uint32", "uint64"):
        return generator.integers(0, 2, tensor.shape).astype(tensor.dtype)
    if tensor.dtype in _INTEGER_RANGES:
        return generator.integers(*_INTEGER_RANGES[tensor.dtype], tensor.shape).astype(tensor.dtype)
    raise ModelError(
        "cannot make random inputs for the check", where=f"input {tensor.name!r}",
        expected="a dtype that NumPy has", got=tensor.dtype, hint="Split without the check (--no-verify).",
    )  # fmt: skip


@dataclass(frozen=True)
class _Chain:
    """Whole model and sub-models, and the frames to run through both. One session is open at a time."""

    whole: Path
    folder: Path
    segments: Sequence[BundleSegment]
    tensors: Sequence[BundleTensor]
    frames: Sequence[_Frame]
    random_operators: Sequence[str]

    def difference(self, level: Any) -> _Difference:
        return _worst(self.run_whole(level), self.run_segments(level))

    def run_whole(self, level: Any) -> list[_Frame]:
        names = [t.name for t in self.tensors if t.to_sink]
        return _run(self.whole, level, names, self.frames)

    def run_segments(self, level: Any) -> list[_Frame]:
        frames = [dict(frame) for frame in self.frames]
        for segment in self.segments:
            names = [self.tensors[i].name for i in segment.outputs]
            for frame, results in zip(frames, _run(self.folder / segment.file, level, names, frames), strict=True):
                frame.update(results)
        outputs = [t.name for t in self.tensors if t.to_sink]
        return [{name: frame[name] for name in outputs} for frame in frames]


def _run(path: Path, level: Any, names: Sequence[str], frames: Sequence[_Frame]) -> list[_Frame]:
    try:
        session = open_session(path, level)
        needed = [i.name for i in session.get_inputs()]
        return [
            dict(zip(names, session.run(list(names), {n: frame[n] for n in needed}), strict=True)) for frame in frames
        ]
    except ORT_ERRORS as e:
        raise ModelError(
            "ONNX Runtime cannot run the model on random inputs", where=str(path), expected="outputs",
            got=" ".join(str(e).split())[:400],
            hint="If the model needs special inputs or operators, split without the check (--no-verify).",
        ) from e  # fmt: skip


def _worst(expected: Sequence[_Frame], got: Sequence[_Frame]) -> _Difference:
    found = [
        _difference(name, left[name], right[name]) for left, right in zip(expected, got, strict=True) for name in left
    ]
    return max(found, key=lambda d: (not d.bit_exact, d.max_relative))


def _difference(name: str, expected: _Array, got: _Array) -> _Difference:
    if expected.dtype == got.dtype and expected.tobytes() == got.tobytes() and expected.shape == got.shape:
        return _Difference(name, True, 0.0, 0.0)
    if expected.shape != got.shape or expected.dtype != got.dtype:
        return _Difference(name, False, float("inf"), float("inf"))
    left, right = expected.astype(np.float64), got.astype(np.float64)
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        gaps = np.where(same, 0.0, np.abs(left - right))
    max_abs = float(np.nan_to_num(gaps, nan=np.inf).max(initial=0.0))
    largest = float(np.abs(left[np.isfinite(left)]).max(initial=0.0))
    relative = max_abs / largest if largest else max_abs
    return _Difference(name, False, max_abs, relative)


def _require(chain: _Chain, level: str, found: _Difference, good: bool) -> None:
    if good:
        return
    if chain.random_operators:
        raise ModelError(
            f"output {found.tensor!r} depends on random numbers, so the split cannot be checked",
            where=str(chain.whole),
            expected="the same outputs for the same inputs",
            got="operators that draw random numbers: " + ", ".join(chain.random_operators),
            hint="Split without the check (--no-verify).",
        )
    raise InternalError(
        f"the chain of sub-models does not compute what the model computes: output {found.tensor!r} differs "
        f"by {found.max_abs:.3g} at ONNX Runtime level {level}, {found.max_relative:.3g} of its largest "
        f"magnitude (allowed: {TOLERANCE:g}, in half precision {HALF_TOLERANCE:g}; nothing at level "
        f"disable_all). The bundle was not written."
    )


def _report(progress: Callable[[str], None] | None, message: str) -> None:
    if progress is not None:
        progress(message)
