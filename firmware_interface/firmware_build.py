"""Building the firmware of a microcontroller board, also one that plays a smaller board than the chip is."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from firmware_interface.errors import FirmwareBuildError

__all__ = ["FIRMWARE_SOURCE", "NO_LIMITS", "Limits", "build_firmware", "firmware_path", "run_make"]

FIRMWARE_SOURCE = Path(__file__).parent / "firmware"
MAKE_TIMEOUT_S = 280.0
_SHOWN_CHARACTERS = 2000  # of what the compiler said; its first complaint is the one that matters


@dataclass(frozen=True)
class Limits:
    """What a board may use; None leaves the chip's. The linker and the firmware enforce them, MEMORY tells them."""

    ram_bytes: int | None = None
    flash_bytes: int | None = None
    """Of the firmware itself: the model's slot is apart."""
    slot_bytes: int | None = None
    """Of the model image: whole sectors of the board."""

    def make_variables(self) -> tuple[str, ...]:
        """As ``firmware/boards.mk`` names them."""
        return tuple(f"{name.upper()}={value}" for name, value in self._set())

    def suffix(self) -> str:
        """Of the build's folder."""
        return "".join(f"-{name.removesuffix('_bytes')}{value}" for name, value in self._set())

    def _set(self) -> list[tuple[str, int]]:
        named = (("ram_bytes", self.ram_bytes), ("flash_bytes", self.flash_bytes), ("slot_bytes", self.slot_bytes))
        return [(name, value) for name, value in named if value is not None]


NO_LIMITS = Limits()


def firmware_path(build: Path, board: str, limits: Limits = NO_LIMITS) -> Path:
    """Where the firmware of a board type stands, or the program that plays a posix board."""
    return build / f"{board}{limits.suffix()}" / ("board" if board.startswith("posix") else "firmware.elf")


def build_firmware(build: Path, board: str, limits: Limits = NO_LIMITS, *, options: Sequence[str] = ()) -> Path:
    """Build what is not up to date; `firmware_path`. Processes that share ``build`` wait for each other.

    ``options`` are further variables for make. Raises FirmwareBuildError when a tool is missing, the sources do not
    compile, or the firmware does not fit the limits.
    """
    run_make(build, board, (*limits.make_variables(), *options, board))
    return firmware_path(build, board, limits)


def run_make(build: Path, board: str, arguments: Sequence[str]) -> None:
    """Make with variables and targets, into ``build``; ``board`` is for messages. Raises as `build_firmware`."""
    make = shutil.which("make")
    if make is None:
        raise FirmwareBuildError(board, "make is not installed: apt-get install make")
    folders = (f"BUILD={build.absolute()}", f"PYTHON={sys.executable}")
    command = [make, "-C", str(FIRMWARE_SOURCE), *folders, *arguments]
    build.mkdir(parents=True, exist_ok=True)
    with (build / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=MAKE_TIMEOUT_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise FirmwareBuildError(board, f"{' '.join(command)} took over {MAKE_TIMEOUT_S:.0f} s") from error
    if done.returncode != 0:
        raise FirmwareBuildError(board, f"{' '.join(command)}:\n{(done.stderr or done.stdout)[:_SHOWN_CHARACTERS]}")
