"""The header of a model image, as ``firmware/src/image.h`` lays it out; the compiler fills in what stands behind."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["IMAGE_FORMAT", "ImageTensor", "build_image", "copy_record"]

MAGIC = 0x4D474445
IMAGE_FORMAT = 1
SCRATCH_IN_ARENA = 1
"""Flag: places in the scratch are places in the arena."""
_HEADER = struct.Struct("<IHHII24sIIIHHHHIII")
HEADER_BYTES = _HEADER.size + 4  # the CRC
COPY_KERNEL = 0


@dataclass(frozen=True)
class ImageTensor:
    """Where a model input or output lies in the arena."""

    offset_bytes: int
    size_bytes: int


def _aligned(size: int, to: int) -> int:
    return -(-size // to) * to


def copy_record(source_bytes: int, target_bytes: int, size_bytes: int) -> bytes:
    """The record of the one kernel that every firmware has: copy inside the arena."""
    return struct.pack("<HHIII", COPY_KERNEL, 16, source_bytes, target_bytes, size_bytes)


def build_image(
    *,
    inputs: Sequence[ImageTensor],
    outputs: Sequence[ImageTensor],
    records: Sequence[bytes] = (),
    weights: bytes = b"",
    arena_bytes: int,
    scratch_bytes: int = 0,
    scratch_in_arena: bool = False,
    board: str = "",
    kernels: int = 0,
    capabilities: int = 0,
) -> bytes:
    """An image: header, table of tensors, operators' records, weights at the next multiple of 16.

    ``board`` "" is any board type. ``scratch_in_arena``: the scratch is the start of the arena instead of lying behind
    it (operators' records say where in it theirs is). Raises ValueError for a record whose length is no multiple of 4
    or does not stand in it, or a board type of more than 23 bytes.
    """
    name = board.encode()
    if len(name) > 23:
        raise ValueError(f"board type {board!r} has {len(name)} bytes; at most 23")
    for record in records:
        if len(record) % 4 or len(record) < 4 or int.from_bytes(record[2:4], "little") != len(record):
            raise ValueError(f"an operator's record of {len(record)} bytes: {record[:8].hex()}")
    tensors = b"".join(struct.pack("<II", t.offset_bytes, t.size_bytes) for t in (*inputs, *outputs))
    tensors_at = HEADER_BYTES
    operators_at = tensors_at + len(tensors)
    body = b"".join(records)
    weights_at = _aligned(operators_at + len(body), 16)
    size = weights_at + len(weights)
    header = _HEADER.pack(
        MAGIC, IMAGE_FORMAT, kernels, size, capabilities, name, arena_bytes, scratch_bytes, operators_at,
        len(records), len(inputs), len(outputs), SCRATCH_IN_ARENA if scratch_in_arena else 0,
        tensors_at, weights_at, len(weights),
    )  # fmt: skip
    start = header + struct.pack("<I", zlib.crc32(header)) + tensors + body
    return start + bytes(weights_at - len(start)) + weights
