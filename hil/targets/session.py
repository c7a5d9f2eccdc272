"""What every driver is: a session with one board, over one client of the wire."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from firmware_interface.errors import ConnectionLostError, WireError
from hil.errors import DeviceError

__all__ = ["Session"]


class _Client(Protocol):
    def close(self) -> None:
        """Never raises."""


C = TypeVar("C", bound=_Client)


class Session(ABC, Generic[C]):
    """A context manager that closes its client; a driver connects on construction and says what its errors mean."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._client: C | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Say goodbye. Never raises."""
        if self._client is not None:
            self._client.close()

    @property
    def client(self) -> C:
        """The wire itself: for calls inside `phase`. Raises ConnectionLostError before it is connected."""
        if self._client is None:
            raise ConnectionLostError("not connected")
        return self._client

    @contextmanager
    def phase(self, phase: str) -> Iterator[None]:
        """Turn the wire's errors into the bench's: with phase, board and what came last."""
        try:
            yield
        except WireError as error:
            raise self._device_error(error, phase) from error

    @abstractmethod
    def _device_error(self, error: WireError, phase: str) -> DeviceError:
        """The bench's error for one of the wire."""
