"""Plans over microcontroller boards against all assignments there are: bounds hold, and nothing possible is refused."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from boards.board import System
from boards.catalog import load_board, load_medium
from optimizer.cost_models.roofline import roofline_costs
from optimizer.graph import Graph
from optimizer.infeasible import Infeasible
from optimizer.mcu import with_code
from optimizer.onnx_model import load_graph
from optimizer.plan import Front
from optimizer.problem import Problem
from optimizer.search.pool import Pool
from optimizer.solve import SolveOptions, solve

KINDS = ("Conv", "Relu", "Sigmoid", "MaxPool", "Add")


@cache
def random_graph(seed: int) -> Graph:
    """Seven operators on small images, some of which join branches."""
    rng = np.random.default_rng(seed)
    nodes, weights = [], []
    tensors = {"x": (4, 12)}
    for at in range(7):
        name = f"op{at}"
        source = list(tensors)[-1] if rng.random() < 0.75 else str(rng.choice(list(tensors)))
        channels, side = tensors[source]
        kind = str(rng.choice(KINDS))
        others = [t for t, shape in tensors.items() if shape == tensors[source] and t != source]
        if kind == "Add" and not others:
            kind = "Relu"
        if kind == "Conv":
            outs = int(rng.choice([2, 6, 12]))
            weights.append(numpy_helper.from_array(np.ones((outs, channels, 3, 3), np.float32), f"{name}_w"))
            nodes.append(helper.make_node("Conv", [source, f"{name}_w"], [name], name=name, pads=[1, 1, 1, 1]))
            tensors[name] = (outs, side)
        elif kind == "MaxPool" and side > 3:
            nodes.append(helper.make_node("MaxPool", [source], [name], name=name, kernel_shape=[2, 2], strides=[2, 2]))
            tensors[name] = (channels, side // 2)
        elif kind == "Add":
            nodes.append(helper.make_node("Add", [source, others[0]], [name], name=name))
            tensors[name] = tensors[source]
        else:
            nodes.append(helper.make_node("Relu" if kind == "MaxPool" else kind, [source], [name], name=name))
            tensors[name] = tensors[source]
    used = {i for n in nodes for i in n.input}
    ends = [t for t in tensors if t not in used]

    def info(name: str) -> onnx.ValueInfoProto:
        channels, side = tensors[name]
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, channels, side, side))

    graph = helper.make_graph(nodes, "random", [info("x")], [info(t) for t in ends], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "random.onnx"
        onnx.save(model, path)
        return load_graph(path)


def problem_of(seed: int, ram_bytes: list[int], slot_sectors: list[int]) -> Problem:
    """The graph over boards in a row with this RAM beside the firmware's."""
    like, uart = load_board("mps2-an386"), load_medium("uart-115200")
    boards = tuple(
        replace(
            like, name=f"b{i}", ram_bytes=like.runtime_ram_bytes + ram // 16 * 16, flash_bytes=0x10000 + 4096 * slot
        )
        for i, (ram, slot) in enumerate(zip(ram_bytes, slot_sectors, strict=True))
    )
    links = tuple(
        uart.link(f"{a.name}->{b.name}", a.name, b.name, f"{a.name}->{b.name}")
        for pair in itertools.pairwise(boards)
        for a, b in (pair, pair[::-1])
    )
    system = System("row", boards, links, "b0", boards[-1].name)
    graph = with_code(random_graph(seed), system)
    return Problem(graph, system, roofline_costs(graph, system))


def best_period_s(problem: Problem) -> float | None:
    """Of all contiguous assignments; None where no plan keeps the memory of every board."""
    pool = Pool(problem)
    n, q = len(problem.graph.operators), len(problem.processors)
    plans = (pool.score(np.array(homes, dtype=np.int64)) for homes in itertools.product(range(q), repeat=n))
    return min((p.score.period_s for p in plans if p is not None and not p.score.violations), default=None)


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 40),
    ram_bytes=st.lists(st.integers(4_000, 26_000), min_size=2, max_size=2),
    slot_sectors=st.lists(st.integers(1, 3), min_size=2, max_size=2),
)
def test_nothing_is_called_impossible_that_is_not(seed: int, ram_bytes: list[int], slot_sectors: list[int]) -> None:
    problem = problem_of(seed, ram_bytes, slot_sectors)
    wanted = best_period_s(problem)
    found = solve(problem, SolveOptions(objectives=("throughput",), time_limit_s=20.0, workers=1))
    if wanted is None:
        assert not isinstance(found, Front)
        return
    assert not isinstance(found, Infeasible)
    if isinstance(found, Front):  # else the machine was too busy
        assert found.plans[found.chosen].score.period_s >= wanted * (1 - 1e-9)
        certificate = found.certificates["throughput"]
        assert certificate.bound is not None
        assert certificate.bound <= wanted * (1 + 1e-9)
