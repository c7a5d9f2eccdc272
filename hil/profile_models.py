"""The models that a profile needs on the boards: the whole one, and it cut in two at a few places."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hil.errors import BundleError
from optimizer.graph import Cut, Graph, cut_points
from optimizer.onnx_file import load_onnx
from optimizer.onnx_prepare import Prepared, prepare
from optimizer.split_models import build_submodel, link_data

__all__ = ["CutModels", "ModelFile", "ProfileModels", "choose_cuts", "profile_models"]

_ROOM_BYTES = 1 << 30
"""Weights written for all cuts together: large models get fewer cuts."""


@dataclass(frozen=True)
class ModelFile:
    """One ONNX file; ``data`` are the external files it refers to, by their path beside it."""

    path: Path
    data: tuple[tuple[str, Path], ...]


@dataclass(frozen=True)
class CutModels:
    """The model in two, and the bytes of the one tensor between."""

    name: str
    crossing_bytes: int
    before: ModelFile
    behind: ModelFile


@dataclass(frozen=True)
class ProfileModels:
    """All models of one profile."""

    whole: ModelFile
    cuts: tuple[CutModels, ...]


@contextmanager
def profile_models(graph: Graph, cuts: int) -> Iterator[ProfileModels]:
    """Write the models into a temporary folder while the context lasts; at most ``cuts`` cuts.

    Raises the optimizer's errors for the model, BundleError where the files cannot be written.
    """
    prepared = prepare(load_onnx(graph.source), graph.batch)
    folder = Path(tempfile.mkdtemp(prefix="edgecut-profile-"))
    try:
        yield _write_all(prepared, graph, cuts, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def choose_cuts(graph: Graph, count: int) -> tuple[Cut, ...]:
    """Up to ``count`` single-tensor cuts whose sizes spread from the smallest to the largest.

    Of cuts of one size, the one nearest to the middle of the work: both halves are then long enough to time.
    """
    best: dict[int, Cut] = {}
    for cut in cut_points(graph):
        known = best.get(cut.size_bytes)
        if known is None or _off_centre(graph, cut) < _off_centre(graph, known):
            best[cut.size_bytes] = cut
    by_size = [best[size] for size in sorted(best)]
    if len(by_size) <= count:
        return tuple(by_size)
    steps = max(1, count - 1)
    positions = [round(i * (len(by_size) - 1) / steps) for i in range(count)]
    return tuple(by_size[position] for position in dict.fromkeys(positions))


def _write_all(prepared: Prepared, graph: Graph, cuts: int, folder: Path) -> ProfileModels:
    weights = sum(operator.weight_bytes for operator in graph.operators)
    affordable = max(1, int(_ROOM_BYTES / max(1, weights)))
    chosen = choose_cuts(graph, min(cuts, affordable)) if cuts else ()
    everything = range(len(graph.operators))
    try:
        whole = _write(prepared, graph, "whole", everything, graph.inputs, graph.outputs, folder)
        return ProfileModels(whole, tuple(_cut(prepared, graph, cut, folder) for cut in chosen))
    except OSError as e:
        raise BundleError(
            "the models to profile cannot be written",
            where=str(folder),
            expected="a folder with room for the model and a few copies",
            got=e.strerror or str(e),
            hint="Make room there, or set TMPDIR to another folder.",
        ) from e


def _off_centre(graph: Graph, cut: Cut) -> float:
    return abs(cut.macs_before - graph.macs / 2)


def _cut(prepared: Prepared, graph: Graph, cut: Cut, folder: Path) -> CutModels:
    before, behind = range(cut.operators_before), range(cut.operators_before, len(graph.operators))
    number = cut.operators_before
    return CutModels(
        cut.name,
        cut.size_bytes,
        _write(prepared, graph, f"before{number}", before, graph.inputs, (cut.tensor,), folder),
        _write(prepared, graph, f"behind{number}", behind, (cut.tensor,), graph.outputs, folder),
    )


def _write(
    prepared: Prepared,
    graph: Graph,
    name: str,
    operators: Sequence[int],
    inputs: Sequence[int],
    outputs: Sequence[int],
    folder: Path,
) -> ModelFile:
    model = build_submodel(prepared, graph, name, list(operators), inputs, outputs)
    path = folder / f"{name}.onnx"
    path.write_bytes(model.proto.SerializeToString())
    link_data(model.data, folder)
    return ModelFile(path, model.data)
