"""Who reads a link: a thread of its own, or the processor that waits for what comes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from firmware_interface.errors import WireError
from firmware_interface.framing import Header
from firmware_interface.transport import Connection
from hil.agent_progress import Waiter

if TYPE_CHECKING:
    from hil.agent_run import Run

__all__ = ["LinkReader", "Messages"]


class Messages(Protocol):
    """What is done with the messages of a link."""

    def begin(self, run: Run, header: Header) -> memoryview | None:
        """A header has come: where its payload goes; None: there is none, all is done. Raises WireError."""

    def end(self, run: Run, header: Header) -> None:
        """The payload is there. Raises WireError."""


class LinkReader:
    """Reads one direction of one link.

    A thread that is woken for every message costs: 0.1 ms of the computing on its core for a tensor or credit that
    nobody needs yet. So where only processors of this board wait for a link's messages (`park`), the thread sleeps,
    messages stay with the kernel, and a processor that lacks something looks for them itself (`look`); when it
    sleeps, it sleeps in the link's socket too. One frame at a time, it reads in the thread's stead (`read`).
    """

    def __init__(self, what: str, connection: Connection, messages: Messages) -> None:
        """``what`` names the link in errors: "link left->right to right"."""
        self.what = what
        self._connection, self._messages = connection, messages
        self._reading = threading.Lock()
        self._sleep = Waiter(what)
        self._run: Run | None = None
        """The run whose processors read themselves; None: the thread reads."""
        self._begun: tuple[Header, memoryview] | None = None
        """A message that is coming, and what is missing of its payload."""
        self.parked = False
        """The thread sleeps: what comes is left to those who `look`, and may sleep in the socket."""
        self.file = connection.fileno()
        """The socket; still this number when the connection has been closed under a sleeper."""

    def serve(self, current_run: Callable[[], Run]) -> None:
        """Thread: read until the connection ends. Raises WireError."""
        while True:
            run = self._run
            if run is not None:
                self.parked = True
                run.progress.rouse()  # who sleeps already does not sleep in this link's socket
                self._sleep.sleep()
                self.parked = False
                continue
            with self._reading:
                self._receive(current_run)

    def park(self, run: Run) -> None:
        """From its next message on the thread leaves them to the processors of the run."""
        self._run = run

    def release(self) -> None:
        """The thread reads everything again."""
        if self._run is None:
            return
        self._run, self.parked = None, False
        self._sleep.open()

    def can_hold(self, size: int) -> bool:
        """Whether so many bytes find room in the kernel while nobody reads."""
        return self._connection.wake_for(2 * size) and self._connection.wake_for(1)

    def look(self) -> None:
        """Handle what has arrived, without waiting for more. A broken link ends the run."""
        run = self._run
        if run is None or not self.parked or not self._reading.acquire(blocking=False):
            return  # the thread is at it
        try:
            if self._begun is None or self._continue(run):
                self._read_arrived(run)
        except WireError as error:
            run.fail(f"{self.what}: {error}")
        finally:
            self._reading.release()

    def _read_arrived(self, run: Run) -> None:
        """Take whole messages, and what there is of the last. Raises WireError."""
        messages, connection = self._messages, self._connection
        for header in connection.poll_headers():
            payload = messages.begin(run, header)
            if payload is None:
                continue
            count = connection.receive_some(payload)
            if count < len(payload):
                self._keep(header, payload[count:])
                return
            messages.end(run, header)

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
                self._receive(lambda: run)
            except WireError as error:
                run.fail(f"{self.what}: {error}")
                return False
        return True

    def _keep(self, header: Header, missing: memoryview) -> None:
        """Wake a sleeper only when all of the tensor is there: not for every packet."""
        self._begun = header, missing
        self._connection.wake_for(len(missing))

    def _continue(self, run: Run) -> bool:
        """Take what has come of the message that has begun; whether it is over. Raises WireError."""
        if self._begun is None:
            return True
        header, missing = self._begun
        count = self._connection.receive_some(missing)
        if count < len(missing):
            self._keep(header, missing[count:])
            return False
        self._finish(run, header)
        return True

    def _finish(self, run: Run, header: Header) -> None:
        self._begun = None
        self._connection.wake_for(1)
        self._messages.end(run, header)

    def _receive(self, current_run: Callable[[], Run]) -> None:
        """Wait for a message, or for the rest of one, and handle it. Raises WireError."""
        if self._begun is not None:
            header, missing = self._begun
            self._connection.receive_into(missing)
            self._finish(current_run(), header)
            return
        header = self._connection.receive_header()
        payload = self._messages.begin(current_run(), header)
        if payload is not None:
            self._connection.receive_into(payload)
            self._messages.end(current_run(), header)
