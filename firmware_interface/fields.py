"""Packed fields: how a message class's annotations become bytes. All numbers are little-endian.

A message is a frozen dataclass whose fields are annotated with the aliases below. Fixed-size numbers, byte
strings of 32, short texts with a length in front, and as last field at most one that takes the rest.
"""

from __future__ import annotations

import json
import struct
from dataclasses import fields
from typing import Annotated, Any, Protocol, TypeVar, get_args, get_origin, get_type_hints

from firmware_interface.errors import MessageError

__all__ = ["I64", "U8", "U16", "U32", "U64", "Document", "Hash", "Rest", "Short", "Text", "pack", "unpack"]

MAX_SHORT_BYTES = 255  # the length stands in one byte


class _Number:
    def __init__(self, code: str) -> None:
        self.struct = struct.Struct("<" + code)

    def pack(self, value: Any) -> bytes:
        return self.struct.pack(value)

    def unpack(self, data: memoryview, at: int) -> tuple[Any, int]:
        (value,) = self.struct.unpack_from(data, at)
        return value, at + self.struct.size


class _Hash:
    def pack(self, value: Any) -> bytes:
        if len(value) != 32:
            raise ValueError(f"expected 32 bytes, got {len(value)}")
        return bytes(value)

    def unpack(self, data: memoryview, at: int) -> tuple[Any, int]:
        if len(data) - at < 32:
            raise ValueError(f"expected 32 bytes, got {len(data) - at}")
        return bytes(data[at : at + 32]), at + 32


class _Short:
    def pack(self, value: Any) -> bytes:
        raw = str(value).encode()
        if len(raw) > MAX_SHORT_BYTES:
            raise ValueError(f"text of {len(raw)} bytes; at most {MAX_SHORT_BYTES}")
        return bytes([len(raw)]) + raw

    def unpack(self, data: memoryview, at: int) -> tuple[Any, int]:
        if at >= len(data):
            raise ValueError("a text's length is missing")
        end = at + 1 + data[at]
        if end > len(data):
            raise ValueError(f"a text of {data[at]} bytes, {len(data) - at - 1} left")
        return bytes(data[at + 1 : end]).decode(), end


class _Text:
    def pack(self, value: Any) -> bytes:
        return str(value).encode()

    def unpack(self, data: memoryview, at: int) -> tuple[Any, int]:
        return bytes(data[at:]).decode(), len(data)


class _Rest:
    def pack(self, value: Any) -> bytes:
        return bytes(value)

    def unpack(self, data: memoryview, at: int) -> tuple[Any, int]:
        return bytes(data[at:]), len(data)


class _Document:
    def pack(self, value: Any) -> bytes:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()

    def unpack(self, data: memoryview, at: int) -> tuple[Any, int]:
        raw = bytes(data[at:])
        value = json.loads(raw, parse_constant=_refuse_constant)
        if not isinstance(value, dict):
            raise ValueError(f"expected a JSON object, got {type(value).__name__}")
        return value, len(data)


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a number in a document")


U8 = Annotated[int, _Number("B")]
U16 = Annotated[int, _Number("H")]
U32 = Annotated[int, _Number("I")]
U64 = Annotated[int, _Number("Q")]
I64 = Annotated[int, _Number("q")]
Hash = Annotated[bytes, _Hash()]
"""32 bytes: a SHA-256, a nonce, a proof."""
Short = Annotated[str, _Short()]
"""UTF-8 with its length in one byte before it."""
Text = Annotated[str, _Text()]
"""UTF-8 that takes the rest of the payload."""
Rest = Annotated[bytes, _Rest()]
"""Raw bytes that take the rest of the payload."""
Document = Annotated[dict[str, Any], _Document()]
"""A JSON object in UTF-8 that takes the rest of the payload."""


class _Codec(Protocol):
    def pack(self, value: Any) -> bytes: ...

    def unpack(self, data: memoryview, at: int) -> tuple[Any, int]: ...


_known: dict[type, tuple[tuple[str, _Codec], ...]] = {}


def _codecs(kind: type) -> tuple[tuple[str, _Codec], ...]:
    if kind not in _known:
        _known[kind] = _codecs_of(kind)
    return _known[kind]


def _codecs_of(kind: Any) -> tuple[tuple[str, _Codec], ...]:
    hints = get_type_hints(kind, include_extras=True)
    found: list[tuple[str, _Codec]] = []
    for field in fields(kind):
        hint = hints[field.name]
        if get_origin(hint) is not Annotated:
            raise TypeError(f"{kind.__name__}.{field.name} has no wire type")
        found.append((field.name, get_args(hint)[1]))
    return tuple(found)


T = TypeVar("T")


def pack(message: Any) -> bytes:
    """The payload of a message. Raises MessageError when a value does not fit its field."""
    parts: list[bytes] = []
    for name, codec in _codecs(type(message)):
        try:
            parts.append(codec.pack(getattr(message, name)))
        except (ValueError, TypeError, struct.error) as error:
            raise MessageError(type(message).__name__, f"field {name}: {error}") from error
    return b"".join(parts)


def unpack(kind: type[T], payload: bytes | bytearray | memoryview) -> T:
    """The message in a payload. Raises MessageError when the bytes do not decode or bytes are left over."""
    data = memoryview(payload)
    values: list[Any] = []
    at = 0
    for name, codec in _codecs(kind):
        try:
            value, at = codec.unpack(data, at)
        except (ValueError, struct.error, RecursionError) as error:
            raise MessageError(kind.__name__, f"field {name} at byte {at}: {error}") from error
        values.append(value)
    if at != len(data):
        raise MessageError(kind.__name__, f"{len(data) - at} bytes left over")
    return kind(*values)
