"""The page as text: what it says, what it must not hold, how large and how quick it is."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.errors import InputError
from optimizer.plan import Certificate, Front, Segment
from optimizer.report import render_report, write_report
from optimizer.report_data import Baseline, ReportData
from tests.optimizer.report_samples import sample

_VOID = {"meta", "link", "br", "img", "input", "hr"}
_NAMES = st.text(
    alphabet=st.one_of(st.sampled_from("<>&\"'`/={}$\\\n"), st.characters(exclude_categories=("Cs",))),
    min_size=1,
    max_size=30,
)


class _Page(HTMLParser):
    """Checks nesting and gathers ids, text and what would load something."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open_tags: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.text: list[str] = []
        self.loads: list[str] = []
        self.handlers: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "srcset", "action", "data") and value not in ("data:,", "#baselines"):
                self.loads.append(f"{tag} {name}={value}")
            if name.startswith("on"):
                self.handlers.append(name)
        if tag not in _VOID:
            self.open_tags.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open_tags.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open_tags, f"</{tag}> closes nothing"
        assert self.open_tags.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def page() -> _Page:
    return _Page(render_report(sample(measured=True)))


def test_page_is_well_nested_with_unique_ids(page: _Page) -> None:
    assert page.open_tags == []
    assert len(set(page.ids)) == len(page.ids)


def test_page_has_every_section(page: _Page) -> None:
    wanted = "figures measured proof pareto gantt memory segments transfers front baselines network graph"
    assert set(wanted.split()) <= set(page.ids)


def test_page_loads_nothing(page: _Page) -> None:
    html = render_report(sample(measured=True))
    assert page.loads == []
    assert page.handlers == []
    assert "default-src 'none'" in html
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", html) == []
    assert "url(" not in html.replace("url(#tip)", "")


def test_legend_names_only_what_the_plots_show() -> None:
    def legend(data: ReportData) -> set[str]:
        found = re.search(r'<ul class="legend">(.*?)</ul>', render_report(data), re.DOTALL)
        assert found
        return set(re.findall(r"</svg>([^<]+)</li>", found[1]))

    data = sample()
    everything = legend(data)
    assert {"one board alone", "on the front, heuristic", "proven bound: nothing lies beyond"} < everything
    plans = tuple(replace(plan, status="heuristic") for plan in data.front.plans)
    bare = replace(data, front=replace(data.front, plans=plans, certificates={}), baselines=())
    assert legend(bare) == {"chosen plan (hollow: heuristic)", "on the front, heuristic"}


def test_page_tells_figures_proofs_limits_and_warnings(page: _Page) -> None:
    text = " ".join("".join(page.text).split())
    for words in (
        "44.8 /s",
        "22.3 ms",
        "proven optimal within contiguous plans, any board order",
        "within 1.3 % of the best possible",
        "not proven",
        "1.72 times the best single board (left/cpu)",
        "latency at most 80 ms",
        "2 operators of unknown type",
        "needs 71.2 MiB of RAM, 64 MiB available",
        "seed 0",
        "ortools 9.15",
        "emulated boards",
        "modelled from busy time",
        "42.7 to 43.6 /s",
    ):
        assert words in text, words


def test_modelled_energy_stands_in_no_measured_column() -> None:
    html = render_report(sample(measured=True))
    head = html[html.index('<section id="measured">') : html.index('<section id="proof">')]
    columns = re.findall(r'<th scope="col">([^<]*)</th>', head)
    assert columns == [
        *(["predicted", "measured", "error"] * 3),
        "predicted (model)",
        "modelled from busy time",
    ]
    row = head[head.index("the plan") :]
    cells = re.findall(r'<td class="num">([^<]*)', row)
    assert cells[-2:] == ["311 mJ", "322 mJ"]
    assert not any("J" in cell for cell in cells[:-2])


def test_page_without_optional_parts_leaves_their_sections_out() -> None:
    data = replace(sample(), timeline=(), baselines=(), warnings=(), created="")
    data = replace(data, front=replace(data.front, certificates={}))
    ids = _Page(render_report(data)).ids
    assert not {"measured", "gantt", "baselines", "proof"} & set(ids)
    assert {"figures", "segments", "network"} <= set(ids)


