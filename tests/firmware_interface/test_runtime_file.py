"""boards/runtimes/edgecut-mcu.yaml is what its generator writes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from firmware_interface.board_client import BoardClient
from firmware_interface.board_line import BoardLine
from firmware_interface.firmware_build import firmware_path
from firmware_interface.qemu_boards import QEMU_BOARDS, qemu_command
from tests.firmware_interface.posix_board import wait_for
from tests.needs import needs_program, needs_qemu
from tests.waiting import PATIENCE_S
from tools import mcu_runtime

CORTEX_M = [board for board in mcu_runtime.PORTS if board != "posix"]
SET_BY_SOURCES = ("rings", "stack", "area", "sector")
"""Figures of a board that no compiler changes."""
REGENERATE = "run tools/mcu_runtime.py"


def written() -> dict:  # type: ignore[type-arg]
    return yaml.safe_load(mcu_runtime.TARGET.read_text("utf-8"))


def test_coverage_and_kernels_are_the_compilers() -> None:
    found = written()
    for key, made in mcu_runtime.coverage_part().items():
        assert found[key] == made, f"{key}: {REGENERATE}"


def test_memory_of_the_posix_board_is_the_builds() -> None:
    needs_program("cc", "apt-get install gcc libc6-dev")
    needs_program("make", "apt-get install make")
    assert written()["firmware"]["posix"] == mcu_runtime.firmware_figures("posix"), REGENERATE


@pytest.mark.integration
@pytest.mark.parametrize("board", CORTEX_M)
def test_memory_of_the_boards_is_the_builds(board: str) -> None:
    """All figures where the same compiler made them; where not, those that do not depend on it."""
    needs_qemu()
    found, made = written(), mcu_runtime.firmware_figures(board)
    same = found["compilers"]["cortex-m"] == mcu_runtime.compiler_version(f"{mcu_runtime.CROSS}gcc")
    compared = made.keys() if same else SET_BY_SOURCES
    assert found["firmware"][board].keys() == made.keys(), REGENERATE
    assert {k: found["firmware"][board][k] for k in compared} == {k: made[k] for k in compared}, REGENERATE


@pytest.mark.integration
@pytest.mark.parametrize("board", QEMU_BOARDS)
def test_memory_that_the_generator_finds_is_what_the_firmware_reports(board: str, tmp_path: Path) -> None:
    """Whatever compiler is there: its build is read by the generator and run."""
    needs_qemu()
    made = mcu_runtime.firmware_figures(board)
    program = firmware_path(mcu_runtime.BUILD, board)
    serial = [f"unix:{tmp_path / 'u0'},server=on,wait=off"]
    with subprocess.Popen(qemu_command(board, program, uid=1, serial=serial)) as process:
        try:
            with BoardClient(BoardLine(wait_for(tmp_path / "u0"), board)) as client:
                client.attach(0, timeout_s=PATIENCE_S)
                memory = client.memory()
        finally:
            process.kill()
    reported = {k: getattr(memory, k) for k in ("data", "bss", "rings", "stack", "flash_used")}
    assert reported == {k: made[k] for k in reported}
    taken = sum(made[k] for k in ("data", "bss", "rings", "stack", "gap"))
    assert memory.arena == memory.ram_limit - taken
