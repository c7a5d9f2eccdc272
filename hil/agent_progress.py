"""What has happened on this board: which frames are here, which are used up, and who waits for what.

The counters follow PROTOCOL.md, section 6: ``available[t]`` frames of tensor t are (or were) on this board;
``ended[t]`` of them are used up by everybody downstream, so that their slots may be filled again.
"""

from __future__ import annotations

import os
import select
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol

__all__ = ["NO_LIMIT", "News", "Progress", "Waiter"]

NO_LIMIT = 1 << 62


class News(Protocol):
    """Where something may have arrived that nobody has read."""

    parked: bool
    """Nobody else reads it: who waits for it may sleep in its ``file``."""
    file: int
    """What `select.poll` knows it by."""

    def look(self) -> None:
        """Read what is there."""


class Waiter:
    """One thread that waits now and then. ``waiting_for`` is said in statistics and error messages.

    The thread sleeps in an eventfd (a pipe where the system has none) instead of a lock: writing to it gives up the
    interpreter lock, so that on one core the woken thread runs at once. With a lock it would wake, find the
    interpreter lock taken, sleep again and be woken a second time: 10 microseconds a tensor. And it can sleep in
    sockets at the same time.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting_for = ""
        self.ready: Callable[[], bool] | None = None
        self.open: Callable[[], object]
        """Let the thread go on."""
        self.sleep: Callable[[], object]
        """Until ``open`` is called, or has been called since."""
        if hasattr(os, "eventfd"):
            self._gate = os.eventfd(0, os.EFD_CLOEXEC)
            weakref.finalize(self, os.close, self._gate)
            self.open, self.sleep = partial(os.eventfd_write, self._gate, 1), partial(os.eventfd_read, self._gate)
        else:
            self._gate, out = os.pipe()
            weakref.finalize(self, os.close, self._gate)
            weakref.finalize(self, os.close, out)
            self.open, self.sleep = partial(os.write, out, b"1"), partial(os.read, self._gate, 4096)

    def sleep_for_news(self, files: Iterable[int]) -> None:
        """Until ``open`` is called or something has come to one of these."""
        poll = select.poll()
        poll.register(self._gate, select.POLLIN)
        for file in files:
            poll.register(file, select.POLLIN)
        if any(gate == self._gate for gate, _ in poll.poll()):
            self.sleep()


class Progress:
    """Counters behind one lock. Waiting threads are woken only when what they wait for is true."""

    def __init__(self, tensors: Iterable[int]) -> None:
        self.lock = threading.Lock()
        self.available = dict.fromkeys(tensors, 0)
        self.ended = dict.fromkeys(self.available, 0)
        self.users: dict[int, dict[str, int]] = {t: {} for t in self.available}
        """By tensor: how many frames each local consumer, link and sink has used up."""
        self.limit = NO_LIMIT
        """Frames below this are served."""
        self.completed = 0
        """Frames whose completion this board (as the source, one frame at a time) knows of."""
        self.gate_open = True
        """False: the source starts no frame yet."""
        self.stopped = False
        self.failure = ""
        self.waiting: list[Waiter] = []
        """Who waits; under the lock."""

    def set_users(self, tensor: int, users: Iterable[str]) -> None:
        """Those whose use of a tensor must end before a slot is free. Without any it is free at once."""
        self.users[tensor] = dict.fromkeys(users, 0)
        if not self.users[tensor]:
            self.ended[tensor] = NO_LIMIT

    def wait(
        self, waiter: Waiter, ready: Callable[[], bool], waiting_for: Callable[[], str], news: Sequence[News] = ()
    ) -> None:
        """Block until ``ready()``, which is called under the lock, is true or everything stops.

        ``news``: where to look for what has arrived but has not been read, before sleeping and when more comes.
        """
        while True:
            for source in news:
                source.look()
            with self.lock:
                # First waiting, then the question: who changes something and sees nobody waiting has changed it
                # before the question.
                self.waiting.append(waiter)
                if self.stopped or ready():
                    self._forget(waiter)
                    return
                waiter.ready, waiter.waiting_for = ready, waiting_for()
            parked = [source.file for source in news if source.parked]
            if parked:
                waiter.sleep_for_news(parked)
            else:
                waiter.sleep()
            with self.lock:
                if waiter in self.waiting:
                    self._forget(waiter)

    def _forget(self, waiter: Waiter) -> None:
        self.waiting.remove(waiter)
        waiter.ready, waiter.waiting_for = None, ""

    def _released(self) -> Sequence[Waiter]:
        """Those whose condition has become true; they are no longer waiting. With the lock held.

        They are opened after the lock is free again: they would run into it.
        """
        released = [w for w in self.waiting if self.stopped or (w.ready is not None and w.ready())]
        for waiter in released:
            self._forget(waiter)
        return released

    def wake(self) -> None:
        """Let those go on whose condition has become true. After any change that no method here makes."""
        if not self.waiting:
            return
        with self.lock:
            released = self._released()
        for waiter in released:
            waiter.open()

    def rouse(self) -> None:
        """Let all waiters ask again and see where they are to sleep."""
        for waiter in tuple(self.waiting):
            waiter.open()

    def use(self, tensor: int, user: str, count: int) -> int | None:
        """A user has used up ``count`` frames; the new number of frames used up by all, None if unchanged."""
        with self.lock:
            users = self.users[tensor]
            users[user] = count
            ended = min(users.values()) if len(users) > 1 else count
            if ended <= self.ended[tensor]:
                return None
            self.ended[tensor] = ended
        if self.waiting:
            self.wake()
        return ended

    def set_limit(self, frames: int) -> None:
        """Serve only frames below ``frames``."""
        self.limit = frames
        self.wake()

    def complete(self, count: int) -> None:
        """The source learns that ``count`` frames are complete."""
        self.completed = count
        self.wake()

    def open_gate(self) -> None:
        """The source may start frames."""
        self.gate_open = True
        self.wake()

    def stop(self, failure: str = "") -> None:
        """End all waiting; the first reason is kept."""
        with self.lock:
            if failure and not self.failure and not self.stopped:
                self.failure = failure
            self.stopped = True
        self.wake()

    def waits(self) -> dict[str, str]:
        """Who waits for what, by name."""
        with self.lock:
            return {w.name: w.waiting_for for w in self.waiting}
