"""Base firmware onto a board, by the tool that the lab file names; each is a program of its own, run with a list of
arguments.

    flasher: {kind: esptool, image: fw.bin, port: /dev/ttyUSB0, chip: esp32s3, address: "0x0"}
    flasher: {kind: pyocd, image: fw.elf, target: stm32f405rg, device: 066BFF...}
    flasher: {kind: stm32loader, image: fw.bin, port: /dev/ttyUSB0, address: "0x08000000"}
    flasher: {kind: openocd, image: fw.elf, config: board/st_nucleo_f4.cfg, device: 066BFF...}
    flasher: {kind: qemu, image: fw.elf}      # nothing to do: the emulator takes the firmware at its start
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from hil.errors import DeviceError, LabError
from hil.lab_types import Flasher, Lab, LabTarget

__all__ = ["COMMANDS", "flash_base", "flasher_command"]

FLASH_TIMEOUT_S = 300.0  # a megabyte over a serial loader at 115200 baud takes 90 s
_SHOWN_CHARACTERS = 600
_INSTALL = {
    "esptool": "pip install esptool",
    "pyocd": "pip install pyocd",
    "stm32loader": "pip install stm32loader",
    "openocd": "apt-get install openocd",
}


def _esptool(flasher: Flasher, image: str, port: str) -> list[str]:
    chip = ["--chip", flasher.chip] if flasher.chip else []
    return [*chip, "--port", port, "write_flash", flasher.address or "0x0", image]


def _pyocd(flasher: Flasher, image: str, port: str) -> list[str]:
    target = ["--target", flasher.target] if flasher.target else []
    probe = ["--uid", flasher.device] if flasher.device else []
    base = ["--base-address", flasher.address] if flasher.address else []
    return ["load", *target, *probe, *base, image]


def _stm32loader(flasher: Flasher, image: str, port: str) -> list[str]:
    return ["-p", port, "-e", "-w", "-v", "-a", flasher.address or "0x08000000", image]


def _openocd(flasher: Flasher, image: str, port: str) -> list[str]:
    probe = ["-c", f"adapter serial {flasher.device}"] if flasher.device else []
    at = f" {flasher.address}" if flasher.address else ""
    return ["-f", flasher.config, *probe, "-c", f"program {{{image}}} verify reset exit{at}"]


COMMANDS: Mapping[str, Callable[[Flasher, str, str], list[str]]] = {
    "esptool": _esptool,
    "pyocd": _pyocd,
    "stm32loader": _stm32loader,
    "openocd": _openocd,
}
"""The arguments of each program: of the flasher, the image's path, the loader's port."""


def flasher_command(target: LabTarget, lab: Lab) -> list[str]:
    """The program and its arguments; [] where the emulator has the firmware already. Raises LabError."""
    where = f"{lab.path}, targets.{target.name}.flasher"
    line = target.serial
    flasher = None if line is None else line.flasher
    if line is None or flasher is None:
        raise LabError(
            "no flasher for the base firmware",
            where=where,
            expected="`flasher: {kind: ..., image: ...}`",
            got="none",
        )
    if flasher.kind == "qemu":
        return []
    image = lab.path.parent / flasher.image.expanduser()
    if not image.is_file():
        raise LabError("the image of the base firmware is not there", where=where, expected="a file", got=str(image))
    if flasher.kind == "openocd" and not flasher.config:
        raise LabError("openocd needs to know the board", where=where, expected="`config: board/....cfg`", got="none")
    program = shutil.which(flasher.kind)
    if program is None:
        raise LabError(f"{flasher.kind} is not installed", where=where, hint=_INSTALL[flasher.kind])
    return [program, *COMMANDS[flasher.kind](flasher, str(image), flasher.port or line.url)]


def flash_base(target: LabTarget, lab: Lab, tell: Callable[[str], None]) -> bool:
    """Put the base firmware onto a board; False where there was nothing to do. Raises LabError, DeviceError."""
    command = flasher_command(target, lab)
    if not command:
        return False
    tell(f"base firmware for {target.name}: {' '.join(command)}")
    where = {"phase": "base firmware", "board": target.name}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=FLASH_TIMEOUT_S, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise DeviceError(f"{Path(command[0]).name} took over {FLASH_TIMEOUT_S:.0f} s", **where) from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[-_SHOWN_CHARACTERS:]
        raise DeviceError(f"{Path(command[0]).name} ended with code {done.returncode}", **where, last_message=said)
    return True
