"""The real firmware as a process with address and undefined behaviour checks: slot, runs, spoilt lines."""

from __future__ import annotations

import hashlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from firmware_interface import board_messages as b
from firmware_interface.board_client import BoardClient
from firmware_interface.catalogue import ErrorCode, Type
from firmware_interface.errors import BoardResetError, ConnectionLostError, DeadlineError, RemoteError
from firmware_interface.serial_framing import encode_message
from tests.firmware_interface.faulty_port import FAULTS, DelayingPort, FaultyPort, MeddlingPort, SplittingPort
from tests.firmware_interface.posix_board import FIRMWARE, PosixBoard, build, copying_image
from tests.waiting import PATIENCE_S

SIZE = 200


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    build("posix-sanitized")


@pytest.fixture
def board(tmp_path: Path) -> Iterator[PosixBoard]:
    with PosixBoard(tmp_path, "--uid", "0011aaff") as running:
        yield running


def test_catalogue_of_the_firmware_is_that_of_the_host() -> None:
    text = (FIRMWARE / "src" / "catalogue.h").read_text()
    copies = {
        "TYPE": Type, "CODE": ErrorCode, "CAPABILITY": b.Capability, "CAUSE": b.ResetCause, "RESET": b.ResetKind,
        "PHASE": b.Phase, "FAULT": b.FaultKind, "SLOT": b.SlotPhase,
    }  # fmt: skip
    found = 0
    for prefix, name, value in re.findall(r"^    ([A-Z]+?)_(\w+) = ([^,]+),$", text, re.MULTILINE):
        if (prefix, name) == ("CODE", "NONE"):
            continue
        number = 1 << int(value[5:]) if value.startswith("1 << ") else int(value, 0)
        assert copies[prefix][name] == number, (prefix, name)
        found += 1
    assert found > 70


def test_c_units_pass() -> None:
    """Golden frames, random bytes, hashes, and a power cut at every operation of the slot's memory."""
    build("test")


def test_board_says_who_it_is(board: PosixBoard) -> None:
    with board.client() as client:
        facts = client.facts()
        assert (facts.board, facts.uid, facts.lowest, facts.highest) == ("posix", "0011aaff", 1, 1)
        assert b.Capability.EMULATED in b.Capability(facts.capabilities)
        assert facts.build != bytes(32)
        assert client.attached is not None
        assert client.attached.cause == b.ResetCause.POWER_ON
        before = client.ping()
        assert client.ping() > before


def test_image_is_written_checked_and_run(board: PosixBoard) -> None:
    image = copying_image(SIZE, filler=30_000)
    with board.client() as client:
        written = client.write_image(image)
        assert (written.started_at_bytes, written.sent_bytes) == (0, len(image))
        assert written.sha256 == hashlib.sha256(image).digest()
        facts = client.load(written.sha256)
        assert (facts.inputs, facts.outputs, facts.operators, facts.arena, facts.weights) == (1, 1, 2, 600, 30_000)
        data = bytes(range(SIZE))
        client.write_input(0, data)
        ran = client.run(5)
        assert (ran.runs, ran.ticks_least <= ran.ticks_most) == (5, True)
        assert client.read_output(0, SIZE) == data
        times = client.operator_ticks()
        assert len(times) == 2
        assert 0 < sum(times) <= ran.ticks
        memory = client.memory()
        assert memory.image == len(image)
        assert memory.arena_loaded == 608 + 16  # the arena aligned, eight bytes for each operator's time
        statistics = client.statistics()
        assert (statistics.frames, statistics.frames_bad) == (5, 0)


def test_arena_high_water_needs_two_paints(board: PosixBoard) -> None:
    image = copying_image(SIZE)
    with board.client() as client:
        sha256 = client.write_image(image).sha256
        touched = []
        for paint in (0x55, 0xAA):
            client.load(sha256, paint=paint)
            client.write_input(0, b"\x55" * SIZE)  # looks like the first paint
            client.run()
            touched.append(client.memory().arena_touched)
        assert touched == [0, 3 * SIZE]


def test_image_that_is_there_is_not_sent_again(tmp_path: Path) -> None:
    image = copying_image(filler=9000)
    nor = tmp_path / "nor"
    with PosixBoard(tmp_path, nor=nor) as board, board.client() as client:
        client.write_image(image)
    with PosixBoard(tmp_path, nor=nor) as board, board.client() as client:
        assert client.slot().state == b.SlotPhase.VALID
        assert client.write_image(image).sent_bytes == 0


def test_transfer_goes_on_after_a_broken_line_and_after_a_loss_of_power(tmp_path: Path) -> None:
    image = copying_image(filler=40_000)
    digest = hashlib.sha256(image).digest()
    nor = tmp_path / "nor"

    def part(client: BoardClient, at: int, until: int) -> None:
        while at < until:
            at = client.line.call(b.SlotData(at, image[at : at + 1000]), b.SlotAck, "part").next

    with PosixBoard(tmp_path, nor=nor) as board:
        with board.client() as client:
            client.line.call(b.SlotBegin(len(image), digest), b.SlotState, "begin")
            part(client, 0, 10_000)
        with board.client() as client:
            state = client.line.call(b.SlotBegin(len(image), digest), b.SlotState, "begin")
            assert (state.state, state.next) == (b.SlotPhase.BEGUN, 10_000)
            part(client, 10_000, 15_000)
    with PosixBoard(tmp_path, nor=nor) as board, board.client() as client:
        written = client.write_image(image)
        assert written.started_at_bytes == 12_288  # the last whole sector of 4 KB
        assert written.sent_bytes == len(image) - 12_288


