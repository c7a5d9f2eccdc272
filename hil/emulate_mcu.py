"""Emulated microcontroller boards: our firmware in QEMU, or as a process of this machine where QEMU is missing.

UART 0 of each board is a socket for the host. Boards whose link is a wire have a UART each joined to the other's, as
long as UARTs last; what is left goes through the host.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from boards.board import Board, System
from boards.runtime import firmware_limits
from firmware_interface.errors import FirmwareBuildError
from firmware_interface.firmware_build import Limits, build_firmware
from firmware_interface.qemu_boards import QEMU, QEMU_BOARDS, qemu_command
from firmware_interface.serial_port import await_port
from hil.emulate_processes import Child
from hil.errors import EmulationError
from hil.lab_types import LabTarget, LabWire, SerialLine
from hil.targets import SERIAL_MCU

__all__ = ["McuBoards", "build_folder", "is_mcu", "wires_of"]

RUNTIME = "edgecut-mcu"
PEER_UARTS = (1, 2)  # of every firmware that QEMU plays
_START_TIMEOUT_S = 60.0
_POSIX = "posix"
_BITS_A_BYTE = 10


def is_mcu(board: Board) -> bool:
    """Whether our firmware runs on the board, not the agent."""
    return board.runtime == RUNTIME


def build_folder() -> Path:
    """Where firmware is built: the source tree's ``build/firmware``, or the user's cache for an installed package."""
    root = Path(__file__).resolve().parents[1]
    if (root / "Makefile").is_file() and os.access(root, os.W_OK):
        return root / "build" / "firmware"
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "edgecut" / "firmware"


def wires_of(system: System) -> tuple[LabWire, ...]:
    """Which UARTs are joined: the links between microcontroller boards in their order, while UARTs last.

    The higher UART of one board goes to the lower of the next, so that a row of boards is wired as a row.
    """
    boards = {board.name: board for board in system.boards if is_mcu(board)}
    free = {name: list(PEER_UARTS) for name in boards}
    wires: list[LabWire] = []
    for link in system.links:
        ends = (link.source, link.target)
        if not all(free.get(end) for end in ends) or any(set(wire.boards) == set(ends) for wire in wires):
            continue
        uarts = free[ends[0]].pop(), free[ends[1]].pop(0)
        wires.append(LabWire(ends, uarts, round(link.bandwidth_bytes_per_s * _BITS_A_BYTE)))
    return tuple(wires)


@dataclass(frozen=True)
class _Plan:
    """What plays the boards, and why not QEMU."""

    emulator: str
    notes: tuple[str, ...]


class McuBoards:
    """The microcontroller boards of a system, started into an emulation's folder."""

    def __init__(self, system: System, directory: Path, tell: Callable[[str], None]) -> None:
        self._boards = [board for board in system.boards if is_mcu(board)]
        self._directory, self._tell = directory, tell
        self.wires = wires_of(system)
        self.notes: tuple[str, ...] = ()
        self.targets: dict[str, LabTarget] = {}
        self._joints: list[_Joint] = []

    def start(self, children: list[Child], cores: Sequence[int]) -> None:
        """Build what is stale and start the boards; processes go into ``children``. Raises EmulationError."""
        plan = _choose_emulator([board.firmware for board in self._boards])
        self.notes = plan.notes
        if plan.emulator == QEMU:
            self._lay_pipes()
        for number, board in enumerate(self._boards):
            self._tell(f"Building the firmware of board {board.name}")
            firmware = _build(board, plan.emulator)
            core = cores[number % len(cores)] if cores else None
            self._tell(f"Starting board {board.name}")
            command = self._command(board, number + 1, firmware, plan.emulator)
            children.append(Child(board.name, command, self._directory / f"{board.name}.log", core))
            for uart in (0, *PEER_UARTS):
                if self._listens(uart, plan.emulator):
                    self._await(children[-1], self._socket(board.name, uart))
            url = f"unix:{self._socket(board.name, 0)}"
            self.targets[board.name] = LabTarget(board.name, SERIAL_MCU, serial=SerialLine(url, _uid(number + 1)))
        if plan.emulator == _POSIX:
            for wire in self.wires:
                paths = [self._socket(b, u) for b, u in zip(wire.boards, wire.uarts, strict=True)]
                self._joints.append(_Joint(paths[0], paths[1]))

    def close(self) -> None:
        """Cut the wires; the processes are the emulation's."""
        while self._joints:
            self._joints.pop().close()

    def _socket(self, board: str, uart: int) -> Path:
        return self._directory / f"{board}.{uart}"

    def _lay_pipes(self) -> None:
        """A pair of FIFOs for each wire; each board has its own names for them."""
        for wire in self.wires:
            first, second = (self._socket(b, u) for b, u in zip(wire.boards, wire.uarts, strict=True))
            for way, back in ((".in", ".out"), (".out", ".in")):
                os.mkfifo(f"{first}{way}", 0o600)
                Path(f"{second}{back}").symlink_to(f"{first}{way}")

    def _listens(self, uart: int, emulator: str) -> bool:
        """QEMU joins two UARTs by FIFOs; processes listen on all, and a thread of ours joins."""
        return uart == 0 or emulator == _POSIX

    def _command(self, board: Board, uid: int, firmware: Path, emulator: str) -> list[str]:
        if emulator == _POSIX:
            uarts = [part for u in (0, *PEER_UARTS) for part in ("--uart", f"{u}=unix:{self._socket(board.name, u)}")]
            return _dies_with_us([str(firmware), "--uid", _uid(uid), *uarts])
        serial = [self._device(board.name, uart) for uart in (0, *PEER_UARTS)]
        return _dies_with_us(qemu_command(board.firmware, firmware, uid=uid, serial=serial, align=True))

    def _device(self, board: str, uart: int) -> str:
        if uart == 0:
            return f"unix:{self._socket(board, uart)},server=on,wait=off"
        joined = any((board, uart) in zip(wire.boards, wire.uarts, strict=True) for wire in self.wires)
        return f"pipe:{self._socket(board, uart)}" if joined else "null"

    def _await(self, child: Child, path: Path) -> None:
        """Until the socket is there; the board may be connected to once it is."""
        try:
            await_port(path, _START_TIMEOUT_S, child.exit_code)
        except TimeoutError as e:
            raise child.failure(f"its UART at {path}", str(e)) from e


