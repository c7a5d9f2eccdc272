"""Compiled segments run on the firmware's kernels or on a board, and by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from firmware_interface.board_client import BoardClient
from firmware_interface.compiler import CompiledSegment, Lowered, WireTensor
from tests.firmware_interface.kernel_host import KernelHost

Array = npt.NDArray[np.generic]


def on_wire(values: Array, tensor: WireTensor) -> bytes:
    """ONNX's elements as they stand on the wire."""
    return np.ascontiguousarray(values.transpose(0, 2, 3, 1) if tensor.layout == "nhwc" else values).tobytes()


def from_wire(data: bytes, tensor: WireTensor) -> Array:
    """Elements on the wire in ONNX's order."""
    values = np.frombuffer(data, tensor.dtype)
    if tensor.layout != "nhwc":
        return values.reshape(tensor.shape)
    n, c, h, w = tensor.shape
    return values.reshape(n, h, w, c).transpose(0, 3, 1, 2)


def random_input(rng: np.random.Generator, tensor: WireTensor) -> Array:
    """Integers of every value, or floats of the normal distribution."""
    if tensor.dtype == "int8":
        return rng.integers(-128, 128, tensor.shape, dtype=np.int8)
    if tensor.dtype == "uint8":
        return rng.integers(0, 256, tensor.shape, dtype=np.uint8)
    return rng.standard_normal(tensor.shape).astype(np.float32)


def run_on_kernels(host: KernelHost, lowered: Lowered, inputs: Sequence[bytes]) -> list[bytes]:
    """What the firmware's kernels make of it, each record in memory of exactly its size."""
    offsets = lowered.layout.offsets
    arena = bytearray(lowered.layout.arena_bytes)
    names = [f"{t.name}@wire" if t.name in lowered.transposed else t.name for t in lowered.steps.inputs]
    for name, data in zip(names, inputs, strict=True):
        arena[offsets[name] : offsets[name] + len(data)] = data
    for record in lowered.records:
        arena = bytearray(
            host.run(record.pack(), arena=arena, weights=lowered.weights, scratch_bytes=lowered.scratch_bytes)
        )
    made = []
    for tensor in lowered.steps.outputs:
        at = offsets[f"{tensor.name}@wire" if tensor.name in lowered.transposed else tensor.name]
        made.append(bytes(arena[at : at + tensor.size_bytes]))
    return made


def run_on_board(client: BoardClient, segment: CompiledSegment, inputs: Sequence[bytes]) -> list[bytes]:
    """The same on a board, by its image."""
    client.load(client.write_image(segment.image).sha256)
    for index, data in enumerate(inputs):
        client.write_input(index, data)
    client.run()
    return [client.read_output(index, t.size_bytes) for index, t in enumerate(segment.outputs)]


def run_ort(model: onnx.ModelProto, inputs: Mapping[str, Array]) -> list[Array]:
    """ONNX Runtime's outputs."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(inputs)))
