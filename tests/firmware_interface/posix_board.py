"""The firmware as a process of this machine, for tests: built once, with the address and undefined behaviour checks."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from types import TracebackType

from firmware_interface.board_client import BoardClient
from firmware_interface.board_line import BoardLine
from firmware_interface.errors import ConnectionLostError, WireError
from firmware_interface.firmware_build import FIRMWARE_SOURCE, run_make
from firmware_interface.image import ImageTensor, build_image, copy_record
from firmware_interface.serial_port import Port, open_port
from tests.needs import needs_program
from tests.waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]
FIRMWARE = FIRMWARE_SOURCE
BUILD = ROOT / "build" / "firmware"


def build(*targets: str) -> Path:
    """Build targets of the firmware's Makefile; the folder that holds them. Processes wait for each other."""
    needs_program("make", "apt-get install make")
    needs_program("cc", "apt-get install gcc libc6-dev")
    run_make(BUILD, "posix", targets)
    return BUILD


def copying_image(size: int = 64, *, board: str = "", filler: int = 0, copies: int = 2) -> bytes:
    """A model whose output is its input, copied; ``filler`` bytes of weights make it long."""
    arena = size * (copies + 1)
    return build_image(
        inputs=[ImageTensor(0, size)],
        outputs=[ImageTensor(size * copies, size)],
        records=[copy_record(size * i, size * (i + 1), size) for i in range(copies)],
        weights=bytes((i * 37 + i // 251) & 255 for i in range(filler)),
        arena_bytes=arena,
        board=board,
    )


class PosixBoard:
    """A running board; its UARTs are unix sockets in ``folder``."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        ports: int = 1,
        nor: Path | None = None,
        sanitized: bool = True,
        variant: str = "",
        program: Path | None = None,
    ) -> None:
        program = program or BUILD / variant / ("posix-sanitized" if sanitized else "posix") / "board"
        self.folder = folder
        uarts = [a for n in range(ports) for a in ("--uart", f"{n}=unix:{folder / f'u{n}'}")]
        kept = ["--nor", str(nor)] if nor else []
        self.process = subprocess.Popen(
            [program, *uarts, *kept, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder,
            env=os.environ | {"ASAN_OPTIONS": "detect_leaks=0:handle_segv=0"},
        )  # fmt: skip
        assert self.process.stdout is not None
        self.said = ""
        while "ready" not in self.said:
            line = self.process.stdout.readline()
            assert line, self.end()
            self.said += line

    def port(self, number: int = 0) -> Port:
        """The host's end of a UART."""
        return open_port(f"unix:{self.folder / f'u{number}'}")

    def client(self, *, lease: int = 0, port: Port | None = None) -> BoardClient:
        """A session."""
        client = BoardClient(BoardLine(port or self.port(), "left"))
        try:
            client.attach(lease)
        except WireError:
            client.close()
            raise
        return client

    def end(self) -> str:
        """Kill the process; what it said on stderr (a report of the sanitizers, if any)."""
        self.process.kill()
        _, errors = self.process.communicate()
        return errors

    def __enter__(self) -> PosixBoard:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        errors = self.end()
        assert "ERROR: AddressSanitizer" not in errors, errors
        assert "runtime error" not in errors, errors


def wait_for(path: Path, timeout_s: float = PATIENCE_S) -> Port:
    """Connect to a socket that appears soon."""
    end = time.monotonic() + timeout_s
    while True:
        try:
            return open_port(f"unix:{path}", timeout_s=timeout_s)
        except ConnectionLostError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)
