"""The wire side of a run: senders that follow the plan's cyclic lists, receivers that fill slots."""

from __future__ import annotations

import queue
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from firmware_interface.errors import FramingError, WireError
from firmware_interface.framing import FLAG_BACK, Header
from firmware_interface.messages import Type
from firmware_interface.transport import Unsent
from hil.agent_deployment import Step
from hil.agent_progress import NO_LIMIT

if TYPE_CHECKING:
    from hil.agent_run import Run

__all__ = ["COMPLETION", "PING", "Inlet", "LinkCounters", "Outlet", "Sender", "send_token"]

PATIENCE_S = 200e-6
"""One frame at a time, the thread that sends has little else to do: waking another one costs more than this wait."""
COMPLETION, PING = 0, 1  # channels of TOKEN: a frame is complete; the way is timed


class LinkCounters:
    """What crossed one link, seen from one end."""

    def __init__(self) -> None:
        self.messages = 0
        self.bytes = 0
        self.busy_ns = 0
        """Sending end: time in the socket. Receiving end: from the header to the last byte."""

    def as_document(self) -> dict[str, int]:
        """For STATISTICS."""
        return {"messages": self.messages, "bytes": self.bytes, "busy_ns": self.busy_ns}


class _Hop:
    """An entry of a sender's list, with what it needs at hand: after an inference every look-up is a cache miss."""

    __slots__ = ("connection", "counters", "depends_on_input", "key", "link", "size", "stage", "tensor", "views")

    def __init__(self, run: Run, step: Step) -> None:
        tensor = run.deployment.tensors[step.tensor]
        self.tensor, self.link, self.stage = step.tensor, step.link, step.stage
        self.key = (step.tensor, step.link)
        self.size = tensor.size_bytes
        self.depends_on_input = tensor.origin == "input"
        self.connection, self.counters = run.out_connection(step.link), run.sent[step.link]
        self.views = run.views(step.tensor)


class Sender:
    """Serves the hops of one resource that leave this board, in the order of its cyclic list.

    Whoever makes a hop ready starts it (`kick`), without waking anybody: on one core a thread that must be
    woken for every tensor costs as much as a small tensor itself. What the kernel does not take at once is
    finished by the sender's own thread, so that computing never waits for the wire.
    """

    def __init__(self, run: Run, name: str, steps: Sequence[Step]) -> None:
        self._run, self.name = run, name
        self._progress = run.progress
        self._steps = [_Hop(run, s) for s in steps]
        self._last_stage = max((s.stage for s in steps), default=0)
        self._turn, self._index = 0, -1
        self._frame = 0
        self._busy = False
        self._unsent: Unsent = ()
        self._started_ns = 0
        self._handed_over: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.done = not steps
        self.sent: dict[tuple[int, str], int] = {(s.tensor, s.link): 0 for s in steps}
        self.attended: dict[tuple[int, str], int] = {}
        """Hops that the processor attends: how many frames it is ready for."""
        self._advance()

    def state(self) -> str:
        """What is sent or waited for, for statistics."""
        if self.done:
            return "done"
        step = self._steps[self._index]
        name = self._run.deployment.tensors[step.tensor].name
        return f"{'sends' if self._busy else 'waits for'} {name} frame {self._frame}"

    def kick(self) -> None:
        """Something has changed: send what is ready, unless somebody is at it."""
        with self._progress.lock:
            if self._busy or not self._ready():
                return
            self._busy = True
        try:
            while self._send_next():
                pass
        except WireError as error:
            self._fail(error)

    def thread(self) -> None:
        """Finish what could not be handed over at once, until the run stops."""
        while True:
            self._handed_over.get()
            if self._progress.stopped:
                return
            try:
                unsent, self._unsent = self._unsent, ()
                self._steps[self._index].connection.finish_tensor(unsent)
                more = self._sent()
                while more:
                    more = self._send_next()
            except WireError as error:
                self._fail(error)

    def _fail(self, error: WireError) -> None:
        self._run.fail(f"link {self._steps[self._index].link}: {error}")

    def release_thread(self) -> None:
        """Let the thread see that the run has stopped."""
        self._handed_over.put(None)

    def _advance(self) -> None:
        """To the next entry of the list that has a frame; under the lock except at the start."""
        limit = self._run.progress.limit
        while not self.done:
            self._index += 1
            if self._index == len(self._steps):
                self._index = 0
                self._turn += 1
                self.done = self._turn - self._last_stage >= limit
            self._frame = self._turn - self._steps[self._index].stage
            if 0 <= self._frame < limit:
                return

    def _ready(self) -> bool:
        progress = self._progress
        if progress.stopped:
            return False
        if self._frame >= progress.limit:
            self._advance()
        if self.done:
            return False
        hop = self._steps[self._index]
        if self.attended and self.attended.get(hop.key, NO_LIMIT) <= self._frame:
            return False
        if hop.depends_on_input:
            return self._run.may_take_input(hop.tensor, self._frame)
        return progress.available[hop.tensor] > self._frame

    def _send_next(self) -> bool:
        """Send the current hop's tensor; whether the kernel took all of it and the next is ready."""
        hop, frame, latency = self._steps[self._index], self._frame, self._run.latency
        if hop.depends_on_input and latency is not None:
            latency.frame_started(frame)
        self._started_ns = time.monotonic_ns()
        patience_s = PATIENCE_S if latency is not None else 0.0
        view = hop.views[frame % len(hop.views)]
        self._unsent = hop.connection.start_tensor(hop.tensor, frame, view, patience_s)
        if self._unsent:
            self._handed_over.put(None)
            return False
        return self._sent()

    def _sent(self) -> bool:
        """The current hop is over; whether the next is ready."""
        hop, progress = self._steps[self._index], self._progress
        counters = hop.counters
        counters.messages += 1
        counters.bytes += hop.size
        counters.busy_ns += time.monotonic_ns() - self._started_ns
        with progress.lock:
            self.sent[hop.key] = self._frame + 1
            self._advance()
            busy = self._busy = self._ready()
        if self.attended:
            progress.wake()
        return busy


