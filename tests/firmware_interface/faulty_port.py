"""A line that spoils frames, as a decorator of a port."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from firmware_interface.serial_port import Port

__all__ = ["FAULTS", "DelayingPort", "FaultyPort", "MeddlingPort", "SplittingPort"]

DELIMITER = b"\0"
Fault = Callable[[bytes, random.Random], bytes]


def _at(data: bytes, chance: random.Random) -> int:
    return chance.randrange(len(data))


def drop(data: bytes, chance: random.Random) -> bytes:
    """A byte is lost."""
    at = _at(data, chance)
    return data[:at] + data[at + 1 :]


def duplicate(data: bytes, chance: random.Random) -> bytes:
    """A byte comes twice."""
    at = _at(data, chance)
    return data[: at + 1] + data[at:]


def flip(data: bytes, chance: random.Random) -> bytes:
    """A bit is wrong."""
    at = _at(data, chance)
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def garbage(data: bytes, chance: random.Random) -> bytes:
    """Noise before the frame."""
    return chance.randbytes(chance.randrange(1, 60)) + data


def lose(data: bytes, chance: random.Random) -> bytes:
    """The whole frame is lost."""
    return b""


def endless(data: bytes, chance: random.Random) -> bytes:
    """The delimiter is lost, and much without one follows."""
    return data[:-1] + b"\x55" * 9000


def repeat(data: bytes, chance: random.Random) -> bytes:
    """The frame comes twice."""
    return data + data


FAULTS: dict[str, Fault] = {f.__name__: f for f in (drop, duplicate, flip, garbage, lose, endless, repeat)}


class FaultyPort:
    """A port on which frames that are written, and with ``both`` read, meet ``fault``, each with a chance of ``rate``.

    Per frame, not per read: on a busy machine a frame comes in many small pieces.
    """

    def __init__(self, port: Port, fault: Fault, rate: float, *, seed: int = 1, both: bool = True) -> None:
        self._port, self._fault, self._rate, self._both = port, fault, rate, both
        self._chance = random.Random(seed)
        self.faults = 0

    def _maybe(self, data: bytes) -> bytes:
        *ended, rest = data.split(DELIMITER)
        return b"".join(self._frame(piece + DELIMITER) for piece in ended) + rest

    def _frame(self, end: bytes) -> bytes:
        """A frame, or the part of it that this piece of the line holds, up to its delimiter."""
        if self._chance.random() >= self._rate:
            return end
        self.faults += 1
        return self._fault(end, self._chance)

    def read(self, timeout_s: float) -> bytes:
        """As `Port.read`."""
        data = self._port.read(timeout_s)
        return self._maybe(data) if self._both else data

    def write(self, data: bytes, timeout_s: float) -> None:
        """As `Port.write`."""
        spoilt = self._maybe(data)
        if spoilt:
            self._port.write(spoilt, timeout_s)

    def set_baud(self, baud: int) -> None:
        """As `Port.set_baud`."""
        self._port.set_baud(baud)

    def close(self) -> None:
        """As `Port.close`."""
        self._port.close()


class SplittingPort(FaultyPort):
    """A port that hands on one to seven bytes at a time."""

    def __init__(self, port: Port) -> None:
        super().__init__(port, drop, 0.0)

    def write(self, data: bytes, timeout_s: float) -> None:
        """As `Port.write`."""
        while data:
            count = self._chance.randrange(1, 8)
            super().write(data[:count], timeout_s)
            data = data[count:]


class DelayingPort(FaultyPort):
    """A port on which what is written or read comes up to 30 ms late now and then."""

    def __init__(self, port: Port) -> None:
        super().__init__(port, drop, 0.0)

    def _maybe(self, data: bytes) -> bytes:
        if self._chance.random() < 0.2:
            time.sleep(self._chance.random() * 0.03)
        return data


class MeddlingPort(FaultyPort):
    """A port into which somebody else writes ``frame`` before the n-th write."""

    def __init__(self, port: Port, *, at_write: int) -> None:
        super().__init__(port, drop, 0.0)
        self.frame = b""
        self._left = at_write

    def write(self, data: bytes, timeout_s: float) -> None:
        """As `Port.write`."""
        self._left -= 1
        if self._left == 0:
            super().write(self.frame, timeout_s)
        super().write(data, timeout_s)
