"""TCP framing: a fixed header in front of every payload (see PROTOCOL.md, section 2).

offset  size  field
0       4     magic "EDGC"
4       1     version
5       1     type
6       2     flags (bit 0: the PING or TOKEN is on its way back)
8       4     channel: tensor number for TENSOR and CREDIT, else 0
12      4     sequence: frame number for TENSOR, CREDIT and TOKEN; request number otherwise
16      4     payload length in bytes, bounded by the type
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from firmware_interface.errors import FramingError
from firmware_interface.fields import pack, unpack
from firmware_interface.messages import LIMITS, MESSAGES, PROTOCOL_VERSION, Type

__all__ = ["FLAG_BACK", "HEADER", "Header", "decode_header", "decode_payload", "encode", "pack_header"]

MAGIC = b"EDGC"
HEADER = struct.Struct("<4sBBHIII")
FLAG_BACK = 1
MAX_U32 = (1 << 32) - 1
_KNOWN = {int(kind): (kind, limit) for kind, limit in LIMITS.items()}


class Header(NamedTuple):
    """A checked header. A tuple, because one is made for every tensor that arrives."""

    type: Type
    flags: int
    channel: int
    sequence: int
    length: int

    def __str__(self) -> str:
        where = f" tensor {self.channel}" if self.type in (Type.TENSOR, Type.CREDIT) else ""
        return f"{self.type.name}{where} #{self.sequence} ({self.length} bytes)"


def pack_header(kind: int, length: int, *, channel: int = 0, sequence: int = 0, flags: int = 0) -> bytes:
    """Header bytes for a payload of ``length`` bytes. The caller keeps within the bounds of `LIMITS`."""
    return HEADER.pack(MAGIC, PROTOCOL_VERSION, kind, flags, channel, sequence & MAX_U32, length)


def decode_header(data: bytes | bytearray | memoryview) -> Header:
    """The header in 20 bytes. Raises FramingError for whatever is not ours or too long."""
    if len(data) < HEADER.size:
        raise FramingError("size", expected=f"{HEADER.size} bytes", got=f"{len(data)}")
    magic, version, number, flags, channel, sequence, length = HEADER.unpack_from(data)
    kind, limit = _KNOWN.get(number, (None, 0))
    if magic != MAGIC or version != PROTOCOL_VERSION or kind is None or flags > FLAG_BACK or length > limit:
        raise _header_error(magic, version, number, flags, length)
    return Header(kind, flags, channel, sequence, length)


def _header_error(magic: bytes, version: int, number: int, flags: int, length: int) -> FramingError:
    if magic != MAGIC:
        return FramingError("magic", expected=MAGIC.hex(), got=magic.hex())
    if version != PROTOCOL_VERSION:
        return FramingError("version", expected=str(PROTOCOL_VERSION), got=str(version))
    if number not in _KNOWN:
        return FramingError("type", expected="a type of the catalogue", got=f"{number:#04x}")
    if flags > FLAG_BACK:
        return FramingError("flags", expected="only known bits", got=f"{flags:#06x}")
    kind, limit = _KNOWN[number]
    return FramingError("length", expected=f"at most {limit} for {kind.name}", got=str(length))


def encode(message: Any, sequence: int = 0, flags: int = 0) -> bytes:
    """Header and payload of a message of the catalogue. Raises MessageError, FramingError when too long."""
    payload = pack(message)
    kind: Type = message.type
    if len(payload) > LIMITS[kind]:
        raise FramingError("length", expected=f"at most {LIMITS[kind]} for {kind.name}", got=f"{len(payload)}")
    return pack_header(kind, len(payload), sequence=sequence, flags=flags) + payload


def decode_payload(header: Header, payload: bytes | bytearray | memoryview) -> Any:
    """The message of a checked header and its payload. Raises MessageError."""
    kind = MESSAGES.get(header.type)
    if kind is None:
        raise FramingError("type", expected="a message with fields", got=header.type.name)
    return unpack(kind, payload)
