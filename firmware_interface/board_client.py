"""The bench's side of a microcontroller board: who it is, its model slot, its runs (PROTOCOL.md, sections 9 to 11)."""

from __future__ import annotations

import hashlib
import secrets
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from firmware_interface import board_messages as b
from firmware_interface.board_line import TIMEOUT_S, BoardLine, lateness_s
from firmware_interface.catalogue import PROTOCOL_VERSION
from firmware_interface.errors import DeadlineError, RemoteError, WireError
from firmware_interface.messages import Error, Identify, Ok, Ping, Pong, Start, Status, Stop, Stopped, Unload
from firmware_interface.serial_port import open_port

__all__ = ["BoardClient", "Written"]

HASH_BYTES_PER_S = 50_000  # slower than any core hashes; for deadlines only
DATA_TRY_S = 0.6  # silence after which the window is sent again
RUN_TRY_S = 5.0  # a repeat takes the board's time, which is being measured
EMULATED_PATIENCE = 6.0  # an emulator may get a small part of a busy machine
BAUD_CONFIRM_S = 0.8  # the board goes back after 1 s


@dataclass(frozen=True)
class Written:
    """How an image came into the slot."""

    sha256: bytes
    started_at_bytes: int
    """Where the transfer went on; the image's size when the board had it already."""
    sent_bytes: int
    """Image bytes sent, those sent twice counted twice."""
    transfer_s: float
    """From the first byte of data to the last acknowledgement; erasing, hashing and reading back are apart."""


