"""Emulated boards: how QEMU is started for each board type that the firmware has a port for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["QEMU_BOARDS", "QemuBoard", "qemu_command"]

QEMU = "qemu-system-arm"
# QEMU hands a UART one byte, and the next when its main loop has come round after the guest has read it: 15 to 50 kB/s.
# Its multiplexer, made for several users of one line, keeps 32 bytes and hands on the next at once: three times as
# fast, at half the processor time. What it takes for its escape is a byte that does not exist.
NO_ESCAPE = "256"


@dataclass(frozen=True)
class QemuBoard:
    """A machine of QEMU's, and where its firmware looks for the chip's number."""

    machine: str
    uid_address: int
    instructions_shift: int = 5
    """2 ** shift nanoseconds of guest time an instruction (``-icount``)."""


# The addresses are UID_AT of firmware/boards.mk.
QEMU_BOARDS: dict[str, QemuBoard] = {
    "mps2-an386": QemuBoard("mps2-an386", 0x21F00000),
    "mps2-an500": QemuBoard("mps2-an500", 0x60F00000),
    "mps3-an547": QemuBoard("mps3-an547", 0x31200000),
    "lm3s6965evb": QemuBoard("lm3s6965evb", 0x2000FFE0),
    "netduinoplus2": QemuBoard("netduinoplus2", 0x2002FFE0),
}


def _uart(number: int, device: str) -> list[str]:
    """The options of a UART on ``unix:PATH[,OPTIONS]`` or ``pipe:PATH``; other devices as ``-serial`` takes them."""
    kind, _, path = device.partition(":")
    backends = {"unix": "socket", "pipe": "pipe"}
    if kind not in backends:
        return ["-serial", device]
    name = f"uart{number}"
    return ["-chardev", f"{backends[kind]},id={name},path={path},mux=on", "-serial", f"chardev:{name}"]


def qemu_command(
    board: str, firmware: Path, *, uid: int, serial: Sequence[str], align: bool = False, program: str = QEMU
) -> list[str]:
    """The command that starts a board.

    ``serial`` are QEMU's character devices of UART 0, 1, 2, for instance
    ``unix:/run/u0,server=on,wait=off``; ``pipe:PATH`` is a pair of FIFOs, PATH.in and PATH.out, whose 64 KB hold what
    the other board has not taken yet (a socket is full after 278 single bytes). With ``align`` the guest's clock keeps
    to the wall's, which boards that work together need; the firmware is told, and keeps a timer running where its port
    has one, since QEMU compares the clocks only when one is due. Raises KeyError for a board without an emulator.
    """
    known = QEMU_BOARDS[board]
    icount = f"shift={known.instructions_shift},align={'on' if align else 'off'},sleep=on"
    step = ["-device", f"loader,addr={known.uid_address + 8:#x},data=1,data-len=1"] if align else []
    lines = [option for number, device in enumerate(serial) for option in _uart(number, device)]
    return [
        program, "-M", known.machine, "-kernel", str(firmware), "-display", "none", "-monitor", "none", "-nodefaults",
        "-device", f"loader,addr={known.uid_address:#x},data={uid:#x},data-len=8", *step, "-icount", icount,
        "-echr", NO_ESCAPE, *lines,
    ]  # fmt: skip
