"""Errors of the bench.

HilError
├── LabError                 exit code 2: lab.yaml, a key file, or a board that the lab does not have
├── BundleError              exit code 2: the bundle directory cannot be read or does not fit the lab
├── StimulusError            exit code 2: the inputs of a benchmark cannot be read, or are not what its rules ask for
├── EmulationError           emulated boards cannot be started or joined on this machine
│   └── CoreError            exit code 2: the cores asked for are not this machine's
├── DeviceError              something happened with a board; knows phase, board and the last message
│   ├── ConnectError         nobody answers at the address
│   ├── WrongKeyError        the board does not hold our key, or we do not hold its key
│   ├── WrongBoardError      another board answers behind the address
│   ├── BusyError            the board serves another controller
│   ├── DeviceTimeoutError   no answer before the deadline
│   ├── DeviceLostError      the connection broke: the agent died, the cable went
│   └── DeviceFailedError    the board answered with an error
└── MeasurementAbortedError  a measurement ended early; carries what was measured until then
"""

from __future__ import annotations

from boards.errors import DescribedError

__all__ = [
    "BundleError",
    "BusyError",
    "ConnectError",
    "CoreError",
    "DeviceError",
    "DeviceFailedError",
    "DeviceLostError",
    "DeviceTimeoutError",
    "EmulationError",
    "HilError",
    "LabError",
    "MeasurementAbortedError",
    "StimulusError",
    "WrongBoardError",
    "WrongKeyError",
]


class HilError(Exception):
    """Base of all errors of this package."""


class LabError(DescribedError, HilError):
    """The lab file, its key file, or the boards it names cannot be used."""


class BundleError(DescribedError, HilError):
    """The bundle directory cannot be read, or its manifest does not hold together."""


class StimulusError(DescribedError, HilError):
    """The inputs of a benchmark cannot be read, or are not what its rules ask for."""


class EmulationError(DescribedError, HilError):
    """Emulated boards cannot be started, joined or kept running on this machine."""


class CoreError(EmulationError):
    """Boards shall be pinned to a core that cannot be used."""


class DeviceError(HilError):
    """Something went wrong with a board.

    ``phase`` says what we were doing ("connect", "push files", "load", "measure", ...), ``board`` with whom,
    ``last_message`` the last thing that board said, as far as known.
    """

    def __init__(self, what: str, *, phase: str, board: str, last_message: str = "", hint: str = "") -> None:
        self.what, self.phase, self.board = what, phase, board
        self.last_message, self.hint = last_message, hint
        text = f"Board {board}, phase {phase}: {what}."
        if last_message:
            text += f" Last message from it: {last_message}."
        super().__init__(f"{text} {hint}" if hint else text)


class ConnectError(DeviceError):
    """Nobody answers at the board's address."""


class WrongKeyError(DeviceError):
    """The two sides do not hold the same key."""


class WrongBoardError(DeviceError):
    """The agent behind the address says that it is another board."""


class BusyError(DeviceError):
    """The board is held by another controller."""


class DeviceTimeoutError(DeviceError):
    """The board did not answer before the deadline."""


class DeviceLostError(DeviceError):
    """The connection to the board broke."""


class DeviceFailedError(DeviceError):
    """The board answered with an error. ``code`` is the protocol's error code name."""

    def __init__(
        self,
        what: str,
        *,
        phase: str,
        board: str,
        code: str,
        last_message: str = "",
        hint: str = "",
    ) -> None:
        self.code = code
        super().__init__(what, phase=phase, board=board, last_message=last_message, hint=hint)


class MeasurementAbortedError(HilError):
    """A measurement ended early. ``partial`` is the Measurement so far, marked partial; ``cause`` the reason."""

    def __init__(self, cause: DeviceError, partial: object) -> None:
        self.cause, self.partial = cause, partial
        super().__init__(f"The measurement ended early. {cause}")
