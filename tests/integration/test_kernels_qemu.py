"""All kernels on an emulated Cortex-M4, and some on an M3 and an M55: the reference's results, instructions, sizes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from benchmarks import kernels
from firmware_interface import board_messages as b
from firmware_interface import records as r
from firmware_interface.board_client import BoardClient
from firmware_interface.board_line import BoardLine
from firmware_interface.one_record import run_record
from firmware_interface.qemu_boards import qemu_command
from firmware_interface.records_f32 import Unary
from tests.firmware_interface import kernel_checks as check
from tests.firmware_interface.posix_board import BUILD, build, wait_for
from tests.needs import needs_qemu
from tests.waiting import PATIENCE_S

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
BOARD = "mps2-an386"

CASES = {
    case.name: case
    for case in (
        kernels.matrix(16, 64, 64, 1.9),
        kernels.matrix(1, 256, 64, 1.9),
        kernels.square(8, 16, 16, 2.0),
        kernels.depthwise(12, 32, 5.5),
        kernels.Case("odd", r.Window(7, 5, 3, 4, 3, 7, 3, 3, 2, 2, pad_top=1, pad_left=1)),
        kernels.Case("odd depthwise", r.Window(7, 5, 6, 4, 3, 6, 3, 3, 2, 2, pad_top=1, pad_left=1), True),
    )
}
WINDOW = r.Window(7, 6, 6, 4, 3, 6, 3, 3, 2, 2, pad_top=1, pad_left=1)
DENSE = r.Window(7, 6, 4, 4, 3, 10, 3, 3, 2, 2, pad_top=1, pad_left=1)


class Board:
    """A board as a host of kernels."""

    def __init__(self, client: BoardClient) -> None:
        self.client = client

    def run(self, record: bytes, *, arena: bytes, weights: bytes = b"", scratch_bytes: int = 0) -> bytes:
        """The arena afterwards."""
        return run_record(self.client, record, arena=arena, weights=weights, scratch_bytes=scratch_bytes).arena


@contextmanager
def board_of(kind: str, folder: Path) -> Iterator[BoardClient]:
    needs_qemu()
    build(kind)
    path = folder / "u0"
    command = qemu_command(kind, BUILD / kind / "firmware.elf", uid=7, serial=[f"unix:{path},server=on,wait=off"])
    with subprocess.Popen(command) as process:
        try:
            wait_for(path).close()
            with BoardClient(BoardLine(wait_for(path), kind)) as client:
                client.attach(0, timeout_s=PATIENCE_S)
                yield client
        finally:
            process.kill()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoardClient]:
    with board_of(BOARD, tmp_path_factory.mktemp("board")) as client:
        yield client


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
@pytest.mark.parametrize("factor", [0.008, 4.0])
def test_results_are_the_reference_and_instructions_few(client: BoardClient, name: str, factor: float) -> None:
    """Under -icount the clock counts instructions, so the bound is one on the code and not on this machine."""
    per_mac = kernels.per_mac(client, CASES[name], factor)
    if CASES[name].most is not None and factor < 0.25:
        assert per_mac <= CASES[name].most


@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize("ragged", [True, False])
def test_int8_pooling_is_the_reference(client: BoardClient, average: bool, ragged: bool) -> None:
    check.check_pool_i8(Board(client), WINDOW, 5, average=average, ragged=ragged)


@pytest.mark.parametrize("multiply", [True, False])
@pytest.mark.parametrize(("period", "repeats"), [(1, 37), (7, 9), (64, 1)])
def test_int8_addition_and_multiplication_are_the_reference(
    client: BoardClient, multiply: bool, period: int, repeats: int
) -> None:
    scales = (0.02, 0.05, 0.04)
    check.check_binary_i8(Board(client), 6, period=period, repeats=repeats, scales=scales, multiply=multiply)


def test_int8_softmax_and_tables_are_the_reference(client: BoardClient) -> None:
    check.check_softmax_i8(Board(client), 7, rows=3, columns=12, scale=0.11)
    check.check_table_i8(Board(client))


@pytest.mark.parametrize(("window", "groups", "depthwise"), [(WINDOW, 6, True), (DENSE, 1, False), (DENSE, 2, False)])
def test_float32_convolution(client: BoardClient, window: r.Window, groups: int, depthwise: bool) -> None:
    check.check_conv_f32(Board(client), window, 8, groups=groups, depthwise=depthwise)


@pytest.mark.parametrize("average", [True, False])
def test_float32_pooling(client: BoardClient, average: bool) -> None:
    check.check_pool_f32(Board(client), WINDOW, 9, average=average)


@pytest.mark.parametrize("function", list(Unary))
def test_float32_functions(client: BoardClient, function: Unary) -> None:
    check.check_unary_f32(Board(client), function, 201)


@pytest.mark.parametrize("multiply", [True, False])
def test_float32_addition_multiplication_and_softmax(client: BoardClient, multiply: bool) -> None:
    check.check_binary_and_softmax_f32(Board(client), 10, multiply=multiply, period=10, rows=4)


def test_conversions_moves_and_resizing(client: BoardClient) -> None:
    board = Board(client)
    check.check_convert(board, np.random.default_rng(11).normal(0, 3, 50).tolist(), 0.0625, -9)
    whole = np.arange(5 * 4 * 3, dtype=np.uint32).reshape(5, 4, 3)
    check.check_move(board, whole, whole[::-2, 1:, :].transpose(2, 0, 1))
    check.check_fill_and_resize(board)


@pytest.mark.parametrize("kind", ["lm3s6965evb", "mps3-an547"])
def test_cores_without_those_instructions_make_the_same(kind: str, tmp_path: Path) -> None:
    """A Cortex-M3 without a floating point unit, a Cortex-M55 with the compiler's vector code."""
    with board_of(kind, tmp_path) as client:
        board = Board(client)
        kernels.per_mac(client, CASES["odd"])
        kernels.per_mac(client, CASES["odd depthwise"])
        check.check_pool_i8(board, WINDOW, 5, average=True, ragged=True)
        check.check_softmax_i8(board, 7, rows=2, columns=9, scale=0.11)
        check.check_conv_f32(board, DENSE, 8, groups=2, depthwise=False)
        check.check_binary_and_softmax_f32(board, 10, multiply=True, period=10, rows=4)
