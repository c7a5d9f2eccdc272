"""One board's part of a deployment: the LOAD document, checked once, as frozen values.

The host derives it from the bundle's manifest (`hil.deploy_document`); PROTOCOL.md describes it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import numpy as np

from firmware_interface.messages import MAX_TENSOR_BYTES, ErrorCode
from hil.agent_store import AgentError

__all__ = ["LEVELS", "MAX_REPEAT", "Deployment", "InLink", "OutLink", "Segment", "Step", "Tensor", "parse_deployment"]

SCHEMA = "edgecut/deployment/1"
LEVELS = ("disable", "basic", "extended", "all")
MAX_DEPTH = 4096  # frames in flight of one tensor; more is a mistake in the plan
MAX_THREADS = 256  # more cores than any board of ours has
MAX_REPEAT = 100_000  # stimuli whose outputs a sink remembers
MAX_ITEMS = 100_000  # tensors, segments, steps: far above any network, far below what would hurt


@dataclass(frozen=True)
class Tensor:
    """A tensor that lives on this board."""

    id: int
    name: str
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int
    depth: int
    """Frames of it that may be alive between producer and consumers."""
    origin: Literal["input", "segment", "link"]
    from_link: str
    """Link it arrives by, when ``origin`` is "link"."""
    to_links: tuple[str, ...]
    """Links it leaves by, in the order of the plan's tree."""
    consumers: tuple[str, ...]
    """Segments of this board that read it."""
    to_sink: bool
    """A model output, and this board is the sink."""


@dataclass(frozen=True)
class Segment:
    """A sub-model that runs here."""

    name: str
    sha256: str
    companions: Mapping[str, str]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """An entry of a resource's cyclic list: ``segment`` to run, or else ``tensor`` crossing ``link``."""

    stage: int
    segment: str
    tensor: int
    link: str


@dataclass(frozen=True)
class OutLink:
    """A link that leaves this board, and where to connect for it."""

    name: str
    to: str
    host: str
    port: int


@dataclass(frozen=True)
class InLink:
    """A link that arrives here."""

    name: str
    sender: str


@dataclass(frozen=True)
class Deployment:
    """Everything a board needs to know to play its part."""

    id: str
    board: str
    source: str
    sink: str
    level: str
    threads: int
    arena: bool
    tensors: Mapping[int, Tensor]
    segments: Mapping[str, Segment]
    processors: Mapping[str, tuple[Step, ...]]
    """Cyclic list by processor key."""
    senders: Mapping[str, tuple[Step, ...]]
    """Cyclic list of this board's hops by resource name."""
    out_links: Mapping[str, OutLink]
    in_links: Mapping[str, InLink]
    token_out: str
    """Link over which a ping travels towards the sink; "" when this board is the sink or off that way."""
    token_in: str
    """Link that it comes in by; its other direction carries completion tokens to the source."""
    stimuli: Mapping[int, str]
    """Hash of the file of input frames, one after the other, by input tensor."""
    repeats_after: int
    """Frames after which the source's stimuli repeat, by which the sink compares outputs; 0: not known."""
    input_window: int
    """Frames of run input that this board holds at most."""


def _bad(where: str, text: str) -> NoReturn:
    raise AgentError(ErrorCode.BAD_DEPLOYMENT, f"{where}: {text}")


def _get(table: Any, key: str, kind: type | tuple[type, ...], where: str) -> Any:
    if not isinstance(table, dict):
        _bad(where, f"expected an object, got {type(table).__name__}")
    value = table.get(key)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
        _bad(f"{where}.{key}", f"missing or of the wrong type, got {str(value)[:80]!r}")
    return value


def _number(table: Any, key: str, low: int, high: int, where: str) -> int:
    value = _get(table, key, int, where)
    if not low <= value <= high:
        _bad(f"{where}.{key}", f"expected {low} to {high}, got {value}")
    return int(value)


