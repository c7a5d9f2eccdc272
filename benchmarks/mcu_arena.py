"""Arenas of the small networks as a microcontroller board holds them, against what TFLite Micro's planner would take.

Run: python -m benchmarks.mcu_arena [MODEL ...]

Each network whole on one board, model input and output included. Columns, bytes:

  greedy   every tensor a buffer of its own (a float32 Relu or Clip is part of what it follows, as in a .tflite file),
           in the model's order, largest first into the lowest gap, 16-aligned: TFLite Micro's GreedyMemoryPlanner,
           written anew here
  aligned  the same 4-aligned, as our kernels take their tensors
  ours     results in place where the kernels allow it, 4-aligned, greedy or CP-SAT
  smaller  1 - ours / greedy

first of the tensors alone, then with the kernels' scratch, a buffer like any other that lives as long as its operator:
that is what a plan holds and a board claims. Exit code 1 where ours is larger than either greedy.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from boards.board import System
from boards.catalog import load_board
from optimizer.cost_models.roofline import roofline_costs
from optimizer.graph import Graph
from optimizer.mcu import SmallProcessor
from optimizer.mcu_memory import SegmentPart, scratch_ranges, segment_memory, segment_part, small_buffers
from optimizer.memory import LiveRange
from optimizer.memory_offsets import greedy_by_size, pack_arena
from optimizer.onnx_model import load_graph
from optimizer.problem import Problem
from optimizer.zoo import tiny_names

ALIGNMENT = 16
"""Of TFLite Micro's buffers."""


@dataclass(frozen=True)
class Arena:
    """Bytes of one network's arena."""

    greedy: int
    aligned: int
    ours: int


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", default=tiny_names())
    columns = f"{'greedy':>8} {'aligned':>8} {'ours':>8} {'smaller':>8}"
    print(f"{'':>28} {'tensors':>35} {'with scratch':>35}")
    print(f"{'network':>28} {columns} {columns}")
    larger = False
    for model in parser.parse_args().models:
        found = measure(f"zoo:{model}")
        cells = (f"{a.greedy:8d} {a.aligned:8d} {a.ours:8d} {1 - a.ours / a.greedy:8.1%}" for a in found)
        print(f"{model:>28} {' '.join(cells)}")
        larger = larger or any(a.ours > min(a.greedy, a.aligned) for a in found)
    sys.exit(int(larger))


def measure(model: str) -> tuple[Arena, Arena]:
    """One network on one board: tensors alone, and with scratch."""
    graph = load_graph(model)
    board = replace(load_board("mps2-an386"), name="only")
    system = System("one", (board,), (), "only", "only")
    problem = Problem(graph, system, roofline_costs(graph, system))
    small, sizes = problem.small_processors[0], problem.tables.tensor_bytes[:, 0]
    part = segment_part(graph, range(len(graph.operators)), graph.outputs, ())
    plain, scratch = plain_buffers(graph, small, part, sizes), scratch_ranges(graph, small, part)
    alignment = small.runtime.arena_alignment
    alone = pack_arena(small_buffers(graph, small, part, sizes), alignment)
    planned = segment_memory(graph, small, part, sizes).layout
    return (
        Arena(_greedy(plain, ALIGNMENT), _greedy(plain, alignment), alone.size_bytes),
        Arena(_greedy([*plain, *scratch], ALIGNMENT), _greedy([*plain, *scratch], alignment), planned.size_bytes),
    )


def plain_buffers(
    graph: Graph, small: SmallProcessor, part: SegmentPart, sizes: npt.NDArray[np.int64]
) -> list[LiveRange]:
    """A buffer for every tensor; positions as in ``optimizer.mcu_memory.small_buffers``."""
    at = {v: i for i, v in enumerate(part.operators, 1)}
    end = len(part.operators) + 1
    first = dict.fromkeys(part.entering, 0) | {t: at[v] for v in part.operators for t in graph.operators[v].outputs}
    last = {t: max((at[c] for c in graph.tensors[t].consumers), default=first[t]) for t in first}
    last.update(dict.fromkeys(part.leaving, end))
    for v in reversed(part.operators):
        needs, op = small.needs[v], graph.operators[v]
        if needs is not None and needs.folds:  # its input is the very tensor
            last[op.inputs[0]] = last.pop(op.outputs[0])
    return [LiveRange((t,), int(sizes[t]), first[t], last[t]) for t in last]


def _greedy(buffers: list[LiveRange], alignment: int) -> int:
    return greedy_by_size(buffers, [-(-b.size_bytes // alignment) * alignment for b in buffers]).size_bytes


if __name__ == "__main__":
    main()
