"""RAM and flash that the planner predicts are what the firmware reports, for every small network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from boards.catalog import load_board
from firmware_interface.board_client import BoardClient
from firmware_interface.compiler import lower
from firmware_interface.firmware_build import Limits, build_firmware
from optimizer.plan_values import arena_to_dict
from optimizer.zoo import load_zoo_model, tiny_names
from tests.firmware_interface.compiled import on_wire, random_input, run_on_board
from tests.firmware_interface.memory_check import check_memory
from tests.firmware_interface.planned import board_of, planned, planned_as, problem_over, row
from tests.firmware_interface.posix_board import BUILD, PosixBoard
from tests.firmware_interface.quantizer_models import normalized, quantized
from tests.firmware_interface.record_machine import RecordMachine

RAM, SLOT = 1 << 20, 1088 * 1024


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoardClient]:
    program = build_firmware(BUILD, "posix", Limits(ram_bytes=RAM, slot_bytes=SLOT))
    with PosixBoard(tmp_path_factory.mktemp("board"), program=program) as board, board.client() as client:
        yield client


@pytest.mark.parametrize("name", tiny_names())
def test_predicted_memory_is_what_a_posix_board_reports(client: BoardClient, name: str) -> None:
    check_memory(client, planned(f"zoo:{name}", board_of("posix", RAM, SLOT), 3 if "v2" in name else 1))


@pytest.mark.parametrize("name", ["tiny_digits_int8", "tiny_resnet8_int8", "tiny_dscnn", "tiny_mobilenet_v1_025_int8"])
def test_tensors_turned_for_linux_boards_are_in_the_predicted_memory(client: BoardClient, name: str) -> None:
    """A Linux board on both sides: what comes and what goes lies in the arena twice, as on the wire and as here."""
    linux = load_board("raspberry-pi-4")
    prepared, problem = problem_over(f"zoo:{name}", row(linux, board_of("posix", RAM, SLOT), linux))
    n = len(problem.graph.operators)
    on = [
        problem.processor_index[next(k for k in problem.processor_index if k.startswith(b))] for b in ("b0", "b1", "b2")
    ]
    found = planned_as(prepared, problem, np.array([on[(v >= 1) + (v >= n // 2)] for v in range(n)]))
    (segment,) = (s.name for s in found.plan.segments if s.processor.startswith("b1"))
    names = arena_to_dict(problem.graph, found.plan.arenas[segment])["offsets"]
    assert [n for n in names if n.endswith("@wire")], "nothing is turned in this plan"
    assert found.images["b1"].transposes == sum(n.endswith("@wire") for n in names)
    check_memory(client, found)


def test_uint8_between_boards_is_in_the_predicted_memory(client: BoardClient, tmp_path: Path) -> None:
    quantized(normalized(), tmp_path / "m.onnx", unsigned=True)
    check_memory(client, planned(tmp_path / "m.onnx", board_of("posix", RAM, SLOT), 2))


@pytest.mark.parametrize("name", ["tiny_digits_int8", "tiny_resnet8_int8", "tiny_dscnn_int8"])
def test_in_the_plans_layout_a_board_computes_what_the_reference_does(client: BoardClient, name: str) -> None:
    """The scratch is part of the arena there: were a tensor in its way, results would differ."""
    segment = planned(f"zoo:{name}", board_of("posix", RAM, SLOT)).images["b0"]
    assert segment.scratch_in_arena
    data = [on_wire(random_input(np.random.default_rng(3), t), t) for t in segment.inputs]
    assert run_on_board(client, segment, data) == RecordMachine(lower(load_zoo_model(name))).run(data)
