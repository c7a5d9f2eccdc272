"""The opening: both sides prove the key, nobody is fooled by an echo, nothing of the key is sent."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from firmware_interface.auth import accept, opening
from firmware_interface.errors import AuthenticationError, DeadlineError, FramingError, RemoteError, WireError
from firmware_interface.keys import read_key, write_key
from firmware_interface.messages import (
    PROTOCOL_VERSION,
    Challenge,
    Hello,
    Load,
    Proof,
    Purpose,
    Type,
    Welcome,
)
from firmware_interface.transport import Connection, connect
from tests.waiting import PATIENCE_S

KEY, OTHER = bytes(range(32)), bytes(32)


@pytest.fixture
def pair() -> Iterator[tuple[Connection, Connection]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = connect("127.0.0.1", server.getsockname()[1], PATIENCE_S)
        two = Connection(server.accept()[0])
    yield one, two
    one.close()
    two.close()


def _aside(job: Callable[[], object]) -> Callable[[], object]:
    """Run a job in a thread; the returned function gives its result or raises what it raised."""
    found: list[object] = []

    def work() -> None:
        try:
            found.append(job())
        except WireError as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()

    def result() -> object:
        thread.join(PATIENCE_S)
        if isinstance(found[0], WireError):
            raise found[0]
        return found[0]

    return result


def _open(connection: Connection, key: bytes = KEY, receiver: str = "left", timeout_s: float = PATIENCE_S) -> str:
    return opening(connection, key, purpose=Purpose.CONTROL, sender="host", receiver=receiver, timeout_s=timeout_s)


def test_same_key_opens_and_both_sides_know_each_other(pair: tuple[Connection, Connection]) -> None:
    accepted = _aside(lambda: accept(pair[1], KEY, "left", timeout_s=PATIENCE_S))
    assert _open(pair[0]) == "left"
    hello = accepted()
    assert isinstance(hello, Hello)
    assert (hello.sender, hello.receiver, hello.purpose) == ("host", "left", Purpose.CONTROL)


def test_wrong_key_is_refused_after_a_delay_on_both_sides(pair: tuple[Connection, Connection]) -> None:
    accepted = _aside(lambda: accept(pair[1], KEY, "left", failure_delay_s=0.1))
    begin = time.monotonic()
    with pytest.raises(AuthenticationError):
        _open(pair[0], OTHER)
    assert time.monotonic() - begin >= 0.1
    with pytest.raises(AuthenticationError):
        accepted()


def test_an_acceptor_without_the_key_is_found_out(pair: tuple[Connection, Connection]) -> None:
    def impostor() -> None:
        pair[1].receive(timeout_s=PATIENCE_S)
        pair[1].send(Challenge(PROTOCOL_VERSION, bytes(range(32, 64))))
        pair[1].receive(timeout_s=PATIENCE_S)
        pair[1].send(Welcome(bytes(32), "left"))

    done = _aside(impostor)
    with pytest.raises(AuthenticationError, match="does not hold our key"):
        _open(pair[0])
    done()


def test_echoing_the_openers_own_proof_fails(pair: tuple[Connection, Connection]) -> None:
    """Reflection: the acceptor has no key and sends back what it got."""

    def mirror() -> None:
        pair[1].receive(timeout_s=PATIENCE_S)
        pair[1].send(Challenge(PROTOCOL_VERSION, bytes(range(32, 64))))
        _, proof = pair[1].receive(timeout_s=PATIENCE_S)
        pair[1].send(Welcome(proof.proof, "left"))

    done = _aside(mirror)
    with pytest.raises(AuthenticationError):
        _open(pair[0])
    done()


def test_echoing_the_openers_own_nonce_fails(pair: tuple[Connection, Connection]) -> None:
    def mirror() -> None:
        _, hello = pair[1].receive(timeout_s=PATIENCE_S)
        pair[1].send(Challenge(PROTOCOL_VERSION, hello.nonce))

    done = _aside(mirror)
    with pytest.raises(AuthenticationError, match="own nonce"):
        _open(pair[0])
    done()


def test_a_proof_made_for_another_board_is_worthless(pair: tuple[Connection, Connection]) -> None:
    """A man in the middle passes the challenge of board right to somebody who opens to board left."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        to_right = connect("127.0.0.1", server.getsockname()[1], PATIENCE_S)
        right = Connection(server.accept()[0])
    at_right = _aside(lambda: accept(right, KEY, "right", failure_delay_s=0.0))

    def middle() -> None:
        _, hello = pair[1].receive(timeout_s=PATIENCE_S)
        to_right.send(Hello(hello.protocol, hello.purpose, hello.nonce, hello.sender, "right", hello.subject))
        _, challenge = to_right.receive(timeout_s=PATIENCE_S)
        pair[1].send(challenge)
        _, proof = pair[1].receive(timeout_s=PATIENCE_S)
        to_right.send(Proof(proof.proof))
        pair[1].close()

    done = _aside(middle)
    with pytest.raises(WireError):
        _open(pair[0], receiver="left")
    with pytest.raises(AuthenticationError):
        at_right()
    done()
    to_right.close()
    right.close()


