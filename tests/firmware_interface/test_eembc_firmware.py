"""The firmware that answers a standard benchmark runner, with address and undefined behaviour checks."""

from __future__ import annotations

import re
import struct
import subprocess
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firmware_interface.serial_port import Port
from tests.firmware_interface.posix_board import BUILD, PosixBoard, build
from tests.waiting import PATIENCE_S

INPUT_BYTES, RESULTS = 3072, 10
READY = b"m-ready\r\n"


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    build("eembc", "EEMBC_BOARDS=posix-sanitized", str(BUILD / "tests" / "eembc-numbers"))


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PosixBoard]:
    with PosixBoard(tmp_path_factory.mktemp("eembc"), variant="eembc-ic01") as running:
        yield running


@pytest.fixture(scope="module")
def port(board: PosixBoard) -> Iterator[Port]:
    port = board.port()
    yield port
    port.close()


def until_ready(port: Port, answers: int = 1, timeout_s: float = PATIENCE_S) -> bytes:
    """What comes until so many answers have ended."""
    end = time.monotonic() + timeout_s
    data = b""
    while data.count(READY) < answers:
        assert time.monotonic() < end, data[-200:]
        data += port.read(0.2)
    return data


def ask(port: Port, command: str | bytes) -> bytes:
    port.write((command.encode() if isinstance(command, str) else command) + b"%", PATIENCE_S)
    return until_ready(port)


def load(port: Port, data: bytes) -> None:
    assert ask(port, f"db load {len(data)}") == b"m-[Expecting %d bytes]\r\n" % len(data) + READY
    for at in range(0, len(data), 38):
        last = at + 38 >= len(data)
        assert ask(port, "db " + data[at : at + 38].hex()) == (b"m-load-done\r\n" if last else b"") + READY


def results_of(data: bytes) -> bytes:
    """What the firmware's stand-in for a model makes of its input."""
    checksum = zlib.crc32(data)
    values = (((checksum * (2 * i + 1)) % 2**32 >> 22) / 1024 for i in range(RESULTS))
    return b"m-results-[" + ",".join(f"{v:.3f}" for v in values).encode() + b"]\r\n"


def without_laps(text: bytes) -> tuple[bytes, list[int]]:
    return re.sub(rb"m-lap-us-\d+", b"m-lap-us-T", text), [int(t) for t in re.findall(rb"m-lap-us-(\d+)", text)]


def test_answers_are_those_of_the_protocol_byte_for_byte(port: Port) -> None:
    assert ask(port, "name") == b"m-name-dut-[edgecut checksum]\r\n" + READY
    assert ask(port, "profile") == (
        b"m-profile-[edgecut: checksum of the input, no network]\r\nm-model-[ic01]\r\n" + READY
    )
    assert without_laps(ask(port, "timestamp"))[0] == b"m-lap-us-T\r\n" + READY
    data = bytes(i * 31 % 256 for i in range(INPUT_BYTES))
    load(port, data)
    expected = b"m-warmup-start-5\r\nm-warmup-done\r\nm-infer-start-20\r\nm-lap-us-T\r\nm-lap-us-T\r\nm-infer-done\r\n"
    text, (began, ended) = without_laps(ask(port, "infer 20 5"))
    assert text == expected + results_of(data) + READY
    assert (ended - began) % 2**32 > 20
    assert without_laps(ask(port, "infer 20"))[0].startswith(b"m-warmup-start-10\r\n")
    assert ask(port, "results") == results_of(data) + READY
    assert ask(port, "bogus 1 2") == b"e-[Unknown command: bogus]\r\n" + READY


def test_buffer_is_printed_eight_bytes_a_line(port: Port) -> None:
    load(port, bytes(range(11)))
    lines = b"m-buffer-00-01-02-03-04-05-06-07\r\nm-buffer-08-09-0a\r\n"
    assert ask(port, "db print") == lines + READY
    load(port, bytes(range(1, 9)))
    assert ask(port, "db print") == b"m-buffer-01-02-03-04-05-06-07-08\r\n" + READY


