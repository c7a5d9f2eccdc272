"""The zoo: known networks as graphs of a few kilobytes each, with weights made from a seed.

Two lists, both offered as ``zoo:NAME``. ``zoo_names()`` are 13 of torchvision's networks; ``tiny_names()`` are
small ones for microcontrollers, each in float32 and, as NAME_int8, quantized (see docs/models.md).

``zoo_data/NAME.onnx.xz`` holds the graph (batch 1, input "input", output "output", batch normalisation folded),
with float weights replaced by *stubs* (optimizer/zoo_weights.py says what one looks like). Of the 13 it is the
graph as the TorchScript exporter gives it (opset 17, node names kept); ``tools/export_zoo.py`` makes these
files, ``tools/export_tiny.py`` the others. The spans of the weights were chosen at export time so that
activations keep a spread of about one through the network (residual branches less); the networks compute, but
they recognise nothing. ``tiny_digits`` alone is trained and has its weights inline.

Everything that is not a large weight (shapes, axes, scalars; biases and scales of activations of the small
networks) is stored as usual, inline: shape inference works on the weight-less form.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import tempfile
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import IO

import onnx

from optimizer.errors import ModelError
from optimizer.zoo_weights import SEED_LOCATION, is_stub, seeded_elements, stub_elements

__all__ = [
    "SEED_LOCATION",
    "fill_weights",
    "is_stub",
    "load_zoo_model",
    "materialize",
    "seeded_elements",
    "tiny_names",
    "zoo_names",
    "zoo_sha256",
]

_DATA = Path(__file__).parent / "zoo_data"
_SUFFIX = ".onnx.xz"
_TINY = "tiny_"


@cache
def zoo_names() -> tuple[str, ...]:
    """Names of torchvision's networks, sorted."""
    return tuple(name for name in _all_names() if not name.startswith(_TINY))


@cache
def tiny_names() -> tuple[str, ...]:
    """Names of the networks for microcontrollers, sorted; those that end in "_int8" are quantized."""
    return tuple(name for name in _all_names() if name.startswith(_TINY))


def _all_names() -> list[str]:
    return sorted(p.name.removesuffix(_SUFFIX) for p in _DATA.glob(f"*{_SUFFIX}"))


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


def fill_weights(model: onnx.ModelProto, names: Collection[str] | None = None) -> None:
    """Replace the stubs of the model (those in ``names``, or all) by their elements, in place."""
    for tensor in model.graph.initializer:
        if is_stub(tensor) and (names is None or tensor.name in names):
            elements = stub_elements(tensor)
            del tensor.external_data[:]
            tensor.ClearField("data_location")
            tensor.raw_data = elements.tobytes()


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
        elements = stub_elements(tensor) if is_stub(tensor) else None
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
    if name not in (*zoo_names(), *tiny_names()):
        raise ModelError(
            f"there is no network {name!r} in the zoo",
            where=f"zoo:{name}",
            expected="one of " + ", ".join((*zoo_names(), *tiny_names())),
            got=name,
            hint="Give a path to an ONNX file for a network of your own.",
        )
    return lzma.decompress((_DATA / f"{name}{_SUFFIX}").read_bytes())


def _cache_dir() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "edgecut" / "zoo"
