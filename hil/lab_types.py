"""Facts of one lab as frozen values: where the agents listen, and the key they share.

`hil.lab` reads lab.yaml into these; everything else takes them as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hil.errors import LabError

__all__ = ["FLASHERS", "Flasher", "Lab", "LabLink", "LabTarget", "LabWire", "SerialLine", "Shaping"]

Shaping = Literal["tc", "relay", "none"]


FLASHERS = ("esptool", "pyocd", "stm32loader", "openocd", "qemu")
"""What can put the base firmware onto a board; `hil.flashers` holds their command lines."""


@dataclass(frozen=True)
class Flasher:
    """How the base firmware gets onto a board. Which keys a kind takes: `hil.flashers`."""

    kind: str
    image: Path
    """Relative to the lab file."""
    port: str = ""
    """Serial port of the chip's loader, where it is not the board's line."""
    chip: str = ""
    target: str = ""
    device: str = ""
    """Serial number of the debug probe."""
    config: str = ""
    address: str = ""


@dataclass(frozen=True)
class SerialLine:
    """Where a microcontroller board is: `firmware_interface.serial_port.open_port` takes the URL."""

    url: str
    uid: str
    """The chip's own number, hexadecimal: whatever hangs on the line must say the same."""
    baud: int = 115200
    flasher: Flasher | None = None


@dataclass(frozen=True)
class LabWire:
    """Two UARTs that are joined, for links in both directions."""

    boards: tuple[str, str]
    uarts: tuple[int, int]
    baud: int = 115200

    def uart_of(self, board: str) -> int:
        """The UART of a board that the wire ends at; KeyError for another board."""
        return dict(zip(self.boards, self.uarts, strict=True))[board]


@dataclass(frozen=True)
class LabTarget:
    """One board of the lab: which driver speaks to it, and where."""

    name: str
    """Board name of the system; the agent behind the address must report the same one."""
    driver: str
    """Key of `hil.targets.DRIVERS`."""
    host: str = ""
    port: int = 0
    serial: SerialLine | None = None
    """Instead of host and port, of a microcontroller board."""

    @property
    def address(self) -> str:
        """For people."""
        return f"{self.host}:{self.port}" if self.serial is None else self.serial.url


@dataclass(frozen=True)
class LabLink:
    """Where the sending board connects for one directed link (a relay that paces, say)."""

    link: str
    """Link name of the system: "left->right"."""
    host: str
    port: int


@dataclass(frozen=True)
class Lab:
    """A lab file, read and checked.

    ``links`` holds only the links whose address differs from the receiving target's own.
    """

    path: Path
    system: str
    """Name of a ready system or path of a system file, as the lab file gives it."""
    key: bytes = field(repr=False)
    """Shared secret of all agents of the lab; never printed, never sent."""
    emulated: bool
    shaping: Shaping
    targets: Mapping[str, LabTarget]
    links: Mapping[str, LabLink] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """What the reader of a result should know of this lab: what its emulation leaves out, say."""
    wires: tuple[LabWire, ...] = ()

    def require(self, boards: Sequence[str]) -> None:
        """Raise LabError unless the lab has all boards that a plan uses."""
        missing = [name for name in boards if name not in self.targets]
        if missing:
            raise LabError(
                "the plan uses boards that the lab does not have",
                where=str(self.path),
                expected=f"targets {', '.join(boards)}",
                got=", ".join(sorted(self.targets)) or "none",
                hint=f"Add {', '.join(missing)} to the lab file, or solve for the boards that are there.",
            )

    def wire(self, source: str, target: str) -> LabWire | None:
        """The wire between two boards; None where tensors go through the host."""
        return next((wire for wire in self.wires if {source, target} == set(wire.boards)), None)

    def link_address(self, link: str, receiving_board: str) -> tuple[str, int]:
        """Host and port where the sending board connects for a link; KeyError for an unknown board."""
        special = self.links.get(link)
        if special is not None:
            return special.host, special.port
        target = self.targets[receiving_board]
        return target.host, target.port
