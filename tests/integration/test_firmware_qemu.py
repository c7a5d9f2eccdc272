"""The firmware on emulated Cortex-M boards: what the posix board shows must hold for every port."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from firmware_interface import board_messages as b
from firmware_interface.board_client import BoardClient
from firmware_interface.board_line import BoardLine
from firmware_interface.errors import ConnectionLostError, RemoteError
from firmware_interface.qemu_boards import QEMU_BOARDS, qemu_command
from firmware_interface.serial_port import Port
from tests.firmware_interface.faulty_port import FAULTS, FaultyPort
from tests.firmware_interface.posix_board import BUILD, build, copying_image, wait_for
from tests.needs import needs_qemu
from tests.waiting import PATIENCE_S

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
SIZE = 100
UID = 0x0123456789ABCDEF


@pytest.fixture(scope="module", params=QEMU_BOARDS)
def kind(request: pytest.FixtureRequest) -> str:
    needs_qemu()
    build(request.param)
    return str(request.param)


@pytest.fixture
def process(kind: str, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    serial = [f"unix:{tmp_path / 'u0'},server=on,wait=off"]
    with subprocess.Popen(qemu_command(kind, BUILD / kind / "firmware.elf", uid=UID, serial=serial)) as process:
        yield process
        process.kill()


@pytest.fixture
def socket_of(process: subprocess.Popen[bytes], tmp_path: Path) -> Path:
    wait_for(tmp_path / "u0").close()
    return tmp_path / "u0"


@pytest.fixture
def client(kind: str, socket_of: Path) -> Iterator[BoardClient]:
    with BoardClient(BoardLine(wait_for(socket_of), kind)) as client:
        client.attach(0, timeout_s=PATIENCE_S)
        yield client


def test_every_firmware_is_built_and_fits() -> None:
    needs_qemu()
    build("all")
    sizes = json.loads((BUILD / "sizes.json").read_text("utf-8"))
    for board in (*QEMU_BOARDS, "stm32f405"):
        assert sizes[board]["protocol"] <= 8192, board
        assert sizes[board]["flash_used"] <= sizes[board]["flash_limit"]


def test_board_is_what_its_port_says_with_the_number_it_was_given(kind: str, client: BoardClient) -> None:
    facts = client.facts()
    assert (facts.board, facts.uid) == (kind, f"{UID:016x}")
    assert b.Capability.EMULATED in b.Capability(facts.capabilities)
    memory = client.memory()
    known = memory.data + memory.bss + memory.rings + memory.stack + memory.arena
    assert known <= memory.ram_limit < known + 64  # what alignment takes
    assert 0 < memory.stack_used < memory.stack // 2
    assert 8000 < memory.flash_used <= memory.flash_limit


def test_image_is_flashed_and_run(client: BoardClient) -> None:
    image = copying_image(SIZE, board=client.facts().board, filler=12_000)
    written = client.write_image(image)
    assert written.sent_bytes >= len(image)
    client.load(written.sha256)
    client.write_input(0, bytes(range(SIZE)))
    ran = client.run(3)
    assert client.read_output(0, SIZE) == bytes(range(SIZE))
    # Under -icount the same instructions take the same time, but for the timer's wrap and a byte that comes.
    assert ran.ticks_most - ran.ticks_least < ran.ticks_least / 2
    assert 0 < sum(client.operator_ticks()) <= ran.ticks
    assert client.statistics().bytes_lost == 0
    again = client.write_image(image)
    assert again.sent_bytes == 0


def test_an_image_of_another_board_and_one_that_does_not_fit_are_refused(client: BoardClient) -> None:
    for image, code in (
        (copying_image(board="posix"), "WRONG_BOARD"),
        (copying_image(size=client.memory().arena), "DOES_NOT_FIT"),
    ):
        with pytest.raises(RemoteError) as caught:
            client.write_image(image)
        assert caught.value.code == code


def test_spoilt_frames_leave_the_image_correct(kind: str, socket_of: Path) -> None:
    port = FaultyPort(wait_for(socket_of), FAULTS["flip"], 0.05, seed=3)
    with BoardClient(BoardLine(port, kind)) as client:
        client.attach(0, timeout_s=PATIENCE_S)
        image = copying_image(SIZE, filler=15_000)
        client.load(client.write_image(image).sha256)
    assert port.faults > 0


def test_slot_and_lease_outlive_a_reset(client: BoardClient) -> None:
    image = copying_image(SIZE, filler=3000)
    client.attach(9)
    client.write_image(image)
    client.reset()
    with pytest.raises(RemoteError, match="STALE_LEASE"):
        client.attach(8)
    attached = client.attach(9)
    assert (attached.cause, attached.boots) == (b.ResetCause.REQUESTED, 2)
    assert client.slot().state == b.SlotPhase.VALID
    assert client.write_image(image).sent_bytes == 0


def test_a_crash_restarts_the_board_and_tells_where(client: BoardClient) -> None:
    client.reset(b.ResetKind.CRASH)
    attached = client.attach(0, timeout_s=PATIENCE_S)
    assert attached.cause == b.ResetCause.FAULT
    fault = client.fault()
    assert (fault.kind, fault.phase, fault.boot) == (b.FaultKind.EXCEPTION, b.Phase.MESSAGE, 1)
    assert fault.status == 1 << 16  # CFSR: undefined instruction
    assert 0 < fault.pc & 0xFFFFF < client.memory().flash_used


def test_the_watchdog_restarts_a_board_that_hangs_and_tells_where(client: BoardClient) -> None:
    if not client.facts().capabilities & b.Capability.WATCHDOG:
        with pytest.raises(RemoteError, match="UNSUPPORTED"):
            client.reset(b.ResetKind.HANG)
        return
    client.reset(b.ResetKind.HANG)
    attached = client.attach(0, timeout_s=PATIENCE_S)
    assert attached.cause == b.ResetCause.WATCHDOG
    fault = client.fault()
    assert (fault.kind, fault.phase, fault.boot) == (b.FaultKind.WATCHDOG, b.Phase.MESSAGE, 1)
    assert 0 < fault.pc & 0xFFFFF < client.memory().flash_used


@pytest.mark.parametrize("kind", ["mps2-an386"], indirect=True)
def test_a_board_whose_emulator_was_kept_from_running_goes_on(
    process: subprocess.Popen[bytes], client: BoardClient
) -> None:
    """Its clock jumps by more than the watchdog's time."""
    for _ in range(2):
        process.send_signal(signal.SIGSTOP)
        time.sleep(2.5)
        process.send_signal(signal.SIGCONT)
        assert client.statistics().boots == 1


