"""Requests to a board on a serial line: sent again when they or their answers are lost, each with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from firmware_interface.errors import BoardResetError, DeadlineError, MessageError, RemoteError
from firmware_interface.framing import MAX_U32, Header, decode_payload
from firmware_interface.messages import MESSAGES, Error, ErrorCode, Log, Type
from firmware_interface.serial_framing import FrameReader, encode_message
from firmware_interface.serial_port import Port
from firmware_interface.transport import remote_error

__all__ = ["TIMEOUT_S", "BoardLine", "lateness_s"]

M = TypeVar("M")
MAX_LOG_LINES = 1000  # kept of what a board says; more tells nothing new
SHOWN_BYTES = 24  # of what came last, in error messages
WRITE_TIMEOUT_S = 10.0
TIMEOUT_S = 10.0  # of a request whose work takes no time; a board that an emulator plays on a busy machine is slow
TRY_S = 0.5  # then a request is sent again: a frame of 4 KB at 115200 baud and its answer take less
LATE_S = 0.2  # a wait that ends later than it should by more: the process was kept from running
_LINK_TYPES = (Type.PART, Type.PART_ACK, Type.CREDIT)


def lateness_s(until: float) -> float:
    """How much too late a wait that should have ended at ``until`` (monotonic) has ended: add it to the deadline."""
    return max(0.0, time.monotonic() - until - LATE_S)


class BoardLine:
    """A port, cut into messages. ``board`` is the name in error messages."""

    def __init__(self, port: Port, board: str) -> None:
        self.port, self.board = port, board
        self.session = 0
        self.phase = "open"
        """What we are doing, in words, for error messages."""
        self.log: list[str] = []
        self.patience = 1.0
        """What deadlines are multiplied by."""
        self.repeats = 0
        """Requests that were sent again."""
        self.on_link: Callable[[Header, bytes], None] | None = None
        """Takes PART, PART_ACK and CREDIT."""
        self._reader = FrameReader()
        self._waiting: list[tuple[Header, bytes]] = []
        self._last = b""
        self._sequence = 0

    @property
    def bad_frames(self) -> int:
        """Frames that came spoilt."""
        return self._reader.bad_frames

    def post(self, message: Any, *, channel: int | None = None, sequence: int | None = None) -> int:
        """Send a message without waiting for an answer; returns its number. Raises as `Port.write`."""
        if sequence is None:
            sequence = self._sequence = self._sequence % MAX_U32 + 1
        frame = encode_message(message, channel=self.session if channel is None else channel, sequence=sequence)
        self.port.write(frame, WRITE_TIMEOUT_S)
        return sequence

    def next_answer(self, end: float) -> tuple[Header, Any] | None:
        """The next message that is neither a log line nor a link's, or None at ``end`` (monotonic).

        Raises ConnectionLostError.
        """
        while True:
            while self._waiting:
                header, payload = self._waiting.pop(0)
                message = self._sort(header, payload)
                if message is not None:
                    return header, message
            if not self._read(end):
                return None

    def turn(self, end: float) -> None:
        """Take what has come, waiting for it until ``end``: for link traffic, between requests."""
        self._read(end)
        waiting, self._waiting = self._waiting, []
        for header, payload in waiting:
            self._sort(header, payload)

    def _read(self, end: float) -> bool:
        remaining = end - time.monotonic()
        if remaining <= 0:
            return False
        data = self.port.read(remaining)
        self._last = (self._last + data)[-SHOWN_BYTES:]
        self._waiting += self._reader.feed(data)
        return True

    def _sort(self, header: Header, payload: bytes) -> Any:
        if header.type in _LINK_TYPES:
            if self.on_link is not None:
                self.on_link(header, payload)
            return None
        if header.type not in MESSAGES:
            return None
        try:
            message = decode_payload(header, payload)
        except MessageError:
            return None  # the CRC was right: another version of the firmware; the request's deadline tells
        if isinstance(message, Log):
            if len(self.log) < MAX_LOG_LINES:
                self.log.append(message.text)
            return None
        return message

    def call(
        self, message: Any, expect: type[M], phase: str, *, timeout_s: float = TIMEOUT_S, try_s: float = TRY_S
    ) -> M:
        """Send a request until its answer comes, which must be an ``expect``.

        Time in which this process was kept from running does not count. Raises RemoteError for an ERROR,
        BoardResetError when the board has forgotten our session, DeadlineError with phase, board and last bytes,
        ConnectionLostError.
        """
        self.phase = phase
        timeout_s *= self.patience
        end = time.monotonic() + timeout_s
        sequence = self.post(message)
        while True:
            until = min(end, time.monotonic() + try_s)
            found = self._answer(sequence, expect, until)
            if found is not None:
                return found
            end += lateness_s(until)
            if time.monotonic() >= end:
                raise self.deadline(expect.__name__, timeout_s)
            self.repeats += 1
            self.port.write(b"\0", WRITE_TIMEOUT_S)  # ends what a lost delimiter has left open
            self.post(message, sequence=sequence)

    def _answer(self, sequence: int, expect: type[M], end: float) -> M | None:
        while (got := self.next_answer(end)) is not None:
            header, answer = got
            if header.sequence != sequence:
                continue  # of an earlier request, or of an earlier host
            if isinstance(answer, expect):
                return answer
            if isinstance(answer, Error):
                raise self.refusal(answer)
        return None

    def refusal(self, answer: Error) -> Exception:
        """The exception for an ERROR."""
        if answer.code == ErrorCode.NOT_ATTACHED and self.session != 0:
            return BoardResetError(self.board, self.phase)
        error = remote_error(answer)
        return RemoteError(error.code, f"{error.text} (board {self.board}, {self.phase})")

    def deadline(self, waiting_for: str, timeout_s: float) -> DeadlineError:
        """The exception for silence."""
        came = self._last.hex(" ") or "nothing"
        problem = f", {self.bad_frames} bad frames: {self._reader.last_problem}" if self.bad_frames else ""
        return DeadlineError(
            f"{waiting_for} from board {self.board} during {self.phase}", timeout_s, f"bytes {came}{problem}"
        )

    def close(self) -> None:
        """Close the port; never raises."""
        self.port.close()
