"""Runtime files: formulas, what a firmware takes of a board, and faults."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from boards.catalog import load_board, load_system
from boards.errors import DescriptionError
from boards.formula import parse_formula
from boards.runtime import firmware_limits, load_runtime
from boards.system_file import read_system


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2 * a + b // 2", 11),
        ("align(a)", 4),
        ("align(4 * a) + align(b)", 24),
        ("a if b > 5 else 1", 4),
        ("not a == 4 or b % 3 == 1 and a != 5", 0),
        ("a == 4 and b <= 6 and not (a < b and b < 3)", 1),
    ],
)
def test_formulas(text: str, value: int) -> None:
    assert parse_formula(text)({"a": 4, "b": 6}) == value


@pytest.mark.parametrize("text", ["a.b", "open('x')", "a **", "a / b", "[a]", "align(a, b)", "1.5", "a < b < 3"])
def test_formulas_are_arithmetic_and_nothing_else(text: str) -> None:
    with pytest.raises(ValueError, match="formula"):
        parse_formula(text)


def test_a_board_with_our_firmware_has_its_memory_from_the_build() -> None:
    firmware = load_runtime("edgecut-mcu").firmware["mps2-an386"]
    board = load_system("mcu-emulated").board("head")
    parts = firmware.data_bytes + firmware.bss_bytes + firmware.rings_bytes + firmware.stack_bytes
    assert board.runtime_ram_bytes == parts
    limits = firmware_limits(board)
    assert (limits.ram_bytes, limits.flash_bytes, limits.slot_bytes) == (192 * 1024, 64 * 1024, 448 * 1024)
    assert limits.flash_bytes >= firmware.flash_used_bytes


def test_a_board_without_our_firmware_has_no_limits_to_build_with() -> None:
    with pytest.raises(ValueError, match="firmware"):
        firmware_limits(load_board("nrf52840-dk"))
    board = load_system("mcu-emulated").board("head")
    with pytest.raises(ValueError, match="the firmware keeps 65536"):
        firmware_limits(replace(board, flash_bytes=65535))


def test_flash_without_room_for_a_model_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bench.yaml"
    file.write_text(
        "schema: edgecut/system/1\nname: one\nboards:\n  a: {use: mps2-an386, flash: 65KiB}\nsource: a\nsink: a\n"
    )
    with pytest.raises(DescriptionError, match="65536 B for the firmware and 4096 B or more"):
        read_system(file)


def test_an_unknown_firmware_is_refused_with_those_that_exist(tmp_path: Path) -> None:
    file = tmp_path / "bench.yaml"
    file.write_text(
        "schema: edgecut/system/1\nname: one\nboards:\n  a: {use: mps2-an386, firmware: mps2-an999}\n"
        "source: a\nsink: a\n"
    )
    with pytest.raises(DescriptionError, match="mps2-an386"):
        read_system(file)
