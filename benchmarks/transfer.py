"""How fast an image goes into boards over a paced line, and what frames cost in bytes and in instructions.

The line sends at its baud rate from a FIFO of 16 KB that drops what it cannot hold (`PacedPort`); boards send by their
own clocks. A figure is the image's bytes over the time from the first SLOT_DATA to the last SLOT_ACK, as a share of
the line's bytes per second. Emulators share this machine's cores with the host: the best of some tries is shown.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from firmware_interface.board_client import BoardClient
from firmware_interface.board_line import BoardLine
from firmware_interface.board_messages import Part, Run
from firmware_interface.errors import ConnectionLostError
from firmware_interface.firmware_build import build_firmware
from firmware_interface.image import ImageTensor, build_image, copy_record
from firmware_interface.paced_port import BITS_PER_BYTE, PacedPort
from firmware_interface.qemu_boards import QEMU_BOARDS, qemu_command
from firmware_interface.serial_framing import encode_message
from firmware_interface.serial_port import Port, open_port

IMAGE_BYTES = 100_000
RATES = (115_200, 921_600)
INSTRUCTIONS_PER_TICK = 1.25  # of mps2-an386: 40 ns a tick, 32 ns an instruction
PARTS = 200


def image_of(size_bytes: int, salt: int = 0) -> bytes:
    """An image whose model copies 64 bytes; ``salt`` makes it another."""
    filler = bytes((i * 37 + i // 251 + salt) & 255 for i in range(size_bytes))
    tensors = (ImageTensor(0, 64), ImageTensor(64, 64))
    return build_image(
        inputs=tensors[:1], outputs=tensors[1:], records=[copy_record(0, 64, 64)], weights=filler, arena_bytes=128
    )


def connected(path: Path) -> Port:
    """The board's UART, as soon as it is there. Raises ConnectionLostError."""
    end = time.monotonic() + 20
    while True:
        try:
            return open_port(f"unix:{path}")
        except ConnectionLostError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


@contextmanager
def board(kind: str, build: Path, baud: int) -> Iterator[tuple[BoardClient, PacedPort]]:
    """A session over a paced line."""
    firmware = build_firmware(build, kind)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "u0"
        command = [str(firmware), "--uart", f"0=unix:{path}"]
        if kind in QEMU_BOARDS:
            command = qemu_command(kind, firmware, uid=1, serial=[f"unix:{path},server=on,wait=off"])
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                port = PacedPort(connected(path), 115_200)
                with BoardClient(BoardLine(port, kind)) as client:
                    client.attach(0, timeout_s=20)
                    if baud != 115_200 and not client.set_baud(baud):
                        raise RuntimeError(f"{kind} does not take {baud} baud")
                    yield client, port
            finally:
                process.kill()


def transfer(kind: str, build: Path, baud: int, tries: int) -> str:
    """A line of the table."""
    with board(kind, build, baud) as (client, port):
        size = min(IMAGE_BYTES, client.memory().slot) - 128
        best, overhead, again = 0.0, 0.0, 0
        for salt in range(tries):
            image = image_of(size - 300, salt)
            before = port.sent_bytes
            written = client.write_image(image)
            share = len(image) / written.transfer_s / (baud / BITS_PER_BYTE)
            if share > best:
                best, overhead = share, (port.sent_bytes - before) / len(image) - 1
                again = written.sent_bytes - len(image)
    return f"{kind:16}{baud:9}{size:9}{best:9.3f}{overhead:11.1%}{again:13}{port.lost_bytes:9}"


def frame_costs(build: Path) -> str:
    """Instructions of receiving a frame on the M4: beside a model that runs, so that the processor never sleeps."""
    with board("mps2-an386", build, 921_600) as (client, _):
        client.load(client.write_image(image_of(16)).sha256)
        client.line.post(Run(2**32 - 1))

        def interval(parts: int, size: int, pause_s: float) -> tuple[int, int]:
            """Ticks and inferences from one STATUS to the next, once all frames in between have arrived."""
            first = client.statistics()
            for number in range(parts):  # PARTs of a link that does not run are taken, checked and dropped
                client.line.port.write(encode_message(Part(0, 0, bytes(range(1, size + 1))), sequence=number), 5)
                time.sleep(0.012)  # slower than the line
            time.sleep(pause_s)
            last = client.statistics()
            if last.frames_good - first.frames_good != parts + 1:
                return interval(parts, size, pause_s)  # the emulator fell behind the line, which dropped some
            return last.ticks - first.ticks, last.frames - first.frames

        quiet, longer = interval(0, 0, 0.3), interval(0, 0, 1.5)
        ticks_per_inference = (longer[0] - quiet[0]) / (longer[1] - quiet[1])
        found = {}
        for size in (0, 200):
            ticks, inferences = interval(PARTS, size, 0.3)
            busy = ticks - quiet[0] - (inferences - quiet[1]) * ticks_per_inference
            found[size] = busy / PARTS * INSTRUCTIONS_PER_TICK
        client.stop()
    frame = len(encode_message(Part(0, 0, b"")))
    per_byte = (found[200] - found[0]) / 200
    return (
        f"{found[0]:.0f} instructions a PART of no bytes ({frame} on the line), {per_byte:.1f} more a byte; "
        f"{found[0] - (frame - 14) * per_byte:.0f} an empty frame of 14"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("boards", nargs="*", default=["posix", *QEMU_BOARDS], help="board types")
    parser.add_argument("--tries", type=int, default=3)
    parser.add_argument("--build", type=Path, default=Path("build/firmware"))
    arguments = parser.parse_args()
    sys.stdout.write(
        f"{'board':16}{'baud':>9}{'bytes':>9}{'of line':>9}{'overhead':>11}{'sent again':>13}{'dropped':>9}\n"
    )
    for kind in arguments.boards:
        for baud in RATES:
            highest = 781_250 if kind == "lm3s6965evb" else baud  # what its divider reaches
            sys.stdout.write(transfer(kind, arguments.build, min(baud, highest), arguments.tries) + "\n")
            sys.stdout.flush()
    sys.stdout.write(f"mps2-an386: {frame_costs(arguments.build)}\n")


if __name__ == "__main__":
    main()
