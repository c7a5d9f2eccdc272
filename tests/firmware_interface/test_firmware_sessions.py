"""The real firmware as a process: leases, sessions, resets, runs that are looked at, lines that are lost."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from firmware_interface import board_messages as b
from firmware_interface.board_client import BoardClient
from firmware_interface.board_line import BoardLine
from firmware_interface.errors import BoardResetError, ConnectionLostError, DeadlineError, RemoteError
from firmware_interface.messages import Ok, Ping, Pong
from firmware_interface.serial_framing import FrameReader, encode_message
from firmware_interface.serial_port import open_port
from tests.firmware_interface.faulty_port import FAULTS, FaultyPort
from tests.firmware_interface.posix_board import PosixBoard, build, copying_image
from tests.waiting import PATIENCE_S

SIZE = 200


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    build("posix-sanitized")


@pytest.fixture
def board(tmp_path: Path) -> Iterator[PosixBoard]:
    with PosixBoard(tmp_path, "--uid", "0011aaff") as running:
        yield running


def test_a_lower_lease_is_refused_and_a_higher_one_takes_over(board: PosixBoard) -> None:
    first = board.client(lease=5)
    first.close()
    with pytest.raises(RemoteError) as caught:
        board.client(lease=4)
    assert caught.value.code == "STALE_LEASE"
    with board.client(lease=6) as second:
        second.reset()
        assert second.attach(6).lease == 6
        with pytest.raises(RemoteError, match="STALE_LEASE"):
            second.attach(5)


def test_a_session_that_was_replaced_can_do_nothing(board: PosixBoard) -> None:
    with board.client(lease=1) as client:
        old = client.line.session
        client.attach(2)
        client.line.session = old
        for request in (b.SlotBegin(100, bytes(32)), b.Reset(1), b.Run(1)):
            with pytest.raises(RemoteError, match="STALE_LEASE"):
                client.line.call(request, Ok, "old session")
        assert client.ping() > 0


def test_a_reset_in_the_middle_is_noticed(board: PosixBoard) -> None:
    image = copying_image(filler=9000)
    with board.client() as client:
        client.reset()
        client.line.session = 1 if client.line.session != 1 else 2
        with pytest.raises(BoardResetError) as caught:
            client.write_image(image)
        assert caught.value.phase == "slot erase"
        attached = client.attach(0)
        assert (attached.boots, attached.cause) == (2, b.ResetCause.REQUESTED)


@pytest.mark.parametrize(
    ("how", "cause", "kind"),
    [
        (b.ResetKind.HANG, b.ResetCause.WATCHDOG, b.FaultKind.WATCHDOG),
        (b.ResetKind.CRASH, b.ResetCause.FAULT, b.FaultKind.EXCEPTION),
    ],
)
def test_guards_restart_the_board_and_tell_why(
    board: PosixBoard, how: b.ResetKind, cause: b.ResetCause, kind: b.FaultKind
) -> None:
    with board.client() as client:
        assert client.fault().kind == b.FaultKind.NONE
        client.reset(how)
        attached = client.attach(0, timeout_s=60.0)
        assert (attached.cause, attached.boots) == (cause, 2)
        assert "started after a fault" in client.line.log
        fault = client.fault()
        assert (fault.kind, fault.phase, fault.boot) == (kind, b.Phase.MESSAGE, 1)


def test_a_request_that_comes_twice_is_carried_out_once(board: PosixBoard) -> None:
    with board.client() as client:
        client.load(client.write_image(copying_image()).sha256)
        sequence = client.line.post(b.Run(2))
        first = client.line.next_answer(time.monotonic() + PATIENCE_S)
        client.line.post(b.Run(2), sequence=sequence)
        assert client.line.next_answer(time.monotonic() + PATIENCE_S) == first
        assert client.statistics().frames == 2


def test_a_long_run_can_be_looked_at_and_stopped(board: PosixBoard) -> None:
    with board.client() as client:
        client.load(client.write_image(copying_image()).sha256)
        client.line.post(b.Run(4_000_000_000))
        assert client.ping() > 0
        with pytest.raises(RemoteError, match="BUSY"):
            client.memory()
        assert client.statistics().phase == b.Phase.OPERATOR
        assert client.stop() > 0
        assert client.memory().arena_loaded > 0
        client.line.post(b.Run(4_000_000_000))
        client.attach(0)  # a host that comes anew ends it likewise
        assert client.memory().arena_loaded == 0


def test_a_run_is_answered_though_other_requests_came_between(board: PosixBoard) -> None:
    with board.client() as client:
        client.load(client.write_image(copying_image()).sha256)
        sequence = client.line.post(b.Run(100_000))
        assert client.ping() > 0
        client.line.post(b.Run(100_000), sequence=sequence)  # a repeat is no second run
        end = time.monotonic() + PATIENCE_S
        while client.statistics().frames == 0:
            assert time.monotonic() < end
        got = client.line.next_answer(time.monotonic() + PATIENCE_S)
        assert got is not None
        assert (got[0].sequence, got[1].runs) == (sequence, 100_000)
        client.line.post(b.Run(100_000), sequence=sequence)  # and is answered again afterwards
        assert client.line.next_answer(time.monotonic() + PATIENCE_S) == got
        sequence = client.line.post(b.Run(4_000_000_000))
        stopped = client.stop()
        got = client.line.next_answer(time.monotonic() + PATIENCE_S)
        assert got is not None
        assert (got[0].sequence, got[1].runs) == (sequence, stopped)


@pytest.mark.parametrize("baud", [230_400, 921_600])
def test_a_rate_that_the_line_does_not_carry_is_given_up(tmp_path: Path, baud: int) -> None:
    with PosixBoard(tmp_path, "--max-baud", "500000") as board, board.client() as client:
        assert client.set_baud(baud) == (baud < 500_000)
        assert client.statistics().baud == (baud if baud < 500_000 else 115_200)


def test_kill_of_the_host_at_any_message_leaves_the_board_usable(board: PosixBoard) -> None:
    """The host's stream is cut after every message, and in the middle of each."""
    image = copying_image(SIZE, filler=3000)
    digest = hashlib.sha256(image).digest()
    chunks = [b.SlotData(at, image[at : at + 1000]) for at in range(0, len(image), 1000)]
    requests = [
        b.Attach(1, 1, 0, 77), b.SlotBegin(len(image), digest), *chunks, b.SlotCommit(), b.ModelLoad(digest, 0),
        b.InputWrite(0, 0, bytes(SIZE)), b.Run(1_000_000_000), b.Reset(1),
    ]  # fmt: skip
    frames = [encode_message(r, channel=77, sequence=n + 1) for n, r in enumerate(requests)]
    for count in range(len(frames)):
        for half in (False, True):
            port = board.port()
            for number, frame in enumerate(frames[:count]):
                port.write(frame, 1.0)
                _await(port, number + 1, wait=not isinstance(requests[number], b.Run))
            if half:
                port.write(frames[count][: len(frames[count]) // 2], 1.0)
            port.close()
            with board.client() as client:
                client.load(client.write_image(image).sha256)
                assert client.run().runs == 1


def _await(port: object, sequence: int, *, wait: bool) -> None:
    reader, end = FrameReader(), time.monotonic() + PATIENCE_S
    while wait and time.monotonic() < end:
        if any(h.sequence == sequence for h, _ in reader.feed(port.read(0.5))):  # type: ignore[attr-defined]
            return


def test_silence_names_phase_board_and_last_bytes(board: PosixBoard) -> None:
    line = BoardLine(FaultyPort(board.port(), FAULTS["lose"], 1.0), "left")
    with pytest.raises(DeadlineError) as caught:
        line.call(Ping(1), Pong, "greeting", timeout_s=0.2)
    assert "board left during greeting" in str(caught.value)
    assert "bytes " in str(caught.value)
    line.close()


def test_board_that_is_killed_ends_in_connection_lost(board: PosixBoard) -> None:
    with board.client() as client:
        board.process.kill()
        with pytest.raises(ConnectionLostError):
            client.ping()


@pytest.mark.parametrize("kind", ["tcp", "pty"])
def test_lines_of_pyserial_work(tmp_path: Path, kind: str) -> None:
    with PosixBoard(tmp_path, "--uart", "1=tcp:0" if kind == "tcp" else "1=pty", ports=0) as board:
        where = board.said.split()[1]
        port = open_port(f"socket://127.0.0.1:{where}" if kind == "tcp" else where)
        try:
            port.write(encode_message(Ping(1)), 1.0)
            assert port.read(0.3) == b""  # requests are served on port 0 alone
        finally:
            port.close()
    option = "0=tcp:0" if kind == "tcp" else "0=pty"
    with PosixBoard(tmp_path, "--uart", option, ports=0) as board:
        where = board.said.split()[1]
        url = f"socket://127.0.0.1:{where}" if kind == "tcp" else where
        with BoardClient.open(url, "left") as client:
            assert client.write_image(copying_image(filler=5000)).sent_bytes > 5000
            board.process.kill()
            with pytest.raises(ConnectionLostError):
                client.ping()
    with pytest.raises(ConnectionLostError):
        open_port("socket://127.0.0.1:1" if kind == "tcp" else "/dev/does-not-exist")
