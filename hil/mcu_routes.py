"""From a bundle to the links and routes of microcontroller boards (PROTOCOL.md, section 11).

A tensor goes from board to board by a wire where the lab has one, and else by the host, which is UART 0 of every board.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from firmware_interface.board_messages import Route
from firmware_interface.compiler import CompiledSegment
from hil.deploy_document import routes_of
from hil.errors import BundleError
from hil.lab_types import Lab
from optimizer.split_manifest import MANIFEST, Bundle, BundleTensor

__all__ = [
    "HOST_UART",
    "MAX_ROUTES",
    "SIGNAL_BYTES",
    "BoardRoutes",
    "Mode",
    "board_routes",
    "flood_routes",
    "link_buffer_bytes",
    "ping_routes",
    "way_back",
]

Mode = Literal["run", "measure", "latency"]
"""run: inputs from the host, outputs to it. measure: the first inputs repeat by themselves, outputs are counted.
latency: as measure, but the source waits for a signal from the sink before the next frame."""

HOST_UART = 0
MADE_HERE, REPEATS = 0xFF, 0x80
RELAY, INPUT, OUTPUT, SIGNAL = 0, 1, 2, 3
MAX_ROUTES = 8  # of a board; firmware/src/link.c
SIGNAL_BYTES = 4
_DONE, _PING = 0xFFFF, 0xFFFE  # tensor numbers of signals
_BLOCK = 16


@dataclass
class BoardRoutes:
    """What one board is told, and what the host sends to it and takes from it."""

    routes: list[Route] = field(default_factory=list)
    uarts: set[int] = field(default_factory=set)
    """Links to open."""
    from_host: dict[int, int] = field(default_factory=dict)
    """Depth of tensors that the host sends."""
    to_host: dict[int, int] = field(default_factory=dict)
    """Size in bytes of tensors that the host takes."""

    def add(self, route: Route) -> None:
        """Enter a route, and the links that it needs."""
        self.routes.append(route)
        if route.from_port != MADE_HERE:
            self.uarts.add(route.from_port)
        self.uarts |= {port for port in range(8) if route.to_ports >> port & 1}
        if route.from_port == HOST_UART:
            self.from_host[route.tensor] = route.depth
        if route.to_ports & 1 << HOST_UART:
            self.to_host[route.tensor] = route.size


def board_routes(
    bundle: Bundle, lab: Lab, compiled: Mapping[str, CompiledSegment], mode: Mode
) -> dict[str, BoardRoutes]:
    """By microcontroller board of the bundle. ``compiled`` by segment name.

    Raises BundleError for what the firmware cannot do: two segments on one board, too many tensors.
    """
    boards = [name for name in bundle.boards if lab.targets[name].serial is not None]
    found = {name: BoardRoutes() for name in boards}
    for board in boards:
        for tensor in bundle.tensors:
            route = _route(bundle, lab, compiled, tensor, board, mode)
            if route is not None:
                found[board].add(route)
    if mode == "latency" and bundle.source != bundle.sink:
        for board, route in _signal(lab, way_back(bundle, lab), _DONE, ahead=1):
            found[board].add(route)
    for board, routes in found.items():
        _check(bundle, board, routes)
    return found


def ping_routes(lab: Lab, back: Sequence[str], size_bytes: int = SIGNAL_BYTES) -> dict[str, BoardRoutes]:
    """A signal of ``size_bytes`` to the first board of ``back``, answered by the one that ends a frame in "latency"."""
    found = {board: BoardRoutes() for board in back}
    there = _signal(lab, list(reversed(back)), _PING, ahead=0, size_bytes=size_bytes)
    for board, route in (*there, *_signal(lab, back, _DONE, ahead=1)):
        found[board].add(route)
    return found


def flood_routes(lab: Lab, source: str, target: str, size_bytes: int) -> dict[str, BoardRoutes]:
    """A tensor that the source sends again and again, and the target throws away. Its number is 0, its depth 2."""
    found = {source: BoardRoutes(), target: BoardRoutes()}
    found[source].add(Route(0, size_bytes, 2, HOST_UART, 1 << _uart(lab, source, target), RELAY | REPEATS, 0))
    found[target].add(Route(0, size_bytes, 2, _uart(lab, target, source), 0, RELAY, 0))
    return found


def link_buffer_bytes(routes: Sequence[Route]) -> int:
    """RAM that the routes take of the arena."""
    return sum(route.depth * -(-route.size // _BLOCK) * _BLOCK for route in routes)


def _uart(lab: Lab, board: str, other: str) -> int:
    wire = lab.wire(board, other)
    return HOST_UART if wire is None else wire.uart_of(board)


def _route(
    bundle: Bundle, lab: Lab, compiled: Mapping[str, CompiledSegment], tensor: BundleTensor, board: str, mode: Mode
) -> Route | None:
    hops = routes_of(tensor, bundle.boards)
    maker = next((s for s in bundle.segments if s.name == tensor.producer), None)
    user = next((s for s in bundle.segments if s.board == board and s.name in tensor.consumers), None)
    made_here = maker is not None and maker.board == board
    enters_here = maker is None and bundle.source == board
    arriving = [_uart(lab, board, hop.source) for hop in hops if hop.target == board]
    if not (made_here or enters_here or arriving):
        return None
    to_ports = 0
    for hop in hops:
        if hop.source == board:
            to_ports |= 1 << _uart(lab, board, hop.target)
    leaves_here = tensor.to_sink and bundle.sink == board
    if leaves_here and mode == "run":
        to_ports |= 1 << HOST_UART
    if made_here:
        if not to_ports:
            return None  # nobody waits for it but the count of frames
        assert maker is not None
        use, index, from_port = OUTPUT, _index(compiled[maker.name].outputs, tensor), MADE_HERE
    else:
        from_port = HOST_UART if enters_here else arriving[0]
        use, index = RELAY, 0
        if user is not None:
            use, index = INPUT, _index(compiled[user.name].inputs, tensor)
        elif leaves_here and mode != "run" and not any(s.board == board for s in bundle.segments):
            use = SIGNAL  # a sink that computes nothing counts what arrives
        if enters_here and mode != "run":
            use |= REPEATS
    return Route(tensor.id, tensor.size_bytes, tensor.depth, from_port, to_ports, use, index)


def _index(tensors: Sequence[object], tensor: BundleTensor) -> int:
    names = [str(getattr(t, "name", "")) for t in tensors]
    if tensor.name not in names:
        raise BundleError("a segment's image lacks a tensor", expected=tensor.name, got=", ".join(names))
    return names.index(tensor.name)


def way_back(bundle: Bundle, lab: Lab) -> list[str]:
    """Boards from the sink to the source by the fewest wires; through the host where wires do not lead there."""
    came_from: dict[str, str] = {bundle.sink: ""}
    queue = [bundle.sink]
    while queue and bundle.source not in came_from:
        at = queue.pop(0)
        for wire in lab.wires:
            ends = set(wire.boards)
            if at in ends:
                (other,) = ends - {at}
                if other not in came_from:
                    came_from[other] = at
                    queue.append(other)
    if bundle.source not in came_from:
        return [bundle.sink, bundle.source]
    way = [bundle.source]
    while way[-1] != bundle.sink:
        way.append(came_from[way[-1]])
    return way[::-1]


def _signal(
    lab: Lab, way: Sequence[str], number: int, *, ahead: int, size_bytes: int = SIGNAL_BYTES
) -> Iterator[tuple[str, Route]]:
    """Routes of a signal along a way: made at its start, passed on, awaited at its end but for ``ahead`` frames."""
    for position, board in enumerate(way):
        first, last = position == 0, position == len(way) - 1
        from_port = MADE_HERE if first else _uart(lab, board, way[position - 1])
        to_ports = 0 if last else 1 << _uart(lab, board, way[position + 1])
        use = SIGNAL if first or last else RELAY
        yield board, Route(number, size_bytes, 1, from_port, to_ports, use, ahead if last else 0)


def _check(bundle: Bundle, board: str, routes: BoardRoutes) -> None:
    where = f"{bundle.directory / MANIFEST}, board {board}"
    segments = [s.name for s in bundle.segments if s.board == board]
    if len(segments) > 1:
        raise BundleError(
            "a microcontroller board runs one segment",
            where=where,
            expected="one segment",
            got=", ".join(segments),
            hint="Solve without --non-contiguous.",
        )
    if len(routes.routes) > MAX_ROUTES:
        raise BundleError(
            "too many tensors meet on a board",
            where=where,
            expected=f"at most {MAX_ROUTES}",
            got=str(len(routes.routes)),
        )
