"""A bundle on microcontroller boards: loaded, their links open, the host one end of some of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from firmware_interface.board_links import HostLink
from firmware_interface.board_messages import BoardStatistics
from firmware_interface.errors import WireError
from hil.errors import DeviceError
from hil.flash import FlashProgress, flash_boards
from hil.lab_types import Lab
from hil.mcu_gateway import Gateway, Giver, Taker
from hil.mcu_images import BoardImage, mcu_boards
from hil.mcu_routes import HOST_UART, BoardRoutes, Mode, board_routes
from hil.targets import connect_mcu
from hil.targets.serial_mcu import SerialMcu
from optimizer.split_manifest import Bundle, BundleTensor

__all__ = ["McuBench", "McuDeployment", "deploy_mcus", "quicken"]

Tell = Callable[[str], None]
PART_HEAD_BYTES = 8
EMULATED_HOST_BAUD = 921_600
FILL_TIMEOUT_S = 60.0  # a window of the largest tensors at the lowest rate
_TURN_S = 0.005


class McuBench:
    """Boards with sessions. `lay` routes, `start`, `stop`; the host is one end of some of the links."""

    def __init__(self, lab: Lab, boards: Mapping[str, SerialMcu], source: str, sink: str) -> None:
        self.lab, self.boards = lab, boards
        self._source, self._sink = source, sink
        self._any = next(iter(boards.values()))
        self.gateway: Gateway | None = None
        """To boards of the other kind."""
        self.links: dict[str, HostLink] = {}
        """The host's end of the line, by board that it exchanges tensors with."""
        self._routes: dict[str, BoardRoutes] = {}
        self._entering: frozenset[int] = frozenset()
        """Tensors that the host makes, not hands on."""

    @property
    def source(self) -> SerialMcu:
        """The board where frames enter."""
        return self.boards[self._source]

    @property
    def sink(self) -> SerialMcu:
        """The board where results leave."""
        return self.boards[self._sink]

    def lay(self, routes: Mapping[str, BoardRoutes], images: Mapping[str, bytes] | None = None) -> None:
        """Lay routes, with the models of ``images`` (hash by board) ready for them. Raises DeviceError."""
        self.links = {}
        self._routes = dict(routes)
        if self.gateway is not None:
            self.gateway.reset()
        for name, board in self.boards.items():
            with board.phase("load"):
                board.client.line.on_link = None
                board.client.unload()
                if images is not None and name in images:
                    board.client.load(images[name])
        for name, wanted in routes.items():
            with self.boards[name].phase("set up links"):
                self._open_links(name, wanted)

    def _open_links(self, name: str, wanted: BoardRoutes) -> None:
        board = self.boards[name]
        for uart in sorted(wanted.uarts):
            wire = next((w for w in self.lab.wires if (name, uart) in zip(w.boards, w.uarts, strict=True)), None)
            other = board
            if wire is not None:
                (neighbour,) = set(wire.boards) - {name}
                other = self.boards.get(neighbour, board)
            facts = other.facts
            baud = 0 if uart == HOST_UART or wire is None else wire.baud
            board.client.setup_link(
                uart, baud=baud, part_bytes=facts.max_payload - PART_HEAD_BYTES, window=facts.window
            )
        for route in wanted.routes:
            board.client.route(route)
        if wanted.from_host or wanted.to_host:
            facts = board.facts
            link = HostLink(board.client.line, part_bytes=facts.max_payload - PART_HEAD_BYTES, window=facts.window)
            for tensor, depth in wanted.from_host.items():
                link.sends(tensor, depth)
            for tensor, size in wanted.to_host.items():
                link.receives(tensor, size)
            self.links[name] = link

    def start(self, frames: int = 0) -> None:
        """Begin a run: the source last, so that everybody else is ready for its first frame."""
        for name in sorted(self._routes, key=lambda name: name == self._source):
            with self.boards[name].phase("start"):
                self.boards[name].client.start(frames)

    def stop(self) -> None:
        """End what runs; nothing is on the lines afterwards that counts."""
        for name in self._routes:
            with self.boards[name].phase("stop"):
                self.boards[name].client.stop()

    def turn(self) -> None:
        """Serve the host's ends of links for a moment, and hand on what goes through the host."""
        for name, link in self.links.items():
            with self.boards[name].phase("links"):
                link.turn(time.monotonic() + _TURN_S)
        self._forward()

    @property
    def hands_on(self) -> bool:
        """Whether something goes from board to board through the host, which must then `turn`."""
        return bool(self._handed_on())

    def _handed_on(self) -> dict[int, tuple[Giver, list[Taker]]]:
        """By tensor that goes through the host: where it comes from, where it goes."""
        found: dict[int, tuple[Giver, list[Taker]]] = {}
        numbers = {t for routes in self._routes.values() for t in routes.to_host}
        for tensor in numbers | (self.gateway.tensors if self.gateway is not None else set()):
            takers: list[Taker] = [
                self.links[name]
                for name, routes in self._routes.items()
                if tensor in routes.from_host and not (tensor in self._entering and name == self._source)
            ]
            giver: Giver | None = next(
                (self.links[name] for name, routes in self._routes.items() if tensor in routes.to_host), None
            )
            if self.gateway is not None:
                takers += self.gateway.takers(tensor)
                giver = giver or self.gateway.giver(tensor)
            if takers and giver is not None:
                found[tensor] = giver, takers
        return found

    def _forward(self) -> None:
        for tensor, (giver, takers) in self._handed_on().items():
            with self._any.phase("through the host"):
                while all(taker.has_room(tensor) for taker in takers):
                    data = giver.take(tensor)
                    if data is None:
                        break
                    for taker in takers:
                        taker.put(tensor, data)
                # The host adds no buffers: a frame is used up when it is so on the boards behind.
                giver.release(tensor, min(taker.credit(tensor) for taker in takers))

    def all_released(self, frames: int) -> bool:
        """Whether everybody who gives the host a tensor has credit for so many frames."""
        return all(min(t.credit(tensor) for t in takers) >= frames for tensor, (_, takers) in self._handed_on().items())

    def statistics(self, phase: str) -> dict[str, BoardStatistics]:
        """Counters of all boards. Raises DeviceError when one is lost or was reset."""
        return {name: board.statistics(phase) for name, board in self.boards.items()}


