"""Plans of networks over a row of microcontroller boards, split and compiled as the bench does it."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from boards.board import Board, System
from boards.catalog import load_board, load_medium
from boards.runtime import firmware_ram_bytes
from firmware_interface.compiler import CompiledSegment, SegmentLayout, compile_segment
from optimizer.cost_models.roofline import roofline_costs
from optimizer.graph import Graph
from optimizer.mcu import code_bytes, with_code
from optimizer.mcu_memory import turned_tensors
from optimizer.memory_plan import with_arenas
from optimizer.onnx_file import load_onnx
from optimizer.onnx_model import build_graph
from optimizer.onnx_prepare import Prepared, prepare
from optimizer.plan import Plan, Segment
from optimizer.plan_values import arena_to_dict
from optimizer.problem import Problem
from optimizer.search.pool import Pool
from optimizer.split_models import build_submodel


@dataclass(frozen=True)
class Planned:
    """A network on boards b0, b1, ...: the plan, and each segment's image in the plan's layout, by board."""

    problem: Problem
    plan: Plan
    images: Mapping[str, CompiledSegment]


def board_of(firmware: str, ram_bytes: int, slot_bytes: int) -> Board:
    """A board with that firmware and these limits."""
    like = load_board("mps2-an386")
    own = firmware_ram_bytes(firmware)
    return replace(
        like, firmware=firmware, ram_bytes=ram_bytes, flash_bytes=slot_bytes + 0x10000, runtime_ram_bytes=own
    )


def row_of(board: Board, count: int) -> System:
    """Boards of one kind, joined by UARTs."""
    return row(*[board] * count)


def row(*boards: Board) -> System:
    """Boards b0, b1, ... joined by UARTs, each with the next."""
    names = [f"b{i}" for i in range(len(boards))]
    medium = load_medium("uart-115200")
    links = [
        medium.link(f"{a}->{b}", a, b, f"{a}->{b}")
        for one, two in itertools.pairwise(names)
        for a, b in ((one, two), (two, one))
    ]
    named = tuple(replace(board, name=n) for board, n in zip(boards, names, strict=True))
    return System("row", named, tuple(links), names[0], names[-1])


def planned(model: str | Path, board: Board, count: int = 1) -> Planned:
    """The network over that many boards, with about as much of the image on each; whether it fits is not looked at."""
    prepared, problem = problem_over(model, row_of(board, count))
    graph = problem.graph
    sizes = code_bytes(graph, problem.small_processors[0])
    before = np.cumsum([sum(sizes[i] for i in op.initializers) for op in graph.operators])
    return planned_as(prepared, problem, np.maximum(before - 1, 0) * count // max(int(before[-1]), 1))


def problem_over(model: str | Path, system: System) -> tuple[Prepared, Problem]:
    """The network as a problem over these boards."""
    prepared = prepare(load_onnx(model))
    graph = with_code(build_graph(prepared), system)
    return prepared, Problem(graph, system, roofline_costs(graph, system))


def planned_as(prepared: Prepared, problem: Problem, assignment: npt.NDArray[np.int64]) -> Planned:
    """The plan of an assignment, operator to processor, and the images of its microcontroller boards."""
    plan = Pool(problem).score(assignment)
    assert plan is not None
    plan = with_arenas(problem, plan)
    turned = turned_tensors(problem.graph, problem.system, plan.segments, plan.transfers)
    images = {
        s.processor.split("/")[0]: compiled(prepared, problem.graph, plan, s, problem.processors[q].board, turned)
        for s in plan.segments
        if (q := problem.processor_index[s.processor]) in problem.small_processors
    }
    return Planned(problem, plan, images)


def compiled(
    prepared: Prepared, graph: Graph, plan: Plan, segment: Segment, board: Board, turned: Collection[int] = ()
) -> CompiledSegment:
    """The image of one segment; ``turned``: tensors that are channels first on the wire."""
    entering = [t.tensor for t in plan.transfers if segment.name in t.consumers]
    leaving = [t.tensor for t in plan.transfers if t.producer == segment.name]
    proto = build_submodel(prepared, graph, segment.name, segment.operators, entering, leaving).proto
    arena = arena_to_dict(graph, plan.arenas[segment.name])
    names = tuple(graph.operators[v].name for v in segment.operators)
    layout = SegmentLayout(names, arena["offsets"], arena["size_bytes"])
    wire = {graph.tensors[t].name: "nchw" for t in (*entering, *leaving) if t in turned}
    return compile_segment(proto, board=board.firmware, layout=layout, wire=wire)
