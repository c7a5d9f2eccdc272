"""A host that dies at any message: the boards serve the next one, without a reset."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from firmware_interface.errors import ConnectionLostError
from firmware_interface.serial_port import SocketPort
from hil.errors import DeviceError
from hil.lab_types import Lab
from hil.measure import random_stimuli
from hil.run import run
from tests.hil.mcu_bench import bundle_of, expected_outputs, played

FRAMES = 3


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    with played(monkeypatch) as found:
        yield found


def test_a_kill_at_any_message_leaves_boards_that_serve_the_next_host(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bundle_of(tmp_path / "b", "zoo:tiny_digits_int8", ["head", "middle", "tail"])
    inputs = random_stimuli(bundle, FRAMES)
    expected = expected_outputs(bundle, inputs)
    write = SocketPort.write
    run(bundle.directory, lab, inputs, stall_s=60.0)  # so that the images are there: the messages are those of a run
    # The first messages one by one (identify, attach, memory, slot), then further and further into links and tensors.
    for last in (*range(1, 20), 24, 30, 37, 45, 54, 64, 75, 90, 110):
        room = iter(range(1, last))

        def until_killed(port: SocketPort, data: bytes, timeout_s: float, room: Iterator[int] = room) -> None:
            if next(room, None) is None:
                raise ConnectionLostError("the host was killed here")
            write(port, data, timeout_s)

        with monkeypatch.context() as patch:
            patch.setattr(SocketPort, "write", until_killed)
            try:
                outputs = run(bundle.directory, lab, inputs, stall_s=60.0)
            except DeviceError as error:
                assert "phase" in str(error)
                outputs = None
        if outputs is None:
            outputs = run(bundle.directory, lab, inputs, stall_s=60.0)
        for name, values in expected.items():
            np.testing.assert_array_equal(outputs[name], values)