class BoardClient:
    """A session with a board. Every method raises WireError on failure; see `BoardLine.call`."""

    def __init__(self, line: BoardLine) -> None:
        self.line = line
        self.identity: b.BoardIdentity | None = None
        self.attached: b.Attached | None = None

    @classmethod
    def open(cls, url: str, board: str, *, lease: int = 0, baud: int = 115200, timeout_s: float = 5.0) -> BoardClient:
        """Open a line, identify the board there and begin a session. Closes the line again on failure."""
        client = cls(BoardLine(open_port(url, baud, timeout_s=timeout_s), board))
        try:
            client.attach(lease, timeout_s=timeout_s)
        except WireError:
            client.close()
            raise
        return client

    def attach(self, lease: int, *, timeout_s: float = 5.0) -> b.Attached:
        """Begin a session: everything that ran is stopped. RemoteError STALE_LEASE under a newer lease."""
        # A first delimiter ends whatever half frame an earlier host has left on the line.
        self.line.port.write(b"\0", timeout_s)
        self.identity = self.line.call(Identify(), b.BoardIdentity, "identify", timeout_s=timeout_s)
        if b.Capability.EMULATED in b.Capability(self.identity.capabilities):
            self.line.patience = EMULATED_PATIENCE
        session = secrets.randbelow(0xFFFF) + 1
        request = b.Attach(PROTOCOL_VERSION, PROTOCOL_VERSION, lease, session)
        self.attached = self.line.call(request, b.Attached, "attach", timeout_s=timeout_s)
        self.line.session = session
        return self.attached

    def facts(self) -> b.BoardIdentity:
        """Who the board is. Raises RuntimeError before `attach`."""
        if self.identity is None:
            raise RuntimeError(f"BoardClient of {self.line.board}: facts() before attach()")
        return self.identity

    # What it says of itself

    def ping(self, *, timeout_s: float = TIMEOUT_S) -> int:
        """The board's clock, ns."""
        token = secrets.randbits(64)
        return self.line.call(Ping(token), Pong, "ping", timeout_s=timeout_s).time_ns

    def memory(self) -> b.Memory:
        """Memory map and high-water marks."""
        return self.line.call(b.MemoryQuery(), b.Memory, "memory query")

    def fault(self) -> b.Fault:
        """The last fault."""
        return self.line.call(b.FaultQuery(), b.Fault, "fault query")

    def statistics(self) -> b.BoardStatistics:
        """Counters."""
        return self.line.call(Status(), b.BoardStatistics, "status")

    def reset(self, how: b.ResetKind = b.ResetKind.RESTART) -> None:
        """Restart the board; the session is over. Attach again afterwards."""
        self.line.call(b.Reset(how), Ok, "reset")
        self.line.session = 0

    def set_baud(self, baud: int) -> bool:
        """Try another rate; False when the line does not carry it and both sides are back at the old one."""
        old = self.statistics().baud
        self.line.call(b.SetBaud(baud), Ok, "change of baud")
        self.line.port.set_baud(baud)
        try:
            self.ping(timeout_s=BAUD_CONFIRM_S / self.line.patience)  # the board's own second is not longer
        except DeadlineError:
            self.line.port.set_baud(old)
            time.sleep(1.0)  # the board's own deadline; then it is back too
            self.ping()
            return False
        return True

    # The model slot

    def slot(self) -> b.SlotState:
        """What the slot holds."""
        return self.line.call(b.SlotQuery(), b.SlotState, "slot query")

    def write_image(
        self, image: bytes, *, stall_s: float = 10.0, progress: Callable[[int], None] = lambda _: None
    ) -> Written:
        """Bring an image into the slot unless it is there, read back and compared by the board; resumes by itself.

        ``progress`` is told how many bytes are there.
        Raises DeadlineError when nothing was acknowledged for ``stall_s``, RemoteError (HASH_MISMATCH, BAD_IMAGE,
        WRONG_BOARD, UNSUPPORTED, DOES_NOT_FIT, OUT_OF_RANGE, STORAGE), BoardResetError.
        """
        digest = hashlib.sha256(image).digest()
        memory = self.memory()
        if len(image) > memory.slot:
            raise RemoteError("OUT_OF_RANGE", f"image of {len(image)} bytes, slot of {memory.slot}")
        sectors = -(-len(image) // memory.sector) + 1
        begin_s = TIMEOUT_S + 2 * sectors * memory.erase_ms / 1000
        request = b.SlotBegin(len(image), digest)
        state = self.line.call(request, b.SlotState, "slot erase", timeout_s=begin_s)
        sent, transfer_s = 0, 0.0
        if state.state != b.SlotPhase.VALID:
            began = time.monotonic()
            sent = self._send_data(image, state.next, memory.write_unit, stall_s, progress)
            transfer_s = time.monotonic() - began
            self.line.call(b.SlotCommit(), b.SlotState, "slot commit", timeout_s=self._hashing_s(len(image)))
        stored = self.digest()
        if stored.sha256 != digest or stored.size != len(image):
            raise RemoteError("HASH_MISMATCH", f"read back {stored.sha256.hex()}, expected {digest.hex()}")
        return Written(digest, state.next, sent, transfer_s)

    def digest(self) -> b.SlotDigest:
        """Hash of the slot's bytes, read anew by the board."""
        size = self.slot().size
        return self.line.call(b.SlotHash(), b.SlotDigest, "slot read-back", timeout_s=self._hashing_s(size))

    @staticmethod
    def _hashing_s(size_bytes: int) -> float:
        return 6.0 + 2 * size_bytes / HASH_BYTES_PER_S

    def _send_data(self, image: bytes, acked: int, unit: int, stall_s: float, progress: Callable[[int], None]) -> int:
        """Go-back-N over SLOT_DATA; returns the bytes sent."""
        facts = self.facts()
        chunk = (facts.max_payload - 4) // unit * unit
        self.line.phase = "slot data"
        sent, total, went_back, silences = acked, 0, -1, 0
        offsets: dict[int, int] = {}
        stall_s *= self.line.patience
        end = time.monotonic() + stall_s
        while acked < len(image):
            progress(acked)
            window = 1 if silences else facts.window  # a board that is slow has no room for another window
            while sent < len(image) and sent - acked < window * chunk:
                data = image[sent : sent + chunk]
                offsets[self.line.post(b.SlotData(sent, data))] = sent
                sent += len(data)
                total += len(data)
            until = min(end, time.monotonic() + DATA_TRY_S * 2 ** min(silences, 3))
            answer = self._acknowledged(until)
            end += lateness_s(until)
            if answer is not None and acked < answer[1] <= len(image):
                acked, silences, end = answer[1], 0, time.monotonic() + stall_s
                sent = max(sent, acked)
            elif time.monotonic() >= end:
                raise self.line.deadline(f"acknowledgement of byte {acked}", stall_s)
            elif answer is None:
                silences += 1
                sent = acked
            elif offsets.get(answer[0], 0) > answer[1] == acked != went_back:
                went_back = sent = acked  # something behind a gap arrived: go back, once for each gap
        return total

    def _acknowledged(self, end: float) -> tuple[int, int] | None:
        """The number of the SLOT_DATA that was answered, and the next byte that the board waits for."""
        while (got := self.line.next_answer(end)) is not None:
            header, answer = got
            if isinstance(answer, b.SlotAck):
                return header.sequence, answer.next
            if isinstance(answer, Error):
                raise self.line.refusal(answer)
        return None

    # The model

    def load(self, sha256: bytes, *, paint: int = 0xA5) -> b.ModelFacts:
        """Make the stored image ready to run; the board compares its hash once more."""
        return self.line.call(
            b.ModelLoad(sha256, paint), b.ModelFacts, "model load", timeout_s=self._hashing_s(self.slot().size)
        )

    def unload(self) -> None:
        """Stop and forget model, links and routes; the slot stays."""
        self.line.call(Unload(), Ok, "unload")

    def write_input(self, index: int, data: bytes) -> None:
        """Fill a model input."""
        step = self.facts().max_payload - 6
        for offset in range(0, len(data), step):
            self.line.call(b.InputWrite(index, offset, data[offset : offset + step]), Ok, f"input {index}")

    def read_output(self, index: int, size_bytes: int) -> bytes:
        """The bytes of a model output."""
        step = self.facts().max_payload - 6
        parts = [
            self.line.call(
                b.OutputRead(index, offset, min(step, size_bytes - offset)), b.OutputBytes, f"output {index}"
            ).data
            for offset in range(0, size_bytes, step)
        ]
        return b"".join(parts)

    def run(self, runs: int = 1, *, timeout_s: float = 60.0) -> b.Ran:
        """Run the model on what its inputs hold."""
        return self.line.call(b.Run(runs), b.Ran, f"run of {runs}", timeout_s=timeout_s, try_s=RUN_TRY_S)

    def operator_ticks(self) -> list[int]:
        """Ticks of each operator, summed over all runs since `load`."""
        ticks: list[int] = []
        while True:
            answer = self.line.call(b.TimesQuery(len(ticks)), b.Times, "operator times")
            ticks += struct.unpack(f"<{len(answer.data) // 8}Q", answer.data)
            if len(ticks) >= answer.operators or not answer.data:
                return ticks

    # Links

    def setup_link(self, port: int, *, baud: int = 0, part_bytes: int, window: int) -> None:
        """Open a link; ``part_bytes`` and ``window`` are what the other side takes."""
        self.line.call(b.LinkSetup(port, baud, part_bytes, window), Ok, f"link on port {port}")

    def route(self, route: b.Route) -> None:
        """Tell where a tensor comes from and goes to."""
        self.line.call(route, Ok, f"route of tensor {route.tensor}")

    def start(self, frames: int = 0) -> None:
        """Run frame by frame as the links bring tensors; 0: until `stop`."""
        self.line.call(Start(1, frames), Ok, "start")

    def stop(self) -> int:
        """End a run; frames completed."""
        return self.line.call(Stop(), Stopped, "stop").frames

    def close(self) -> None:
        """Close the line; never raises."""
        self.line.close()

    def __enter__(self) -> BoardClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
