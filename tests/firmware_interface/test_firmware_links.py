"""Tensors from board to board: chains of firmware processes joined by lines, with and without spoilt bytes."""

from __future__ import annotations

import contextlib
import itertools
import random
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from firmware_interface.board_client import BoardClient
from firmware_interface.board_links import HostLink
from firmware_interface.board_messages import Route
from firmware_interface.errors import DeadlineError, RemoteError
from tests.firmware_interface.faulty_port import FAULTS, FaultyPort
from tests.firmware_interface.posix_board import PosixBoard, build, copying_image
from tests.waiting import PATIENCE_S, wait_for

HERE, RELAY, INPUT, OUTPUT, SIGNAL, REPEATS = 255, 0, 1, 2, 3, 0x80
HOST, UP, DOWN = 0, 1, 2
SIZE = 3000
PART, WINDOW = 1016, 3
TRIES = 5


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    build("posix-sanitized")


class Wire:
    """Joins two UARTs; spoils a byte now and then."""

    def __init__(self, first: Path, second: Path, rate: float, seed: int) -> None:
        self._ends = [socket.socket(socket.AF_UNIX) for _ in range(2)]
        for end, path in zip(self._ends, (first, second), strict=True):
            end.connect(str(path))
        self._rate, self._chance, self._stop = rate, random.Random(seed), threading.Event()
        self.spoilt = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            for end in select.select(self._ends, [], [], 0.05)[0]:
                with contextlib.suppress(OSError):
                    data = bytearray(end.recv(512))
                    if not data:
                        return
                    if self._chance.random() < self._rate:
                        self.spoilt += 1
                        data[self._chance.randrange(len(data))] ^= 1 << self._chance.randrange(8)
                    self._ends[1 - self._ends.index(end)].sendall(data)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        for end in self._ends:
            end.close()


@contextlib.contextmanager
def chain(folder: Path, count: int, *, rate: float = 0.0) -> Iterator[list[BoardClient]]:
    """Boards in a row, port 2 of each joined to port 1 of the next."""
    with contextlib.ExitStack() as stack:
        boards = []
        for n in range(count):
            (folder / str(n)).mkdir()
            boards.append(stack.enter_context(PosixBoard(folder / str(n), ports=3)))
        for n, (left, right) in enumerate(itertools.pairwise(boards)):
            wire = Wire(left.folder / "u2", right.folder / "u1", rate, n)
            stack.callback(wire.close)
        yield [stack.enter_context(board.client()) for board in boards]


def deploy(clients: list[BoardClient], *, depth: int) -> HostLink:
    """Tensor 0 from the host to the first board; every board copies its input; the last board's output comes back
    over all boards to the host, so that the middle ones relay it."""
    last = len(clients) - 1
    for n, client in enumerate(clients):
        client.load(client.write_image(copying_image(SIZE)).sha256)
        for port in (HOST, UP, DOWN):
            client.setup_link(port, part_bytes=PART, window=WINDOW)
        client.route(Route(n, SIZE, depth, HOST if n == 0 else UP, 0, INPUT, 0))
        if n < last:
            client.route(Route(n + 1, SIZE, depth, HERE, 1 << DOWN, OUTPUT, 0))
            client.route(Route(99, SIZE, depth, DOWN, 1 << (HOST if n == 0 else UP), RELAY, 0))
        else:
            client.route(Route(99, SIZE, depth, HERE, 1 << (HOST if n == 0 else UP), OUTPUT, 0))
    link = HostLink(clients[0].line, part_bytes=PART, window=WINDOW)
    link.sends(0, depth)
    link.receives(99, SIZE)
    for client in reversed(clients):
        client.start()
    return link


