"""The drawing of the network: layers, order, blocks, stacking."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.report_graph import draw_graph
from optimizer.report_groups import gather_blocks, one_by_one
from optimizer.report_layout import Net, layered_layout
from optimizer.report_stack import Face, Wire, block_rows, stack
from tests.optimizer.report_samples import residual_graph, sample

_BOX = (60.0, 24.0)


def _random_nets(n: int, seed: int) -> list[Net]:
    rng = random.Random(seed)
    nets = []
    for v in range(n - 1):
        targets = sorted(rng.sample(range(v + 1, n), min(n - 1 - v, rng.randint(0, 3))))
        if targets:
            nets.append(Net(v, tuple(targets)))
    return nets


@given(n=st.integers(1, 40), seed=st.integers(0, 10**6))
def test_boxes_never_overlap_and_edges_run_downwards(n: int, seed: int) -> None:
    nets = _random_nets(n, seed)
    layout = layered_layout([_BOX] * n, nets)
    boxes = [(x, y, x + _BOX[0], y + _BOX[1]) for x, y in layout.nodes]
    for i, a in enumerate(boxes):
        assert a[0] >= -0.01 and a[2] <= layout.width + 0.01 and a[3] <= layout.height + 0.01
        for b in boxes[:i]:
            assert a[2] <= b[0] + 0.01 or b[2] <= a[0] + 0.01 or a[3] <= b[1] or b[3] <= a[1]
    for net, path in zip(nets, layout.paths, strict=True):
        assert path.startswith("M")
        for target in net.targets:
            assert layout.nodes[target][1] > layout.nodes[net.source][1]


def _ends(path: str) -> set[tuple[float, float]]:
    """Every point at which a piece of the path ends or starts."""
    points, x, y = set(), 0.0, 0.0
    for command, arguments in re.findall(r"([MVC])([-\d. ]+)", path):
        numbers = [float(a) for a in arguments.split()]
        x, y = (x, numbers[0]) if command == "V" else (numbers[-2], numbers[-1])
        points.add((x, y))
    return points


@given(n=st.integers(2, 25), seed=st.integers(0, 10**6))
def test_edges_touch_the_boxes_that_they_join(n: int, seed: int) -> None:
    nets = _random_nets(n, seed)
    layout = layered_layout([_BOX] * n, nets)
    for net, path in zip(nets, layout.paths, strict=True):
        ends = _ends(path)
        x, y = layout.nodes[net.source]
        assert any(abs(ex - x - 30) < 1.4 and abs(ey - y - 24) < 0.2 for ex, ey in ends)
        for target in net.targets:
            x, y = layout.nodes[target]
            assert any(abs(ex - x - 30) < 1.4 and abs(ey - y) < 0.2 for ex, ey in ends)


def test_chain_is_drawn_as_a_straight_line() -> None:
    layout = layered_layout([(40.0 + 10 * (k % 4), 24.0) for k in range(30)], [Net(k, (k + 1,)) for k in range(29)])
    assert len({round(x + 20 + 5 * (k % 4), 3) for k, (x, _) in enumerate(layout.nodes)}) == 1


def test_ports_stand_alone_in_the_first_and_last_layer() -> None:
    sizes = [(10.0, 0.0), _BOX, _BOX, (10.0, 0.0)]
    layout = layered_layout(sizes, [Net(0, (1, 2)), Net(1, (2, 3))], first=[0], last=[3])
    ys = [y for _, y in layout.nodes]
    assert ys == sorted(ys) and len(set(ys)) == 4


def test_nothing_to_draw_is_drawn_as_nothing() -> None:
    assert layered_layout([], []).height == 0


@given(blocks=st.integers(0, 12), low=st.floats(0, 0.99), high=st.floats(0, 1))
def test_blocks_hold_every_operator_once_in_order(blocks: int, low: float, high: float) -> None:
    graph = residual_graph(blocks)
    n = len(graph.operators)
    first, last = sorted((int(low * n), int(high * n)))
    operators = range(first, max(first + 1, last))
    gathered = [v for g in gather_blocks(graph, operators) for v in g.operators]
    assert gathered == list(operators)
    assert sum(g.macs for g in gather_blocks(graph, operators)) == sum(g.macs for g in one_by_one(graph, operators))


def test_residual_blocks_become_one_box_each() -> None:
    groups = gather_blocks(residual_graph(6), range(6 + 8 * 6))
    labels = [g.label for g in groups]
    assert labels[1:7] == [f"layer{1 + b % 4}.{b}" for b in range(6)]
    assert [len(g.operators) for g in groups[1:7]] == [8] * 6
    assert labels[0] == "Conv → Relu → MaxPool"


def test_first_level_of_a_model_names_no_box_but_a_module_there_does() -> None:
    graph = residual_graph(2)
    names = [f"/features/{op.op_type}_{op.index}" for op in graph.operators]
    flat = replace(graph, operators=tuple(replace(op, name=n) for op, n in zip(graph.operators, names, strict=True)))
    labels = [g.label for g in gather_blocks(flat, range(8))]
    assert all("features" not in label for label in labels)
    names = [f"/inception{op.index > 10}/{op.op_type}_{op.index}" for op in graph.operators]
    flat = replace(graph, operators=tuple(replace(op, name=n) for op, n in zip(graph.operators, names, strict=True)))
    assert "inceptionFalse" in [g.label for g in gather_blocks(flat, range(11))]


def _face(width: float, height: float, ins: int, outs: int) -> Face:
    spread = lambda k: tuple(width * (i + 1) / (k + 1) for i in range(k))  # noqa: E731
    return Face(width, height, spread(ins), spread(outs), "")


def _wire(source: int, target: int) -> Wire:
    return Wire(source, target, "label", "", True, ())


def test_parallel_segments_stand_side_by_side_and_skips_run_in_a_lane() -> None:
    wires = (_wire(0, 1), _wire(1, 2), _wire(1, 3), _wire(1, 4), _wire(2, 4), _wire(3, 4), _wire(4, 5))
    rows = block_rows(6, wires)
    assert rows == ((0,), (1,), (2, 3), (4,), (5,))
    faces = [_face(100, 40, 1, 1), _face(100, 40, 1, 3), *[_face(100, 40, 1, 1)] * 2, _face(100, 40, 3, 1)]
    stacked = stack([*faces, _face(100, 40, 1, 0)], rows, wires)
    assert stacked.places[2][1] == stacked.places[3][1]
    assert stacked.places[2][0] + 100 < stacked.places[3][0]
    lane = max(float(x) for x in re.findall(r" ([\d.]+) [\d.]+V", stacked.paths[3].split("C", 1)[1]))
    assert lane > stacked.places[3][0] + 100
    assert stacked.width > lane


def test_drawing_has_a_box_for_every_operator_and_block() -> None:
    data = sample(4)
    drawing = draw_graph(data)
    assert drawing.svg.count('class="box ') == len(data.graph.operators)
    assert drawing.svg.count('class="toggle"') == len(data.plan.segments)
    model = json.loads(drawing.model_json)
    assert len(model["blocks"]) == len(data.plan.segments) + 2
    assert model["wires"] == [[0, 1], [1, 2], [2, 3]]


def test_boards_give_the_colours() -> None:
    svg = draw_graph(sample(4, boards=("left", "hub", "right"))).svg
    assert re.findall(r'class="segment (b\d)"', svg) == ["b0", "b1", "b2"]


@pytest.mark.parametrize(("blocks", "state"), [(4, "operators"), (12, "blocks"), (80, "closed")])
def test_larger_networks_start_with_less_shown(blocks: int, state: str) -> None:
    model = json.loads(draw_graph(sample(blocks)).model_json)
    assert model["states"] == ["closed", state, state, "closed"]
