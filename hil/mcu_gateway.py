"""Links between microcontroller boards and boards that run the agent: the host stands in for the former.

To an agent the host is the microcontroller board: it accepts the links that lead to one and opens those that come from
one, with tensors and credits as in PROTOCOL.md, section 6. On the other side is the board's serial line.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from firmware_interface.auth import accept, opening
from firmware_interface.errors import WireError
from firmware_interface.framing import Header
from firmware_interface.messages import Error, ErrorCode, Ok, Purpose, Type
from firmware_interface.transport import Connection, connect, remote_error
from hil.deploy_document import Route, routes_of
from hil.errors import DeviceLostError
from hil.lab_types import Lab, LabLink
from optimizer.split_manifest import Bundle

__all__ = ["Gateway", "Giver", "Taker"]

_LOOPBACK = "127.0.0.1"
TIMEOUT_S = 20.0


class Giver(Protocol):
    """Where the host gets a tensor from."""

    def take(self, tensor: int) -> bytes | None:
        """The next frame, if it is there."""
        ...

    def release(self, tensor: int, frames: int) -> None:
        """Frames below ``frames`` are used up."""
        ...


class Taker(Protocol):
    """Where the host brings a tensor."""

    def has_room(self, tensor: int) -> bool:
        """Whether there is credit for the next frame."""
        ...

    def put(self, tensor: int, data: bytes) -> None:
        """Send the next frame."""
        ...

    def credit(self, tensor: int) -> int:
        """Frames that the other side has used up."""
        ...


class _AgentLink:
    """A link with an agent at its other end; counts begin anew with every run."""

    def __init__(self, name: str, board: str, depths: Mapping[int, int]) -> None:
        self.name, self.board, self._depths = name, board, depths
        self.connection: Connection | None = None
        self.failure: WireError | None = None
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Frame 0 is next."""
        with self._lock:
            self._frames: dict[int, deque[bytes]] = {t: deque() for t in self._depths}
            self._sent = dict.fromkeys(self._depths, 0)
            self._credit = dict.fromkeys(self._depths, 0)
            self._released = dict.fromkeys(self._depths, 0)

    def read(self, connection: Connection) -> None:
        """Take what comes until the connection ends: the body of a thread."""
        try:
            while True:
                self._take(connection, connection.receive_header())
        except WireError as error:
            self.failure = error

    def _take(self, connection: Connection, header: Header) -> None:
        if header.type is Type.TENSOR:
            data = bytearray(header.length)
            connection.receive_into(memoryview(data))
            with self._lock:
                self._frames[header.channel].append(bytes(data))
        elif header.type is Type.CREDIT:
            with self._lock:
                self._credit[header.channel] = max(self._credit[header.channel], header.sequence)

    def _open(self) -> Connection:
        if self.connection is None or self.failure is not None:
            raise DeviceLostError(
                f"link {self.name}: {self.failure or 'not open'}", phase="through the host", board=self.board
            )
        return self.connection

    def take(self, tensor: int) -> bytes | None:
        """See `Giver`."""
        self._open()
        with self._lock:
            return self._frames[tensor].popleft() if self._frames[tensor] else None

    def release(self, tensor: int, frames: int) -> None:
        """See `Giver`."""
        if frames > self._released[tensor]:
            self._released[tensor] = frames
            self._open().send_signal(Type.CREDIT, channel=tensor, sequence=frames)

    def has_room(self, tensor: int) -> bool:
        """See `Taker`."""
        with self._lock:
            return self._sent[tensor] - self._credit[tensor] < self._depths[tensor]

    def put(self, tensor: int, data: bytes) -> None:
        """See `Taker`."""
        self._open().send_tensor(tensor, self._sent[tensor], memoryview(data))
        self._sent[tensor] += 1

    def credit(self, tensor: int) -> int:
        """See `Taker`."""
        with self._lock:
            return self._credit[tensor]


