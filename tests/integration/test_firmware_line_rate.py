"""An image goes over a paced line whose far side drops what it cannot hold: nothing twice, nothing dropped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from firmware_interface.board_client import BoardClient
from firmware_interface.board_line import BoardLine
from firmware_interface.paced_port import PacedPort
from tests.firmware_interface.posix_board import PosixBoard, build, copying_image

pytestmark = [pytest.mark.integration, pytest.mark.alone, pytest.mark.timeout(300)]
ADDED = 1.025
"""What frames and acknowledgements may add: less than one chunk that is sent twice."""
TRIES = 5


@pytest.fixture
def board(tmp_path: Path) -> Iterator[PosixBoard]:
    build("posix")
    with PosixBoard(tmp_path, sanitized=False) as running:
        yield running


@pytest.mark.parametrize("baud", [115_200, 921_600])
def test_image_of_100_kb_takes_little_more_than_its_bytes(board: PosixBoard, baud: int) -> None:
    """In one of several tries: what waits too long on a busy machine is sent again."""
    port = PacedPort(board.port(), baud)
    shares: list[float] = []
    with BoardClient(BoardLine(port, "left")) as client:
        client.attach(0)
        while not shares or (shares[-1] >= ADDED and len(shares) < TRIES):
            image = copying_image(filler=100_000 + len(shares))  # another one: an image that is there is not sent
            sent_before = port.sent_bytes
            written = client.write_image(image)
            client.load(written.sha256)
            shares.append((port.sent_bytes - sent_before) / len(image))
            assert written.transfer_s > 0.9 * len(image) * 10 / baud  # paced indeed
    assert port.lost_bytes == 0
    assert shares[-1] < ADDED, shares
