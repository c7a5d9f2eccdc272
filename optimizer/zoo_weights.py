"""Weights of the zoo made from a seed: what the stubs in its files mean, and their elements.

A *seeded stub* keeps its initializer's ``name``, ``dims`` and ``data_type`` (FLOAT); it has no ``raw_data``;
``data_location`` is EXTERNAL and ``external_data`` holds three entries::

    location  "edgecut-zoo-seed-1"     (SEED_LOCATION: a marker, not a file)
    centre    "0"                      decimal, float32
    span      "0.12"                   decimal, float32

Its elements are ``centre + span * (u - 0.5)`` in float32, u uniform in [0, 1) in steps of 2^-24, drawn from
the raw 64-bit stream of Philox keyed by the first 16 bytes of SHA-256 of the tensor's name. Only raw draws
and single float32 operations are used, so the weights are the same bit for bit on every platform and NumPy
version.

A *quantized stub* belongs to an int8 network. It is made from a seeded weight w of the same network in
float32, output channels first, which it describes by entries::

    location     "edgecut-zoo-int8-1"  (INT8_LOCATION)
    part         "weight", "scale" or "bias-scale"
    weight       the name of w
    dims         "16,3,3,3"            of w
    centre, span                       of w
    input_scale  "0.018"               of the operator's input; for "bias-scale" only

The quantization is symmetric with a scale for each output channel c, in single float32 operations again::

    scale[c]      = max |w[c]| / 127                      FLOAT
    weight[c]     = w[c] / scale[c], to the nearest even   INT8, -127 to 127
    bias-scale[c] = input_scale * scale[c]                FLOAT
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

__all__ = [
    "INT8_LOCATION",
    "SEED_LOCATION",
    "channel_scales",
    "is_stub",
    "quantized_rows",
    "seeded_elements",
    "stub_elements",
]

SEED_LOCATION = "edgecut-zoo-seed-1"
INT8_LOCATION = "edgecut-zoo-int8-1"

_CHUNK_ELEMENTS = 1 << 20
"""Elements drawn at a time: bounds the temporary memory. Even, because one 64-bit draw makes two elements."""
_LARGEST = np.float32(127)
"""Of a quantized weight's magnitude."""

_Floats = npt.NDArray[np.float32]


def is_stub(tensor: onnx.TensorProto) -> bool:
    """Whether the initializer is one of ours that waits for its elements."""
    return _entries(tensor).get("location") in (SEED_LOCATION, INT8_LOCATION)


def stub_elements(stub: onnx.TensorProto) -> npt.NDArray[Any]:
    """The elements of a stub of either kind, of its shape and type, little-endian."""
    entries = _entries(stub)
    if entries["location"] == SEED_LOCATION:
        return seeded_elements(stub)
    dims = tuple(int(d) for d in entries["dims"].split(","))
    weight = _drawn(entries["weight"], dims, entries)
    scales = channel_scales(weight)
    match entries["part"]:
        case "scale":
            return scales.astype("<f4", copy=False)
        case "bias-scale":
            return (np.float32(entries["input_scale"]) * scales).astype("<f4", copy=False)
        case _:
            return quantized_rows(weight, scales)


def channel_scales(weight: _Floats) -> _Floats:
    """One a row (output channel): the row's largest magnitude becomes 127."""
    return np.asarray(np.abs(weight).reshape(len(weight), -1).max(axis=1) / _LARGEST, dtype=np.float32)


def quantized_rows(weight: _Floats, scales: _Floats) -> npt.NDArray[np.int8]:
    """The weight in steps of its rows' scales, of its shape."""
    rows = weight.reshape(len(weight), -1) / scales[:, np.newaxis]
    return np.asarray(np.rint(rows), dtype=np.int8).reshape(weight.shape)


def seeded_elements(stub: onnx.TensorProto) -> _Floats:
    """The elements of a seeded stub, of its shape, little-endian float32."""
    return _drawn(stub.name, tuple(stub.dims), _entries(stub))


def _drawn(name: str, dims: tuple[int, ...], entries: dict[str, str]) -> _Floats:
    centre, span = np.float32(entries["centre"]), np.float32(entries["span"])
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
    stream = np.random.Philox(key=key)
    count = math.prod(dims)
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
    return elements.reshape(dims)


def _entries(tensor: onnx.TensorProto) -> dict[str, str]:
    return {e.key: e.value for e in tensor.external_data}
