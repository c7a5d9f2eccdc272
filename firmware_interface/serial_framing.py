"""Serial framing: COBS with CRC-32 around a header of 8 bytes (PROTOCOL.md, section 9).

frame  = COBS(header payload crc) 00
header = u8 version (low four bits) and flags (high four), u8 type, u16 channel, u32 sequence
crc    = u32, CRC-32 as in zlib over header and payload
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

from firmware_interface.catalogue import Type
from firmware_interface.errors import FramingError
from firmware_interface.fields import pack
from firmware_interface.framing import Header
from firmware_interface.messages import LIMITS

__all__ = [
    "MAX_FRAME_BYTES",
    "OVERHEAD_BYTES",
    "FrameReader",
    "cobs_decode",
    "cobs_encode",
    "decode_frame",
    "encode_frame",
    "encode_message",
]

FRAMING_VERSION = 1
HEADER = struct.Struct("<BBHI")
CRC = struct.Struct("<I")
OVERHEAD_BYTES = HEADER.size + CRC.size + 2
"""Bytes that a frame adds to a payload of up to 240 bytes; COBS takes one more for every further 254."""
MAX_SERIAL_PAYLOAD_BYTES = 4096  # the largest bound of a message that may come on a serial line
_MAX_PLAIN_BYTES = HEADER.size + MAX_SERIAL_PAYLOAD_BYTES + CRC.size
MAX_FRAME_BYTES = _MAX_PLAIN_BYTES + _MAX_PLAIN_BYTES // 254 + 1  # without the zero at the end
_BLOCK = 254  # non-zero bytes that one COBS code can cover


def cobs_encode(data: bytes) -> bytes:
    """``data`` without zeros (no delimiter). A full last block is not followed by an empty one."""
    out = bytearray()
    at = 0
    while True:
        zero = data.find(0, at, at + _BLOCK)
        end = zero if zero >= 0 else min(at + _BLOCK, len(data))
        out.append(end - at + 1)
        out += data[at:end]
        if zero >= 0:
            at = end + 1  # the zero is implied by the code
        elif end == len(data):
            return bytes(out)
        else:
            at = end


def cobs_decode(data: bytes) -> bytes:
    """Inverse of `cobs_encode`. Raises FramingError for a zero inside or a block that runs past the end."""
    out = bytearray()
    at = 0
    while at < len(data):
        code = data[at]
        block = data[at + 1 : at + code]
        if code == 0 or len(block) != code - 1 or 0 in block:
            raise FramingError(
                "cobs", expected=f"{max(code - 1, 0)} bytes at {at + 1}, none of them 0", got=block.hex()
            )
        out += block
        at += code
        if code <= _BLOCK and at < len(data):
            out.append(0)
    return bytes(out)


def encode_frame(kind: int, payload: bytes, *, channel: int = 0, sequence: int = 0, flags: int = 0) -> bytes:
    """A frame with its delimiter. Raises FramingError for a payload that no serial line takes."""
    if len(payload) > MAX_SERIAL_PAYLOAD_BYTES:
        raise FramingError("length", expected=f"at most {MAX_SERIAL_PAYLOAD_BYTES}", got=str(len(payload)))
    plain = HEADER.pack(FRAMING_VERSION | flags << 4, kind, channel, sequence) + payload
    return cobs_encode(plain + CRC.pack(zlib.crc32(plain))) + b"\0"


def encode_message(message: Any, *, channel: int = 0, sequence: int = 0, flags: int = 0) -> bytes:
    """The frame of a message of the catalogue. Raises MessageError, FramingError."""
    return encode_frame(message.type, pack(message), channel=channel, sequence=sequence, flags=flags)


def decode_frame(frame: bytes) -> tuple[Header, bytes]:
    """Header and payload of what stood between two delimiters.

    Raises FramingError with field cobs, size, crc, version, type, flags or length, checked in that order.
    """
    plain = cobs_decode(frame)
    if len(plain) < HEADER.size + CRC.size:
        raise FramingError("size", expected=f"at least {HEADER.size + CRC.size} bytes", got=str(len(plain)))
    body = plain[: -CRC.size]
    (crc,) = CRC.unpack(plain[-CRC.size :])
    if crc != zlib.crc32(body):
        raise FramingError("crc", expected=f"{zlib.crc32(body):08x}", got=f"{crc:08x}")
    first, number, channel, sequence = HEADER.unpack_from(body)
    if first & 15 != FRAMING_VERSION:
        raise FramingError("version", expected=str(FRAMING_VERSION), got=str(first & 15))
    if number not in LIMITS:
        raise FramingError("type", expected="a type of the catalogue", got=f"{number:#04x}")
    if first >> 4 > 1:
        raise FramingError("flags", expected="only known bits", got=f"{first >> 4:#x}")
    kind = Type(number)
    payload = body[HEADER.size :]
    if len(payload) > LIMITS[kind]:
        raise FramingError("length", expected=f"at most {LIMITS[kind]} for {kind.name}", got=str(len(payload)))
    return Header(kind, first >> 4, channel, sequence, len(payload)), payload


class FrameReader:
    """Cuts a stream of bytes into frames; whatever is none is counted and left out."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._too_long = False
        self.bad_frames = 0
        """Pieces between delimiters that were no frames."""
        self.last_problem = ""

    def feed(self, data: bytes) -> list[tuple[Header, bytes]]:
        """The frames that ``data`` completes, in order. Never raises."""
        found: list[tuple[Header, bytes]] = []
        *ends, rest = data.split(b"\0")
        for end in ends:
            self._hold(end)
            if self._held or self._too_long:
                frame = self._take()
                if frame is not None:
                    found.append(frame)
        self._hold(rest)
        return found

    def _hold(self, data: bytes) -> None:
        if len(self._held) + len(data) > MAX_FRAME_BYTES:
            self._too_long = True
            self._held.clear()
        elif not self._too_long:
            self._held += data

    def _take(self) -> tuple[Header, bytes] | None:
        held, too_long = bytes(self._held), self._too_long
        self._held.clear()
        self._too_long = False
        try:
            if too_long:
                raise FramingError("size", expected=f"at most {MAX_FRAME_BYTES} bytes", got="more")
            return decode_frame(held)
        except FramingError as error:
            self.bad_frames += 1
            self.last_problem = str(error)
            return None
