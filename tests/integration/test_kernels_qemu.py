"""Kernels with DSP instructions on an emulated Cortex-M4: the reference's results, instructions, and sizes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from firmware_interface import board_messages as b
from firmware_interface import records as r
from firmware_interface import reference
from firmware_interface.board_client import BoardClient
from firmware_interface.board_line import BoardLine
from firmware_interface.image import ImageTensor, build_image
from firmware_interface.qemu_boards import qemu_command
from tests.firmware_interface.posix_board import BUILD, build, wait_for
from tests.needs import needs_qemu

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
BOARD = "mps2-an386"
INSTRUCTIONS_PER_TICK = 1.25  # 40 ns a tick, 32 ns an instruction

CASES = {
    "matrix": (r.Window(1, 16, 64, 1, 16, 64), False, 1.9),
    "vector": (r.Window(1, 1, 256, 1, 1, 64), False, 1.9),
    "3x3": (r.Window(8, 8, 16, 8, 8, 16, 3, 3, pad_top=1, pad_left=1), False, 2.0),
    "depthwise": (r.Window(12, 12, 32, 12, 12, 32, 3, 3, pad_top=1, pad_left=1), True, 5.5),
    "odd": (r.Window(7, 5, 3, 4, 3, 7, 3, 3, 2, 2, pad_top=1, pad_left=1), False, None),
    "odd depthwise": (r.Window(7, 5, 6, 4, 3, 6, 3, 3, 2, 2, pad_top=1, pad_left=1), True, None),
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoardClient]:
    needs_qemu()
    build(BOARD)
    path = tmp_path_factory.mktemp("board") / "u0"
    command = qemu_command(BOARD, BUILD / BOARD / "firmware.elf", uid=7, serial=[f"unix:{path},server=on,wait=off"])
    with subprocess.Popen(command) as process:
        wait_for(path, 20.0).close()
        with BoardClient(BoardLine(wait_for(path), BOARD)) as client:
            client.attach(0, timeout_s=20.0)
            yield client
        process.kill()


def sizes(folder: Path, *options: str) -> dict[str, int]:
    build(f"BUILD={folder}", *options, BOARD, "sizes")
    found: dict[str, int] = json.loads((folder / "sizes.json").read_text("utf-8"))[BOARD]
    return found


def test_sizes_of_the_firmware(tmp_path: Path) -> None:
    needs_qemu()
    assert sizes(tmp_path / "bare", "KERNELS=src/kernels_none.c")["protocol"] <= 8192
    assert sizes(tmp_path / "int8", "KERNEL_DEFINES=-DKERNELS_INT8")["text"] <= 40 * 1024
    assert sizes(tmp_path / "both")["text"] <= 64 * 1024


def test_board_says_what_its_kernels_are(client: BoardClient) -> None:
    capabilities = b.Capability(client.facts().capabilities)
    assert capabilities & (b.Capability.INT8 | b.Capability.FLOAT32 | b.Capability.DSP) == (
        b.Capability.INT8 | b.Capability.FLOAT32 | b.Capability.DSP
    )


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("factor", [0.001, 0.3])
def test_results_are_the_reference_and_instructions_few(client: BoardClient, name: str, factor: float) -> None:
    """Under -icount the clock counts instructions, so the bound is one on the code and not on this machine."""
    w, depthwise, most = CASES[name]
    rng = np.random.default_rng(3)
    values = rng.integers(-128, 128, (w.in_height, w.in_width, w.in_channels), dtype=np.int8)
    each = 1 if depthwise else w.in_channels
    weights = rng.integers(-127, 128, w.kernel_height * w.kernel_width * each * w.out_channels, dtype=np.int8)
    table = r.channel_table(rng.integers(-999, 999, w.out_channels), [factor] * w.out_channels)
    out = w.out_height * w.out_width * w.out_channels
    record = r.ConvI8(
        window=w, input=0, output=values.size, weights=len(table), channels=0, input_zero=-3, output_zero=5,
        depthwise=depthwise, groups=w.in_channels if depthwise else 1,
    )  # fmt: skip
    image = build_image(
        inputs=[ImageTensor(0, values.size)], outputs=[ImageTensor(values.size, out)], records=[record.pack()],
        weights=table + weights.tobytes(), arena_bytes=values.size + out, scratch_bytes=record.scratch_bytes(),
        kernels=r.RECORDS_VERSION,
    )  # fmt: skip
    client.load(client.write_image(image).sha256)
    client.write_input(0, values.tobytes())
    client.run(1)
    assert client.read_output(0, out) == reference.conv_i8(record, values, weights, table).tobytes()
    if most is not None and factor < 0.25:
        macs = out * weights.size // w.out_channels
        assert client.operator_ticks()[0] * INSTRUCTIONS_PER_TICK / macs <= most