def test_another_board_behind_the_address_says_who_it_is(pair: tuple[Connection, Connection]) -> None:
    accepted = _aside(lambda: accept(pair[1], KEY, "right"))
    with pytest.raises(RemoteError, match="this is board right, not left"):
        _open(pair[0])
    with pytest.raises(AuthenticationError):
        accepted()


def test_the_key_never_crosses_the_wire() -> None:
    seen = bytearray()

    class Spy(Connection):
        def send(self, message: object, **options: object) -> None:  # type: ignore[override]
            from firmware_interface.framing import encode

            seen.extend(encode(message))
            super().send(message, **options)  # type: ignore[arg-type]

    with socket.create_server(("127.0.0.1", 0)) as server:
        one = Spy(socket.create_connection(server.getsockname()))
        two = Spy(server.accept()[0])
    accepted = _aside(lambda: accept(two, KEY, "left", timeout_s=PATIENCE_S))
    _open(one)
    accepted()
    one.close()
    two.close()
    assert len(seen) > 150
    assert KEY not in seen
    assert KEY.hex().encode() not in seen


def test_a_silent_opener_is_dropped_at_the_deadline(pair: tuple[Connection, Connection]) -> None:
    with pytest.raises(DeadlineError):
        accept(pair[1], KEY, "left", timeout_s=0.05)


def test_before_the_opening_nothing_else_is_taken(pair: tuple[Connection, Connection]) -> None:
    pair[0].send(Load({}))
    with pytest.raises(FramingError, match="fits here"):
        accept(pair[1], KEY, "left", timeout_s=PATIENCE_S)


def test_another_protocol_version_is_refused(pair: tuple[Connection, Connection]) -> None:
    pair[0].send(Hello(PROTOCOL_VERSION + 1, Purpose.CONTROL, bytes(32), "host", "left", ""))
    with pytest.raises(FramingError, match="protocol"):
        accept(pair[1], KEY, "left", timeout_s=PATIENCE_S)
    header, error = pair[0].receive(timeout_s=PATIENCE_S)
    assert header.type is Type.ERROR
    assert "protocol" in error.text


def test_keys_are_written_for_their_owner_only_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "lab.key"
    key = write_key(path)
    assert read_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "mode", "says"),
    [
        ("00" * 32, 0o644, "chmod 600"),
        ("00" * 31, 0o600, "31 bytes"),
        ("key", 0o600, "hexadecimal"),
        ("é", 0o600, "hexadecimal"),
    ],
)
def test_unusable_key_files_are_refused(tmp_path: Path, text: str, mode: int, says: str) -> None:
    path = tmp_path / "lab.key"
    path.write_text(text, "utf-8")
    path.chmod(mode)
    with pytest.raises(AuthenticationError, match=says):
        read_key(path)


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AuthenticationError, match="nowhere"):
        read_key(tmp_path / "nowhere")
