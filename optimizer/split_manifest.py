"""A bundle: the directory that ``optimizer split`` writes and the bench deploys; manifest.json describes it.

Schema "edgecut/bundle/1". Tensors are numbered by ``id``, segments named; file names start there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optimizer.errors import PlanError
from optimizer.plan import Slot

__all__ = [
    "MANIFEST",
    "SCHEMA",
    "Bundle",
    "BundleArena",
    "BundleData",
    "BundleHop",
    "BundleSegment",
    "BundleTensor",
    "Power",
    "Prediction",
    "Verification",
    "file_sha256",
    "is_bundle",
    "load_bundle",
    "manifest_json",
]

SCHEMA = "edgecut/bundle/1"
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class BundleHop:
    """One tensor crossing one directed link, from and to a board or switch."""

    link: str
    source: str
    target: str


@dataclass(frozen=True)
class BundleTensor:
    """A tensor between segments, a model input or a model output; see optimizer.plan.Transfer."""

    id: int
    name: str
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int
    producer: str | None
    consumers: tuple[str, ...]
    to_sink: bool
    hops: tuple[BundleHop, ...]
    boards: tuple[str, ...]
    depth: int


@dataclass(frozen=True)
class BundleData:
    """A file with external data that a sub-model refers to; part of the bundle by a link, not a copy."""

    file: str
    size_bytes: int


@dataclass(frozen=True)
class BundleArena:
    """Where a segment's tensors stand on a microcontroller board, as the plan has counted them."""

    operators: tuple[str, ...]
    """In the plan's order."""
    offsets: Mapping[str, int]
    """Bytes by tensor name, and by "NAME@wire" for one that lies otherwise on the wire, and by "OPERATOR@scratch"."""
    size_bytes: int


@dataclass(frozen=True)
class BundleSegment:
    """One sub-model. ``inputs`` and ``outputs`` are tensor ids in the order of the sub-model's own."""

    name: str
    board: str
    processor: str
    precision: str
    file: str
    sha256: str
    size_bytes: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    data: tuple[BundleData, ...] = ()
    arena: BundleArena | None = None


@dataclass(frozen=True)
class Verification:
    """How the chain of sub-models compared with the whole model in ONNX Runtime on random inputs."""

    checked: bool
    """False: told not to check; nothing else here means anything then."""
    ort_level: str = ""
    """Highest optimisation level up to "extended" at which every output was the same bit for bit."""
    bit_exact: bool = False
    """False with ``checked`` only for half-precision models, which are compared within a tolerance."""
    max_abs: float = 0.0
    """Largest difference at ``ort_level``."""
    ort_level_all_max_relative: float = 0.0
    """Largest difference at level "all", relative to the output's largest magnitude."""
    runs: int = 0


@dataclass(frozen=True)
class Prediction:
    """What the plan promises."""

    period_s: float
    throughput_per_s: float
    latency_s: float
    energy_j: float
    occupancy_s: Mapping[str, float]


@dataclass(frozen=True)
class Power:
    """Catalog power of one processor, W."""

    active_power_w: float
    idle_power_w: float


