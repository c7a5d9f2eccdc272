"""What a plan takes of the boards: which of them it uses, and their memory."""

from __future__ import annotations

from collections.abc import Collection

from optimizer.mcu_order import small_memory, small_parts
from optimizer.plan import MemoryUse, Schedule, Segment
from optimizer.problem import Problem
from optimizer.replicas import copies
from optimizer.segment_table import tensors_leaving

__all__ = ["arena_tensors", "memory_use", "used_boards"]


def used_boards(problem: Problem, schedule: Schedule) -> set[str]:
    """Boards that host a segment, relay, or are source or sink."""
    home = problem.segment_table.home
    used = {problem.system.source, problem.system.sink}
    used.update([home[s.processor] for s in copies(schedule.segments)])
    used.update(*[t.boards for t in schedule.transfers])
    return used


def arena_tensors(problem: Problem, segment: Segment, leaving: Collection[int]) -> dict[int, int]:
    """Bytes of the tensors that live in a segment's arena: made there and not leaving."""
    q = problem.processor_index[segment.processor]
    sizes = problem.tables.tensor_bytes
    operators = problem.graph.operators
    return {t: int(sizes[t, q]) for v in segment.operators for t in operators[v].outputs if t not in leaving}


def memory_use(problem: Problem, schedule: Schedule, *, with_arenas: bool = True) -> dict[str, MemoryUse]:
    """Memory of every board, unused ones included (they hold nothing of ours)."""
    table, tables = problem.segment_table, problem.tables
    leaving = tensors_leaving(schedule.transfers)
    arenas: dict[str, dict[str, int]] = {board.name: {} for board in problem.system.boards}
    weights = dict.fromkeys(arenas, 0)
    shared: dict[str, dict[int, int]] = {}
    parts = small_parts(problem, schedule.segments, schedule.transfers) if with_arenas else {}
    for segment in copies(schedule.segments):
        name = table.home[segment.processor]
        by_processor = arenas[name]
        if segment.name in parts:
            memory = small_memory(problem, segment.processor, parts[segment.name])
            by_processor[segment.processor] = max(by_processor.get(segment.processor, 0), memory.claimed_bytes)
            weights[name] += memory.image_bytes
            continue
        figures = table.figures(segment)
        peak = table.peak_bytes(segment, leaving.get(segment.name, ())) if with_arenas else 0
        by_processor[segment.processor] = max(by_processor.get(segment.processor, 0), peak)
        weights[name] += figures.weights_bytes
        for i, size in figures.shared:
            held = shared.setdefault(name, {})
            held[i] = max(held.get(i, 0), size)
    buffers = dict.fromkeys(arenas, 0)
    small = {processor.board.name: processor.runtime for processor in problem.small_processors.values()}
    for t in schedule.transfers:
        for name in t.boards:
            buffers[name] += t.depth * (small[name].block(t.size_bytes) if name in small else t.size_bytes)
    used = used_boards(problem, schedule)
    result = {}
    for b, board in enumerate(problem.system.boards):
        name = board.name
        arena = sum(arenas[name].values())
        held_bytes = weights[name] + (sum(shared[name].values()) if name in shared else 0)
        buffer = buffers[name]
        runtime = board.runtime_ram_bytes if name in used else 0
        in_ram = held_bytes if board.weights_in == "ram" else 0
        result[name] = MemoryUse(
            ram_bytes=arena + buffer + runtime + in_ram,
            ram_available_bytes=int(tables.ram_limit[b]),
            flash_bytes=held_bytes,
            flash_available_bytes=tables.flash_limit[b],
            weights_bytes=held_bytes,
            arena_bytes=arena,
            buffer_bytes=buffer,
            runtime_bytes=runtime,
        )
    return result