class McuDeployment(McuBench):
    """A bundle on flashed boards. `configure` and `start` for each run, `stop` behind it."""

    def __init__(
        self, bundle: Bundle, lab: Lab, boards: Mapping[str, SerialMcu], images: Mapping[str, BoardImage]
    ) -> None:
        super().__init__(lab, boards, bundle.source, bundle.sink)
        self.bundle, self.images = bundle, images
        self._entering = frozenset(bundle.inputs)
        self._sha256 = {name: board.client.slot().sha256 for name, board in boards.items() if name in images}

    def layout(self, tensor: BundleTensor) -> str:
        """How a tensor lies on the wire: by the board that makes it or one that takes it."""
        for image in self.images.values():
            for found in (*image.compiled.inputs, *image.compiled.outputs):
                if found.name == tensor.name:
                    return found.layout
        return "flat"

    def configure(self, mode: Mode) -> None:
        """Load the models anew and lay the routes of a mode. Raises DeviceError, BundleError."""
        compiled = {image.segment: image.compiled for image in self.images.values()}
        self.lay(board_routes(self.bundle, self.lab, compiled, mode), self._sha256)

    def fill(self, frames: Mapping[int, Sequence[bytes]]) -> None:
        """Give the source the frames that it repeats: as many as the tensor's depth, by tensor."""
        link = self.links.get(self._source)
        if link is None:
            return
        with self.source.phase("stimuli"):
            for tensor in (t for t in self.bundle.tensors if t.id in self.bundle.inputs):
                for number in range(tensor.depth):
                    data = frames[tensor.id]
                    link.send(tensor.id, data[number % len(data)], timeout_s=FILL_TIMEOUT_S)
            link.flush(timeout_s=FILL_TIMEOUT_S)


@contextmanager
def deploy_mcus(
    bundle: Bundle, lab: Lab, *, tell: Tell = lambda _: None, progress: FlashProgress = lambda *_: None
) -> Iterator[McuDeployment]:
    """Connect to the bundle's boards and flash them; unloaded and let go at the end. Raises as `hil.flash.flash`."""
    with ExitStack() as stack:
        boards: dict[str, SerialMcu] = {}
        for name in mcu_boards(bundle, lab):
            tell(f"connecting to {name}")
            boards[name] = stack.enter_context(connect_mcu(lab, name))
        images, _ = flash_boards(bundle, lab, boards, tell=tell, progress=progress)
        if lab.emulated:
            quicken(boards)
        deployment = McuDeployment(bundle, lab, boards, images)
        try:
            yield deployment
        finally:
            _let_go(boards)


def quicken(boards: Mapping[str, SerialMcu]) -> None:
    """Answers take less of an emulated board's time; its line has no rate that the next session could miss."""
    for board in boards.values():
        with board.phase("change of baud"):
            board.client.set_baud(EMULATED_HOST_BAUD)


def _let_go(boards: Mapping[str, SerialMcu]) -> None:
    """Stop and free the boards that can still be reached; an error that is on its way is the one to be told."""
    for board in boards.values():
        board.client.line.on_link = None
        try:
            board.client.unload()
        except (WireError, DeviceError):
            continue
