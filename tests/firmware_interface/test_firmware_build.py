"""A firmware that plays a smaller board: built, enforced, told."""

from __future__ import annotations

from pathlib import Path

import pytest

from firmware_interface.errors import FirmwareBuildError, RemoteError
from firmware_interface.firmware_build import Limits, build_firmware, firmware_path
from tests.firmware_interface.posix_board import BUILD, PosixBoard, copying_image
from tests.needs import needs_program

LIMITS = Limits(ram_bytes=49_152, slot_bytes=8192)


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    needs_program("make", "apt-get install make")
    needs_program("cc", "apt-get install gcc libc6-dev")


def test_a_board_with_limits_enforces_and_tells_them(tmp_path: Path) -> None:
    program = build_firmware(BUILD, "posix", LIMITS)
    assert program == firmware_path(BUILD, "posix", LIMITS) == BUILD / "posix-ram49152-slot8192" / "board"
    with PosixBoard(tmp_path, program=program) as board, board.client() as client:
        memory = client.memory()
        assert (memory.ram_limit, memory.slot) == (49_152, 8192)
        used = memory.data + memory.bss + memory.rings + memory.stack + memory.arena
        assert used <= memory.ram_limit < used + 16
        with pytest.raises(RemoteError, match="OUT_OF_RANGE"):
            client.write_image(copying_image(filler=8192))
        with pytest.raises(RemoteError, match="DOES_NOT_FIT"):
            client.write_image(copying_image(size=memory.arena // 2))
        client.load(client.write_image(copying_image(size=memory.arena // 4)).sha256)


def test_limits_change_the_build_hash(tmp_path: Path) -> None:
    hashes = set()
    for limits in (Limits(), LIMITS):
        program = build_firmware(BUILD, "posix", limits)
        with PosixBoard(tmp_path, program=program) as board, board.client() as client:
            hashes.add(client.facts().build)
    assert len(hashes) == 2


@pytest.mark.parametrize(
    ("limits", "complaint"),
    [(Limits(ram_bytes=4096), "LIMIT_RAM_BYTES is below"), (Limits(slot_bytes=5000), "the slot is whole sectors")],
)
def test_limits_that_cannot_be_are_told_by_the_compiler(limits: Limits, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(FirmwareBuildError, match=complaint):
        build_firmware(tmp_path, "posix", limits)
