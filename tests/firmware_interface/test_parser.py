"""Whatever bytes come, the parser says so: no hang, no huge allocation, no foreign exception."""

from __future__ import annotations

import json
import socket
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import firmware_interface
from firmware_interface.errors import (
    ConnectionLostError,
    DeadlineError,
    FramingError,
    MessageError,
    WireError,
)
from firmware_interface.fields import pack, unpack
from firmware_interface.framing import HEADER, decode_header, decode_payload, encode
from firmware_interface.messages import (
    LIMITS,
    MAX_DOCUMENT_BYTES,
    MESSAGES,
    Error,
    FileChunk,
    FileState,
    Hello,
    Identity,
    Load,
    Ping,
    Start,
    Type,
)
from firmware_interface.transport import Connection
from tests.waiting import PATIENCE_S

FRAMES = [
    bytes.fromhex(v["frame"])
    for v in json.loads((Path(firmware_interface.__file__).parent / "vectors.json").read_text("utf-8"))["messages"]
]
SHORT = st.text(max_size=60)
HASH = st.binary(min_size=32, max_size=32)
U64 = st.integers(0, 2**64 - 1)
JSON = st.dictionaries(
    st.text(max_size=8),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**53), 2**53)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)
ANY_MESSAGE = st.one_of(
    st.builds(Hello, st.integers(0, 65535), st.integers(0, 255), HASH, SHORT, SHORT, SHORT),
    st.builds(Error, st.integers(0, 65535), st.text(max_size=900)),
    st.builds(FileState, st.integers(0, 1), U64, HASH),
    st.builds(FileChunk, U64, st.binary(max_size=200)),
    st.builds(Start, st.integers(0, 255), st.integers(0, 2**32 - 1)),
    st.builds(Identity, SHORT, JSON),
    st.builds(Load, JSON),
)


def _parse(data: bytes) -> object:
    header = decode_header(data)
    return decode_payload(header, data[HEADER.size :])


@given(ANY_MESSAGE, st.integers(0, 2**32 - 1))
def test_what_is_encoded_comes_back(message: object, sequence: int) -> None:
    frame = encode(message, sequence)
    assert _parse(frame) == message
    assert decode_header(frame).sequence == sequence


@given(st.binary(max_size=64))
def test_random_bytes_give_errors_of_ours_only(data: bytes) -> None:
    with pytest.raises((FramingError, MessageError)):
        _parse(b"\0" + data)


@given(st.sampled_from(FRAMES), st.integers(0, 10_000), st.integers(0, 7))
def test_a_flipped_bit_gives_an_error_or_another_message(frame: bytes, position: int, bit: int) -> None:
    data = bytearray(frame)
    data[position % len(data)] ^= 1 << bit
    try:
        message = _parse(bytes(data))
    except (FramingError, MessageError):
        return
    assert type(message) in MESSAGES.values()


@given(st.sampled_from([t for t in MESSAGES if t is not Type.OK]), st.binary(max_size=300))
def test_random_payloads_decode_or_give_message_errors(kind: Type, payload: bytes) -> None:
    try:
        message = unpack(MESSAGES[kind], payload)
    except MessageError:
        return
    if LIMITS[kind] != MAX_DOCUMENT_BYTES:  # a document may be written in more than one way, the rest may not
        assert pack(message) == payload


@given(st.sampled_from(FRAMES), st.integers(0, 10_000))
def test_a_truncated_stream_ends_in_connection_lost(frame: bytes, cut: int) -> None:
    ours, theirs = socket.socketpair()
    tcp = _TcpLike(ours)
    theirs.sendall(frame[: cut % len(frame)])
    theirs.close()
    with pytest.raises(ConnectionLostError):
        tcp.receive(timeout_s=PATIENCE_S)
    tcp.close()


class _TcpLike(Connection):
    """A connection over a socket pair: options of TCP do not apply."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(_NoOptions(sock.family, sock.type, 0, sock.detach()))


class _NoOptions(socket.socket):
    def setsockopt(self, *_: object) -> None:  # type: ignore[override]
        return


def _pair() -> tuple[_TcpLike, socket.socket]:
    ours, theirs = socket.socketpair()
    return _TcpLike(ours), theirs


@pytest.mark.parametrize("kind", list(Type))
def test_a_length_above_its_bound_is_refused_before_anything_is_allocated(kind: Type) -> None:
    connection, theirs = _pair()
    theirs.sendall(HEADER.pack(b"EDGC", 1, kind, 0, 0, 0, LIMITS[kind] + 1))
    tracemalloc.start()
    try:
        with pytest.raises(FramingError):
            connection.receive(timeout_s=PATIENCE_S)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000
    connection.close()
    theirs.close()


def test_a_type_that_does_not_fit_is_refused_before_its_payload_is_allocated() -> None:
    connection, theirs = _pair()
    theirs.sendall(HEADER.pack(b"EDGC", 1, Type.LOAD, 0, 0, 0, MAX_DOCUMENT_BYTES))
    tracemalloc.start()
    try:
        with pytest.raises(FramingError, match="fits here"):
            connection.receive(timeout_s=PATIENCE_S, allowed=(Type.HELLO,))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000
    connection.close()
    theirs.close()


@pytest.mark.parametrize("part", [b"", b"EDGC", encode(Ping(1))[:-1]])
def test_silence_in_the_middle_of_a_message_ends_at_the_deadline(part: bytes) -> None:
    connection, theirs = _pair()
    theirs.sendall(part)
    with pytest.raises(DeadlineError):
        connection.receive(timeout_s=0.05)
    connection.close()
    theirs.close()


def test_a_sender_that_trickles_cannot_stretch_the_deadline() -> None:
    connection, theirs = _pair()
    theirs.sendall(encode(Ping(1))[:5])
    with pytest.raises(DeadlineError):
        connection.receive(timeout_s=0.05)
    theirs.sendall(encode(Ping(1))[5:6])
    with pytest.raises(WireError):
        connection.receive(timeout_s=0.05)
    connection.close()
    theirs.close()


def test_links_read_headers_and_payloads_however_they_are_cut() -> None:
    connection, theirs = _pair()
    payloads = [b"", b"abc", bytes(5000), bytes(range(256)) * 100]
    stream = b"".join(HEADER.pack(b"EDGC", 1, Type.TENSOR, 0, 7, n, len(p)) + p for n, p in enumerate(payloads))
    for start in range(0, len(stream), 1009):
        theirs.sendall(stream[start : start + 1009])
    for number, payload in enumerate(payloads):
        header = connection.receive_header()
        assert (header.channel, header.sequence, header.length) == (7, number, len(payload))
        buffer = bytearray(len(payload))
        connection.receive_into(memoryview(buffer))
        assert bytes(buffer) == payload
    connection.close()
    theirs.close()


@pytest.mark.parametrize(
    "payload",
    [b"[" * 200_000, b'{"a":NaN}', b"[]", b"{", b'{"a":1}x', b"\xff\xfe", b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"],
)
def test_documents_that_are_no_plain_objects_are_refused(payload: bytes) -> None:
    with pytest.raises(MessageError):
        unpack(Load, payload)


def test_values_that_do_not_fit_their_field_are_refused_when_encoding() -> None:
    for message in (
        Start(256, 0),
        Hello(1, 1, b"short", "", "", ""),
        Identity("x" * 256, {}),
        Load({"a": float("nan")}),
    ):
        with pytest.raises(MessageError):
            encode(message)
    with pytest.raises(FramingError):
        encode(Error(1, "x" * 5000))
