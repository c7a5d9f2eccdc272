"""A bundle, read for the bench and checked for what the boards rely on."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from hil.errors import BundleError
from optimizer.errors import PlanError
from optimizer.split_manifest import MANIFEST, Bundle, BundleSegment, load_bundle

__all__ = ["companion_files", "open_bundle"]


def open_bundle(directory: Path) -> Bundle:
    """Read a bundle; the hashes of its segments are checked. Raises BundleError."""
    try:
        bundle = load_bundle(directory)
    except PlanError as error:
        raise BundleError(
            error.what, where=error.where, expected=error.expected, got=error.got, hint=error.hint
        ) from error
    _check(bundle, str(directory / MANIFEST))
    return bundle


def companion_files(bundle: Bundle, segment: BundleSegment) -> dict[str, Path]:
    """Files of external data of a segment's model, by the name that the model uses."""
    folder = PurePosixPath(segment.file).parent
    return {str(PurePosixPath(data.file).relative_to(folder)): bundle.directory / data.file for data in segment.data}


def _check(bundle: Bundle, where: str) -> None:
    names = {s.name for s in bundle.segments}
    described = {t.id for t in bundle.tensors}
    used = {t for s in bundle.segments for t in (*s.inputs, *s.outputs)} | {*bundle.inputs, *bundle.outputs}
    if not used <= described:
        raise BundleError("tensors are named but not described", where=where, got=f"{used - described}")
    for tensor in bundle.tensors:
        for segment in (*tensor.consumers, *([tensor.producer] if tensor.producer else [])):
            if segment not in names:
                raise BundleError(f"tensor {tensor.name} names an unknown segment", where=where, got=segment)
        if tensor.producer is None and tensor.to_sink:
            raise BundleError(
                f"model input {tensor.name} is a model output as well",
                where=where,
                expected="outputs that an operator makes",
                hint="Take it out of the model's outputs.",
            )
    needed = {s.board for s in bundle.segments} | {bundle.source, bundle.sink}
    if not needed <= set(bundle.boards):
        missing = sorted(needed - set(bundle.boards))
        raise BundleError("boards are used but not listed", where=where, got=", ".join(missing))