def _texts(table: Any, key: str, where: str) -> tuple[str, ...]:
    values = _get(table, key, list, where)
    if not all(isinstance(v, str) for v in values):
        _bad(f"{where}.{key}", "expected texts")
    return tuple(values)


def _mapping(table: Any, key: str, where: str) -> dict[str, Any]:
    value = _get(table, key, dict, where)
    if len(value) > MAX_ITEMS:
        _bad(f"{where}.{key}", f"{len(value)} entries; at most {MAX_ITEMS}")
    return dict(value)


def _list(table: Any, key: str, where: str) -> list[Any]:
    value = _get(table, key, list, where)
    if len(value) > MAX_ITEMS:
        _bad(f"{where}.{key}", f"{len(value)} entries; at most {MAX_ITEMS}")
    return list(value)


def _tensor(raw: Any, where: str) -> Tensor:
    shape = tuple(_list(raw, "shape", where))
    if len(shape) > 64 or not all(isinstance(d, int) and not isinstance(d, bool) and d >= 0 for d in shape):
        _bad(f"{where}.shape", f"expected whole numbers, got {str(shape)[:80]}")
    dtype = _get(raw, "dtype", str, where)
    try:
        item_bytes = np.dtype(dtype).itemsize
    except TypeError:
        _bad(f"{where}.dtype", f"{dtype!r} is not a type that NumPy knows")
    if np.dtype(dtype).kind not in "fiub":
        _bad(f"{where}.dtype", f"{dtype!r} cannot cross a boundary; expected a number or bool")
    size = math.prod(shape) * item_bytes
    if size != _number(raw, "size_bytes", 0, MAX_TENSOR_BYTES, where):
        _bad(f"{where}.size_bytes", f"{raw['size_bytes']} given, {size} by shape and type")
    origin = _get(raw, "origin", str, where)
    if origin not in ("input", "segment", "link"):
        _bad(f"{where}.origin", f"got {origin!r}")
    return Tensor(
        id=_number(raw, "id", 0, MAX_ITEMS, where),
        name=_get(raw, "name", str, where),
        dtype=dtype,
        shape=shape,
        size_bytes=size,
        depth=_number(raw, "depth", 1, MAX_DEPTH, where),
        origin=origin,
        from_link=_get(raw, "from_link", str, where),
        to_links=_texts(raw, "to_links", where),
        consumers=_texts(raw, "consumers", where),
        to_sink=_get(raw, "to_sink", bool, where),
    )


def _segment(raw: Any, where: str, tensors: Mapping[int, Tensor]) -> Segment:
    inputs, outputs = tuple(_list(raw, "inputs", where)), tuple(_list(raw, "outputs", where))
    for tensor in (*inputs, *outputs):
        if tensor not in tensors:
            _bad(where, f"tensor {tensor!r} is not on this board")
    if not inputs:
        _bad(where, "a segment without inputs has nothing to start it; put its operators with their consumer")
    companions = _mapping(raw, "companions", where)
    if not all(isinstance(v, str) for v in companions.values()):
        _bad(f"{where}.companions", "expected hashes")
    return Segment(_get(raw, "name", str, where), _get(raw, "sha256", str, where), companions, inputs, outputs)


def _steps(raw: Any, where: str) -> tuple[Step, ...]:
    if not isinstance(raw, list):
        _bad(where, "expected a list")
    return tuple(
        Step(
            stage=_number(entry, "stage", 0, MAX_ITEMS, f"{where}[{i}]"),
            segment=_get(entry, "segment", str, f"{where}[{i}]"),
            tensor=_number(entry, "tensor", -1, MAX_ITEMS, f"{where}[{i}]"),
            link=_get(entry, "link", str, f"{where}[{i}]"),
        )
        for i, entry in enumerate(raw)
    )


