"""`hil flash`: images for the boards of a plan, brought into their slots and read back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from hil.deploy_bundle import open_bundle
from hil.errors import BundleError
from hil.lab import load_lab_system
from hil.lab_types import Lab
from hil.mcu_images import BoardImage, board_type, check_room, compile_boards, mcu_boards
from hil.targets import connect_mcu
from hil.targets.serial_mcu import SerialMcu
from optimizer.split_manifest import Bundle

__all__ = ["FlashProgress", "Flashed", "flash", "flash_boards"]

Tell = Callable[[str], None]
FlashProgress = Callable[[str, int, int], None]
"""Told board, bytes that are there, bytes in all."""


@dataclass(frozen=True)
class Flashed:
    """How a board came to its image."""

    board: str
    type: str
    uid: str
    segment: str
    size_bytes: int
    sha256: str
    """Read back from the slot by the board."""
    sent_bytes: int
    """0 where the image was there already."""
    resumed_at_bytes: int
    ram_bytes: int
    """Of the board's arena, link buffers included."""


def flash(
    bundle_dir: Path, lab: Lab, *, tell: Tell = lambda _: None, progress: FlashProgress = lambda *_: None
) -> list[Flashed]:
    """Compile, identify every board, check the room on all of them, then write what is not there and compare.

    Raises LabError, BundleError before a byte is sent; DeviceError naming phase and board. What a broken transfer has
    brought over is not sent again by the next call.
    """
    bundle = open_bundle(bundle_dir)
    names = mcu_boards(bundle, lab)
    if not names:
        raise BundleError("no board of this plan is flashed", where=str(bundle_dir), expected="a board of serial-mcu")
    with ExitStack() as stack:
        boards: dict[str, SerialMcu] = {}
        for name in names:
            tell(f"identifying {name}")
            boards[name] = stack.enter_context(connect_mcu(lab, name))
        _, found = flash_boards(bundle, lab, boards, tell=tell, progress=progress)
    return found


def flash_boards(
    bundle: Bundle,
    lab: Lab,
    boards: Mapping[str, SerialMcu],
    *,
    tell: Tell = lambda _: None,
    progress: FlashProgress = lambda *_: None,
) -> tuple[dict[str, BoardImage], list[Flashed]]:
    """`flash` over sessions that are open; the images by board, and what was done."""
    system = load_lab_system(lab)
    types = {name: board_type(board, lab, system) for name, board in boards.items()}
    tell("compiling")
    images = compile_boards(bundle, lab, types)
    for name, image in images.items():
        check_room(image, boards[name].memory())
    found: list[Flashed] = []
    for name, image in images.items():
        tell(f"flashing {name}: {image.size_bytes:,} bytes")
        found.append(_flash_one(boards[name], image, progress))
    return images, found


def _flash_one(board: SerialMcu, image: BoardImage, progress: FlashProgress) -> Flashed:
    data = image.compiled.image
    written = board.write(data, lambda done: progress(board.name, done, len(data)))
    progress(board.name, len(data), len(data))
    return Flashed(
        board=board.name,
        type=board.facts.board,
        uid=board.facts.uid,
        segment=image.segment,
        size_bytes=len(data),
        sha256=written.sha256.hex(),
        sent_bytes=written.sent_bytes,
        resumed_at_bytes=0 if written.started_at_bytes == len(data) else written.started_at_bytes,
        ram_bytes=image.ram_bytes,
    )
