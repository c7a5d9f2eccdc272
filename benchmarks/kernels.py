"""Instructions per multiply-accumulate of the int8 kernels on an emulated Cortex-M4, whole operators.

Each operator is one board image with one record, run by the real firmware; its time is the runtime's own, in ticks of
the guest's clock under ``-icount``: so the figure is instructions executed (gathering, padding and requantisation
included), not cycles. Results are compared with the integer reference.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from firmware_interface import records as r
from firmware_interface import reference
from firmware_interface.board_client import BoardClient
from firmware_interface.errors import ConnectionLostError, DeadlineError
from firmware_interface.firmware_build import build_firmware
from firmware_interface.one_record import run_record
from firmware_interface.qemu_boards import qemu_command

BOARD = "mps2-an386"
INSTRUCTIONS_PER_TICK = 1.25  # 40 ns a tick, 32 ns an instruction
RUNS = 2


@dataclass(frozen=True)
class Case:
    """An operator, and the most instructions per MAC that it may take with DSP instructions."""

    name: str
    window: r.Window
    depthwise: bool = False
    most: float | None = None

    @property
    def macs(self) -> int:
        w = self.window
        taps = w.kernel_height * w.kernel_width
        return w.out_height * w.out_width * w.out_channels * taps * (1 if self.depthwise else w.in_channels)


def matrix(rows: int, depth: int, outputs: int, most: float | None = None) -> Case:
    """A matrix product, or a pointwise convolution over ``rows`` pixels."""
    name = f"Gemm {rows}x{depth}x{outputs}"
    return Case(name, r.Window(1, rows, depth, 1, rows, outputs), most=most)


def square(size: int, channels: int, outputs: int, most: float | None = None, stride: int = 1) -> Case:
    """A 3x3 convolution with padding of 1."""
    out = (size - 1) // stride + 1
    window = r.Window(size, size, channels, out, out, outputs, 3, 3, stride, stride, 1, 1, 1, 1)
    return Case(f"Conv 3x3/{stride} {size}x{size}x{channels}->{outputs}", window, most=most)


def depthwise(size: int, channels: int, most: float | None = None, stride: int = 1) -> Case:
    """A depthwise 3x3 convolution with padding of 1."""
    out = (size - 1) // stride + 1
    window = r.Window(size, size, channels, out, out, channels, 3, 3, stride, stride, 1, 1, 1, 1)
    return Case(f"Depthwise 3x3/{stride} {size}x{size}x{channels}", window, True, most)


CASES = (
    matrix(1, 640, 128, 1.9), matrix(1, 64, 12, 1.9), matrix(64, 64, 64, 1.9), matrix(36, 128, 128, 1.9),
    matrix(9, 256, 256, 1.9), matrix(144, 32, 64), matrix(576, 8, 16), matrix(25, 27, 10),
    square(32, 16, 16, 2.0), square(16, 32, 32, 2.0), square(8, 64, 64, 2.0), square(32, 16, 32, 2.0, 2),
    square(32, 3, 16), square(12, 8, 8),
    Case("Conv 10x4/2 49x10x1->64", r.Window(49, 10, 1, 25, 5, 64, 10, 4, 2, 2, 1, 1, 4, 1)),
    depthwise(24, 16, 5.5), depthwise(12, 32, 5.5), depthwise(6, 64, 5.5), depthwise(24, 16, 5.5, 2),
    depthwise(3, 256), depthwise(48, 8), depthwise(12, 6),
)  # fmt: skip


@contextmanager
def board(firmware: Path, socket: Path) -> Iterator[BoardClient]:
    """A session with an emulated board."""
    command = qemu_command(BOARD, firmware, uid=1, serial=[f"unix:{socket},server=on,wait=off"])
    with subprocess.Popen(command) as process:
        try:
            end = time.monotonic() + 20
            while True:
                try:
                    client = BoardClient.open(f"unix:{socket}", BOARD, timeout_s=20)
                    break
                except ConnectionLostError:
                    if time.monotonic() > end:
                        raise
                    time.sleep(0.05)
            with client:
                yield client
        finally:
            process.kill()


def per_mac(client: BoardClient, case: Case, factor: float = 0.008) -> float:
    """Instructions per MAC. Raises RuntimeError where the result is not the reference's.

    ``factor`` over the root of the depth is what sums are scaled by: from 1/4 on requantisation takes its long way.
    """
    rng = np.random.default_rng(1)
    w = case.window
    values = rng.integers(-128, 128, (w.in_height, w.in_width, w.in_channels), dtype=np.int8)
    each = 1 if case.depthwise else w.in_channels
    weights = rng.integers(-127, 128, w.kernel_height * w.kernel_width * each * w.out_channels, dtype=np.int8)
    depth = weights.size / w.out_channels
    table = r.channel_table(rng.integers(-999, 999, w.out_channels), [factor / depth**0.5] * w.out_channels)
    out = w.out_height * w.out_width * w.out_channels
    record = r.ConvI8(
        window=w, input=0, output=values.size, weights=len(table), channels=0, input_zero=-3, output_zero=5,
        depthwise=case.depthwise, groups=w.in_channels if case.depthwise else 1, short=r.all_short(table),
    )  # fmt: skip
    ran = run_record(
        client, record.pack(), arena=values.tobytes() + bytes(out), weights=table + weights.tobytes(),
        scratch_bytes=record.scratch_bytes(), runs=RUNS,
    )  # fmt: skip
    if ran.arena[values.size :] != reference.conv_i8(record, values, weights, table).tobytes():
        raise RuntimeError(f"{case.name}: the board's result is not the reference's")
    return ran.ticks * INSTRUCTIONS_PER_TICK / case.macs


def patient(firmware: Path, folder: Path, case: Case) -> float:
    """The same on a board of its own; NaN where the board missed a deadline three times."""
    for attempt in range(3):
        try:
            with board(firmware, folder / f"uart{attempt}") as client:
                return per_mac(client, case)
        except DeadlineError as error:
            sys.stderr.write(f"{case.name}: {error}\n")
    return math.nan


def measure(case_filter: str, options: str) -> dict[str, float]:
    """By case: instructions per MAC of a firmware whose kernels were compiled with ``options``."""
    cases = [case for case in CASES if case_filter in case.name]
    with tempfile.TemporaryDirectory() as folder:
        firmware = build_firmware(Path(folder), BOARD, options=[f"KERNEL_DEFINES={options}"])
        return {case.name: patient(firmware, Path(tempfile.mkdtemp(dir=folder)), case) for case in cases}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    only = parser.parse_args().only
    found = measure(only, "")
    portable = measure(only, "-DKERNELS_PORTABLE")
    sys.stdout.write(f"{'operator':34}{'MAC':>9}{'DSP':>8}{'at most':>9}{'C':>8}\n")
    for case in CASES:
        if case.name in found:
            fast, plain = found[case.name], portable[case.name]
            most = "" if case.most is None else f"{case.most:.1f}{'' if fast <= case.most else ' !'}"
            sys.stdout.write(f"{case.name:34}{case.macs:9}{fast:8.2f}{most:>9}{plain:8.2f}\n")


if __name__ == "__main__":
    main()