def test_a_change_of_baud_is_kept(client: BoardClient) -> None:
    assert any(client.set_baud(230_400) for _ in range(5))  # a busy machine may miss the trial's second
    assert client.statistics().baud == 230_400


def test_a_host_that_goes_in_mid_transfer_can_come_again(kind: str, socket_of: Path) -> None:
    image = copying_image(SIZE, filler=15_000)
    port = _Breaking(wait_for(socket_of))
    with BoardClient(BoardLine(port, kind)) as client:
        client.attach(0, timeout_s=PATIENCE_S)
        with pytest.raises(ConnectionLostError):
            client.write_image(image, progress=lambda there: port.break_if(there > len(image) // 3))
    with BoardClient(BoardLine(wait_for(socket_of), kind)) as client:
        client.attach(0, timeout_s=PATIENCE_S)
        written = client.write_image(image)
        assert written.started_at_bytes > 0
        client.load(written.sha256)


class _Breaking(FaultyPort):
    """A port that breaks in the middle of a write, once it is told to."""

    def __init__(self, port: Port) -> None:
        super().__init__(port, FAULTS["lose"], 0.0)
        self._breaks = False

    def break_if(self, now: bool) -> None:
        """Break in the next write."""
        self._breaks = self._breaks or now

    def write(self, data: bytes, timeout_s: float) -> None:
        if self._breaks:
            super().write(data[: len(data) // 2], timeout_s)
            raise ConnectionLostError("pulled out")
        super().write(data, timeout_s)