def frame(number: int) -> bytes:
    return bytes((number * 31 + i * 7 + i // 256) & 255 for i in range(SIZE))


def run_frames(link: HostLink, count: int, ahead: int, *, timeout_s: float = PATIENCE_S) -> None:
    for n in range(count + ahead):
        if n < count:
            link.send(0, frame(n), timeout_s=timeout_s)
        if n >= ahead:
            assert link.receive(99, timeout_s=timeout_s) == frame(n - ahead)


@pytest.mark.parametrize(("count", "depth"), [(1, 1), (1, 2), (2, 1), (3, 2)])
def test_frames_go_through_the_boards_and_come_back_in_order(tmp_path: Path, count: int, depth: int) -> None:
    with chain(tmp_path, count) as clients:
        link = deploy(clients, depth=depth)
        run_frames(link, 20, depth)
        for client in clients:
            assert client.statistics().frames == 20
            assert client.stop() == 20
        middle = clients[0].memory()
        assert middle.arena_loaded >= (3 * SIZE + 2 * depth * SIZE)


def test_no_part_is_sent_again_on_a_clean_line(tmp_path: Path) -> None:
    """In one of several tries: a board that does not run for a moment is taken for one that lost a part."""
    again: list[int] = []
    while not again or (again[-1] and len(again) < TRIES):
        folder = tmp_path / str(len(again))
        folder.mkdir()
        with chain(folder, 2) as clients:
            run_frames(deploy(clients, depth=2), 20, 2)
            again.append(sum(client.statistics().parts_again for client in clients))
    assert again[-1] == 0, again


@pytest.mark.parametrize("rate", [0.02, 0.05])
def test_spoilt_bytes_between_boards_are_repaired(tmp_path: Path, rate: float) -> None:
    with chain(tmp_path, 3, rate=rate) as clients:
        link = deploy(clients, depth=2)
        run_frames(link, 20, 2)
        again = [c.statistics().parts_again for c in clients]
        bad = [c.statistics().frames_bad for c in clients]
        assert sum(again) > 0
        assert sum(bad) > 0


def test_spoilt_bytes_to_and_from_the_host_are_repaired(tmp_path: Path) -> None:
    with PosixBoard(tmp_path) as board:
        port = FaultyPort(board.port(), FAULTS["flip"], 0.05, seed=5)
        client = board.client(port=port)
        run_frames(deploy([client], depth=2), 20, 2)
        client.close()
        assert port.faults > 0


def test_a_link_can_be_started_again(tmp_path: Path) -> None:
    with chain(tmp_path, 2) as clients:
        for _ in range(3):
            run_frames(deploy(clients, depth=1), 5, 1)
            for client in clients:
                assert client.stop() == 5
                client.unload()


def test_without_credit_nothing_more_is_sent(tmp_path: Path) -> None:
    with chain(tmp_path, 1) as clients:
        link = deploy(clients, depth=1)
        link.send(0, frame(0), timeout_s=PATIENCE_S)
        link.send(0, frame(1), timeout_s=PATIENCE_S)
        with pytest.raises(DeadlineError, match="credit for frame 2"):
            # Frame 0 waits at the output for the host, frame 1 at the input.
            link.send(0, frame(2), timeout_s=1.0)
        assert link.receive(99, timeout_s=PATIENCE_S) == frame(0)
        link.send(0, frame(2), timeout_s=PATIENCE_S)
        assert [link.receive(99, timeout_s=PATIENCE_S) for _ in range(2)] == [frame(1), frame(2)]


def _signalled(clients: list[BoardClient]) -> None:
    """A ping from the first board to the last and back, without any model."""
    for n, client in enumerate(clients):
        client.unload()
        for port in (HOST, UP, DOWN):
            client.setup_link(port, part_bytes=PART, window=WINDOW)
        first, last = n == 0, n == len(clients) - 1
        if first:
            client.route(Route(1, 4, 1, HERE, 1 << DOWN, SIGNAL, 0))
            client.route(Route(2, 4, 1, DOWN, 0, SIGNAL, 1))
        elif last:
            client.route(Route(1, 4, 1, UP, 0, SIGNAL, 0))
            client.route(Route(2, 4, 1, HERE, 1 << UP, SIGNAL, 0))
        else:
            client.route(Route(1, 4, 1, UP, 1 << DOWN, RELAY, 0))
            client.route(Route(2, 4, 1, DOWN, 1 << UP, RELAY, 0))


def test_signals_go_round_one_at_a_time_without_a_model(tmp_path: Path) -> None:
    with chain(tmp_path, 3) as clients:
        _signalled(clients)
        for client in reversed(clients):
            client.start(10)
        wait_for(lambda: [clients[n].statistics().frames for n in (0, 2)] == [10, 10], "ten pings")
        statistics = clients[0].statistics()
        assert statistics.wait_ticks > 0
        assert clients[1].statistics().frames == 0  # a relay runs nothing


def test_a_frame_repeats_without_the_host(tmp_path: Path) -> None:
    with chain(tmp_path, 2) as clients:
        for n, client in enumerate(clients):
            client.load(client.write_image(copying_image(SIZE)).sha256)
            for port in (HOST, UP, DOWN):
                client.setup_link(port, part_bytes=PART, window=WINDOW)
            client.route(Route(n, SIZE, 1, HOST if n == 0 else UP, 0, INPUT | (REPEATS if n == 0 else 0), 0))
        clients[0].route(Route(1, SIZE, 2, HERE, 1 << DOWN, OUTPUT, 0))
        link = HostLink(clients[0].line, part_bytes=PART, window=WINDOW)
        link.sends(0, 1)
        for client in reversed(clients):
            client.start(9)
        link.send(0, frame(5), timeout_s=20.0)
        wait_for(lambda: clients[1].statistics().frames == 9, "nine frames")
        clients[1].stop()
        assert clients[1].read_output(0, SIZE) == frame(5)


@pytest.mark.parametrize(
    ("route", "code"),
    [
        (Route(1, SIZE, 0, HOST, 0, INPUT, 0), "BAD_MESSAGE"),
        (Route(1, SIZE, 1, HOST, 8, INPUT, 0), "BAD_MESSAGE"),
        (Route(1, SIZE, 1, HERE, 1, INPUT, 0), "BAD_MESSAGE"),
        (Route(1, SIZE, 1, UP, 0, INPUT, 0), "BAD_MESSAGE"),
        (Route(1, SIZE, 1, HERE, 1, INPUT | REPEATS, 0), "BAD_MESSAGE"),
        (Route(1, SIZE, 1, HOST, 0, 4, 0), "BAD_MESSAGE"),
        (Route(1, SIZE, 1, HOST, 1 << DOWN, INPUT, 0), "PEER"),
        (Route(1, SIZE - 1, 1, HOST, 0, INPUT, 0), "MODEL"),
        (Route(1, SIZE, 1, HOST, 0, INPUT, 1), "MODEL"),
        (Route(1, 2**32 - 1, 255, HOST, 0, RELAY, 0), "DOES_NOT_FIT"),
        (Route(1, SIZE, 200, HOST, 0, INPUT, 0), "DOES_NOT_FIT"),
    ],
)
def test_routes_that_cannot_be_are_refused(tmp_path: Path, route: Route, code: str) -> None:
    with PosixBoard(tmp_path) as board, board.client() as client:
        client.load(client.write_image(copying_image(SIZE)).sha256)
        client.setup_link(HOST, part_bytes=PART, window=WINDOW)
        with pytest.raises(RemoteError) as caught:
            client.route(route)
        assert caught.value.code == code
