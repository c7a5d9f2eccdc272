"""Text of the protocol of standard benchmark firmware (EEMBC, MLPerf Tiny): commands out, lines in.

A command is ASCII and ends with ``%``; an answer is lines, the last of them ``m-ready``. See docs/eembc.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = [
    "LAP_WRAP_US",
    "MAX_INPUT_BYTES",
    "READY",
    "LineReader",
    "bracketed",
    "buffer_bytes",
    "hex_commands",
    "lap_us",
    "result_values",
    "shown",
]

READY = "m-ready"
LAP_WRAP_US = 1 << 32
"""Laps are counted in 32 bits of microseconds: they start again after 71.6 minutes."""
MAX_COMMAND = 80  # characters before '%': what the reference firmware has room for
MAX_INPUT_BYTES = 27_648
"""What ``db load`` takes: the largest input of the suite."""
MAX_LINE = 65_536  # a result vector of some thousand values; longer is not this protocol
SHOWN_BYTES = 40  # of what came last, in error messages
_LAP = re.compile(r"m-lap-us-(\d{1,10})")


class LineReader:
    """Cuts bytes into lines: ended by LF or CR LF, without empty ones."""

    def __init__(self) -> None:
        self._rest = b""
        self.last = b""
        """The bytes that came last, for error messages."""

    def feed(self, data: bytes) -> list[str]:
        """The lines that ``data`` ends. What is longer than any line of the protocol is cut into pieces."""
        self.last = (self.last + data)[-SHOWN_BYTES:]
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_LINE:
            lines.append(self._rest)
            self._rest = b""
        return [text for line in lines if (text := line.rstrip(b"\r").decode("ascii", "backslashreplace"))]


def shown(data: bytes) -> str:
    """Bytes for an error message."""
    return repr(data)[1:] if data else "nothing"


def hex_commands(data: bytes) -> Iterator[tuple[str, int]]:
    """The ``db HH...`` commands that carry ``data``, each with how many bytes have gone after it."""
    step = (MAX_COMMAND - len("db ")) // 2
    for at in range(0, len(data), step):
        part = data[at : at + step]
        yield "db " + part.hex(), at + len(part)


def bracketed(line: str, before: str) -> str | None:
    """What stands in the brackets of a line like ``m-name-dut-[...]``, None for another line."""
    if line.startswith(before + "[") and line.endswith("]"):
        return line[len(before) + 1 : -1]
    return None


def lap_us(line: str) -> int | None:
    """The microseconds of a ``m-lap-us-`` line, None for another line or a number beyond 32 bits."""
    match = _LAP.fullmatch(line)
    value = int(match[1]) if match else LAP_WRAP_US
    return value if value < LAP_WRAP_US else None


def buffer_bytes(line: str) -> bytes | None:
    """The bytes of a ``m-buffer-01-02-...`` line, None for another line."""
    if not line.startswith("m-buffer-"):
        return None
    try:
        return bytes(int(digits, 16) for digits in line.removeprefix("m-buffer-").split("-"))
    except ValueError:
        return None


def result_values(line: str) -> tuple[float, ...] | None:
    """The values of a ``m-results-[f,f,...]`` line, None for another line."""
    text = bracketed(line, "m-results-")
    try:
        return None if text is None else tuple(float(value) for value in text.split(","))
    except ValueError:
        return None
