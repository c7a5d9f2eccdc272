"""One record run by a board, with memory in and memory out: for testing and measuring its kernel."""

from __future__ import annotations

from dataclasses import dataclass

from firmware_interface.board_client import BoardClient
from firmware_interface.image import ImageTensor, build_image
from firmware_interface.records import RECORDS_VERSION

__all__ = ["RanRecord", "run_record"]


@dataclass(frozen=True)
class RanRecord:
    """The arena afterwards, and the board's ticks of one run."""

    arena: bytes
    ticks: float


def run_record(
    client: BoardClient, record: bytes, *, arena: bytes, weights: bytes = b"", scratch_bytes: int = 0, runs: int = 1
) -> RanRecord:
    """Flash an image of one record, run it ``runs`` times from ``arena`` on.

    Raises WireError, RemoteError BAD_IMAGE where the kernel refuses the record.
    """
    whole = ImageTensor(0, len(arena))
    image = build_image(
        inputs=[whole], outputs=[whole], records=[record], weights=weights, arena_bytes=len(arena),
        scratch_bytes=scratch_bytes, kernels=RECORDS_VERSION,
    )  # fmt: skip
    client.load(client.write_image(image).sha256)
    client.write_input(0, arena)
    client.run(runs)
    return RanRecord(client.read_output(0, len(arena)), client.operator_ticks()[0] / runs)
