"""Errors of the wire.

WireError
├── FramingError             bytes that are not a message of ours: magic, version, type, length
├── MessageError             a message whose payload does not decode
├── ConnectionLostError      the other side closed or reset the connection
├── DeadlineError            nothing (or not enough) came before the deadline
├── AuthenticationError      the challenge-response failed, or the key file cannot be used
├── RemoteError              the other side answered with an ERROR message
├── BoardResetError          a board on a serial line has forgotten the session: it was reset in between
├── FirmwareBuildError       a board's firmware could not be built
├── CompileError             no kernel of a board runs an operator, or its image cannot be made
└── BenchmarkError           a board with a standard benchmark firmware refused, or broke the rules of its protocol
"""

from __future__ import annotations

__all__ = [
    "AuthenticationError",
    "BenchmarkError",
    "BoardResetError",
    "CompileError",
    "ConnectionLostError",
    "DeadlineError",
    "FirmwareBuildError",
    "FramingError",
    "MessageError",
    "RemoteError",
    "WireError",
]


class WireError(Exception):
    """Base of all errors of this package."""


class FramingError(WireError):
    """The bytes are not a message: ``field`` of the header, what was expected, what came."""

    def __init__(self, field: str, *, expected: str, got: str) -> None:
        self.field, self.expected, self.got = field, expected, got
        super().__init__(f"message header: {field}: expected {expected}, got {got}")


class MessageError(WireError):
    """The payload of a message does not decode."""

    def __init__(self, message: str, problem: str) -> None:
        self.message, self.problem = message, problem
        super().__init__(f"message {message}: {problem}")


class ConnectionLostError(WireError):
    """The other side closed or reset the connection. ``received`` says what had come until then."""

    def __init__(self, reason: str, received: str = "") -> None:
        self.reason, self.received = reason, received
        super().__init__(f"connection lost: {reason}" + (f" (last: {received})" if received else ""))


class DeadlineError(WireError):
    """The deadline passed while we waited for ``waiting_for``."""

    def __init__(self, waiting_for: str, timeout_s: float, received: str = "") -> None:
        self.waiting_for, self.timeout_s, self.received = waiting_for, timeout_s, received
        text = f"no {waiting_for} within {timeout_s:.3g} s"
        super().__init__(text + (f" (last: {received})" if received else ""))


class AuthenticationError(WireError):
    """The two sides do not hold the same key, or the other side broke the rules of the opening."""


class RemoteError(WireError):
    """The other side answered with an ERROR message: the name of its code and its text."""

    def __init__(self, code: str, text: str) -> None:
        self.code, self.text = code, text
        super().__init__(f"{code}: {text}")


class BoardResetError(WireError):
    """A board on a serial line no longer knows our session: it was reset while we were in ``phase``."""

    def __init__(self, board: str, phase: str) -> None:
        self.board, self.phase = board, phase
        super().__init__(f"board {board} was reset during: {phase}; its last FAULT says more")


class FirmwareBuildError(WireError):
    """The firmware of a board type could not be built: what make, the compiler or the linker said."""

    def __init__(self, board: str, problem: str) -> None:
        self.board, self.problem = board, problem
        super().__init__(f"firmware of {board}: {problem}")


class BenchmarkError(WireError):
    """A board with a standard benchmark firmware did not do what its protocol or the suite's rules say."""

    def __init__(self, problem: str, phase: str, port: str, received: str = "") -> None:
        self.problem, self.phase, self.port, self.received = problem, phase, port, received
        super().__init__(f"{port}, {phase}: {problem}" + (f" (last: {received})" if received else ""))


class CompileError(WireError):
    """A sub-model cannot become a board image: which node and operator, why, and what the kernels take."""

    def __init__(self, node: str, op_type: str, problem: str, takes: str) -> None:
        self.node, self.op_type, self.problem, self.takes = node, op_type, problem, takes
        super().__init__(f"{op_type} {node!r}: {problem}; taken: {takes}" if node else f"{op_type}: {problem}; {takes}")