@dataclass(frozen=True)
class Bundle:
    """A split plan on disk."""

    directory: Path
    model_source: str
    model_sha256: str
    batch: int
    source: str
    sink: str
    boards: tuple[str, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    tensors: tuple[BundleTensor, ...]
    segments: tuple[BundleSegment, ...]
    orders: Mapping[str, tuple[Slot, ...]]
    verification: Verification
    prediction: Prediction
    power: Mapping[str, Power]
    """By processor key."""


def manifest_json(bundle: Bundle) -> dict[str, Any]:
    """The manifest as JSON values."""
    return {
        "schema": SCHEMA,
        "model": {"source": bundle.model_source, "sha256": bundle.model_sha256, "batch": bundle.batch},
        "source": bundle.source,
        "sink": bundle.sink,
        "boards": list(bundle.boards),
        "inputs": list(bundle.inputs),
        "outputs": list(bundle.outputs),
        "tensors": [_tensor_json(t) for t in bundle.tensors],
        "segments": [_segment_json(s) for s in bundle.segments],
        "orders": {
            resource: [{"activity": slot.activity, "stage": slot.stage} for slot in slots]
            for resource, slots in bundle.orders.items()
        },
        "verification": dict(vars(bundle.verification)),
        "prediction": {**vars(bundle.prediction), "occupancy_s": dict(bundle.prediction.occupancy_s)},
        "power": {key: dict(vars(power)) for key, power in bundle.power.items()},
    }


def load_bundle(directory: str | Path) -> Bundle:
    """Read a bundle and check every sub-model against its hash. Raises PlanError for a damaged one."""
    folder = Path(directory)
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        bundle = _bundle(folder, content)
        for segment in bundle.segments:
            _check_files(folder, segment)
    except OSError as e:
        raise PlanError(
            "cannot read the bundle", where=e.filename or str(path),
            expected="a directory made by `optimizer split`", got=e.strerror or type(e).__name__,
            hint="Split the plan again.",
        ) from e  # fmt: skip
    except (ValueError, LookupError, TypeError, AttributeError) as e:
        raise PlanError(
            "this is not a bundle manifest", where=str(path), expected=f'schema "{SCHEMA}"',
            got=f"{type(e).__name__}: {e}", hint="Split the plan again.",
        ) from e  # fmt: skip
    return bundle


def is_bundle(directory: Path) -> bool:
    """Whether the directory holds a manifest of ours, of whatever version."""
    try:
        content = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and str(content.get("schema", "")).startswith("edgecut/bundle/")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tensor_json(tensor: BundleTensor) -> dict[str, Any]:
    hops = [{"link": h.link, "from": h.source, "to": h.target} for h in tensor.hops]
    lists = {"shape": list(tensor.shape), "consumers": list(tensor.consumers), "boards": list(tensor.boards)}
    return {**vars(tensor), **lists, "hops": hops}


def _segment_json(segment: BundleSegment) -> dict[str, Any]:
    lists = {"inputs": list(segment.inputs), "outputs": list(segment.outputs)}
    arena = segment.arena
    placed = None if arena is None else {**vars(arena), "operators": list(arena.operators)}
    return {**vars(segment), **lists, "data": [dict(vars(d)) for d in segment.data], "arena": placed}


def _bundle(folder: Path, content: dict[str, Any]) -> Bundle:
    if content["schema"] != SCHEMA:
        raise ValueError(f"schema {content['schema']!r}")
    return Bundle(
        directory=folder,
        model_source=content["model"]["source"],
        model_sha256=content["model"]["sha256"],
        batch=content["model"]["batch"],
        source=content["source"],
        sink=content["sink"],
        boards=tuple(content["boards"]),
        inputs=tuple(content["inputs"]),
        outputs=tuple(content["outputs"]),
        tensors=tuple(_tensor(t) for t in content["tensors"]),
        segments=tuple(_segment(s) for s in content["segments"]),
        orders={r: tuple(Slot(**slot) for slot in slots) for r, slots in content["orders"].items()},
        verification=Verification(**content["verification"]),
        prediction=Prediction(**content["prediction"]),
        power={key: Power(**power) for key, power in content["power"].items()},
    )


def _tensor(content: dict[str, Any]) -> BundleTensor:
    hops = tuple(BundleHop(h["link"], h["from"], h["to"]) for h in content["hops"])
    lists = {key: tuple(content[key]) for key in ("shape", "consumers", "boards")}
    return BundleTensor(**{**content, **lists, "hops": hops})


def _segment(content: dict[str, Any]) -> BundleSegment:
    lists = {key: tuple(content[key]) for key in ("inputs", "outputs")}
    data = tuple(BundleData(**d) for d in content.get("data", ()))
    placed = content.get("arena")
    arena = None if placed is None else BundleArena(**{**placed, "operators": tuple(placed["operators"])})
    return BundleSegment(**{**content, **lists, "data": data, "arena": arena})


def _check_files(folder: Path, segment: BundleSegment) -> None:
    found = file_sha256(folder / segment.file)
    if found != segment.sha256:
        raise PlanError(
            f"the sub-model of segment {segment.name!r} is not the one that was written",
            where=str(folder / segment.file), expected=f"SHA-256 {segment.sha256}", got=found,
            hint="Split the plan again.",
        )  # fmt: skip
    for data in segment.data:
        size_bytes = (folder / data.file).stat().st_size
        if size_bytes != data.size_bytes:
            raise PlanError(
                f"external data of segment {segment.name!r} has changed", where=str(folder / data.file),
                expected=f"{data.size_bytes} bytes", got=f"{size_bytes} bytes", hint="Split the plan again.",
            )  # fmt: skip