def test_one_plan_on_one_board_is_drawn() -> None:
    data = sample(1, boards=("alone", "idle"))
    whole = Segment("s0", "alone/cpu", "fp32", tuple(range(len(data.graph.operators))))
    transfers = tuple(
        replace(
            t,
            producer=t.producer and "s0",
            consumers=("s0",) if t.producer is None else (),
            hops=(),
            boards=("alone",),
        )
        for t in (data.plan.transfers[0], data.plan.transfers[-1])
    )
    plan = replace(data.plan, segments=(whole,), transfers=transfers)
    html = render_report(replace(data, front=Front((plan,), {}, 0, "throughput", 0, 0.1, 1), timeline=()))
    assert "1 of 2" in html
    assert "1 segment on" in " ".join(html.split())


def test_infinite_figures_do_not_break_the_page() -> None:
    data = sample()
    score = replace(data.plan.score, period_s=float("inf"), throughput_per_s=0.0, latency_s=float("inf"))
    plan = replace(data.plan, score=replace(score, violations=("the orders deadlock",)))
    html = render_report(replace(data, front=replace(data.front, plans=(plan,)), timeline=()))
    assert "This plan breaks limits" in html
    assert "∞" in html


def test_bounds_that_claim_nothing_are_worded_as_not_proven() -> None:
    data = sample()
    certificate = Certificate(0.0223, None, None, "s (period)", "heuristic", "any", "NSGA-II", 1.0)
    front = replace(data.front, certificates={"throughput": certificate})
    text = "".join(_Page(render_report(replace(data, front=front))).text)
    assert "proven optimal" not in text
    assert "not proven" in text


@settings(max_examples=25)
@given(_NAMES, _NAMES, _NAMES, _NAMES)
def test_names_from_outside_are_escaped(operator: str, tensor: str, text: str, board: str) -> None:
    data = _renamed(sample(1), operator, tensor, text, board)
    html = render_report(data)
    tame = render_report(_renamed(sample(1), "o", "t", "w", "b"))
    wild = _Page(html)
    assert wild.open_tags == []
    assert text.replace("\0", "\ufffd") in "".join(wild.text)
    # Whatever a name holds, it adds no element: only the cut of long labels may differ, never the structure.
    assert wild.tags == _Page(tame).tags
    assert wild.handlers == [] and wild.loads == []
    model = re.search(r'id="graph-model">(.*?)</script>', html, re.S)
    assert model is not None
    assert json.loads(model[1])["rows"][0] == [0]


def _renamed(data: ReportData, operator: str, tensor: str, text: str, board: str) -> ReportData:
    graph = data.graph
    graph = replace(
        graph,
        name=text,
        source=text,
        operators=tuple(replace(op, name=f"{operator}{op.index}", op_type=operator) for op in graph.operators),
        tensors=tuple(replace(t, name=f"{tensor}{i}") for i, t in enumerate(graph.tensors)),
    )
    transfers = tuple(replace(t, name=f"{tensor}{t.tensor}") for t in data.plan.transfers)
    plan = replace(data.plan, transfers=transfers, status=f"heuristic {text}")
    timeline = tuple(replace(bar, label=tensor) for bar in data.timeline)
    return replace(
        data,
        graph=graph,
        system=replace(data.system, name=board),
        front=replace(data.front, plans=(plan,), chosen=0, prefer=text),
        timeline=timeline,
        baselines=(Baseline(board, None, None, None, False, text),),
        limits_text=(text,),
        warnings=(text,),
        versions={text: text},
        created=text,
    )


def test_lone_surrogates_and_nul_are_replaced() -> None:
    html = render_report(replace(sample(1), warnings=("path \udcff\0 end",)))
    html.encode("utf-8")
    assert "\0" not in html


def test_report_of_five_hundred_operators_is_small() -> None:
    data = sample(62, boards=("a", "b", "c", "d"))
    assert len(data.graph.operators) >= 500
    html = render_report(data)
    assert len(html.encode()) < 6_000_000


def test_same_data_gives_the_same_page() -> None:
    assert render_report(sample(3)) == render_report(sample(3))


def test_report_is_written_whole(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    write_report(sample(1), target)
    assert target.read_text(encoding="utf-8") == render_report(sample(1))
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_report_into_a_missing_folder_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_report(sample(1), tmp_path / "no" / "report.html")