class Gateway:
    """All links between the two kinds of boards. A context manager; listens from the beginning."""

    def __init__(self, bundle: Bundle, lab: Lab) -> None:
        self._lab = lab
        small = {name for name in bundle.boards if lab.targets[name].serial is not None}
        self._from_agents: dict[str, tuple[Route, _AgentLink]] = {}
        self._to_agents: dict[str, tuple[Route, _AgentLink]] = {}
        self._givers: dict[int, _AgentLink] = {}
        self._takers: dict[int, list[_AgentLink]] = {}
        depths: dict[str, dict[int, int]] = {}
        for tensor in bundle.tensors:
            for route in routes_of(tensor, bundle.boards):
                if (route.source in small) == (route.target in small):
                    continue
                depths.setdefault(route.name, {})[tensor.id] = tensor.depth
                table = self._to_agents if route.source in small else self._from_agents
                agent = route.target if route.source in small else route.source
                if route.name not in table:
                    table[route.name] = route, _AgentLink(route.name, agent, depths[route.name])
                link = table[route.name][1]
                if route.source in small:
                    self._takers.setdefault(tensor.id, []).append(link)
                else:
                    self._givers[tensor.id] = link
        self._threads: list[threading.Thread] = []
        self._connections: list[Connection] = []
        self._closing = False
        self.reset()
        played = {route.target for route, _ in self._from_agents.values()}
        self._listeners = {board: socket.create_server((_LOOPBACK, 0)) for board in sorted(played)}
        self._accepting = [
            threading.Thread(target=self._accept, args=(b,), name=f"gateway {b}") for b in self._listeners
        ]
        for thread in self._accepting:
            thread.start()

    def __enter__(self) -> Gateway:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every link."""
        self._closing = True
        for listener in self._listeners.values():
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for thread in self._accepting:
            thread.join()
        for connection in self._connections:
            connection.shutdown()
        for thread in self._threads:
            thread.join()
        for connection in self._connections:
            connection.close()

    def lab(self) -> Lab:
        """The lab as agents see it: links to microcontroller boards lead here."""
        own = {
            name: LabLink(name, _LOOPBACK, int(self._listeners[route.target].getsockname()[1]))
            for route, _ in self._from_agents.values()
            for name in route.name.split("+")
        }
        return replace(self._lab, links={**self._lab.links, **own})

    def giver(self, tensor: int) -> Giver | None:
        """The agent's link that a tensor comes by."""
        return self._givers.get(tensor)

    def takers(self, tensor: int) -> Sequence[Taker]:
        """The agents' links that a tensor goes by."""
        return self._takers.get(tensor, [])

    @property
    def tensors(self) -> set[int]:
        """All that go from one kind of board to the other."""
        return set(self._givers) | set(self._takers)

    def reset(self) -> None:
        """Before a run: frame 0 is next on every link."""
        for _, link in (*self._from_agents.values(), *self._to_agents.values()):
            link.reset()

    def connect(self, deployment_id: str) -> None:
        """Open the links to the agents, once they are loaded. Raises DeviceError."""
        for route, link in self._to_agents.values():
            host, port = self._lab.link_address(route.name, route.target)
            try:
                connection = connect(host, port, TIMEOUT_S)
                self._connections.append(connection)
                opening(
                    connection,
                    self._lab.key,
                    purpose=Purpose.LINK,
                    sender=route.source,
                    receiver=route.target,
                    subject=f"{route.name} {deployment_id}",
                )
                _, answer = connection.receive(timeout_s=TIMEOUT_S, allowed=(Type.OK, Type.ERROR))
                if isinstance(answer, Error):
                    raise remote_error(answer)
                connection.make_blocking()
            except WireError as error:
                raise DeviceLostError(
                    f"link {route.name}: {error}", phase="connect the boards", board=route.target
                ) from error
            self._serve(link, connection)

    def _serve(self, link: _AgentLink, connection: Connection) -> None:
        link.connection = connection
        thread = threading.Thread(target=link.read, args=(connection,), name=f"link {link.name}")
        self._threads.append(thread)
        thread.start()

    def _accept(self, board: str) -> None:
        while not self._closing:
            try:
                sock, _ = self._listeners[board].accept()
            except OSError:
                return
            connection = Connection(sock)
            self._connections.append(connection)
            with contextlib.suppress(WireError):
                self._welcome(connection, board)

    def _welcome(self, connection: Connection, board: str) -> None:
        """Whoever opens a link of ours holds the key and names it; everybody else is sent away."""
        hello = accept(connection, self._lab.key, board)
        found = self._from_agents.get(hello.subject.rpartition(" ")[0])
        if hello.purpose != Purpose.LINK or found is None or found[0].target != board:
            connection.send(Error(ErrorCode.PEER, f"no link {hello.subject!r} here"))
            connection.close()
            return
        connection.send(Ok())
        connection.make_blocking()
        self._serve(found[1], connection)
