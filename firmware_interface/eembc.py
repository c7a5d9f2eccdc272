"""Client of boards that carry a standard benchmark firmware (EEMBC, MLPerf Tiny; performance or energy mode).

One command is in flight at a time; each waits for its ``m-ready`` until a deadline. `measure` of
`firmware_interface.eembc_measure` applies the suite's rules.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import TypeVar

from firmware_interface.eembc_text import (
    LAP_WRAP_US,
    MAX_INPUT_BYTES,
    READY,
    LineReader,
    bracketed,
    buffer_bytes,
    hex_commands,
    lap_us,
    result_values,
    shown,
)
from firmware_interface.errors import BenchmarkError, ConnectionLostError, DeadlineError
from firmware_interface.serial_port import Port, open_port

__all__ = ["DEFAULT_BAUD", "BenchmarkClient", "Identity", "Inference", "Mode", "open_benchmark"]

T = TypeVar("T")
WRITE_TIMEOUT_S = 10.0
ANSWER_S = 5.0  # any command but infer: the slowest is a line of text
PRINT_S = 120.0  # `db print` of the largest input at 9600 baud takes 97 s
BOOT_S = 10.0  # the firmware has 5 s from power-on to its first m-ready
LISTEN_S = 0.5  # for boot lines, before we speak
ASK_AGAIN_S = 1.5  # the firmware drops what comes before its first m-ready
QUIET_S = 0.3  # then nothing is under way any more
_MAX_LINES = 20_000  # of one answer: `db print` of the largest input takes 3,456


class Mode(StrEnum):
    """What a timestamp is: text, or a pulse on a pin that a power meter sees."""

    PERFORMANCE = "performance"
    ENERGY = "energy"


DEFAULT_BAUD = {Mode.PERFORMANCE: 115_200, Mode.ENERGY: 9_600}


@dataclass(frozen=True)
class Identity:
    """Who the board says it is: ``model`` is the suite's (ic01, kws01, vww01, ad01)."""

    name: str
    profile: str
    model: str


@dataclass(frozen=True)
class Inference:
    """An answer to ``infer``: the board's laps where it has any, and the host's clock for the same stretch."""

    iterations: int
    warmups: int
    laps_us: tuple[int, int] | None
    host_s: float
    """Between the lines before and after; the wire is in it."""
    answer_s: float
    """From the command to its ``m-ready``, warm-up included."""
    results: tuple[float, ...]

    @property
    def board_s(self) -> float | None:
        """Seconds by the board's clock, whose 32 bits may have wrapped once; None in energy mode."""
        if self.laps_us is None:
            return None
        return (self.laps_us[1] - self.laps_us[0]) % LAP_WRAP_US / 1e6


@dataclass(frozen=True)
class _Line:
    text: str
    at_s: float  # monotonic


