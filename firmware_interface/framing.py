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
from dataclasses import dataclass
from typing import Any

from firmware_interface.errors import FramingError
from firmware_interface.fields import pack, unpack
from firmware_interface.messages import LIMITS, MESSAGES, PROTOCOL_VERSION, Type

__all__ = ["FLAG_BACK", "HEADER", "Header", "decode_header", "decode_payload", "encode", "pack_header"]

MAGIC = b"EDGC"
HEADER = struct.Struct("<4sBBHIII")
FLAG_BACK = 1
KNOWN_FLAGS = FLAG_BACK
MAX_U32 = (1 << 32) - 1


@dataclass(frozen=True)
class Header:
    """A checked header."""

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
    magic, version, kind, flags, channel, sequence, length = HEADER.unpack_from(data)
    if magic != MAGIC:
        raise FramingError("magic", expected=MAGIC.hex(), got=magic.hex())
    if version != PROTOCOL_VERSION:
        raise FramingError("version", expected=str(PROTOCOL_VERSION), got=str(version))
    limit = LIMITS.get(kind)
    if limit is None:
        raise FramingError("type", expected="a type of the catalogue", got=f"{kind:#04x}")
    if flags & ~KNOWN_FLAGS:
        raise FramingError("flags", expected="only known bits", got=f"{flags:#06x}")
    if length > limit:
        raise FramingError("length", expected=f"at most {limit} for {Type(kind).name}", got=str(length))
    return Header(Type(kind), flags, channel, sequence, length)


def encode(message: Any, sequence: int = 0, flags: int = 0) -> bytes:
    """Header and payload of a message of the catalogue. Raises MessageError, FramingError when too long."""
    payload = pack(message)
    kind: Type = message.type
    if len(payload) > LIMITS[kind]:
        raise FramingError(
            "length", expected=f"at most {LIMITS[kind]} for {kind.name}", got=f"{len(payload)}"
        )
    return pack_header(kind, len(payload), sequence=sequence, flags=flags) + payload


def decode_payload(header: Header, payload: bytes | bytearray | memoryview) -> Any:
    """The message of a checked header and its payload. Raises MessageError."""
    kind = MESSAGES.get(header.type)
    if kind is None:
        raise FramingError("type", expected="a message with fields", got=header.type.name)
    return unpack(kind, payload)
