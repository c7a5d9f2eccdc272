"""boards/runtimes/edgecut-mcu.yaml is what its generator writes."""

from __future__ import annotations

import pytest
import yaml

from tests.needs import needs_program, needs_qemu
from tools import mcu_runtime


def written() -> dict:  # type: ignore[type-arg]
    return yaml.safe_load(mcu_runtime.TARGET.read_text("utf-8"))


def test_coverage_and_kernels_are_the_compilers() -> None:
    found = written()
    for key, made in mcu_runtime.coverage_part().items():
        assert found[key] == made, f"{key}: run tools/mcu_runtime.py"


def test_memory_of_the_posix_board_is_the_builds() -> None:
    needs_program("cc", "apt-get install gcc libc6-dev")
    needs_program("make", "apt-get install make")
    assert written()["firmware"]["posix"] == mcu_runtime.firmware_figures("posix"), "run tools/mcu_runtime.py"


@pytest.mark.integration
@pytest.mark.parametrize("board", [b for b in mcu_runtime.PORTS if b != "posix"])
def test_memory_of_the_boards_is_the_builds(board: str) -> None:
    needs_qemu()
    found = written()
    if found["compilers"]["cortex-m"] != mcu_runtime.compiler_version(f"{mcu_runtime.CROSS}gcc"):
        pytest.skip("sizes were taken with another arm-none-eabi-gcc: run tools/mcu_runtime.py")
    assert found["firmware"][board] == mcu_runtime.firmware_figures(board), "run tools/mcu_runtime.py"
