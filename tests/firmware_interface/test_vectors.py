"""Golden frames: what every implementation of the protocol must make and take."""

from __future__ import annotations

import hmac
import json
from pathlib import Path
from typing import Any

import pytest

import firmware_interface
from firmware_interface import board_messages, messages
from firmware_interface.errors import FramingError
from firmware_interface.framing import HEADER, decode_header, decode_payload, encode, pack_header
from firmware_interface.messages import MESSAGES, Type
from firmware_interface.serial_framing import (
    FrameReader,
    cobs_decode,
    cobs_encode,
    decode_frame,
    encode_frame,
    encode_message,
)

VECTORS = json.loads((Path(firmware_interface.__file__).parent / "vectors.json").read_text("utf-8"))


def _kind(name: str) -> Any:
    return getattr(board_messages if hasattr(board_messages, name) else messages, name)


def _value(raw: Any) -> Any:
    return bytes.fromhex(raw["hex"]) if isinstance(raw, dict) and set(raw) == {"hex"} else raw


@pytest.mark.parametrize("vector", VECTORS["messages"], ids=lambda v: v["message"])
def test_message_is_encoded_and_decoded_as_in_the_golden_file(vector: dict[str, Any]) -> None:
    kind = _kind(vector["message"])
    message = kind(**{k: _value(v) for k, v in vector["fields"].items()})
    frame = bytes.fromhex(vector["frame"])
    assert encode(message, vector["sequence"]) == frame
    header = decode_header(frame)
    assert (header.type, header.sequence) == (kind.type, vector["sequence"])
    assert header.length == len(frame) - HEADER.size
    assert decode_payload(header, frame[HEADER.size :]) == message


@pytest.mark.parametrize("vector", VECTORS["messages"], ids=lambda v: v["message"])
def test_message_on_a_serial_line_is_as_in_the_golden_file(vector: dict[str, Any]) -> None:
    kind = _kind(vector["message"])
    message = kind(**{k: _value(v) for k, v in vector["fields"].items()})
    frame = bytes.fromhex(vector["serial"])
    assert encode_message(message, channel=0xBEEF, sequence=vector["sequence"]) == frame
    ((header, payload),) = FrameReader().feed(frame)
    assert (header.type, header.channel, header.sequence) == (kind.type, 0xBEEF, vector["sequence"])
    assert decode_payload(header, payload) == message


@pytest.mark.parametrize("vector", VECTORS["serial_refused"], ids=lambda v: v["field"])
def test_bad_serial_frames_are_refused_naming_the_field(vector: dict[str, Any]) -> None:
    with pytest.raises(FramingError) as caught:
        decode_frame(bytes.fromhex(vector["frame"]))
    assert caught.value.field == vector["field"]


@pytest.mark.parametrize("vector", VECTORS["cobs"])
def test_cobs_is_as_in_the_golden_file(vector: dict[str, str]) -> None:
    plain, coded = bytes.fromhex(vector["plain"]), bytes.fromhex(vector["coded"])
    assert cobs_encode(plain) == coded
    assert cobs_decode(coded) == plain


def test_every_message_of_the_catalogue_has_a_golden_frame() -> None:
    assert {_kind(v["message"]).type for v in VECTORS["messages"]} == set(MESSAGES)
    assert {v["type"] for v in VECTORS["links"]} == {t.name for t in set(Type) - set(MESSAGES)}


@pytest.mark.parametrize("vector", VECTORS["links"], ids=lambda v: v["type"])
def test_link_headers_are_as_in_the_golden_file(vector: dict[str, Any]) -> None:
    payload = bytes.fromhex(vector["payload"])
    frame = bytes.fromhex(vector["frame"])
    fields = {k: vector[k] for k in ("channel", "sequence", "flags")}
    assert pack_header(Type[vector["type"]], len(payload), **fields) + payload == frame
    assert encode_frame(Type[vector["type"]], payload, **fields) == bytes.fromhex(vector["serial"])
    assert decode_header(frame) == (
        Type[vector["type"]],
        *(vector[k] for k in ("flags", "channel", "sequence")),
        len(payload),
    )


@pytest.mark.parametrize("vector", VECTORS["refused_headers"], ids=lambda v: v["field"])
def test_bad_headers_are_refused_naming_the_field(vector: dict[str, Any]) -> None:
    with pytest.raises(FramingError) as caught:
        decode_header(bytes.fromhex(vector["frame"]))
    assert caught.value.field == vector["field"]


def test_proofs_follow_the_text_of_the_protocol() -> None:
    """Written out by hand from PROTOCOL.md, section 3, so that another implementation can follow it."""
    opening = VECTORS["opening"]
    hello, challenge = bytes.fromhex(opening["hello"]), bytes.fromhex(opening["challenge"])

    def proof(label: bytes, board: bytes) -> str:
        parts = (label, hello, challenge, board)
        text = b"".join(len(p).to_bytes(4, "little") + p for p in parts)
        return hmac.new(bytes.fromhex(opening["key"]), text, "sha256").hexdigest()

    assert proof(b"edgecut/1 opener", b"") == opening["opener_proof"]
    assert proof(b"edgecut/1 acceptor", opening["board"].encode()) == opening["acceptor_proof"]