def test_another_image_starts_anew(board: PosixBoard) -> None:
    with board.client() as client:
        first, second = copying_image(filler=9000), copying_image(64, filler=5000)
        client.write_image(first)
        assert client.write_image(second).started_at_bytes == 0
        with pytest.raises(RemoteError, match="HASH_MISMATCH"):
            client.load(hashlib.sha256(first).digest())


@pytest.mark.parametrize(
    ("image", "code"),
    [
        (copying_image(board="mps2-an386"), "WRONG_BOARD"),
        (copying_image(size=1 << 20), "DOES_NOT_FIT"),
        (copying_image()[:-1] + b"", "BAD_IMAGE"),
        (b"no image at all, but some bytes", "BAD_IMAGE"),
        (copying_image().replace(b"EDGM\x01", b"EDGM\x02"), "BAD_IMAGE"),
    ],
    ids=["board", "ram", "short", "noise", "header"],
)
def test_wrong_images_are_refused_with_a_code(board: PosixBoard, image: bytes, code: str) -> None:
    with board.client() as client:
        with pytest.raises(RemoteError) as caught:
            client.write_image(image)
        assert caught.value.code == code
        assert client.slot().state == b.SlotPhase.EMPTY


def test_image_larger_than_the_slot_is_refused_before_a_byte_is_sent(board: PosixBoard) -> None:
    with board.client() as client:
        sent = client.statistics().bytes_received
        with pytest.raises(RemoteError, match="OUT_OF_RANGE"):
            client.write_image(bytes((1 << 20) + 1))
        assert client.statistics().bytes_received - sent < 100


@pytest.mark.parametrize("name", FAULTS)
def test_faults_on_the_line_leave_the_image_correct(board: PosixBoard, name: str) -> None:
    image = copying_image(SIZE, filler=40_000)
    port = FaultyPort(board.port(), FAULTS[name], 0.05, seed=7)
    with board.client(port=port) as client:
        sha256 = client.write_image(image).sha256
        client.load(sha256)
        client.write_input(0, bytes(range(SIZE)))
        client.run(3)
        assert client.read_output(0, SIZE) == bytes(range(SIZE))
    assert port.faults > 0


def test_bytes_may_come_in_any_pieces(board: PosixBoard) -> None:
    with board.client(port=SplittingPort(board.port())) as client:
        assert client.write_image(copying_image(filler=5000)).sent_bytes > 5000
        assert client.statistics().frames_bad == 0


def test_late_bytes_leave_the_image_correct(board: PosixBoard) -> None:
    with board.client(port=DelayingPort(board.port())) as client:
        image = copying_image(SIZE, filler=40_000)
        client.load(client.write_image(image).sha256)


def test_a_reset_in_mid_transfer_is_noticed_and_the_transfer_goes_on(board: PosixBoard) -> None:
    image = copying_image(SIZE, filler=40_000)
    port = board.port()
    meddling = MeddlingPort(port, at_write=25)
    with board.client(port=meddling) as client:
        meddling.frame = encode_message(b.Reset(1), channel=client.line.session, sequence=77)
        with pytest.raises(BoardResetError) as caught:
            client.write_image(image)
        assert caught.value.phase == "slot data"
        attached = client.attach(0)
        assert (attached.boots, attached.cause) == (2, b.ResetCause.REQUESTED)
        written = client.write_image(image)
        assert written.started_at_bytes > 0
        assert written.started_at_bytes % 4096 == 0
        client.load(written.sha256)


def test_the_check_of_a_real_board_passes(board: PosixBoard) -> None:
    script = FIRMWARE.parents[1] / "tests" / "hardware" / "check_board.py"
    done = subprocess.run(
        [sys.executable, script, f"unix:{board.folder / 'u0'}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all passed" in done.stdout


def test_power_cuts_during_flashing_leave_a_board_that_can_be_flashed(tmp_path: Path) -> None:
    """A sample of what the C units do at every operation, here with the whole firmware and the host."""
    image = copying_image(SIZE, filler=9000)
    nor = tmp_path / "nor"
    for cut in (1, 2, 5, 9, 300, 700, 1150):
        nor.unlink(missing_ok=True)
        with PosixBoard(tmp_path, "--cut-after", str(cut), nor=nor) as board:
            with board.client() as client, pytest.raises((ConnectionLostError, DeadlineError)):
                client.write_image(image, stall_s=2.0)
            assert board.process.wait(PATIENCE_S) == 70
        with PosixBoard(tmp_path, nor=nor) as board, board.client() as client:
            client.load(client.write_image(image).sha256)
            client.write_input(0, bytes(SIZE))
            assert client.run().runs == 1


def test_a_board_that_was_kept_from_running_goes_on(board: PosixBoard) -> None:
    """For longer than its watchdog's time."""
    with board.client() as client:
        for _ in range(2):
            board.process.send_signal(signal.SIGSTOP)
            time.sleep(2.2)
            board.process.send_signal(signal.SIGCONT)
            assert client.statistics().boots == 1
