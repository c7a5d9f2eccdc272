"""The command `hil flash`: progress bars, a table of what was done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

from hil.cli_output import console, print_json, print_table
from hil.cli_run import bundle_of
from hil.deploy_bundle import open_bundle
from hil.flash import Flashed, FlashProgress, flash
from hil.flashers import flash_base
from hil.lab import load_lab
from hil.lab_types import Lab
from hil.mcu_images import mcu_boards

__all__ = ["flash_plan"]

_TOLD_S = 2.0  # between two lines of progress where there is no terminal


def flash_plan(plan: Path, lab_path: Path, base: bool, as_json: bool) -> None:
    """Compile, identify, write, read back; with ``base`` the base firmware first."""
    lab = load_lab(lab_path)
    screen = console()

    def tell(text: str) -> None:
        screen.print(text, highlight=False, markup=False)

    with bundle_of(plan) as bundle:
        if base:
            _flash_bases(bundle, lab)
        with _bars() as progress:
            found = flash(bundle, lab, tell=tell, progress=progress)
    rows = [[f.board, f.type, f.uid, f.segment, f"{f.size_bytes:,} B", _done(f), f.sha256[:16]] for f in found]
    print_table("Images", ["board", "type", "chip", "segment", "image", "sent", "read back"], rows)
    if as_json:
        print_json({"boards": [asdict(f) for f in found]})


def _flash_bases(bundle: Path, lab: Lab) -> None:
    for name in mcu_boards(open_bundle(bundle), lab):
        flash_base(lab.targets[name], lab, lambda text: console().print(text, highlight=False, markup=False))


def _done(flashed: Flashed) -> str:
    if flashed.sent_bytes == 0:
        return "was there"
    resumed = f", resumed at {flashed.resumed_at_bytes:,}" if flashed.resumed_at_bytes else ""
    return f"{flashed.sent_bytes:,} B{resumed}"


@contextmanager
def _bars() -> Iterator[FlashProgress]:
    """A bar a board; lines every few seconds without a terminal."""
    screen = console()
    if not screen.is_terminal:
        yield _Lines()
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=screen) as bars:
        tasks: dict[str, TaskID] = {}

        def show(board: str, done: int, size: int) -> None:
            if board not in tasks:
                tasks[board] = bars.add_task(board, total=size, completed=done)
            bars.update(tasks[board], completed=done)

        yield show


class _Lines:
    """Progress for a log file."""

    def __init__(self) -> None:
        self._told = time.monotonic()

    def __call__(self, board: str, done: int, size: int) -> None:
        if time.monotonic() - self._told >= _TOLD_S or done == size:
            self._told = time.monotonic()
            console().print(f"{board}: {done:,} of {size:,} bytes", highlight=False, markup=False)
