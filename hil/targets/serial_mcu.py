"""Driver for microcontroller boards that carry our firmware, on a serial line."""

from __future__ import annotations

from collections.abc import Callable

from firmware_interface.board_client import BoardClient, Written
from firmware_interface.board_messages import BoardIdentity, BoardStatistics, Memory
from firmware_interface.errors import (
    BoardResetError,
    ConnectionLostError,
    DeadlineError,
    FramingError,
    MessageError,
    RemoteError,
    WireError,
)
from hil.errors import (
    ConnectError,
    DeviceError,
    DeviceFailedError,
    DeviceLostError,
    DeviceTimeoutError,
    WrongBoardError,
)
from hil.lab_types import LabTarget, SerialLine
from hil.targets.session import Session
from hil.targets.target import Identity

__all__ = ["SerialMcu"]

CONNECT_TIMEOUT_S = 20.0  # an emulator that has just been started on a busy machine


class SerialMcu(Session[BoardClient]):
    """A session with a microcontroller board; opened on construction. Every call raises DeviceError on failure.

    Closing it closes the line: what runs goes on until somebody else attaches.
    """

    def __init__(self, target: LabTarget, key: bytes = b"", *, lease: int = 0) -> None:
        """Raises ConnectError, DeviceTimeoutError, WrongBoardError when the chip's number is another."""
        if target.serial is None:
            raise ValueError(f"target {target.name} has no serial line")
        super().__init__(target.name)
        self.line: SerialLine = target.serial
        with self.phase("connect"):
            self._client = BoardClient.open(
                self.line.url, self.name, lease=lease, baud=self.line.baud, timeout_s=CONNECT_TIMEOUT_S
            )
        if self.facts.uid.lower() != self.line.uid:
            found = self.facts
            self.close()
            raise WrongBoardError(
                f"the chip at {self.line.url} has the number {found.uid}, not {self.line.uid}",
                phase="identify",
                board=self.name,
                hint=f"It is a {found.board}. Compare the ports in the lab file with the boards behind them.",
            )

    @property
    def facts(self) -> BoardIdentity:
        """What the board said of itself when the session began."""
        return self.client.facts()

    def identify(self) -> Identity:
        """Who the board is."""
        facts, attached = self.facts, self.client.attached
        return Identity(
            self.name,
            "",
            0,
            {
                "board": facts.board,
                "core": facts.core,
                "uid": facts.uid,
                "build": facts.build.hex(),
                "capabilities": facts.capabilities,
                "kernels": facts.kernels,
                "tick_hz": facts.tick_hz,
                "core_hz": facts.core_hz,
                "ports": facts.ports,
                "boots": 0 if attached is None else attached.boots,
            },
        )

    def require_type(self, firmware: str) -> None:
        """Raise WrongBoardError unless the board carries the firmware of that board type."""
        if firmware and self.facts.board != firmware:
            raise WrongBoardError(
                f"it carries the firmware of a {self.facts.board}, and the system says {firmware}",
                phase="identify",
                board=self.name,
                hint="Put the right base firmware on it (`hil flash --base`), or correct the system file.",
            )

    def memory(self) -> Memory:
        """Memory map and high-water marks."""
        with self.phase("memory query"):
            return self.client.memory()

    def write(self, image: bytes, progress: Callable[[int], None] = lambda _: None) -> Written:
        """Bring an image into the slot unless it is there; the board reads it back and compares.

        ``progress`` is told how many bytes are there.
        """
        with self.phase("flash"):
            return self.client.write_image(image, progress=progress)

    def statistics(self, phase: str) -> BoardStatistics:
        """The board's counters. Raises DeviceLostError when it was reset since the session began."""
        with self.phase(phase):
            found = self.client.statistics()
            attached = self.client.attached
            if attached is not None and found.boots != attached.boots:
                fault = self.client.fault()
                raise DeviceLostError(
                    f"it was reset (cause {found.cause}; last fault: kind {fault.kind} in phase {fault.phase}, "
                    f"operator {fault.operator}, pc {fault.pc:#x})",
                    phase=phase,
                    board=self.name,
                )
            return found

    def _device_error(self, error: WireError, phase: str) -> DeviceError:
        where = {"phase": phase, "board": self.name}
        if isinstance(error, RemoteError):
            return DeviceFailedError(str(error), **where, code=error.code)
        if isinstance(error, BoardResetError):
            return DeviceLostError(str(error), **where, hint="`hil discover` tells its last fault.")
        if isinstance(error, DeadlineError):
            hint = "" if self._client is not None else "Is our firmware on it? `hil flash --base` puts it there."
            return DeviceTimeoutError(str(error), **where, hint=hint)
        if isinstance(error, ConnectionLostError) and self._client is None:
            hint = "Is the board plugged in there, and nobody else at its line?"
            return ConnectError(error.reason, **where, hint=hint)
        if isinstance(error, FramingError | MessageError):
            return DeviceFailedError(str(error), **where, code="PROTOCOL")
        return DeviceLostError(str(error), **where)
