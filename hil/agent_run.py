"""One run of a deployment on this board: from START to FINISH.

Every processor has a thread that follows its cyclic list: in turn m it serves frame m - stage of each entry,
in order. Everything else happens in the threads that bring the news: a receiver that has filled a slot also
forwards it, a worker that has made a tensor also sends it (see `agent_links.Sender`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from firmware_interface.framing import HEADER
from firmware_interface.messages import Mode, Type
from firmware_interface.transport import Connection
from hil.agent_deployment import Deployment, Step, Tensor
from hil.agent_latency import LatencyRecorder
from hil.agent_links import LinkCounters, Sender
from hil.agent_model import Array, Runner
from hil.agent_progress import NO_LIMIT, Progress
from hil.agent_reading import LinkReader
from hil.agent_sink import Sink
from hil.agent_worker import Worker

__all__ = ["Run"]

JOIN_TIMEOUT_S = 5.0  # a thread can be inside one inference, which nothing interrupts


class Run:
    """The state of a run. Made by START; after FINISH its statistics stay readable."""

    def __init__(
        self,
        deployment: Deployment,
        mode: Mode,
        frames: int,
        runners: Mapping[str, Runner],
        slots: Mapping[int, Sequence[Array]],
        out_connections: Mapping[str, Connection],
        in_connections: Mapping[str, Connection],
        out_readers: Mapping[str, LinkReader],
        in_readers: Mapping[str, LinkReader],
    ) -> None:
        self.deployment, self.mode = deployment, mode
        self.progress = Progress(deployment.tensors)
        self.progress.limit = frames or NO_LIMIT
        self._views = {t: [a.reshape(-1).view(np.uint8).data for a in arrays] for t, arrays in slots.items()}
        self._out, self._in = out_connections, in_connections
        self.sent = {name: LinkCounters() for name in deployment.out_links}
        self.received = {name: LinkCounters() for name in deployment.in_links}
        self.started = 0
        """Frames of which an input has been taken, at the source."""
        self.sink = Sink(self) if any(t.to_sink for t in deployment.tensors.values()) else None
        self.latency = LatencyRecorder(self) if mode is Mode.LATENCY else None
        self._register_users()
        self._senders = [Sender(self, k, self._order(steps)) for k, steps in deployment.senders.items()]
        self.senders_of: dict[int, list[Sender]] = {t: [] for t in deployment.tensors}
        self._sender_of_hop: dict[tuple[int, str], Sender] = {}
        for sender in self._senders:
            for tensor, link in sender.sent:
                self.senders_of[tensor].append(sender)
                self._sender_of_hop[tensor, link] = sender
        self.inlet = self._sole_inlet(in_readers) if mode is Mode.LATENCY else None
        """The link that the only processor here reads when it waits for the one frame that is on its way."""
        self.news = list(self._links_to_park(out_readers, in_readers))
        """Links that the processors look at themselves when they wait."""
        self._workers = [Worker(self, key, self._order(steps), runners) for key, steps in deployment.processors.items()]
        self._threads: list[threading.Thread] = []
        self._start_ns = time.monotonic_ns()

    def _register_users(self) -> None:
        for tensor in self.deployment.tensors.values():
            users = (*tensor.consumers, *tensor.to_links, *(["sink"] if tensor.to_sink else []))
            self.progress.set_users(tensor.id, users)

    def _order(self, steps: Sequence[Step]) -> Sequence[Step]:
        """The list as the mode serves it: one frame alone goes by (stage, position) and has no stages."""
        if self.mode is not Mode.LATENCY:
            return steps
        return [replace(s, stage=0) for s in sorted(steps, key=lambda s: s.stage)]

    def _links_to_park(
        self, out_readers: Mapping[str, LinkReader], in_readers: Mapping[str, LinkReader]
    ) -> Iterator[LinkReader]:
        """Links that only processors of this board wait for."""
        if self.inlet is not None:
            yield self.inlet
        if self.mode is not Mode.MEASURE:
            return
        tensors = self.deployment.tensors.values()
        if not any(s.attended for s in self._senders):
            for link, reader in out_readers.items():
                if all(t.origin == "segment" for t in tensors if link in t.to_links):
                    yield reader
        if len(self.deployment.processors) == 1:
            for link, reader in in_readers.items():
                arriving = [t for t in tensors if t.from_link == link]
                size = sum(HEADER.size + t.size_bytes for t in arriving)
                if arriving and _for_segments_only(arriving) and reader.can_hold(size):
                    yield reader

    def _sole_inlet(self, readers: Mapping[str, LinkReader]) -> LinkReader | None:
        """The incoming link, where it is the only one and brings tensors to the only processor."""
        if len(readers) != 1 or len(self.deployment.processors) != 1:
            return None
        arriving = [t for t in self.deployment.tensors.values() if t.origin == "link"]
        return next(iter(readers.values())) if _for_segments_only(arriving) else None

    # What happens, and who is told

    def view(self, tensor: int, frame: int) -> memoryview:
        """The bytes of a tensor's slot for a frame."""
        views = self._views[tensor]
        return views[frame % len(views)]

    def views(self, tensor: int) -> Sequence[memoryview]:
        """The bytes of a tensor's slots; frame n has the one of number n modulo their count."""
        return self._views[tensor]

    def out_connection(self, link: str) -> Connection:
        """Connection of a link that leaves this board."""
        return self._out[link]

    def in_connection(self, link: str) -> Connection:
        """Connection of a link that arrives here."""
        return self._in[link]

    def may_take_input(self, tensor: int, frame: int) -> bool:
        """Whether a segment or hop may take a model input's frame now; True is a promise to. Under the lock."""
        progress = self.progress
        if not progress.gate_open or progress.ended[tensor] + self.deployment.tensors[tensor].depth <= frame:
            return False
        if self.mode is Mode.RUN and progress.available[tensor] <= frame:
            return False
        if self.mode is Mode.LATENCY and progress.completed < frame:
            return False
        if frame >= self.started:
            self.started = frame + 1
        return True

    def publish(self, tensor: Tensor, frame: int) -> None:
        """A tensor's frame is here now: made, or arrived. Sending comes first: it is short."""
        progress = self.progress
        progress.available[tensor.id] = frame + 1
        for sender in self.senders_of[tensor.id]:
            sender.kick()
        if progress.waiting:
            progress.wake()
        if tensor.to_sink and self.sink is not None and self.mode is not Mode.RUN:
            self.sink.arrived(tensor, frame)

    def use(self, tensor: Tensor, user: str, count: int) -> None:
        """A user of a tensor has used up ``count`` frames; when all have, the way back is told."""
        ended = self.progress.use(tensor.id, user, count)
        if ended is None:
            return
        if tensor.origin == "link":
            self._in[tensor.from_link].send_signal(Type.CREDIT, channel=tensor.id, sequence=ended)
        elif tensor.origin == "input":
            for sender in self.senders_of[tensor.id]:
                sender.kick()

    def sent_frames(self, tensor: int, link: str) -> int:
        """How many frames of a tensor have been handed to a link; one that is being handed over counts."""
        return self._sender_of_hop[tensor, link].sent[tensor, link] + 1

    def token_arrived(self, channel: int, sequence: int) -> None:
        """At the source: a completion token, or a ping that is back."""
        if self.latency is not None:
            self.latency.token_arrived(channel, sequence)

    def kick_senders(self) -> None:
        """A limit or gate has changed."""
        for sender in self._senders:
            sender.kick()

    def fail(self, reason: str) -> None:
        """The run is over; the reason is reported when the host asks."""
        self.progress.stop(reason)
        self._release_readers()
        for sender in self._senders:
            sender.release_thread()

    # Control

    def start(self) -> None:
        """Start the threads."""
        jobs = [(w.name, w.run) for w in self._workers] + [(s.name, s.thread) for s in self._senders]
        if self.sink is not None and self.mode is Mode.RUN:
            jobs.append(("sink", self.sink.deliver))
        if self.latency is not None and self.deployment.board == self.deployment.source:
            self.progress.gate_open = False
            jobs.append(("latency", self.latency.calibrate))
        for name, job in jobs:
            self._threads.append(threading.Thread(target=job, name=f"run {name}", daemon=True))
        for reader in self.news:
            reader.park(self)
        for thread in self._threads:
            thread.start()
        self.kick_senders()

    def stop_input(self) -> int:
        """Start no further frame; the number of frames that will be completed."""
        with self.progress.lock:
            frames = self.progress.limit = min(self.progress.limit, self.started)
        self._release_readers()
        self.progress.wake()
        self.kick_senders()
        return frames

    def limit_frames(self, frames: int) -> None:
        """Serve frames below ``frames`` and be done."""
        self._release_readers()
        self.progress.set_limit(frames)
        self.kick_senders()

    def _release_readers(self) -> None:
        """The last credits are waited for by nobody but the end."""
        for reader in self.news:
            reader.release()

    def drained(self) -> bool:
        """Whether all frames below the limit are served here and all credits have come back."""
        limit = self.progress.limit
        if not all(w.done for w in self._workers) or not all(s.done for s in self._senders):
            return False
        if self.sink is not None and self.sink.frames < limit:
            return False
        if self.latency is not None and not self.latency.done(limit):
            return False
        users = self.progress.users
        return all(self.progress.ended[t] >= limit for t in self.deployment.tensors if users[t])

    def close(self) -> None:
        """Stop and join all threads."""
        self.progress.stop()
        self._release_readers()
        for sender in self._senders:
            sender.release_thread()
        if self.latency is not None:
            self.latency.close()
        for thread in self._threads:
            thread.join(JOIN_TIMEOUT_S)

    def statistics(self) -> dict[str, Any]:
        """All counters since START."""
        waits = self.progress.waits()
        waits.update({s.name: s.state() for s in self._senders})
        return {
            "mode": self.mode.name.lower(),
            "failure": self.progress.failure,
            "time_ns": time.monotonic_ns(),
            "start_ns": self._start_ns,
            "started": self.started,
            "processors": {w.name: w.as_document() for w in self._workers},
            "sent": {k: v.as_document() for k, v in self.sent.items()},
            "received": {k: v.as_document() for k, v in self.received.items()},
            "sink": self.sink.as_document() if self.sink is not None else None,
            "latency": self.latency.as_document() if self.latency is not None else None,
            "waiting": waits,
        }


def _for_segments_only(tensors: Sequence[Tensor]) -> bool:
    """Whether nobody but segments of this board waits for these tensors."""
    return all(t.consumers and not t.to_links and not t.to_sink for t in tensors)
