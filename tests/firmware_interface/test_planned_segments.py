"""Segments of any cut: what the planner says of their memory is what their images are."""

from __future__ import annotations

from functools import cache

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.cost_models.roofline import roofline_costs
from optimizer.mcu import with_code
from optimizer.memory_plan import arena_faults, with_arenas
from optimizer.onnx_file import load_onnx
from optimizer.onnx_model import build_graph
from optimizer.onnx_prepare import Prepared, prepare
from optimizer.problem import Problem
from optimizer.search.pool import Pool
from tests.firmware_interface.planned import board_of, compiled, row_of

BOARDS = 3


@cache
def problem_of(name: str) -> tuple[Prepared, Problem]:
    prepared = prepare(load_onnx(f"zoo:{name}"))
    system = row_of(board_of("posix", 1 << 22, 1 << 22), BOARDS)
    graph = with_code(build_graph(prepared), system)
    return prepared, Problem(graph, system, roofline_costs(graph, system))


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(["tiny_resnet8_int8", "tiny_resnet8", "tiny_dscnn_int8", "tiny_dscnn", "tiny_digits_int8"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_images_are_as_large_as_planned(name: str, seed: int) -> None:
    prepared, problem = problem_of(name)
    n = len(problem.graph.operators)
    cuts = np.sort(np.random.default_rng(seed).integers(0, n + 1, BOARDS - 1))
    plan = Pool(problem).score(np.searchsorted(cuts, np.arange(n), side="right"))
    assert plan is not None
    plan = with_arenas(problem, plan)
    assert list(arena_faults(problem, plan)) == []
    for segment in plan.segments:
        board = segment.processor.split("/")[0]
        image = compiled(prepared, problem.graph, plan, segment, problem.system.board(board))
        use = plan.score.memory_bytes[board]
        assert (use.flash_bytes, use.arena_bytes) == (image.flash_bytes, image.ram_bytes)
