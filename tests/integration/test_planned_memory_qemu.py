"""RAM and flash that the planner predicts are what an emulated Cortex-M4 reports.

All networks in int8, two in float32: the other four take two minutes of transfer and float32 arithmetic in emulation;
the posix board does them in seconds (tests/firmware_interface/test_planned_memory.py).
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from firmware_interface.board_client import BoardClient
from firmware_interface.board_line import BoardLine
from firmware_interface.firmware_build import Limits, build_firmware
from firmware_interface.qemu_boards import qemu_command
from optimizer.zoo import tiny_names
from tests.firmware_interface.memory_check import check_memory
from tests.firmware_interface.planned import board_of, planned
from tests.firmware_interface.posix_board import BUILD, wait_for
from tests.needs import needs_qemu

pytestmark = pytest.mark.integration
BOARD = "mps2-an386"
NETWORKS = [name for name in tiny_names() if name.endswith("_int8") or name in ("tiny_digits", "tiny_dscnn")]
RAM, SLOT = 1 << 20, 270 * 4096
"""Room for every network but MobileNetV2 on one board."""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoardClient]:
    """One board for all networks."""
    needs_qemu()
    program = build_firmware(BUILD, BOARD, Limits(ram_bytes=RAM, slot_bytes=SLOT))
    path = tmp_path_factory.mktemp("board") / "u0"
    command = qemu_command(BOARD, program, uid=7, serial=[f"unix:{path},server=on,wait=off"])
    with subprocess.Popen(command) as process:
        wait_for(path, 20.0).close()
        with BoardClient(BoardLine(wait_for(path), BOARD)) as client:
            client.attach(0, timeout_s=20.0)
            yield client
        process.kill()


@pytest.mark.parametrize("name", NETWORKS)
def test_predicted_memory_is_what_the_board_reports(client: BoardClient, name: str) -> None:
    check_memory(client, planned(f"zoo:{name}", board_of(BOARD, RAM, SLOT), 3 if "v2" in name else 1))
