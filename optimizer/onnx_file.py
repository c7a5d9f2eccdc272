"""Reading ONNX files: what the file says, unchanged, with large weights left where they are."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import AttributeProto, GraphProto, TensorProto

from optimizer.errors import ModelError
from optimizer.graph import BITS_PER_ELEMENT
from optimizer.onnx_nodes import subgraphs
from optimizer.zoo import is_stub, load_zoo_model, zoo_sha256

__all__ = [
    "DTYPE_NAMES",
    "ExternalData",
    "OnnxModel",
    "dtype_name",
    "load_onnx",
    "tensor_bytes",
]

DTYPE_NAMES: Mapping[int, str] = {
    TensorProto.FLOAT: "float32",
    TensorProto.UINT8: "uint8",
    TensorProto.INT8: "int8",
    TensorProto.UINT16: "uint16",
    TensorProto.INT16: "int16",
    TensorProto.INT32: "int32",
    TensorProto.INT64: "int64",
    TensorProto.BOOL: "bool",
    TensorProto.FLOAT16: "float16",
    TensorProto.DOUBLE: "float64",
    TensorProto.UINT32: "uint32",
    TensorProto.UINT64: "uint64",
    TensorProto.COMPLEX64: "complex64",
    TensorProto.COMPLEX128: "complex128",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.FLOAT8E4M3FN: "float8_e4m3fn",
    TensorProto.FLOAT8E4M3FNUZ: "float8_e4m3fnuz",
    TensorProto.FLOAT8E5M2: "float8_e5m2",
    TensorProto.FLOAT8E5M2FNUZ: "float8_e5m2fnuz",
    # By number: these came after the oldest onnx package we run with.
    21: "uint4",
    22: "int4",
    23: "float4_e2m1fn",
    24: "float8_e8m0fnu",
    25: "uint2",
    26: "int2",
    27: "float6_e2m3fn",
    28: "float6_e3m2fn",
}
"""NumPy (ml_dtypes) name by ONNX element type; strings have no fixed size and are not here."""

_PROTOBUF_LIMIT_BYTES = 2**31 - 1
_LISTS = ("float_data", "double_data", "int32_data", "int64_data", "uint64_data")
"""Where elements are if not in raw_data."""


@dataclass(frozen=True)
class ExternalData:
    """Where the elements of one tensor lie outside the model file."""

    tensor: str
    location: str
    """Path relative to the model's directory, with forward slashes."""
    path: Path
    offset_bytes: int
    length_bytes: int


@dataclass(frozen=True)
class OnnxModel:
    """A model as its file has it. Treat ``proto`` as read-only: it is shared, not copied."""

    proto: onnx.ModelProto
    source: str
    """What the user named: a path or "zoo:NAME"."""
    sha256: str
    """Of the model file (external data is not hashed) or of the zoo's graph."""
    directory: Path | None
    """Where external data locations start; None for a zoo model, whose weights are made from a seed."""

    @property
    def path(self) -> Path | None:
        """The model's file, None for a zoo model."""
        return None if self.directory is None else Path(self.source)

    @cached_property
    def initializers(self) -> Mapping[str, TensorProto]:
        """Initializers of the main graph by name."""
        return {tensor.name: tensor for tensor in self.proto.graph.initializer}

    def external_data(self, tensor: TensorProto) -> ExternalData | None:
        """Where the tensor's elements lie, None where they are in the proto (or made from a seed).

        Raises ModelError for a location that leaves the model's directory, a missing or too short file.
        """
        if tensor.data_location != TensorProto.EXTERNAL or is_stub(tensor) or self.directory is None:
            return None
        entries = {e.key: e.value for e in tensor.external_data}
        location = PurePosixPath(entries.get("location", "").replace("\\", "/"))
        where = f"{self.source}, weight {tensor.name!r}"
        if location == PurePosixPath() or location.is_absolute() or ".." in location.parts:
            raise ModelError(
                "its external data does not lie beside the model",
                where=where,
                expected="a relative path inside the model's directory",
                got=repr(entries.get("location", "")),
                hint="Save the model again with its external data in the same directory.",
            )
        path = self.directory / location
        offset_bytes = _whole_number(entries, "offset", 0, where)
        length_bytes = _whole_number(entries, "length", tensor_bytes(tensor), where)
        if not path.is_file():
            raise ModelError(
                "the file with its external data is missing",
                where=where,
                expected=f"the file {path}",
                got="no such file",
                hint="Copy it beside the model: a model with external data is two files or more.",
            )
        if path.stat().st_size < offset_bytes + length_bytes:
            raise ModelError(
                f"the file with its external data, {path}, is too short",
                where=where,
                expected=f"at least {offset_bytes + length_bytes} bytes",
                got=f"{path.stat().st_size} bytes",
                hint="The copy is incomplete; copy the file again.",
            )
        return ExternalData(tensor.name, str(location), path, offset_bytes, length_bytes)

    def inline(self, tensor: TensorProto) -> TensorProto:
        """The tensor with its elements inside; itself where it has them already."""
        external = self.external_data(tensor)
        if external is None:
            return tensor
        copy = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        with external.path.open("rb") as file:
            file.seek(external.offset_bytes)
            copy.raw_data = file.read(external.length_bytes)
        return copy


