"""Check a microcontroller board over its line: tests/hardware/check_board.py URL [--baud N]

URL is a device, ``socket://HOST:PORT`` or ``unix:PATH``. The model slot is overwritten. Ends with 1 at the first
check that fails.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from firmware_interface import board_messages as b
from firmware_interface.board_client import BoardClient
from firmware_interface.board_line import BoardLine
from firmware_interface.errors import RemoteError, WireError
from firmware_interface.serial_port import open_port
from tests.firmware_interface.faulty_port import FAULTS, FaultyPort
from tests.firmware_interface.posix_board import copying_image

BOOT_S = 30.0
SIZE = 100


class CheckFailedError(Exception):
    """A board that does not do what PROTOCOL.md says."""


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def require(condition: bool, what: str) -> None:
    if not condition:
        raise CheckFailedError(what)


def check_identity(client: BoardClient) -> None:
    facts, memory = client.facts(), client.memory()
    say(f"board {facts.board}, core {facts.core}, chip {facts.uid}, firmware {facts.build.hex()[:16]}")
    say(f"  {b.Capability(facts.capabilities)!r}")
    say(f"  {memory}")
    require(facts.uid.strip("0f") != "", "the chip's number is blank")
    require(memory.stack_used < memory.stack, "the stack overflows")


def check_slot(client: BoardClient, image: bytes) -> None:
    digest = hashlib.sha256(image).digest()
    client.line.call(b.SlotBegin(len(image), digest), b.SlotState, "begin", timeout_s=60.0)
    half = len(image) // 2 // 64 * 64
    for at in range(0, half, 192):
        data = image[at : min(at + 192, half)]
        client.line.call(b.SlotData(at, data), b.SlotAck, "first half")
    client.attach(0)
    began = time.monotonic()
    written = client.write_image(image)
    require(written.started_at_bytes == half, f"resumed at {written.started_at_bytes}, not at {half}")
    seconds = time.monotonic() - began
    say(f"  {written.sent_bytes} bytes in {seconds:.2f} s, resumed at {half}, read back")
    require(client.write_image(image).sent_bytes == 0, "an image that was there was sent again")


def check_run(client: BoardClient, image: bytes) -> None:
    client.load(hashlib.sha256(image).digest())
    client.write_input(0, bytes(range(SIZE)))
    ran = client.run(10)
    require(client.read_output(0, SIZE) == bytes(range(SIZE)), "the output is not the input copied")
    microseconds = ran.ticks / ran.runs * 1e6 / client.facts().tick_hz
    say(f"  10 runs of {microseconds:.1f} us each; statistics {client.statistics()}")


def check_wrong_image(client: BoardClient) -> None:
    try:
        client.write_image(copying_image(SIZE, board="no-such-board"))
    except RemoteError as error:
        require(error.code == "WRONG_BOARD", f"expected WRONG_BOARD, got {error}")
    else:
        raise CheckFailedError("an image of another board was taken")


def check_guard(client: BoardClient, how: b.ResetKind, cause: b.ResetCause) -> None:
    before = client.attach(0).boots
    client.reset(how)
    attached = client.attach(0, timeout_s=BOOT_S)
    require(attached.cause == cause, f"{how.name}: started by {b.ResetCause(attached.cause).name}, not {cause.name}")
    require(attached.boots == before + 1, f"{how.name}: {attached.boots - before} starts instead of one")
    say(f"  {how.name}: {client.fault()}")


def check(url: str, baud: int) -> None:
    image = copying_image(SIZE, filler=12_000)
    port = open_port(url, baud)
    with BoardClient(BoardLine(port, url)) as client:
        client.attach(0, timeout_s=BOOT_S)
        say("identity and memory")
        check_identity(client)
        say("slot: broken transfer, resume, read-back")
        check_slot(client, image)
        say("run")
        check_run(client, image)
        say("wrong image")
        check_wrong_image(client)
        for name in ("flip", "drop", "lose", "garbage"):
            say(f"spoilt frames: {name}")
            spoilt = BoardClient(BoardLine(FaultyPort(port, FAULTS[name], 0.05, seed=1), url))
            spoilt.attach(0, timeout_s=BOOT_S)
            spoilt.write_image(copying_image(SIZE, filler=8_000 + len(name)))
        client.attach(0)
        say("guards")
        check_guard(client, b.ResetKind.RESTART, b.ResetCause.REQUESTED)
        check_guard(client, b.ResetKind.CRASH, b.ResetCause.FAULT)
        if client.facts().capabilities & b.Capability.WATCHDOG:
            check_guard(client, b.ResetKind.HANG, b.ResetCause.WATCHDOG)
        say("all passed")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--baud", type=int, default=115200)
    options = parser.parse_args()
    try:
        check(options.url, options.baud)
    except (CheckFailedError, WireError) as error:
        say(f"FAILED: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
