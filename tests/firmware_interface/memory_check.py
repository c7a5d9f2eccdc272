"""What the planner predicts of a board's memory against what its firmware reports, byte for byte."""

from __future__ import annotations

import numpy as np

from boards.runtime import load_runtime
from firmware_interface import board_messages as b
from firmware_interface.board_client import BoardClient
from firmware_interface.compiler import CompiledSegment
from optimizer.plan import Transfer
from tests.firmware_interface.compiled import on_wire, random_input
from tests.firmware_interface.planned import Planned

HOST_PORT, MADE_HERE, INPUT, OUTPUT = 0, 0xFF, 1, 2


def run_painted(
    client: BoardClient, segment: CompiledSegment, transfers: list[Transfer], sha256: bytes, paint: int
) -> b.Memory:
    """MEMORY after one run with the plan's buffers, in memory painted before; the host plays all neighbours."""
    client.load(sha256, paint=paint)
    client.setup_link(HOST_PORT, part_bytes=256, window=1)
    inputs, outputs = ([t.name for t in tensors] for tensors in (segment.inputs, segment.outputs))
    for transfer in transfers:
        comes = transfer.name in inputs
        client.route(
            b.Route(
                tensor=transfer.tensor, size=transfer.size_bytes, depth=transfer.depth,
                from_port=HOST_PORT if comes else MADE_HERE, to_ports=0 if comes else 1 << HOST_PORT,
                use=INPUT if comes else OUTPUT, index=(inputs if comes else outputs).index(transfer.name),
            )
        )  # fmt: skip
    rng = np.random.default_rng(paint)
    for index, tensor in enumerate(segment.inputs):
        client.write_input(index, on_wire(random_input(rng, tensor), tensor))
    client.run(timeout_s=240.0)
    return client.memory()


def check_memory(client: BoardClient, planned: Planned) -> None:
    """Of each segment on a microcontroller board in turn: load it, run it twice with complementary paints, compare."""
    for segment in planned.plan.segments:
        board = segment.processor.split("/")[0]
        if board in planned.images:
            _check(client, planned, segment.name, board)


def _check(client: BoardClient, planned: Planned, segment: str, name: str) -> None:
    image = planned.images[name]
    transfers = [t for t in planned.plan.transfers if name in t.boards]
    written = client.write_image(image.image, stall_s=60.0)
    found = [run_painted(client, image, transfers, written.sha256, paint) for paint in (0x5A, 0xA5)]
    use = planned.plan.score.memory_bytes[name]
    layout = planned.plan.arenas[segment]
    board = planned.problem.system.board(name)
    firmware = load_runtime(board.runtime).firmware[board.firmware]
    for memory in found:
        assert memory.data + memory.bss + memory.rings + memory.stack == use.runtime_bytes
        assert memory.arena_loaded == use.arena_bytes + use.buffer_bytes
        assert use.runtime_bytes + memory.arena_loaded == use.ram_bytes
        assert memory.arena + use.runtime_bytes == use.ram_available_bytes
        assert (memory.image, memory.slot) == (use.flash_bytes, use.flash_available_bytes)
        assert memory.flash_used == firmware.flash_used_bytes
        assert memory.stack_used <= memory.stack
    unit = layout.alignment
    touched = -(-max(m.arena_touched for m in found) // unit) * unit
    # Tensors are written whole; of scratch at the arena's end a kernel may leave some, by what its core can do.
    assert _end_of_tensors(planned, segment) <= touched <= layout.size_bytes == image.arena_bytes
    assert max(m.scratch_touched for m in found) <= image.scratch_bytes


def _end_of_tensors(planned: Planned, segment: str) -> int:
    """Bytes of the arena up to the last tensor; the layout's other buffers are scratch."""
    layout, tensors = planned.plan.arenas[segment], planned.problem.graph.tensors
    processor = next(s.processor for s in planned.plan.segments if s.name == segment)
    sizes = planned.problem.tables.tensor_bytes[:, planned.problem.processor_index[processor]]
    places = {key: at for key, at in layout.offsets.items() if key < 2 * len(tensors)}
    unit = layout.alignment
    return max(at + -(-int(sizes[key % len(tensors)]) // unit) * unit for key, at in places.items())
