"""The opening of every connection: both sides prove that they hold the shared key (PROTOCOL.md, section 3).

    opener -> HELLO(nonce A)        acceptor -> CHALLENGE(nonce B)
    opener -> PROOF                 acceptor -> WELCOME

A proof is HMAC-SHA256 over a label that differs by role and over everything both sides said, so that neither
an echo of one's own proof nor a proof made for another connection is accepted. The key never crosses the
wire.
"""

from __future__ import annotations

import hmac
import secrets
import time
from typing import TypeVar

from firmware_interface.errors import AuthenticationError, ConnectionLostError, FramingError
from firmware_interface.fields import pack
from firmware_interface.messages import (
    PROTOCOL_VERSION,
    Challenge,
    Error,
    ErrorCode,
    Hello,
    Proof,
    Purpose,
    Type,
    Welcome,
)
from firmware_interface.transport import Connection, remote_error

__all__ = ["accept", "opening"]

M = TypeVar("M")

HANDSHAKE_TIMEOUT_S = 5.0
FAILURE_DELAY_S = 0.3  # makes guessing slow; a person who mistyped does not notice it
OPENER, ACCEPTOR = b"edgecut/1 opener", b"edgecut/1 acceptor"


def _proof(key: bytes, label: bytes, hello: Hello, challenge: Challenge, board: str = "") -> bytes:
    transcript = (label, pack(hello), pack(challenge), board.encode())
    message = b"".join(len(part).to_bytes(4, "little") + part for part in transcript)
    return hmac.digest(key, message, "sha256")


def opening(
    connection: Connection,
    key: bytes,
    *,
    purpose: Purpose,
    sender: str,
    receiver: str,
    subject: str = "",
    timeout_s: float = HANDSHAKE_TIMEOUT_S,
) -> str:
    """Open a connection as the side that connected; returns the acceptor's board name.

    Raises AuthenticationError when either side does not hold the key, RemoteError when the acceptor refuses
    for another reason (wrong board), DeadlineError, ConnectionLostError, FramingError.
    """
    end = time.monotonic() + timeout_s
    nonce = secrets.token_bytes(32)
    hello = Hello(PROTOCOL_VERSION, purpose, nonce, sender, receiver, subject)
    connection.send(hello, timeout_s=timeout_s)
    challenge = _expect(connection, Challenge, end, timeout_s)
    if challenge.protocol != PROTOCOL_VERSION:
        raise FramingError("protocol", expected=str(PROTOCOL_VERSION), got=str(challenge.protocol))
    if hmac.compare_digest(challenge.nonce, nonce):
        raise AuthenticationError("the other side sent our own nonce back")
    connection.send(Proof(_proof(key, OPENER, hello, challenge)), timeout_s=timeout_s)
    welcome = _expect(connection, Welcome, end, timeout_s)
    if not hmac.compare_digest(welcome.proof, _proof(key, ACCEPTOR, hello, challenge, welcome.board)):
        raise AuthenticationError("the other side does not hold our key")
    return welcome.board


def accept(
    connection: Connection,
    key: bytes,
    board: str,
    *,
    timeout_s: float = HANDSHAKE_TIMEOUT_S,
    failure_delay_s: float = FAILURE_DELAY_S,
) -> Hello:
    """Open a connection as the side that was connected to; returns who is there and what for.

    On a wrong proof: waits a little, sends ERROR, raises AuthenticationError. A proven opener that wants
    another board gets ERROR WRONG_BOARD and AuthenticationError is raised likewise. Raises DeadlineError,
    ConnectionLostError, FramingError, MessageError. The caller closes the connection.
    """
    end = time.monotonic() + timeout_s
    hello = _expect(connection, Hello, end, timeout_s)
    if hello.protocol != PROTOCOL_VERSION:
        _refuse(connection, ErrorCode.UNSUPPORTED, f"protocol {hello.protocol}; this agent has {PROTOCOL_VERSION}")
        raise FramingError("protocol", expected=str(PROTOCOL_VERSION), got=str(hello.protocol))
    challenge = Challenge(PROTOCOL_VERSION, secrets.token_bytes(32))
    connection.send(challenge, timeout_s=timeout_s)
    proof = _expect(connection, Proof, end, timeout_s)
    if not hmac.compare_digest(proof.proof, _proof(key, OPENER, hello, challenge)):
        time.sleep(failure_delay_s)
        _refuse(connection, ErrorCode.NOT_AUTHENTICATED, "the proof does not fit this board's key")
        raise AuthenticationError(f"{hello.sender or 'opener'} does not hold our key")
    if hello.receiver not in ("", board):
        _refuse(connection, ErrorCode.WRONG_BOARD, f"this is board {board}, not {hello.receiver}")
        raise AuthenticationError(f"{hello.sender} looks for board {hello.receiver}")
    connection.send(Welcome(_proof(key, ACCEPTOR, hello, challenge, board), board), timeout_s=timeout_s)
    return hello


def _refuse(connection: Connection, code: ErrorCode, text: str) -> None:
    try:
        connection.send(Error(code, text), timeout_s=1.0)
    except ConnectionLostError:
        return  # it has gone already: nobody is left to be told


def _expect(connection: Connection, kind: type[M], end: float, timeout_s: float) -> M:
    remaining = max(0.001, end - time.monotonic())
    wanted: Type = kind.type  # type: ignore[attr-defined]
    _, message = connection.receive(timeout_s=remaining, allowed=(wanted, Type.ERROR))
    if isinstance(message, kind):
        return message
    if isinstance(message, Error):
        if message.code == ErrorCode.NOT_AUTHENTICATED:
            raise AuthenticationError("the other side says that we do not hold its key")
        raise remote_error(message)
    raise FramingError("type", expected=wanted.name, got=type(message).__name__)
