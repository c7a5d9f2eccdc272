"""Inputs of the firmware's fuzzer: seeds made from the golden file and from whole sessions, and what it found since.

``python -m tests.firmware_interface.fuzz_corpus pack FOLDER`` keeps a folder of inputs (after libFuzzer's -merge=1).
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import firmware_interface
from firmware_interface import board_messages as b
from firmware_interface.fields import pack
from firmware_interface.messages import Start, Stop, Unload
from tests.firmware_interface.posix_board import copying_image

KEPT = Path(__file__).with_name("fuzz_corpus.txt")
HEADER_BYTES = 8
PORT_0_FRAME = 66  # fuzz_lines.c: a whole frame on port 0 (66 % 3) of session 1


def _piece(kind: int, sequence: int, payload: bytes) -> bytes:
    return bytes([len(payload) + 3, PORT_0_FRAME, kind, sequence]) + payload


def seeds() -> list[bytes]:
    """Every golden message alone, and sessions that reach a running model and links."""
    vectors = json.loads((Path(firmware_interface.__file__).parent / "vectors.json").read_text("utf-8"))
    found = []
    for vector in vectors["messages"]:
        tcp = bytes.fromhex(vector["frame"])
        if len(tcp) - 20 <= 250:
            found.append(_piece(tcp[5], 1, tcp[20:]))
    image = copying_image(16)
    digest = hashlib.sha256(image).digest()
    session = [
        b.SlotBegin(len(image), digest), b.SlotData(0, image), b.SlotCommit(), b.ModelLoad(digest, 0),
        b.InputWrite(0, 0, bytes(16)), b.Run(2), b.OutputRead(0, 0, 16), b.TimesQuery(0), b.MemoryQuery(),
        b.LinkSetup(0, 0, 100, 2), b.LinkSetup(1, 0, 100, 2), b.Route(1, 16, 2, 0, 0, 1, 0),
        b.Route(2, 16, 2, 255, 3, 2, 0), Start(1, 0), b.Part(0, 0, bytes(16)), b.Part(1, 0, bytes(8)), b.PartAck(),
        Stop(), Unload(),
    ]  # fmt: skip
    found.append(b"".join(_piece(m.type, n, pack(m)) for n, m in enumerate(session)))
    return found


def unpack(folder: Path) -> int:
    """Write seeds and kept inputs as files; how many."""
    folder.mkdir(parents=True, exist_ok=True)
    inputs = seeds() + [bytes.fromhex(line) for line in KEPT.read_text("ascii").split()]
    for data in inputs:
        (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    return len(inputs)


def keep(folder: Path) -> None:
    """Store a folder's inputs."""
    inputs = sorted((path.read_bytes() for path in folder.iterdir()), key=lambda d: (len(d), d))
    KEPT.write_text("".join(data.hex() + "\n" for data in inputs), "ascii")


if __name__ == "__main__":
    keep(Path(sys.argv[2]))
