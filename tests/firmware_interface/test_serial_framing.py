"""Serial framing: whatever bytes come, whole frames are found and nothing else is taken for one."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_interface.errors import FramingError
from firmware_interface.messages import LIMITS, Type
from firmware_interface.serial_framing import (
    MAX_FRAME_BYTES,
    OVERHEAD_BYTES,
    FrameReader,
    cobs_decode,
    cobs_encode,
    encode_frame,
)

PAYLOAD = st.binary(max_size=700)
KINDS = st.sampled_from([t for t in Type if LIMITS[t] >= 700])


@given(st.binary(max_size=1200))
def test_cobs_leaves_no_zero_and_comes_back(data: bytes) -> None:
    coded = cobs_encode(data)
    assert 0 not in coded
    assert len(coded) <= len(data) + len(data) // 254 + 1
    assert cobs_decode(coded) == data


@given(st.lists(st.tuples(KINDS, PAYLOAD, st.integers(0, 65535), st.integers(0, 2**32 - 1)), max_size=5), st.data())
def test_frames_come_back_however_the_stream_is_cut(
    frames: list[tuple[Type, bytes, int, int]], data: st.DataObject
) -> None:
    stream = b"".join(encode_frame(k, p, channel=c, sequence=s) for k, p, c, s in frames)
    reader, got = FrameReader(), []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        got += reader.feed(stream[:cut])
        stream = stream[cut:]
    assert [(h.type, p, h.channel, h.sequence) for h, p in got] == frames
    assert reader.bad_frames == 0


@given(st.binary(max_size=300), PAYLOAD, st.binary(max_size=300))
def test_a_frame_is_found_between_garbage(before: bytes, payload: bytes, after: bytes) -> None:
    frame = encode_frame(Type.PART, payload, sequence=7)
    got = FrameReader().feed(before + b"\0" + frame + after)
    assert [p for h, p in got if h.sequence == 7] == [payload]


@given(PAYLOAD, st.integers(0, 10_000), st.integers(0, 7))
def test_no_flipped_bit_goes_through(payload: bytes, position: int, bit: int) -> None:
    frame = bytearray(encode_frame(Type.PART, payload))
    frame[position % len(frame)] ^= 1 << bit
    reader = FrameReader()
    assert reader.feed(bytes(frame) + b"\0") == []
    assert reader.bad_frames >= 1


def test_an_endless_frame_is_dropped_and_the_next_one_is_found() -> None:
    reader = FrameReader()
    for _ in range(20):
        assert reader.feed(b"x" * MAX_FRAME_BYTES) == []
    assert len(reader._held) <= MAX_FRAME_BYTES
    ((header, payload),) = reader.feed(b"\0" + encode_frame(Type.LOG, b"\x14hello"))
    assert (header.type, payload) == (Type.LOG, b"\x14hello")
    assert reader.bad_frames == 1
    assert "at most" in reader.last_problem


def test_overhead_of_a_frame_is_what_the_text_says() -> None:
    assert len(encode_frame(Type.PART, b"\1" * 240)) == 240 + OVERHEAD_BYTES
    assert OVERHEAD_BYTES == 14
    with pytest.raises(FramingError):
        encode_frame(Type.PART, bytes(4097))


def test_crc_is_that_of_zlib() -> None:
    plain = cobs_decode(encode_frame(Type.OK, b"")[:-1])
    assert int.from_bytes(plain[-4:], "little") == zlib.crc32(plain[:-4])
