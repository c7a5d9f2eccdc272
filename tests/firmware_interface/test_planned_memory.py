"""RAM and flash that the planner predicts are what the firmware reports, for every small network."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from firmware_interface.board_client import BoardClient
from firmware_interface.firmware_build import Limits, build_firmware
from optimizer.zoo import tiny_names
from tests.firmware_interface.memory_check import check_memory
from tests.firmware_interface.planned import board_of, planned
from tests.firmware_interface.posix_board import BUILD, PosixBoard

RAM, SLOT = 1 << 20, 1088 * 1024


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoardClient]:
    program = build_firmware(BUILD, "posix", Limits(ram_bytes=RAM, slot_bytes=SLOT))
    with PosixBoard(tmp_path_factory.mktemp("board"), program=program) as board, board.client() as client:
        yield client


@pytest.mark.parametrize("name", tiny_names())
def test_predicted_memory_is_what_a_posix_board_reports(client: BoardClient, name: str) -> None:
    check_memory(client, planned(f"zoo:{name}", board_of("posix", RAM, SLOT), 3 if "v2" in name else 1))
