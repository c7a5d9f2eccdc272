"""libFuzzer on the firmware's lines, with address and undefined behaviour checks: a short run over the kept inputs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.firmware_interface.fuzz_corpus import unpack
from tests.firmware_interface.posix_board import BUILD, FIRMWARE
from tests.needs import needs_program

pytestmark = [pytest.mark.integration, pytest.mark.timeout(280)]
SECONDS = 8


def test_fuzzer_finds_nothing() -> None:
    needs_program("make", "apt-get install make")
    needs_program("clang", "apt-get install clang")
    assert unpack(BUILD / "tests" / "corpus") > 60
    done = subprocess.run(
        ["make", "-C", FIRMWARE, f"BUILD={BUILD}", f"PYTHON={sys.executable}", "fuzz", f"FUZZ_SECONDS={SECONDS}"],
        capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    assert "number_of_executed_units" in done.stdout + done.stderr


def test_fuzzer_finds_nothing_in_the_commands_of_a_standard_runner() -> None:
    needs_program("make", "apt-get install make")
    needs_program("clang", "apt-get install clang")
    target = ["fuzz-eembc", f"FUZZ_SECONDS={SECONDS}"]
    done = subprocess.run(
        ["make", "-C", FIRMWARE, f"BUILD={BUILD}", f"PYTHON={sys.executable}", *target],
        capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    assert "number_of_executed_units" in done.stdout + done.stderr