class BenchmarkClient:
    """A board on ``port``; ``name`` is the port's in error messages.

    Every method raises DeadlineError (nothing in time), BenchmarkError (the board refused, or said what the protocol
    does not have) and ConnectionLostError; each names phase, port and last bytes.
    """

    def __init__(self, port: Port, name: str) -> None:
        self.port, self.name = port, name
        self.phase = "open"
        """What we are doing, in words, for error messages."""
        self.mode: Mode | None = None
        self._reader = LineReader()
        self._lines: list[_Line] = []

    def __enter__(self) -> BenchmarkClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the port; never raises."""
        self.port.close()

    def handshake(self, timeout_s: float = BOOT_S) -> Mode:
        """Wait for a starting board's first ``m-ready``, or wake one that has long been up; find its mode out."""
        self.phase = "handshake"
        end = time.monotonic() + timeout_s
        lines = self._until_ready(min(end, time.monotonic() + LISTEN_S))
        while lines is None:
            if time.monotonic() >= end:
                raise self._deadline(timeout_s, hint=self._handshake_hint())
            # Never an empty command: the reference firmware does not survive it.
            self._write("name%")
            lines = self._until_ready(min(end, time.monotonic() + ASK_AGAIN_S))
        said = [line.text for line in lines] + self._drain()
        told = [mode for mode in Mode if f"m-timestamp-mode-{mode}" in said]
        self.mode = told[-1] if told else self._mode_by_timestamp()
        return self.mode

    def identify(self) -> Identity:
        """Ask for name, profile and model."""
        name = self._one(self._call("name", "name"), lambda line: bracketed(line, "m-name-dut-"), "m-name-dut-[...]")
        lines = self._call("profile", "profile")
        profile = self._one(lines, lambda line: bracketed(line, "m-profile-"), "m-profile-[...]")
        return Identity(name, profile, self._one(lines, lambda line: bracketed(line, "m-model-"), "m-model-[...]"))

    def timestamp(self) -> int | None:
        """The board's clock in microseconds (32 bits); None in energy mode, where it is a pulse on a pin."""
        laps = _found(self._call("timestamp", "timestamp"), lap_us)
        if len(laps) > 1:
            raise self._surprise("one m-lap-us-", f"{len(laps)} of them")
        return laps[0] if laps else None

    def load(self, data: bytes, tell: Callable[[int], None] | None = None) -> None:
        """Put a stimulus into the board's buffer; ``tell`` gets the bytes that have gone.

        Raises ValueError for more bytes than the protocol takes, or none.
        """
        if not 0 < len(data) <= MAX_INPUT_BYTES:
            raise ValueError(f"a stimulus has 1 to {MAX_INPUT_BYTES} bytes, not {len(data)}")
        expected = f"m-[Expecting {len(data)} bytes]"
        lines = self._call(f"db load {len(data)}", "db load")
        if expected not in (line.text for line in lines):
            raise self._surprise(expected, _texts(lines))
        for command, sent in hex_commands(data):
            lines = self._call(command, f"db, bytes to {sent} of {len(data)}")
            done = "m-load-done" in (line.text for line in lines)
            if done != (sent == len(data)):
                raise self._surprise("no m-load-done yet" if done else "m-load-done", _texts(lines))
            if tell is not None:
                tell(sent)

    def buffer(self) -> bytes:
        """The board's buffer, as ``db print`` shows it."""
        return b"".join(_found(self._call("db print", "db print", timeout_s=PRINT_S), buffer_bytes))

    def infer(self, iterations: int, warmups: int, timeout_s: float) -> Inference:
        """Run the model so often, after so many runs that are not timed; ``timeout_s`` for all of it."""
        began = time.monotonic()
        lines = self._call(f"infer {iterations} {warmups}", f"infer {iterations} {warmups}", timeout_s=timeout_s)
        at = {line.text: line.at_s for line in lines}
        for expected in (f"m-warmup-start-{warmups}", f"m-infer-start-{iterations}", "m-infer-done"):
            if expected not in at:
                raise self._surprise(expected, _texts(lines))
        laps = _found(lines, lap_us)
        if len(laps) not in ((0,) if self.mode is Mode.ENERGY else (2,)):
            raise self._surprise("two m-lap-us- lines (none in energy mode)", _texts(lines))
        return Inference(
            iterations=iterations,
            warmups=warmups,
            laps_us=(laps[0], laps[1]) if laps else None,
            host_s=at["m-infer-done"] - at[f"m-infer-start-{iterations}"],
            answer_s=time.monotonic() - began,
            results=self._one(lines, result_values, "m-results-[f,f,...]"),
        )

    def results(self) -> tuple[float, ...]:
        """The last result vector."""
        return self._one(self._call("results", "results"), result_values, "m-results-[f,f,...]")

    def _mode_by_timestamp(self) -> Mode:
        return Mode.ENERGY if self.timestamp() is None else Mode.PERFORMANCE

    def _call(self, command: str, phase: str, *, timeout_s: float | None = None) -> list[_Line]:
        self.phase = phase
        timeout_s = timeout_s or ANSWER_S
        self._write(command + "%")
        lines = self._until_ready(time.monotonic() + timeout_s)
        if lines is None:
            raise self._deadline(timeout_s)
        for line in lines:
            if line.text.startswith("e-"):
                raise BenchmarkError(f"the board refused {command[:40]!r}: {line.text}", self.phase, self.name)
        return lines

    def _write(self, text: str) -> None:
        try:
            self.port.write(text.encode("ascii"), WRITE_TIMEOUT_S)
        except ConnectionLostError as error:
            raise self._lost(error) from error

    def _read(self, end: float) -> bool:
        """Lines that come before ``end``; False when nothing did."""
        try:
            data = self.port.read(max(0.0, end - time.monotonic()))
        except ConnectionLostError as error:
            raise self._lost(error) from error
        now = time.monotonic()
        self._lines += [_Line(text, now) for text in self._reader.feed(data)]
        if len(self._lines) > _MAX_LINES:
            raise self._surprise("an answer", f"more than {_MAX_LINES} lines without {READY}")
        return bool(data)

    def _until_ready(self, end: float) -> list[_Line] | None:
        """The lines of an answer; None when ``end`` comes first, and then what has come stays."""
        while True:
            for index, line in enumerate(self._lines):
                if line.text == READY:
                    answer, self._lines = self._lines[:index], self._lines[index + 1 :]
                    return answer
            if time.monotonic() >= end:
                return None
            self._read(end)

    def _drain(self) -> list[str]:
        """What still comes until the line is quiet: answers to commands that we sent more than once."""
        end = time.monotonic() + ANSWER_S
        while time.monotonic() < end and self._read(min(end, time.monotonic() + QUIET_S)):
            pass
        texts = [line.text for line in self._lines]
        self._lines = []
        return texts

    def _one(self, lines: list[_Line], parse: Callable[[str], T | None], expected: str) -> T:
        found = _found(lines, parse)
        if len(found) != 1:
            raise self._surprise(f"one line {expected}", _texts(lines))
        return found[0]

    def _surprise(self, expected: str, got: str) -> BenchmarkError:
        problem = f"expected {expected}, got {got}"
        return BenchmarkError(problem, self.phase, self.name, shown(self._reader.last))

    def _deadline(self, timeout_s: float, hint: str = "") -> DeadlineError:
        return DeadlineError(
            f"{READY} from {self.name} during {self.phase}", timeout_s, shown(self._reader.last) + hint
        )

    def _handshake_hint(self) -> str:
        return "; bytes came, but no answer: is it the right baud rate?" if self._reader.last else ""

    def _lost(self, error: ConnectionLostError) -> ConnectionLostError:
        return ConnectionLostError(f"{error.reason}, during {self.phase}", shown(self._reader.last))


def _found(lines: list[_Line], parse: Callable[[str], T | None]) -> list[T]:
    return [value for line in lines if (value := parse(line.text)) is not None]


def _texts(lines: list[_Line]) -> str:
    text = ", ".join(line.text for line in lines)
    return (text if len(text) <= 200 else "..." + text[-200:]) or "no line"


def open_benchmark(url: str, baud: int) -> BenchmarkClient:
    """A client on a device, a pseudo-terminal, ``socket://HOST:PORT`` or ``unix:PATH``. Raises ConnectionLostError."""
    return BenchmarkClient(open_port(url, baud), url)
