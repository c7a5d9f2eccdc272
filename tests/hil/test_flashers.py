"""Base firmware: which program is run with which arguments. The programs are scripts that write down what they get."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hil.errors import DeviceError, LabError
from hil.flashers import flash_base, flasher_command
from hil.lab_types import Flasher, Lab, LabTarget, SerialLine

PORT = "/dev/ttyACM0"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on PATH with all flashers; each writes its arguments into a file beside it, one a line."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("esptool", "pyocd", "stm32loader", "openocd"):
        script = folder / name
        script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {folder}/{name}.arguments\n')
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def target(flasher: Flasher | None) -> LabTarget:
    return LabTarget("head", "serial-mcu", serial=SerialLine(PORT, "01", flasher=flasher))


def lab(tmp_path: Path) -> Lab:
    (tmp_path / "my fw.bin").write_bytes(b"firmware")
    return Lab(tmp_path / "lab.yaml", "x", b"", False, "none", {})


IMAGE = Path("my fw.bin")


@pytest.mark.parametrize(
    ("flasher", "arguments"),
    [
        (Flasher("esptool", IMAGE), ["--port", PORT, "write_flash", "0x0", "IMAGE"]),
        (
            Flasher("esptool", IMAGE, port="/dev/ttyUSB7", chip="esp32s3", address="0x10000"),
            ["--chip", "esp32s3", "--port", "/dev/ttyUSB7", "write_flash", "0x10000", "IMAGE"],
        ),
        (Flasher("pyocd", IMAGE), ["load", "IMAGE"]),
        (
            Flasher("pyocd", IMAGE, target="stm32f405rg", device="066B", address="0x08000000"),
            ["load", "--target", "stm32f405rg", "--uid", "066B", "--base-address", "0x08000000", "IMAGE"],
        ),
        (Flasher("stm32loader", IMAGE), ["-p", PORT, "-e", "-w", "-v", "-a", "0x08000000", "IMAGE"]),
        (
            Flasher("openocd", IMAGE, config="board/x.cfg", device="066B"),
            ["-f", "board/x.cfg", "-c", "adapter serial 066B", "-c", "program {IMAGE} verify reset exit"],
        ),
    ],
)
def test_program_gets_its_arguments_as_a_list(
    programs: Path, tmp_path: Path, flasher: Flasher, arguments: list[str]
) -> None:
    said: list[str] = []
    assert flash_base(target(flasher), lab(tmp_path), said.append)
    got = (programs / f"{flasher.kind}.arguments").read_text().splitlines()
    assert got == [a.replace("IMAGE", str(tmp_path / IMAGE)) for a in arguments]
    assert said[0].startswith("base firmware for head: ")


def test_an_emulator_has_its_firmware_already(tmp_path: Path) -> None:
    assert flasher_command(target(Flasher("qemu", IMAGE)), lab(tmp_path)) == []
    assert not flash_base(target(Flasher("qemu", IMAGE)), lab(tmp_path), lambda _: None)


def test_a_program_that_fails_is_quoted(programs: Path, tmp_path: Path) -> None:
    (programs / "pyocd").write_text("#!/bin/sh\necho no probe with that number >&2\nexit 3\n")
    with pytest.raises(DeviceError, match=r"phase base firmware: pyocd ended with code 3.*no probe with that number"):
        flash_base(target(Flasher("pyocd", IMAGE)), lab(tmp_path), lambda _: None)


@pytest.mark.parametrize(
    ("flasher", "complaint"),
    [
        (None, "no flasher"),
        (Flasher("pyocd", Path("none.elf")), "is not there"),
        (Flasher("openocd", IMAGE), "openocd needs to know the board"),
    ],
)
def test_what_is_missing_is_named(programs: Path, tmp_path: Path, flasher: Flasher | None, complaint: str) -> None:
    with pytest.raises(LabError, match=complaint):
        flash_base(target(flasher), lab(tmp_path), lambda _: None)


def test_a_program_that_is_not_installed_is_named_with_what_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match="pip install pyocd"):
        flash_base(target(Flasher("pyocd", IMAGE)), lab(tmp_path), lambda _: None)
