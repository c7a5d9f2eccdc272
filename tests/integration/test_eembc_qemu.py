"""The firmware for standard benchmark runners on an emulated Cortex-M4, from its first line after power-on."""

from __future__ import annotations

import subprocess
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from firmware_interface.eembc import BenchmarkClient, Identity, Mode
from firmware_interface.eembc_measure import Rules, Stimulus, measure
from firmware_interface.eembc_network import build_benchmark_firmware
from firmware_interface.eembc_text import LAP_WRAP_US
from firmware_interface.qemu_boards import qemu_command
from firmware_interface.serial_port import Port
from optimizer.zoo import load_zoo_model
from tests.firmware_interface.posix_board import BUILD, PosixBoard, build, wait_for
from tests.needs import needs_qemu
from tests.waiting import PATIENCE_S

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
KIND = "mps2-an386"
SPEED_RULES = Rules(least_s=0.2, most_s=20.0)


@contextmanager
def started(firmware: Path, folder: Path) -> Iterator[Port]:
    """The board starts when somebody has connected, so that its first line is not missed."""
    path = folder / "u0"
    command = qemu_command(KIND, firmware, uid=1, serial=[f"unix:{path},server=on,wait=on"])
    with subprocess.Popen(command) as process:
        port = wait_for(path)
        yield port
        port.close()
        process.kill()


@pytest.fixture
def port(tmp_path: Path) -> Iterator[Port]:
    needs_qemu()
    build("eembc", f"EEMBC_BOARDS={KIND}")
    with started(BUILD / "eembc-ic01" / KIND / "firmware.elf", tmp_path) as port:
        yield port


def test_board_starts_in_performance_mode(port: Port) -> None:
    said = b""
    end = time.monotonic() + PATIENCE_S
    while not said.endswith(b"m-ready\r\n"):
        assert time.monotonic() < end, said
        said += port.read(0.2)
    lines = said.decode().split("\r\n")
    assert lines[0] == "m-timestamp-mode-performance"
    assert lines[1].startswith("m-lap-us-")
    assert lines[2:] == ["m-init-done", "m-ready", ""]


def test_board_is_measured_by_its_own_clock(port: Port) -> None:
    """Emulated: the times are those of guest instructions, and of a checksum at that."""
    stimuli = [Stimulus(str(i), bytes((i * 3 + j * 7) % 256 for j in range(3072))) for i in range(5)]
    with BenchmarkClient(port, KIND) as client:
        found = measure(client, stimuli, model="ic01", rules=SPEED_RULES, patience_s=120.0)
        assert client.mode is Mode.PERFORMANCE
        began = client.timestamp()
        ended = client.timestamp()
    assert found.identity == Identity("edgecut checksum", "edgecut: checksum of the input, no network", "ic01")
    assert began is not None and ended is not None
    assert 0 < (ended - began) % LAP_WRAP_US < 60_000_000
    rates = sorted(window.throughput_per_s for window in found.windows)
    # Under -icount the same instructions take the same time, but for a byte of the host's that comes.
    assert rates[-1] / rates[0] < 1.01
    for window, stimulus in zip(found.windows, stimuli, strict=True):
        checksum = zlib.crc32(stimulus.data)
        expected = [round((checksum * (2 * i + 1) % 2**32 >> 22) / 1024, 3) for i in range(10)]
        assert list(window.results) == pytest.approx(expected, abs=1.1e-3)


def test_network_makes_what_the_same_image_makes_on_another_board(tmp_path: Path) -> None:
    """Class scores of a speech network from the emulated M4, and from a process of this machine."""
    needs_qemu()
    stimulus = bytes(i * 77 % 251 for i in range(490))
    folder = build_benchmark_firmware(BUILD, [KIND, "posix"], "kws01", load_zoo_model("tiny_dscnn_int8"))
    with (
        PosixBoard(tmp_path, program=folder / "posix" / "board") as board,
        BenchmarkClient(board.port(), "M4") as other,
    ):
        other.handshake()
        other.load(stimulus)
        expected = other.infer(1, 0, 120.0).results
    with started(folder / KIND / "firmware.elf", tmp_path) as port, BenchmarkClient(port, KIND) as client:
        client.handshake()
        client.load(stimulus)
        found = client.infer(2, 1, 120.0)
    assert found.results == expected
    assert len(set(expected)) > 1
    assert found.board_s is not None and found.board_s > 0