def _choose_emulator(kinds: Sequence[str]) -> _Plan:
    if shutil.which(QEMU) is not None:
        unknown = sorted(set(kinds) - set(QEMU_BOARDS))
        if unknown:
            raise EmulationError(
                "no emulator for a board",
                where="system",
                expected=f"`firmware:` one of {', '.join(QEMU_BOARDS)}",
                got=", ".join(name or "none" for name in unknown),
            )
        return _Plan(QEMU, ())
    if os.environ.get("CI", "").lower() in ("1", "true"):
        raise EmulationError(
            "no emulator", where="CI", expected=QEMU, got="nothing", hint="apt-get install qemu-system-arm"
        )
    note = (
        f"{QEMU} is not installed: boards are processes of this machine, as fast as it is. "
        "`apt-get install qemu-system-arm` for real cores."
    )
    return _Plan(_POSIX, (note,))


def _build(board: Board, emulator: str) -> Path:
    kind = _POSIX if emulator == _POSIX else board.firmware
    try:
        limits = firmware_limits(board)
        chosen = Limits(limits.ram_bytes, limits.flash_bytes, limits.slot_bytes)
        return build_firmware(build_folder(), kind, chosen)
    except (ValueError, FirmwareBuildError) as e:
        raise EmulationError(
            "the firmware cannot be built",
            where=f"board {board.name}",
            expected="make, gcc-arm-none-eabi and libnewlib-arm-none-eabi",
            got=str(e),
            hint="apt-get install make gcc-arm-none-eabi libnewlib-arm-none-eabi",
        ) from e


def _uid(number: int) -> str:
    return f"{number:016x}"


def _dies_with_us(command: list[str]) -> list[str]:
    """So that a starter that is killed leaves no board behind; where there is no such tool, `close` must do."""
    tool = shutil.which("setpriv")
    return command if tool is None else [tool, "--pdeathsig", "KILL", *command]


class _Joint:
    """A wire between two UARTs that both listen."""

    def __init__(self, first: Path, second: Path) -> None:
        self._ends = [socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)]
        for end, path in zip(self._ends, (first, second), strict=True):
            end.connect(str(path))
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"wire {first.name} {second.name}")
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while not self._stopping.is_set():
                for end in select.select(self._ends, [], [], 0.1)[0]:
                    data = end.recv(4096)
                    if not data:
                        return
                    self._ends[1 - self._ends.index(end)].sendall(data)

    def close(self) -> None:
        self._stopping.set()
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for end in self._ends:
            end.close()
