"""Command line of the agent: `hil agent`, `python agent.pyz`. One JSON line says when it is ready."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import ipaddress
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from firmware_interface.errors import AuthenticationError
from firmware_interface.keys import read_key, write_key
from hil.agent import Agent

__all__ = ["main"]

EXIT_BAD_INPUT = 2
PR_SET_PDEATHSIG = 1
PARENT_POLL_S = 0.5
# Python lets the running thread keep the interpreter lock for 5 ms, for which a thread that brings a tensor
# would have to wait.
SWITCH_INTERVAL_S = 1e-4


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hil agent", description="Serve this machine as one board of an edgecut bench."
    )
    add = parser.add_argument
    add("--name", required=True, help="board name, as in the system file")
    add("--bind", default="127.0.0.1", metavar="ADDRESS", help="address to listen on (default: loopback)")
    add("--port", type=int, default=0, help="port to listen on; 0 takes a free one (default)")
    add("--key-file", type=Path, help="shared key, hexadecimal, readable by its owner only (mode 0600)")
    add("--core", type=int, action="append", metavar="N", help="run on this core only; may be repeated")
    add("--threads", type=int, default=1, help="threads of one inference where the host does not say (1)")
    add(
        "--exit-with-parent",
        type=int,
        nargs="?",
        const=0,
        metavar="PID",
        help="stop when the process that started the agent is gone; PID: that process",
    )
    add("--verbose", action="store_true", help="log connections to the standard error")
    return parser


class AgentStartError(Exception):
    """The agent cannot start with these options on this machine. Its own: a board has nothing else of ours."""

    def __init__(self, where: str, what: str, hint: str = "") -> None:
        super().__init__(f"{where}: {what.rstrip('.')}. {hint}".rstrip())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the agent until SIGTERM or SIGINT; the exit code."""
    options = _parser().parse_args(argv)
    threading.excepthook = _fail_fast
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        _pin(options.core)
        key, key_file = _key(options.bind, options.key_file, options.name)
        agent = _listen(options, key)
    except AgentStartError as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_BAD_INPUT
    with _temporary(key_file.parent if options.key_file is None else None), agent, _signals_wake(agent):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: agent.stop())
        if options.exit_with_parent is not None:
            _follow_parent(options.exit_with_parent, agent.stop)
        _say_ready(options.name, agent, key_file)
        agent.serve()
    return 0


def _listen(options: argparse.Namespace, key: bytes) -> Agent:
    where = f"{options.bind}:{options.port}"
    log: Callable[[str], None] = _log if options.verbose else _silent
    try:
        return Agent(options.name, key, options.bind, options.port, threads=options.threads, log=log)
    except OverflowError as error:
        raise AgentStartError(where, "no such port; expected 0 to 65535") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AgentStartError(
                where,
                "the port is in use",
                "Another agent may still run there; stop it, or take another port (0 picks a free one).",
            ) from error
        raise AgentStartError(where, f"cannot listen there: {error.strerror or error}") from error


def _key(bind: str, key_file: Path | None, name: str) -> tuple[bytes, Path]:
    """The key and its file. On loopback without one, a fresh key is made; elsewhere that is refused."""
    if key_file is not None:
        try:
            return read_key(key_file), key_file
        except AuthenticationError as error:
            raise AgentStartError(str(key_file), f"the key cannot be used: {error}") from error
    if not _is_loopback(bind):
        raise AgentStartError(
            bind,
            "an agent that others on the network can reach needs a key; expected --key-file FILE",
            "Copy the lab's key file to this machine with mode 0600; or bind to 127.0.0.1.",
        )
    folder = Path(tempfile.mkdtemp(prefix="edgecut-key-"))
    path = folder / f"{name.replace('/', '_')}.key"
    return write_key(path), path


@contextlib.contextmanager
def _signals_wake(agent: Agent) -> Iterator[None]:
    before = signal.set_wakeup_fd(agent.wakeup_fd, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)


@contextlib.contextmanager
def _temporary(folder: Path | None) -> Iterator[None]:
    """Remove a key that was made for this process only."""
    try:
        yield
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _is_loopback(bind: str) -> bool:
    try:
        found = socket.getaddrinfo(bind, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise AgentStartError(bind, f"no such address: {error}") from error
    return all(ipaddress.ip_address(str(entry[4][0]).split("%")[0]).is_loopback for entry in found)


def _pin(cores: Sequence[int] | None) -> None:
    if not cores:
        return
    if not hasattr(os, "sched_setaffinity"):
        raise AgentStartError("--core", "cores cannot be chosen on this system")
    available = sorted(os.sched_getaffinity(0))
    if not set(cores) <= set(available):
        raise AgentStartError("--core", f"no such core; expected {available}; got {list(cores)}")
    os.sched_setaffinity(0, cores)


def _say_ready(name: str, agent: Agent, key_file: Path) -> None:
    host, port = agent.address
    line = {
        "ready": True,
        "board": name,
        "host": host,
        "port": port,
        "pid": os.getpid(),
        "key_file": str(key_file),
    }
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _follow_parent(expected: int, stop: Callable[[], None]) -> None:
    """Stop when the parent is gone: at once where the kernel tells us, else within half a second."""
    parent = os.getppid()
    if expected and parent != expected:
        stop()  # it has gone before we could look
        return

    def check(_number: int = 0, _frame: FrameType | None = None) -> None:
        # The signal also comes when only the thread that started us ends; the process may live on.
        if os.getppid() != parent:
            stop()

    if sys.platform == "linux":
        signal.signal(signal.SIGHUP, check)
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGHUP, 0, 0, 0) == 0:
            check()
            return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_POLL_S)
        stop()

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _fail_fast(problem: Any) -> None:
    """A thread died of a mistake of ours: an agent half alive would only stall its neighbours."""
    sys.excepthook(problem.exc_type, problem.exc_value, problem.exc_traceback)
    sys.stderr.flush()
    os._exit(70)  # EX_SOFTWARE


def _log(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")


def _silent(_: str) -> None:
    return


if __name__ == "__main__":
    raise SystemExit(main())
