"""Emulated boards that hand tensors to each other over joined UARTs, without the host."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest

from firmware_interface.board_client import BoardClient
from firmware_interface.board_line import BoardLine
from firmware_interface.qemu_boards import qemu_command
from tests.firmware_interface.posix_board import BUILD, build, wait_for
from tests.firmware_interface.test_firmware_links import deploy, run_frames
from tests.needs import needs_qemu
from tests.waiting import PATIENCE_S

FRAMES = 4

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.mark.parametrize("kinds", [("mps2-an386", "mps2-an386", "mps2-an386"), ("mps2-an386", "mps3-an547")])
def test_frames_go_from_board_to_board_and_back(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    needs_qemu()
    build(*set(kinds))
    with contextlib.ExitStack() as stack:
        clients = []
        for n, kind in enumerate(kinds):
            folder = tmp_path / str(n)
            folder.mkdir()
            left = f"unix:{tmp_path / str(n - 1) / 'u2'}" if n else "null"  # the board before listens
            last = n == len(kinds) - 1
            right = "null" if last else f"unix:{folder / 'u2'},server=on,wait=off"
            serial = [f"unix:{folder / 'u0'},server=on,wait=off", left, right]
            command = qemu_command(kind, BUILD / kind / "firmware.elf", uid=n + 1, serial=serial)
            process = stack.enter_context(subprocess.Popen(command))
            stack.callback(process.kill)
            client = BoardClient(BoardLine(wait_for(folder / "u0"), f"board {n}"))
            stack.callback(client.close)
            client.attach(0, timeout_s=PATIENCE_S)
            assert client.facts().uid == f"{n + 1:016x}"
            clients.append(client)
        link = deploy(clients, depth=2)
        run_frames(link, FRAMES, 2, timeout_s=2 * PATIENCE_S)
        for client in clients:
            statistics = client.statistics()
            assert statistics.frames == FRAMES
            assert statistics.send_ticks > 0
            assert client.stop() == FRAMES
