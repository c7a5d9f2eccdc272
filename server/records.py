"""What the store holds, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["FINISHED", "Job", "JobState", "Loss", "Model", "NewJob"]

JobState = Literal["queued", "running", "done", "failed", "infeasible", "cancelled", "interrupted"]

FINISHED: frozenset[JobState] = frozenset({"done", "failed", "infeasible", "cancelled", "interrupted"})
"""States that a job does not leave."""


@dataclass(frozen=True)
class Model:
    """An uploaded model. ``id`` is the SHA-256 of the file. Times are UTC, ISO 8601."""

    id: str
    name: str
    """File name without directories; the file stands in a folder named by the id."""
    size_bytes: int
    operators: int
    macs: int
    parameters: int
    warnings: tuple[str, ...]
    created_at: str


@dataclass(frozen=True)
class NewJob:
    """A job to be queued. ``lab`` is the lab it needs for itself, None for none."""

    kind: str
    request: Mapping[str, Any]
    lab: str | None = None


@dataclass(frozen=True)
class Loss:
    """One time that a job was running and its worker ended."""

    at: str
    reason: str
    counted: bool
    """False where the server was stopped on purpose: such a job always runs again."""


@dataclass(frozen=True)
class Job:
    """A job as stored. ``number`` grows with every new job."""

    number: int
    id: str
    kind: str
    state: JobState
    request: Mapping[str, Any]
    lab: str | None
    worker: str | None
    attempts: int
    cancel_requested: bool
    created_at: str
    started_at: str | None
    """Of the latest attempt."""
    finished_at: str | None
    progress: Mapping[str, Any] | None
    error: Mapping[str, Any] | None
    """A problem object, where the state is not "done"."""
    result: Mapping[str, Any] | None
    losses: tuple[Loss, ...]

    @property
    def is_finished(self) -> bool:
        return self.state in FINISHED