def parse_deployment(raw: Mapping[str, Any], board: str) -> Deployment:
    """The checked deployment. Raises AgentError BAD_DEPLOYMENT that names the place."""
    top = "deployment"
    raw = dict(raw)
    if raw.get("schema") != SCHEMA:
        _bad(f"{top}.schema", f"expected {SCHEMA}, got {str(raw.get('schema'))[:80]!r}")
    if raw.get("board") != board:
        raise AgentError(ErrorCode.WRONG_BOARD, f"this is board {board}, not {str(raw.get('board'))[:80]}")
    tensors = {t.id: t for t in (_tensor(r, f"{top}.tensors") for r in _list(raw, "tensors", top))}
    segments = {s.name: s for s in (_segment(r, f"{top}.segments", tensors) for r in _list(raw, "segments", top))}
    links = _mapping(raw, "out_links", top)
    deployment = Deployment(
        id=_get(raw, "id", str, top),
        board=board,
        source=_get(raw, "source", str, top),
        sink=_get(raw, "sink", str, top),
        level=_get(raw, "level", str, top),
        threads=_number(raw, "threads", 1, MAX_THREADS, top),
        arena=_get(raw, "arena", bool, top),
        tensors=tensors,
        segments=segments,
        processors={k: _steps(v, f"{top}.processors") for k, v in _mapping(raw, "processors", top).items()},
        senders={k: _steps(v, f"{top}.senders") for k, v in _mapping(raw, "senders", top).items()},
        out_links={
            k: OutLink(k, _get(v, "to", str, top), _get(v, "host", str, top), _number(v, "port", 1, 65535, top))
            for k, v in links.items()
        },
        in_links={k: InLink(k, _get(v, "from", str, top)) for k, v in _mapping(raw, "in_links", top).items()},
        token_out=_get(raw, "token_out", str, top),
        token_in=_get(raw, "token_in", str, top),
        stimuli={int(k): str(v) for k, v in _mapping(raw, "stimuli", top).items() if k.isdecimal()},
        repeats_after=_number(raw, "repeats_after", 0, MAX_REPEAT, top),
        input_window=_number(raw, "input_window", 1, MAX_DEPTH, top),
    )
    _check_references(deployment)
    return deployment


def _check_references(d: Deployment) -> None:
    """Whatever one part of the document names, another part holds."""
    if d.level not in LEVELS:
        _bad("deployment.level", f"expected one of {', '.join(LEVELS)}, got {d.level!r}")
    for tensor in d.tensors.values():
        where = f"tensor {tensor.name}"
        if tensor.origin == "link" and tensor.from_link not in d.in_links:
            _bad(where, f"arrives by link {tensor.from_link!r}, which does not end here")
        for link in tensor.to_links:
            if link not in d.out_links:
                _bad(where, f"leaves by link {link!r}, which does not start here")
        for consumer in tensor.consumers:
            if consumer not in d.segments or tensor.id not in d.segments[consumer].inputs:
                _bad(where, f"consumer {consumer!r} does not read it here")
    placed = [s.segment for steps in d.processors.values() for s in steps if s.segment]
    if sorted(placed) != sorted(d.segments):
        _bad("deployment.processors", f"segments {sorted(d.segments)}, but the lists hold {sorted(placed)}")
    hops = [(s.tensor, s.link) for steps in d.senders.values() for s in steps]
    wanted = [(t.id, link) for t in d.tensors.values() for link in t.to_links]
    if sorted(hops) != sorted(wanted):
        _bad("deployment.senders", f"hops {sorted(wanted)}, but the lists hold {sorted(hops)}")
    for steps in d.processors.values():
        for step in steps:
            if not step.segment and step.tensor not in d.tensors:
                _bad("deployment.processors", f"attends tensor {step.tensor}, which is not here")
    for link in (d.token_out, *[x for x in [d.token_in] if x]):
        if link and link not in d.out_links and link not in d.in_links:
            _bad("deployment.token", f"link {link!r} does not touch this board")
