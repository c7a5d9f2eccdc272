"""The parts a report is made of: figures, words, Gantt rows, plots, tables."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer import report_format as fmt
from optimizer.plan import Certificate, Score
from optimizer.report_data import Baseline, GanttBar
from optimizer.report_gantt import gantt_rows, split_wraps, ticks
from optimizer.report_pareto import anchors, make_axis, on_scale
from optimizer.report_segments import boards_used, memory_bars, route_text, segment_rows, transfer_rows
from optimizer.report_view import front_rows, pareto_plots
from optimizer.report_words import claim
from tests.optimizer.report_samples import CLASS, chain_system, front_of, sample

_SCORE = Score(0.02, 50.0, 0.1, 0.5, 0, {}, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (fmt.time(0.0123456), "12.3 ms"),
        (fmt.time(0.9999), "1.00 s"),
        (fmt.time(2.5e-7), "250 ns"),
        (fmt.time(0.0), "0 s"),
        (fmt.time(None), "\u2013"),
        (fmt.time(float("inf")), "∞"),
        (fmt.rate(1234.4), "1\u202f234 /s"),
        (fmt.rate(0.04567), "0.0457 /s"),
        (fmt.size(602112), "588 KiB"),
        (fmt.size(64 << 20), "64 MiB"),
        (fmt.size(0), "0 B"),
        (fmt.count(386_000_000), "386 M"),
        (fmt.percent(0.0131), "1.3 %"),
        (fmt.percent(0.0001), "< 0.1 %"),
        (fmt.percent(1.0), "100 %"),
        (fmt.relative_error(44.8, 43.1), "+3.9 %"),
        (fmt.relative_error(38.3, 39.7), "\u22123.5 %"),
        (fmt.relative_error(38.3, None), "\u2013"),
        (fmt.quantity(3.0, "flops"), "3.00 flops"),
        (fmt.shorten("/features/features.1/Conv", 12), "/fea….1/Conv"),
    ],
)
def test_figures_read_well(text: str, expected: str) -> None:
    assert text == expected


@given(st.floats(1e-12, 1e12))
def test_figures_have_three_digits_and_the_right_value(value: float) -> None:
    text = fmt.rate(value).removesuffix(" /s").replace("\u202f", "")
    assert "e" not in text
    assert float(text) == pytest.approx(value, rel=6e-3, abs=5e-10)


@given(st.text(max_size=60), st.integers(2, 40))
def test_shortened_text_fits_and_keeps_its_end(text: str, limit: int) -> None:
    short = fmt.shorten(text, limit)
    assert len(short) <= limit
    if len(text) > limit > 3:
        assert short.endswith(text[-1])


def _certificate(value: float, bound: float | None, status: str, unit: str = "s") -> Certificate:
    gap = None if bound is None else (value - bound) / value
    return Certificate(value, bound, gap, unit, status, CLASS, "m", 1.0)


def test_attained_optimum_is_proven_optimal_within_its_class() -> None:
    said = claim("latency", _certificate(0.1, 0.1, "proven"), _SCORE)
    assert (said.level, said.headline) == ("proven", f"proven optimal within {CLASS}")


def test_period_certificate_speaks_of_the_throughput() -> None:
    said = claim("throughput", _certificate(0.02, 0.02, "proven", "s (period)"), _SCORE)
    assert said.level == "proven"
    slow = replace(_SCORE, period_s=0.04, throughput_per_s=25.0)
    said = claim("throughput", _certificate(0.02, 0.02, "proven", "s (period)"), slow)
    assert (said.level, said.headline) == ("bounded", "50.0 % below the best possible")
    assert "50.0 /s, proven" in said.detail


def test_class_without_the_word_plan_is_completed() -> None:
    certificate = replace(
        _certificate(0.1, 0.1, "proven"),
        plan_class="contiguous (one segment a processor), any order of boards",
    )
    assert claim("latency", certificate, _SCORE).headline == (
        "proven optimal within contiguous plans, any order of boards"
    )


def test_gap_is_told_in_per_cent() -> None:
    said = claim("latency", _certificate(0.1, 0.0987, "bounded"), _SCORE)
    assert (said.level, said.headline) == ("bounded", "within 1.3 % of the best possible")


def test_no_completed_proof_claims_nothing() -> None:
    assert claim("energy", None, _SCORE).headline == "not proven"
    assert claim("energy", _certificate(0.5, None, "heuristic"), _SCORE).headline == "not proven"
    said = claim("energy", _certificate(0.4, None, "heuristic", "J"), _SCORE)
    assert (said.headline, said.detail) == ("not proven", "best found: 400 mJ")


@given(
    value=st.floats(0.05, 1.0),
    own=st.floats(1.0, 5.0),
    gap=st.floats(0.0, 0.9),
    status=st.sampled_from(["proven", "bounded", "heuristic"]),
)
def test_optimal_is_said_of_no_plan_that_is_not(value: float, own: float, gap: float, status: str) -> None:
    certificate = _certificate(value, value * (1 - gap), status)
    said = claim("latency", certificate, replace(_SCORE, latency_s=value * own))
    if "proven optimal" in said.headline:
        assert gap <= 1.01e-4 and own <= 1.00011 and status == "proven"
    if status == "heuristic":
        assert said.headline == "not proven"


@given(start=st.floats(0, 0.999), length=st.floats(0, 1.0), stage=st.integers(-2, 5))
def test_wrapped_bars_keep_their_length_and_stay_in_the_window(start: float, length: float, stage: int) -> None:
    pieces = split_wraps(GanttBar("r", "segment:s", "s", start, start + length, stage), 1.0)
    assert sum(end - begin for begin, end, _ in pieces) == pytest.approx(length, abs=1e-8)
    assert all(0 <= begin <= end <= 1.0 for begin, end, _ in pieces)
    assert [s for _, _, s in pieces] == [stage, stage + 1][: len(pieces)]


def test_gantt_has_a_row_for_every_busy_resource_and_wraps_are_a_frame_older() -> None:
    data = sample(4)
    period = data.plan.score.period_s
    rows = gantt_rows(data.system, data.timeline, data.plan.score.occupancy_s, period)
    assert [r.resource for r in rows] == ["left/cpu", "right/cpu", "left->right", "right->left"]
    assert [r.board for r in rows] == [0, 1, None, None]
    wrapped = [bar for bar in rows[1].bars if bar.cut_left or bar.cut_right]
    assert [bar.frame for bar in wrapped] == ["n\u22121", "n\u22122"]
    assert all(bar.left + bar.width <= 100.001 for r in rows for bar in r.bars)
    assert rows[0].occupancy == "100 %"


def test_gantt_of_a_plan_that_never_runs_is_empty() -> None:
    data = sample(1)
    assert gantt_rows(data.system, data.timeline, {}, float("inf")) == ()


def test_ticks_span_the_period() -> None:
    assert ticks(0.02) == (
        (0.0, "0"),
        (25.0, "5.00 ms"),
        (50.0, "10.0 ms"),
        (75.0, "15.0 ms"),
        (100.0, "20.0 ms"),
    )


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=30))
def test_axis_holds_its_values_and_a_few_ticks(values: list[float]) -> None:
    axis = make_axis(values)
    assert all(0 <= axis.share(v) <= 1 for v in values)
    assert 1 <= len(axis.ticks) <= 26
    assert all(-1e-9 <= axis.share(t) <= 1 + 1e-9 for t in axis.ticks if t > 0)


def test_anchors_name_the_best_of_each_objective() -> None:
    data = sample()
    assert set(anchors(data.front).values()) == {"best throughput", "best latency", "best energy"}
    assert anchors(front_of(data.plan, count=1)) == {0: "best in all three"}


def test_plots_fill_proven_points_only_and_mark_the_chosen() -> None:
    for svg in (p.svg for p in pareto_plots(sample()) if p.first):
        assert len(re.findall(r'class="pt proven chosen"', svg)) == 1
        assert len(re.findall(r'class="pt proven"', svg)) == 2
        assert len(re.findall(r'class="pt heuristic"', svg)) == 11
        assert len(re.findall(r'class="pt base"', svg)) == 1  # the other baseline is not feasible
        assert "latency" in svg and "[1/s]" in svg


def test_plot_labels_do_not_cover_each_other() -> None:
    for svg in (p.svg for p in pareto_plots(sample())):
        places = re.findall(r'class="pt-label[^"]*" x="([-\d.]+)" y="([-\d.]+)" text-anchor="(\w+)">([^<]*)', svg)
        boxes = []
        for x, y, anchor, text in places:
            width = 6.0 * len(text)
            left = float(x) - {"start": 0, "middle": width / 2, "end": width}[anchor]
            boxes.append((left, float(y) - 10, left + width, float(y)))
        assert len(boxes) == 4
        for i, a in enumerate(boxes):
            for b in boxes[:i]:
                assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_far_off_baselines_are_left_out_of_the_plot() -> None:
    data = sample()
    near = Baseline("near", 20.0, 0.05, 0.3, True)
    others = (
        Baseline("slow", 1.0, 0.05, 0.3, True),
        Baseline("late", 20.0, 5.0, 0.3, True),
        Baseline("hungry", 20.0, 0.05, 9.0, True),
        Baseline("too small", None, None, None, False, "needs RAM"),
    )
    assert on_scale(data.front, (near, *others)) == (near,)


def test_segment_rows_add_up() -> None:
    data = sample(4)
    rows = segment_rows(data)
    assert sum(r.operators for r in rows) == len(data.graph.operators)
    assert sum(r.macs for r in rows) == data.graph.macs
    assert sum(r.weight_bytes for r in rows) == data.graph.parameters_bytes
    assert (rows[0].first, rows[-1].last) == ("/conv1/Conv", "/fc/Gemm")
    assert rows[0].in_bytes == 602112
    assert rows[0].seconds == pytest.approx(data.plan.score.occupancy_s["left/cpu"])


def test_transfer_rows_name_source_sink_and_route() -> None:
    rows = transfer_rows(sample(12, boards=("left", "hub", "right")))
    assert (rows[0].tensor, rows[0].producer, rows[0].route) == ("input", "source", "stays on left")
    assert (rows[-1].consumers, rows[-1].route, rows[-1].hops) == ("sink", "right → hub → left", 2)


def test_branches_of_a_multicast_are_told_apart() -> None:
    system = chain_system(("a", "b", "c"))
    assert route_text(system, ["b->a", "b->c"]) == "b → a; b → c"


def test_boards_used_counts_relays_source_and_sink() -> None:
    data = sample(4, boards=("left", "hub", "right"))
    assert boards_used(data.system, data.plan) == ("left", "hub", "right")
    alone = replace(
        data.plan,
        segments=tuple(replace(s, processor="left/cpu") for s in data.plan.segments),
        transfers=tuple(replace(t, boards=("left",)) for t in data.plan.transfers),
    )
    assert boards_used(data.system, alone) == ("left",)


def test_memory_parts_add_up_to_what_is_used() -> None:
    for bar in memory_bars(sample(4, boards=("left", "hub", "right"))):
        assert sum(n for _, _, n in bar.parts) == bar.used_bytes
        assert bar.scale_bytes >= bar.used_bytes


def test_weights_run_from_flash_are_not_counted_in_ram() -> None:
    bars = {(b.board, b.kind): b for b in memory_bars(sample(4))}
    assert bars["left", "RAM"].parts[0][0] == "weights"
    assert bars["right", "RAM"].parts[0][0] == "arena"
    assert ("right", "flash") in bars
    assert ("left", "flash") not in bars


def test_front_rows_mark_one_chosen_plan() -> None:
    rows = front_rows(sample())
    assert [r.number for r in rows if r.chosen] == [1]
    assert sum(r.proven for r in rows) == 3