def load_onnx(model: str | Path, weights: bool = True) -> OnnxModel:
    """Read a model: a path or "zoo:NAME".

    External data and the zoo's seeded weights stay outside; every external file is checked to be there. With
    ``weights`` every weight must have elements to be found. Raises ModelError where the file is missing,
    truncated, not ONNX, or not a model that can be run.
    """
    source = str(model)
    if source.startswith("zoo:"):
        name = source.removeprefix("zoo:")
        return OnnxModel(load_zoo_model(name, weights=False), source, zoo_sha256(name), None)
    path = Path(model)
    data = _read(path)
    loaded = OnnxModel(_parse(data, path), source, hashlib.sha256(data).hexdigest(), path.parent)
    for tensor in _stored_tensors(loaded.proto.graph):
        if loaded.external_data(tensor) is None:
            _check_elements(tensor, f"{source}, weight {tensor.name!r}", weights)
    return loaded


def dtype_name(elem_type: int, where: str) -> str:
    """NumPy name of an ONNX element type; ModelError for one without a fixed size (string)."""
    if elem_type not in DTYPE_NAMES:
        kind = "string" if elem_type == TensorProto.STRING else f"ONNX element type {elem_type}"
        raise ModelError(
            "elements have no fixed size", where=where, expected="numbers or booleans", got=kind,
            hint="Keep text processing outside the network.",
        )  # fmt: skip
    return DTYPE_NAMES[elem_type]


def tensor_bytes(tensor: TensorProto) -> int:
    """Size of the stored elements."""
    if tensor.data_type == TensorProto.STRING:
        return sum(len(s) for s in tensor.string_data)
    bits = BITS_PER_ELEMENT[dtype_name(tensor.data_type, f"weight {tensor.name!r}")]
    return (math.prod(int(d) for d in tensor.dims) * bits + 7) // 8


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _PROTOBUF_LIMIT_BYTES:
            raise ModelError(
                "the file is larger than the ONNX format allows", where=str(path), expected="at most 2 GB",
                got=f"{path.stat().st_size} bytes", hint="Save large models with external data.",
            )  # fmt: skip
        return path.read_bytes()
    except OSError as e:
        raise ModelError(
            "cannot read the model file",
            where=str(path),
            expected='an ONNX file or "zoo:NAME"',
            got=e.strerror or type(e).__name__,
            hint="Check the path; `zoo:squeezenet1_1` is a model that is always there.",
        ) from e


def _parse(data: bytes, path: Path) -> onnx.ModelProto:
    try:
        proto = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as e:
        raise ModelError(
            "this is not an ONNX file, or it is truncated",
            where=str(path),
            expected="a serialized ONNX model",
            got=f"{len(data)} bytes that do not parse",
            hint="Check the file with `onnx.checker`, or copy it again.",
        ) from e
    # A file cut between two fields, or one of another kind, may parse; what every model has is then missing.
    if not proto.HasField("graph") or not proto.opset_import:
        raise ModelError(
            "this is not a complete ONNX model",
            where=str(path),
            expected="a graph and its operator set",
            got=f"{len(data)} bytes with neither" if not proto.HasField("graph") else "no operator set",
            hint="Check that the copy is complete and that the file is ONNX.",
        )
    domains = (o.domain for o in proto.opset_import)
    if not all(isinstance(text, str) for text in (*domains, *_texts(proto.graph))):
        # Protobuf hands over as bytes what is not UTF-8.
        raise ModelError(
            "the file is damaged", where=str(path), expected="names in UTF-8", got="other bytes",
            hint="Copy the file again.",
        )  # fmt: skip
    if proto.graph.sparse_initializer:
        raise ModelError(
            "sparse weights are not supported",
            where=f"{path}, weight {proto.graph.sparse_initializer[0].values.name!r}",
            expected="dense initializers",
            got="sparse_initializer",
            hint="Export the model with dense weights.",
        )
    return proto


def _texts(graph: GraphProto) -> Iterator[object]:
    """Every text that is used to find or name something."""
    yield graph.name
    yield from (tensor.name for tensor in graph.initializer)
    for value in (*graph.input, *graph.output, *graph.value_info):
        yield value.name
        yield from (d.dim_param for d in value.type.tensor_type.shape.dim)
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
        for body in subgraphs(node):
            yield from _texts(body)


def _stored_tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                yield attribute.t
        for body in subgraphs(node):
            yield from _stored_tensors(body)


def _check_elements(tensor: TensorProto, where: str, needed: bool) -> None:
    """The elements inside the file must fit the shape; where they are needed they must be there."""
    if tensor.data_type == TensorProto.STRING:
        return
    size_bytes, count = tensor_bytes(tensor), math.prod(tensor.dims)
    raw_bytes = len(tensor.raw_data)
    listed = max(len(getattr(tensor, field)) for field in _LISTS)
    if count and not raw_bytes and not listed:
        if not needed:
            return
        raise ModelError(
            "its elements are missing", where=where, expected=f"{size_bytes} bytes", got="none",
            hint="The file holds the graph without its weights; export the model again with weights.",
        )  # fmt: skip
    # Complex numbers are listed as two, elements under a byte several in one.
    packed = BITS_PER_ELEMENT[DTYPE_NAMES[tensor.data_type]] < 8
    fits = raw_bytes == size_bytes if raw_bytes else packed or listed in (count, 2 * count)
    if not fits or any(d < 0 for d in tensor.dims):
        raise ModelError(
            "its elements do not fit its shape", where=where, expected=f"{count} elements for {[*tensor.dims]}",
            got=f"{raw_bytes} bytes" if raw_bytes else f"{listed} elements",
            hint="The file is damaged; export the model again.",
        )  # fmt: skip


def _whole_number(entries: Mapping[str, str], key: str, default: int, where: str) -> int:
    text = entries.get(key, "") or str(default)
    if not text.isdecimal():
        raise ModelError(
            f"its external data has an impossible {key}",
            where=where,
            expected="a whole number",
            got=repr(text),
            hint="The file is damaged; export the model again.",
        )
    return int(text)
