"""The host as one end of a serial link: tensors to a board and from it (PROTOCOL.md, section 11)."""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass, field

from firmware_interface.board_line import BoardLine, lateness_s
from firmware_interface.board_messages import Part
from firmware_interface.catalogue import Type
from firmware_interface.errors import FramingError
from firmware_interface.framing import Header
from firmware_interface.serial_framing import encode_frame, encode_message

__all__ = ["HostLink"]

REPEAT_S = 0.4  # silence after which parts, or credits, are sent again
WRITE_TIMEOUT_S = 10.0
_PART_HEAD = struct.Struct("<II")


@dataclass
class _Outgoing:
    depth: int
    credit: int = 0
    queued: int = 0


@dataclass
class _Incoming:
    size_bytes: int
    frames: list[bytes] = field(default_factory=list)
    partial: bytearray = field(default_factory=bytearray)
    taken: int = 0
    used: int = 0


class HostLink:
    """Port 0 of a board as a link. Make it after LINK_SETUP and the ROUTEs, just before START.

    ``part_bytes`` and ``window`` are what the board takes. Not for threads.
    """

    def __init__(self, line: BoardLine, *, part_bytes: int, window: int) -> None:
        self._line, self._part_bytes, self._window = line, part_bytes, window
        self._out: dict[int, _Outgoing] = {}
        self._in: dict[int, _Incoming] = {}
        self._parts: list[tuple[int, Part]] = []
        """Parts from ``_first`` on, by tensor."""
        self._first = self._next = 0
        self._expected = 0
        self._went_back = -1
        self._probing = False
        """Nothing came for long: the board computes, and a whole window would overrun its ring."""
        self._quiet_since = time.monotonic()
        self.parts_again = 0
        line.on_link = self._take

    def sends(self, tensor: int, depth: int) -> None:
        """The host is the source of a tensor."""
        self._out[tensor] = _Outgoing(depth)

    def receives(self, tensor: int, size_bytes: int) -> None:
        """The host is the sink of a tensor."""
        self._in[tensor] = _Incoming(size_bytes)

    @property
    def is_idle(self) -> bool:
        """Whether everything sent has been acknowledged."""
        return not self._parts

    def has_room(self, tensor: int) -> bool:
        """Whether there is credit for the next frame of a tensor that we send."""
        out = self._out[tensor]
        return out.queued - out.credit < out.depth

    def queued(self, tensor: int) -> int:
        """Frames of a tensor put so far."""
        return self._out[tensor].queued

    def credit(self, tensor: int) -> int:
        """Frames that the other side has used up."""
        return self._out[tensor].credit

    def put(self, tensor: int, data: bytes) -> None:
        """Queue the next frame of a tensor; only while it `has_room`."""
        out = self._out[tensor]
        for offset in range(0, len(data), self._part_bytes):
            part = Part(out.queued, offset, data[offset : offset + self._part_bytes])
            self._parts.append((tensor, part))
        out.queued += 1
        self._pump()

    def take(self, tensor: int) -> bytes | None:
        """The next frame of a tensor, if it is there. It counts as used only after `release`."""
        incoming = self._in[tensor]
        if not incoming.frames:
            return None
        incoming.taken += 1
        return incoming.frames.pop(0)

    def release(self, tensor: int, frames: int) -> None:
        """Give credit: frames below ``frames`` of a tensor are used up."""
        incoming = self._in[tensor]
        if frames > incoming.used:
            incoming.used = frames
            self._send_signal(Type.CREDIT, tensor, frames)

    def send(self, tensor: int, data: bytes, *, timeout_s: float) -> None:
        """Queue the next frame of a tensor once there is credit for it. Raises DeadlineError, ConnectionLostError."""
        end = time.monotonic() + timeout_s
        while not self.has_room(tensor):
            end = self._turn(end, f"credit for frame {self.queued(tensor)} of tensor {tensor}", timeout_s)
        self.put(tensor, data)

    def receive(self, tensor: int, *, timeout_s: float) -> bytes:
        """The next frame of a tensor. Raises DeadlineError, ConnectionLostError."""
        incoming = self._in[tensor]
        end = time.monotonic() + timeout_s
        while (data := self.take(tensor)) is None:
            end = self._turn(end, f"frame {incoming.taken} of tensor {tensor}", timeout_s)
        self.release(tensor, incoming.taken)
        return data

    def flush(self, *, timeout_s: float) -> None:
        """Wait until everything sent has arrived. Raises DeadlineError, ConnectionLostError."""
        end = time.monotonic() + timeout_s
        while not self.is_idle:
            end = self._turn(end, "acknowledgement", timeout_s)

    def _turn(self, end: float, waiting_for: str, timeout_s: float) -> float:
        """Wait for something, for a moment. Returns the deadline, moved if we were late."""
        now = time.monotonic()
        if now >= end:
            raise self._line.deadline(waiting_for, timeout_s)
        self._line.phase = f"link: {waiting_for}"
        until = min(end, now + 0.05)
        self.turn(until)
        return end + lateness_s(until)

    def turn(self, until: float) -> None:
        """Take what comes until something does, at most until ``until`` (monotonic); send again after a silence."""
        self._line.turn(until)
        if time.monotonic() - self._quiet_since > REPEAT_S:
            self._quiet_since = time.monotonic()
            self._went_back = -1
            self._next = self._first
            self._probing = True
            self._credits()
        self._pump()

    def _pump(self) -> None:
        window = 1 if self._probing else self._window
        while self._next - self._first < min(window, len(self._parts)):
            tensor, part = self._parts[self._next - self._first]
            self._line.port.write(encode_message(part, channel=tensor, sequence=self._next), WRITE_TIMEOUT_S)
            self._next += 1

    def _credits(self) -> None:
        for tensor, incoming in self._in.items():
            self._send_signal(Type.CREDIT, tensor, incoming.used)

    def _send_signal(self, kind: Type, channel: int, sequence: int) -> None:
        self._line.port.write(encode_frame(kind, b"", channel=channel, sequence=sequence), WRITE_TIMEOUT_S)

    def _take(self, header: Header, payload: bytes) -> None:
        self._quiet_since = time.monotonic()
        if header.type == Type.CREDIT:
            out = self._out.get(header.channel)
            if out is not None and out.credit < header.sequence <= out.queued:
                out.credit = header.sequence
        elif header.type == Type.PART_ACK:
            self._acknowledged(header.sequence)
        else:
            if header.sequence == self._expected:
                self._store(header.channel, payload)
                self._expected += 1
            self._send_signal(Type.PART_ACK, 0, self._expected)

    def _acknowledged(self, expected: int) -> None:
        self._probing = False
        if self._first < expected <= self._next:
            del self._parts[: expected - self._first]
            self._first = expected
        elif expected == self._first != self._next and self._went_back != expected:
            self._went_back = expected
            self.parts_again += self._next - expected
            self._next = expected

    def _store(self, tensor: int, payload: bytes) -> None:
        incoming = self._in.get(tensor)
        if incoming is None or len(payload) <= _PART_HEAD.size:
            raise FramingError("part", expected=f"one of tensors {sorted(self._in)}", got=f"tensor {tensor}")
        frame, offset = _PART_HEAD.unpack_from(payload)
        here = incoming.taken + len(incoming.frames)
        if (frame, offset) != (here, len(incoming.partial)):
            raise FramingError("part", expected=f"frame {here} at {len(incoming.partial)}", got=f"{frame} at {offset}")
        incoming.partial += payload[_PART_HEAD.size :]
        if len(incoming.partial) == incoming.size_bytes:
            incoming.frames.append(bytes(incoming.partial))
            incoming.partial.clear()