def test_board_starts_with_mode_timestamp_and_ready(tmp_path: Path) -> None:
    program = BUILD / "eembc-ic01" / "posix-sanitized" / "board"
    with subprocess.Popen([program, "--uart", "0=pty"], stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdout is not None
        terminal = process.stdout.readline().split()[1]
        with Path(terminal).open("rb", buffering=0) as line:
            said = b""
            while not said.endswith(READY):
                said += line.read(100)
        process.kill()
    assert without_laps(said)[0] == b"m-timestamp-mode-performance\r\nm-lap-us-T\r\nm-init-done\r\n" + READY


@pytest.mark.parametrize(
    ("commands", "said"),
    [
        (["", " ", "   "], "Empty command"),
        (["x" * 81, "db " + "00" * 39], "Command longer than 80 characters"),
        (["db load 27649", "db load 4294967297", "db load 0", "db load -1", "db load x"], "takes 1 to 27648 bytes"),
        (["db load"], "requires the # of bytes"),
        (["db"], "requires a subcommand"),
        (["infer 0", "infer -3", "infer 4294967296", "infer 1x"], "iterations must be"),
        (["infer 1 -1", "infer 1 4294967296"], "warmups must be"),
        (["na\x1bme", "name\x00", "results\xff"], "Unknown command: "),
    ],
)
def test_faulty_command_gets_an_error_line(port: Port, commands: list[str], said: str) -> None:
    for command in commands:
        answer = ask(port, command.encode("latin-1"))
        assert re.fullmatch(rb"e-\[[ -~]+\]\r\n" + READY, answer), answer
        assert said in answer.decode()


def test_bytes_beyond_the_announced_ones_are_refused_and_change_nothing(port: Port) -> None:
    ask(port, "db load 4")
    assert ask(port, "db 0011") == READY
    for command in ("db 223344", "db 2", "db 22xx"):
        assert ask(port, command).startswith(b"e-["), command
    assert ask(port, "infer 1").startswith(b"e-[Input is not complete]")
    assert ask(port, "db 2233") == b"m-load-done\r\n" + READY
    assert ask(port, "db 44").startswith(b"e-[More bytes than the 4 of 'db load']")
    assert ask(port, "db print") == b"m-buffer-00-11-22-33\r\n" + READY
    assert ask(port, "infer 1") == b"e-[Input must have 3072 bytes]\r\n" + READY


def test_after_a_refused_load_no_bytes_are_taken(port: Port) -> None:
    ask(port, "db load 4")
    ask(port, "db load 27649")
    assert ask(port, "db 00").startswith(b"e-[Bytes without 'db load']")


def test_another_command_ends_a_run_that_would_take_hours(port: Port) -> None:
    load(port, bytes(INPUT_BYTES))
    port.write(b"infer 4000000000 1%", PATIENCE_S)
    said = b""
    while b"m-infer-start" not in said:
        said += port.read(1.0)
    port.write(b"name%", PATIENCE_S)
    said += until_ready(port, 2 - said.count(READY))
    assert said.endswith(b"e-[Stopped by another command]\r\n" + READY + b"m-name-dut-[edgecut checksum]\r\n" + READY)


def test_largest_input_of_the_suite_is_taken(port: Port) -> None:
    data = bytes(i * 7 % 251 for i in range(27648))
    load(port, data)
    printed = ask(port, "db print").decode().removesuffix("m-ready\r\n")
    assert bytes.fromhex("".join(line.removeprefix("m-buffer-") for line in printed.split()).replace("-", "")) == data


_WORDS = st.sampled_from(
    [b"name", b"db", b"load", b"print", b"infer", b"results", b"profile", b"timestamp", b" ", b"  ", b"%", b"%%", b"0",
     b"1", b"7", b"3072", b"27648", b"27649", b"00ff", b"4294967295", b"\r\n", b"-", b"\x00"]
)  # fmt: skip


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(_WORDS, st.binary(max_size=100)), max_size=60))
def test_any_bytes_get_one_answer_a_command(port: Port, pieces: list[bytes]) -> None:
    """Answers as many as '%', of text lines only; the board lives on."""
    # A run that the next command ends is an answer too; a long one must not be the last.
    data = b"".join(pieces) + b"%name%"
    port.write(data, PATIENCE_S)
    said = until_ready(port, data.count(b"%"))
    assert said.count(READY) == data.count(b"%")
    assert re.fullmatch(rb"(?:[me]-[ -~]*\r\n)+", said)
    assert said.endswith(b"m-name-dut-[edgecut checksum]\r\n" + READY)


def _texts(kind: str, numbers: bytes) -> list[str]:
    program = BUILD / "tests" / "eembc-numbers"
    done = subprocess.run([program, kind], input=numbers, capture_output=True, check=True, timeout=60)
    return done.stdout.decode().split("\n")[:-1]


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=3000))
@settings(deadline=None, max_examples=30)
def test_floats_of_any_bits_are_written_as_python_writes_them(bits: list[int]) -> None:
    packed = struct.pack(f"<{len(bits)}I", *bits)
    assert _texts("floats", packed) == [f"{v:.3f}" for v in struct.unpack(f"<{len(bits)}f", packed)]


def test_floats_at_ties_and_borders_are_written_as_python_writes_them() -> None:
    values = [k / 16 for k in range(-4000, 4000)] + [k / 2000 for k in range(-4001, 4001)]
    values += [2.0**e for e in range(-149, 128)] + [-(2.0**e) * 1.999 for e in range(-126, 127)]
    values += [0.0, -0.0, float("inf"), float("-inf"), float("nan"), 3.4028234663852886e38, 0.0005, 0.9995, 999.9995]
    packed = struct.pack(f"<{len(values)}f", *values)
    assert _texts("floats", packed) == [f"{v:.3f}" for v in struct.unpack(f"<{len(values)}f", packed)]


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=200))
@settings(deadline=None, max_examples=20)
def test_laps_wrap_at_32_bits_after_any_uptime(ticks: list[int]) -> None:
    """The posix board has a tick a nanosecond."""
    assert _texts("ticks", struct.pack(f"<{len(ticks)}Q", *ticks)) == [str(t // 1000 % 2**32) for t in ticks]
