"""Who reads a link: a thread of its own, or the processor that waits for what comes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from firmware_interface.errors import WireError
from firmware_interface.framing import Header
from firmware_interface.transport import Connection
from hil.agent_progress import Waiter

if TYPE_CHECKING:
    from hil.agent_run import Run

__all__ = ["LinkReader"]

Handle = Callable[["Run", Header], None]
"""Handle a message whose header has been read. Raises WireError."""


class LinkReader:
    """Reads one direction of one link.

    A thread that is woken for every message costs: 0.08 ms of the computing on its core for a credit that nobody
    needs yet, and 8 microseconds of latency where it only passes a tensor on to the thread that waits for it. So
    where only processors of this board wait for a link's messages (`park`), the thread sleeps as long as no
    processor does. A processor about to wait looks itself (`look`) before it has the thread woken (`watch`), or
    reads in the thread's stead (`read`).
    """

    def __init__(self, what: str, connection: Connection, handle: Handle, *, signals_only: bool) -> None:
        """``what`` names the link in errors: "link left->right to right". Signals are messages without payload."""
        self.what, self._signals_only = what, signals_only
        self._connection, self._handle = connection, handle
        self._reading = threading.Lock()
        self._sleep = Waiter(what)
        self._run: Run | None = None
        """The run whose processors read themselves; None: the thread reads."""
        self._asleep = False

    def serve(self, current_run: Callable[[], Run]) -> None:
        """Thread: read until the connection ends. Raises WireError."""
        while True:
            run = self._run
            if run is not None and self._parks(run):
                self._sleep.sleep()
                continue
            with self._reading:
                header = self._connection.receive_header()
                self._handle(current_run(), header)

    def _parks(self, run: Run) -> bool:
        with run.progress.lock:
            self._asleep = self._run is run and not run.progress.waiting
        return self._asleep

    def park(self, run: Run) -> None:
        """From its next message on the thread reads only while a processor of the run waits."""
        self._run = run

    def release(self) -> None:
        """The thread reads everything again."""
        self._wake(self._run, None)

    def watch(self) -> None:
        """A processor is about to sleep: the thread is to read."""
        self._wake(self._run, self._run)

    def _wake(self, run: Run | None, next_run: Run | None) -> None:
        if run is None:
            return
        with run.progress.lock:
            self._run = next_run
            asleep, self._asleep = self._asleep, False
        if asleep:
            self._sleep.open()

    def look(self) -> None:
        """Handle the signals that have arrived, without waiting. A broken link ends the run."""
        run = self._run
        if run is None or not self._signals_only or not self._reading.acquire(blocking=False):
            return  # the thread is at it
        try:
            for header in self._connection.poll_headers():
                self._handle(run, header)
        except WireError as error:
            run.fail(f"{self.what}: {error}")
        finally:
            self._reading.release()

    def read(self, needed: Callable[[], bool]) -> bool:
        """Wait for the next message and handle it, unless ``needed()`` says no or the link is released.

        False: the caller has to wait otherwise. A broken link ends the run.
        """
        if self._run is None:
            return False
        with self._reading:
            run = self._run
            if run is None:
                return False
            if not needed():
                return True
            try:
                self._handle(run, self._connection.receive_header())
            except WireError as error:
                run.fail(f"{self.what}: {error}")
                return False
        return True
