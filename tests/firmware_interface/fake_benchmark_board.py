"""A scripted stand-in for a board with the reference's benchmark firmware, as the port that a client reads.

It answers as docs/eembc.md says the reference does, its three memory errors included: where that one would write
beyond its buffers, this one raises MemoryCorruptionError. Its clock is its own, so that windows of 10 s take none;
in energy mode, where it tells no time, an ``infer`` takes as long as it should. The host's clock is scripted too
(`HOST_CLOCK`, to be put in place of the module `time` that the client looks at): it does not show how busy the
machine is, and silence ends at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

__all__ = ["HOST_CLOCK", "FakeBenchmarkBoard", "MemoryCorruptionError"]

READY = "m-ready"
MOST = 27_648


class MemoryCorruptionError(Exception):
    """The reference firmware would have spoilt its memory."""


class _HostClock:
    """A look takes a microsecond, and sleeping no time at all."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        self.now_s += 1e-6
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


HOST_CLOCK = _HostClock()


class FakeBenchmarkBoard:
    """A `Port`. ``change`` may rewrite the lines of an answer, or return None for silence."""

    def __init__(
        self,
        *,
        inference_us: float | Callable[[int], float] = 20_000.0,
        model: str = "ic01",
        energy: bool = False,
        boots: bool = True,
        start_us: int = 0,
        piece: int = 4096,
        delay_s: float = 0.0,
        change: Callable[[str, list[str]], list[str] | None] = lambda command, lines: lines,
    ) -> None:
        self.inference_us, self.model, self.energy, self.change = inference_us, model, energy, change
        self.piece, self.delay_s = piece, delay_s
        self.now_us = start_us
        self.commands: list[str] = []
        self.deaf = 0
        """Commands that are dropped, as by a board that still starts."""
        self.windows = 0
        self._out: deque[bytes] = deque()
        self._ready_at = 0.0  # by the host's clock; nothing of an energy window's end is read before
        self._in = ""
        self._input = b""
        self._size = 0
        if boots:
            self._say([f"m-timestamp-mode-{'energy' if energy else 'performance'}", *self._lap(), "m-init-done", READY])

    def read(self, timeout_s: float) -> bytes:
        if self._out and b"m-infer-done" in self._out[0] and HOST_CLOCK.monotonic() < self._ready_at:
            HOST_CLOCK.sleep(min(timeout_s, self._ready_at - HOST_CLOCK.monotonic()))
            return b""
        if not self._out:
            HOST_CLOCK.sleep(min(timeout_s, 0.001))
            return b""
        HOST_CLOCK.sleep(min(timeout_s, self.delay_s))
        return self._out.popleft()

    def write(self, data: bytes, timeout_s: float) -> None:
        self._in += data.decode("ascii")
        while "%" in self._in:
            command, self._in = self._in.split("%", 1)
            if len(command) > 80:
                raise MemoryCorruptionError(f"a command of {len(command)} characters")
            self.commands.append(command)
            if self.deaf > 0:
                self.deaf -= 1
                continue
            lines = self.change(command, [*self._answer(command), READY])
            self._say(lines or [])

    def set_baud(self, baud: int) -> None:
        pass

    def close(self) -> None:
        pass

    def _say(self, lines: list[str]) -> None:
        data = "".join(line + "\r\n" for line in lines).encode("latin-1")
        before, done, after = data.partition(b"m-infer-done")
        for part in before, done + after:
            self._out += [part[at : at + self.piece] for at in range(0, len(part), self.piece)]

    def _lap(self) -> list[str]:
        return [] if self.energy else [f"m-lap-us-{self.now_us % 2**32}"]

    def _answer(self, command: str) -> list[str]:
        words = command.split()
        if not words:
            raise MemoryCorruptionError("an empty command")
        answers = {"name": self._name, "timestamp": self._lap, "profile": self._profile, "results": self._results}
        if words[0] == "db":
            return self._db(words[1:])
        if words[0] == "infer":
            return self._infer(int(words[1]), int(words[2]) if len(words) > 2 else 10)
        return answers[words[0]]() if words[0] in answers else [f"e-[Unknown command: {words[0]}]"]

    def _name(self) -> list[str]:
        return ["m-name-dut-[unspecified]"]

    def _profile(self) -> list[str]:
        return ["m-profile-[ULPMark for tinyML Firmware V0.0.1]", f"m-model-[{self.model}]"]

    def _results(self) -> list[str]:
        first = self._input[0] / 255 if self._input else 0.0
        return [f"m-results-[{first:.3f},0.000,{1 - first:.3f}]"]

    def _db(self, words: list[str]) -> list[str]:
        if words[0] == "load":
            self._size, self._input = int(words[1]), b""
            if self._size > MOST:
                raise MemoryCorruptionError(f"a load of {self._size} bytes")
            return [f"m-[Expecting {self._size} bytes]"]
        if words[0] == "print":
            pieces = [self._input[at : at + 8] for at in range(0, len(self._input), 8)]
            # The reference ends a buffer that is not a multiple of eight with an empty line.
            return ["m-buffer-" + piece.hex("-") for piece in pieces] + ([""] if len(self._input) % 8 else [])
        self._input += bytes.fromhex(words[0])
        if len(self._input) > self._size:
            raise MemoryCorruptionError("bytes beyond the buffer")
        return ["m-load-done"] if len(self._input) == self._size else []

    def _infer(self, count: int, warmups: int) -> list[str]:
        each_us = self.inference_us(self.windows) if callable(self.inference_us) else self.inference_us
        self.windows += 1
        self.now_us += int(warmups * each_us)
        before = self._lap()
        if self.energy:
            self._ready_at = HOST_CLOCK.monotonic() + count * each_us / 1e6
        self.now_us += int(count * each_us)
        return [
            f"m-warmup-start-{warmups}", "m-warmup-done", f"m-infer-start-{count}", *before, *self._lap(),
            "m-infer-done", *self._results(),
        ]  # fmt: skip
