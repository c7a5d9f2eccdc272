"""What the bench can do with a board, whatever driver speaks to it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

__all__ = ["Beside", "BesideModel", "Identity", "LinkProbe", "ModelProfile", "ModelTimes", "Target"]


@dataclass(frozen=True)
class Identity:
    """What a board says of itself. ``facts`` is the whole answer (versions, cores, clock, state, ...)."""

    board: str
    hostname: str
    pid: int
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelProfile:
    """A whole model profiled on a board by ONNX Runtime."""

    board: str
    trace: bytes
    """ONNX Runtime's profile, the JSON file as it is, of ``runs`` runs after a warm-up."""
    optimised_model: bytes
    """The ONNX graph that really ran (after optimisation), without its weights (external data, not sent)."""
    times_ns: tuple[int, ...]
    """Wall time of each of ``runs`` runs without the profiler."""
    profiled_ns: tuple[int, ...]
    """Wall time of each run under the profiler."""
    runs: int
    level: str
    threads: int


@dataclass(frozen=True)
class ModelTimes:
    """A (sub-)model timed alone on a board: wall time and processor time of each run."""

    board: str
    times_ns: tuple[int, ...]
    cpu_ns: tuple[int, ...]
    level: str
    threads: int


@dataclass(frozen=True)
class Beside:
    """A model's runs on the sending board, alone and beside a burst."""

    alone_ns: tuple[int, ...]
    beside_ns: tuple[int, ...]
    bytes: int
    """Bytes that arrived meanwhile, in ``receive_ns``."""
    receive_ns: int

    @property
    def lost_s_per_byte(self) -> float:
        """Seconds of computing that each byte sent cost."""
        share = 1 - statistics.mean(self.alone_ns) / statistics.mean(self.beside_ns)
        return max(0.0, share) * self.receive_ns * 1e-9 / self.bytes


@dataclass(frozen=True)
class BesideModel:
    """A model to run while a link is probed, as `Target.time_model` takes it."""

    model: str
    runs: int
    level: str = "all"
    threads: int = 1
    companions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LinkProbe:
    """Figures of one directed link, measured between the two boards without the host in between.

    ``round_trip_ns[size]``: one message of ``size`` bytes there, an empty acknowledgement back, for each
    repeat. The burst is one way, timed at the receiver from the first message's header to the last byte.
    """

    source: str
    target: str
    round_trip_ns: Mapping[int, tuple[int, ...]]
    burst_bytes: int
    """Bytes that arrived while the receiver's clock ran: all messages after the first header."""
    burst_receive_ns: int
    burst_send_cpu_ns: int
    """Processor time of the sender for the burst."""
    burst_receive_cpu_ns: int
    beside: Beside | None = None
    """What sending took from computing, where that was asked."""


class Target(Protocol):
    """A board that can be profiled and can run segments. All calls have deadlines and raise DeviceError.

    A target is a context manager; leaving it frees everything on the board.
    """

    name: str

    def __enter__(self) -> Target: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def identify(self) -> Identity:
        """Ask the board who it is."""
        ...

    def put_file(self, path: Path) -> str:
        """Bring a file to the board unless it is already there; its SHA-256 is read back and checked.

        Returns the hash, by which all later calls name the file.
        """
        ...

    def fetch_file(self, sha256: str, size_bytes: int) -> bytes:
        """Read a file of the board back."""
        ...

    def profile_model(
        self,
        model: str,
        *,
        runs: int,
        level: str = "all",
        threads: int = 1,
        companions: Mapping[str, str] | None = None,
        dimensions: Mapping[str, int] | None = None,
        timeout_s: float = 300.0,
    ) -> ModelProfile:
        """Profile a model that was put before. ``model`` is its hash.

        ``companions`` maps relative file names of external data to hashes; ``dimensions`` binds symbolic
        dimensions (all others become 1). Inputs are random with a fixed seed.
        """
        ...

    def time_model(
        self,
        model: str,
        *,
        runs: int,
        warmup: int = 3,
        level: str = "all",
        threads: int = 1,
        companions: Mapping[str, str] | None = None,
        dimensions: Mapping[str, int] | None = None,
        timeout_s: float = 300.0,
    ) -> ModelTimes:
        """Time a (sub-)model alone, no profiler, ``warmup`` + ``runs`` runs."""
        ...

    def probe_link(
        self,
        link: str,
        target: str,
        address: tuple[str, int],
        *,
        sizes: Sequence[int] = (0, 4096, 65536, 802816),
        repeats: int = 20,
        burst_messages: int = 8,
        burst_size: int = 1 << 20,
        beside: BesideModel | None = None,
        timeout_s: float = 120.0,
    ) -> LinkProbe:
        """Measure a directed link from this board to ``target``, which listens at ``address``.

        ``beside``: a second burst, while this board runs a model.
        """
        ...

    def close(self) -> None:
        """Say goodbye and free everything on the board."""
        ...
