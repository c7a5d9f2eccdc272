"""The zoo: 13 known networks as graphs of a few kilobytes each, with weights made from a seed.

``zoo_data/NAME.onnx.xz`` holds the graph as torchvision and the TorchScript exporter give it (opset 17,
batch 1, input "input", output "output", batch normalisation folded where the exporter folds it, node names
kept), with every weight replaced by a *stub*. ``tools/export_zoo.py`` makes these files.

What a stub looks like. The initializer keeps its ``name``, ``dims`` and ``data_type`` (FLOAT); it has no
``raw_data``; ``data_location`` is EXTERNAL and ``external_data`` holds three entries::

    location  "edgecut-zoo-seed-1"     (SEED_LOCATION: a marker, not a file)
    centre    "0"                      decimal, float32
    span      "0.12"                   decimal, float32

Its elements are ``centre + span * (u - 0.5)`` in float32, u uniform in [0, 1) in steps of 2^-24, drawn from
the raw 64-bit stream of Philox keyed by the first 16 bytes of SHA-256 of the tensor's name. Only raw draws
and single float32 operations are used, so the weights are the same bit for bit on every platform and NumPy
version. The spans were chosen at export time so that activations keep a spread of about one through the
network (residual branches less); the networks compute, but they recognise nothing.

Everything that is not a float weight (shapes, axes, scalars) is stored as usual, inline: shape inference
works on the weight-less form, and weight bytes are ``prod(dims) * 4``.
"""

from __future__ import annotations

import hashlib
import lzma
import math
import os
import tempfile
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import onnx

from optimizer.errors import ModelError

__all__ = [
    "SEED_LOCATION",
    "fill_weights",
    "is_stub",
    "load_zoo_model",
    "materialize",
    "seeded_elements",
    "zoo_names",
    "zoo_sha256",
]

SEED_LOCATION = "edgecut-zoo-seed-1"

_DATA = Path(__file__).parent / "zoo_data"
_SUFFIX = ".onnx.xz"
_CHUNK_ELEMENTS = 1 << 20
"""Elements drawn at a time: bounds the temporary memory. Even, because one 64-bit draw makes two elements."""


@cache
def zoo_names() -> tuple[str, ...]:
    """Names of the networks, sorted."""
    return tuple(sorted(p.name.removesuffix(_SUFFIX) for p in _DATA.glob(f"*{_SUFFIX}")))


def load_zoo_model(name: str, weights: bool = True) -> onnx.ModelProto:
    """The network of that name; without weights its initializers are stubs, which takes milliseconds.

    Raises ModelError for an unknown name.
    """
    model = onnx.load_model_from_string(_graph_bytes(name))
    if weights:
        fill_weights(model)
    return model


def zoo_sha256(name: str) -> str:
    """Hash of the weight-less form. It stands for the weights too: they follow from it."""
    return hashlib.sha256(_graph_bytes(name)).hexdigest()


def is_stub(tensor: onnx.TensorProto) -> bool:
    """Whether the initializer is one of ours that waits for its elements."""
    return any(e.key == "location" and e.value == SEED_LOCATION for e in tensor.external_data)


def fill_weights(model: onnx.ModelProto, names: Collection[str] | None = None) -> None:
    """Replace the stubs of the model (those in ``names``, or all) by their elements, in place."""
    for tensor in model.graph.initializer:
        if is_stub(tensor) and (names is None or tensor.name in names):
            elements = seeded_elements(tensor)
            del tensor.external_data[:]
            tensor.ClearField("data_location")
            tensor.raw_data = elements.tobytes()


def seeded_elements(stub: onnx.TensorProto) -> npt.NDArray[np.float32]:
    """The elements of a stub, of its shape, little-endian float32."""
    entries = {e.key: e.value for e in stub.external_data}
    centre, span = np.float32(entries["centre"]), np.float32(entries["span"])
    key = int.from_bytes(hashlib.sha256(stub.name.encode()).digest()[:16], "little")
    stream = np.random.Philox(key=key)
    count = math.prod(stub.dims)
    elements = np.empty(count, dtype="<f4")
    for start in range(0, count, _CHUNK_ELEMENTS):
        part = elements[start : start + _CHUNK_ELEMENTS]
        draws = stream.random_raw((len(part) + 1) // 2).astype("<u8", copy=False).view("<u4")[: len(part)]
        # 24 bits are exact in float32; so are the scaling by 2^-24 and the subtraction of one half.
        part[:] = draws >> 8
        part *= np.float32(2.0**-24)
        part -= np.float32(0.5)
        part *= span
        part += centre
    return elements.reshape(tuple(stub.dims))


def materialize(name: str, path: Path | None = None) -> Path:
    """Write the network with its weights as one .onnx file and return where it stands.

    Without ``path`` it goes to the user's cache (``$XDG_CACHE_HOME/edgecut/zoo``, else under ``~/.cache``),
    named by content, and is written once. Writing is atomic. Raises ModelError for an unknown name, OSError
    where the file cannot be written.
    """
    if path is None:
        path = _cache_dir() / f"{name}-{zoo_sha256(name)[:16]}.onnx"
        if path.is_file():
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
    model = load_zoo_model(name, weights=False)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        temporary = Path(file.name)
        try:
            _write_filled(model, file)
            file.close()
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    return path


def _write_filled(model: onnx.ModelProto, file: IO[bytes]) -> None:
    """Write the model with its weights, one at a time: serialising it whole takes five times its size.

    Protobuf merges the parts of a message that comes in parts: first the model without initializers, then for
    each of them a model that holds a graph that holds nothing else.
    """
    initializers = list(model.graph.initializer)
    del model.graph.initializer[:]
    file.write(model.SerializeToString())
    for tensor in initializers:
        elements = seeded_elements(tensor) if is_stub(tensor) else None
        if elements is not None:
            tensor = onnx.TensorProto(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
        head = tensor.SerializeToString()
        if elements is not None:
            head += _length_prefix(onnx.TensorProto.RAW_DATA_FIELD_NUMBER, elements.nbytes)
        size = len(head) + (0 if elements is None else elements.nbytes)
        inner = _length_prefix(onnx.GraphProto.INITIALIZER_FIELD_NUMBER, size)
        file.write(_length_prefix(onnx.ModelProto.GRAPH_FIELD_NUMBER, len(inner) + size) + inner + head)
        if elements is not None:
            file.write(elements.data)


def _length_prefix(field: int, length: int) -> bytes:
    """Protobuf's opening of a field of that length: tag (wire type 2), then the length, seven bits a byte."""
    out = bytearray([field << 3 | 2])
    while length > 0x7F:
        out.append(length & 0x7F | 0x80)
        length >>= 7
    out.append(length)
    return bytes(out)


def _graph_bytes(name: str) -> bytes:
    if name not in zoo_names():
        raise ModelError(
            f"there is no network {name!r} in the zoo",
            where=f"zoo:{name}",
            expected="one of " + ", ".join(zoo_names()),
            got=name,
            hint="Give a path to an ONNX file for a network of your own.",
        )
    return lzma.decompress((_DATA / f"{name}{_SUFFIX}").read_bytes())


def _cache_dir() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "edgecut" / "zoo"
