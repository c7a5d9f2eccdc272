"""The benchmark on the ancestor's costs: its link model, and the figures it must reach with a proof."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.ancestor import CASES, ETHERNET, Case, load_case_graph, make_case_problem, make_system, search

SQUEEZENET, RESNET, GOOGLENET = CASES


def test_ethernet_frames_are_padded_and_carry_headers() -> None:
    link = next(x for x in make_system(("a", "b"), ETHERNET).links if x.name == "a->b")
    assert link.wire_bytes(10) == 46 + 26
    assert link.wire_bytes(1500) == 1526
    assert link.wire_bytes(1501) == 1501 + 2 * 26
    assert link.occupancy_s(12_500_000) == pytest.approx((12_500_000 + 8334 * 26) / 125e6)
    assert link.latency_s == pytest.approx(30e-9)


def test_input_and_output_cross_for_free_and_tensors_at_eight_bits() -> None:
    problem = make_case_problem(SQUEEZENET)
    host = [x for x in problem.links if "host" in (x.source, x.target)]
    assert {x.occupancy_s(10**9) for x in host} == {0.0}
    first = problem.graph.operators[0].outputs[0]
    assert problem.graph.tensors[first].shape == (1, 64, 113, 113)
    assert problem.tables.tensor_bytes[first].tolist() == [64 * 113 * 113] * 2


def test_another_input_size_changes_tensors_and_no_names() -> None:
    small, large = load_case_graph("squeezenet1_1", None), load_case_graph("squeezenet1_1", 227)
    assert [op.name for op in small.operators] == [op.name for op in large.operators]
    assert small.tensors[small.inputs[0]].shape[-1] == 224
    assert large.tensors[large.inputs[0]].shape[-1] == 227


@pytest.mark.parametrize(
    ("case", "non_contiguous", "rate"),
    [
        (SQUEEZENET, False, 199.83),
        (SQUEEZENET, True, 214.62),
        (GOOGLENET, False, 52.995),
        (GOOGLENET, True, 55.1418),
        (RESNET, True, 37.7169),
    ],
)
def test_figures_are_reached_and_proven(case: Case, non_contiguous: bool, rate: float) -> None:
    problem = replace(make_case_problem(case), non_contiguous=non_contiguous)
    row = search(case, problem, 60.0, 1)
    assert row.status == "proven"
    assert row.value >= rate
    assert row.gain_over_board > 0.5