class Inlet:
    """What comes by a link that arrives here: tensors, and tokens on their way to the sink."""

    def __init__(self, link: str) -> None:
        self._link = link
        self._begun_ns = 0

    def begin(self, run: Run, header: Header) -> memoryview | None:
        """See `agent_reading.Messages`."""
        if header.type is not Type.TENSOR:
            if header.type is not Type.TOKEN or header.flags & FLAG_BACK:
                raise FramingError("type", expected="TENSOR or TOKEN", got=str(header))
            send_token(run, header.channel, header.sequence)
            return None
        tensor = run.deployment.tensors.get(header.channel)
        if tensor is None or tensor.from_link != self._link or header.length != tensor.size_bytes:
            raise FramingError("tensor", expected=f"one of link {self._link} with its size", got=str(header))
        progress, frame = run.progress, header.sequence
        if frame != progress.available[tensor.id] or frame >= progress.ended[tensor.id] + tensor.depth:
            expected = f"frame {progress.available[tensor.id]}, at most {tensor.depth} alive"
            raise FramingError("sequence", expected=expected, got=str(header))
        self._begun_ns = time.monotonic_ns()
        return run.view(tensor.id, frame)

    def end(self, run: Run, header: Header) -> None:
        """See `agent_reading.Messages`."""
        counters = run.received[self._link]
        counters.messages += 1
        counters.bytes += header.length
        counters.busy_ns += time.monotonic_ns() - self._begun_ns
        run.publish(run.deployment.tensors[header.channel], header.sequence)


class Outlet:
    """What comes back on a link that leaves this board: credits, and tokens on their way to the source."""

    def __init__(self, link: str) -> None:
        self._link = link

    def begin(self, run: Run, header: Header) -> None:
        """See `agent_reading.Messages`."""
        link = self._link
        if header.type is Type.CREDIT:
            tensor = run.deployment.tensors.get(header.channel)
            if tensor is None or link not in tensor.to_links:
                raise FramingError("tensor", expected=f"one of link {link}", got=str(header))
            if not run.progress.users[tensor.id][link] <= header.sequence <= run.sent_frames(tensor.id, link):
                raise FramingError("sequence", expected="frames that were sent", got=str(header))
            run.use(tensor, link, header.sequence)
        elif header.type is Type.TOKEN and header.flags & FLAG_BACK:
            send_token(run, header.channel, header.sequence, back=True)
        else:
            raise FramingError("type", expected="CREDIT or returning TOKEN", got=str(header))

    def end(self, run: Run, header: Header) -> None:
        """See `agent_reading.Messages`: these have no payload."""


def send_token(run: Run, channel: int, sequence: int, *, back: bool = False) -> None:
    """Pass a token on: outwards until the sink, which turns it round, then back until the source."""
    deployment = run.deployment
    if not back and deployment.board != deployment.sink:
        connection = run.out_connection(deployment.token_out)
        connection.send_signal(Type.TOKEN, channel=channel, sequence=sequence)
    elif deployment.board != deployment.source:
        connection = run.in_connection(deployment.token_in)
        connection.send_signal(Type.TOKEN, channel=channel, sequence=sequence, flags=FLAG_BACK)
    else:
        run.token_arrived(channel, sequence)
