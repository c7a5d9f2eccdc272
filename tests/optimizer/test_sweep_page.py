"""What a sweep writes: rows, results.csv, results.json and the page."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from optimizer.sweep import Sweep
from optimizer.sweep_page import render_page, winners
from optimizer.sweep_plots import model_plot
from optimizer.sweep_results import Row, rows, write_sweep
from optimizer.sweep_store import Store
from tests.optimizer.sweep_samples import infeasible, make_case, solved, sweep_of


@pytest.fixture
def sweep() -> Sweep:
    """Two systems; a proven plan, one with a gap, one infeasible, one failed and one open case."""
    case = make_case()
    other = make_case(system=replace(case.system, name="other"))
    return sweep_of(
        (case, solved(case, 100.0, 0.4)),
        (other, solved(other, 80.0, 0.1, gap=0.02)),
        (make_case(limits_name="tight", seed=1), infeasible("--max-latency asks for <too> much.", "So does energy.")),
        (make_case(limits_name="tight", seed=2), "ended by SIGKILL"),
        (make_case(limits_name="tight", seed=3), None),
    )


def page(sweep: Sweep) -> str:
    return render_page(sweep, rows(sweep, Store(Path("out"))))


def test_row_holds_the_figures_of_the_plan(sweep: Sweep) -> None:
    row = rows(sweep, Store(Path("out")))[1]
    assert (row.status, row.proof, row.throughput_per_s, row.energy_j) == ("solved", "bounded", 80.0, 0.1)
    assert row.gap == pytest.approx(0.02)
    assert (row.ram_bytes, row.ram_share) == (3000, 0.25)
    assert row.fullest_board == row.boards[0]
    assert row.report == f"cases/{row.key}/report.html"


def test_gap_is_that_of_the_preferred_objective() -> None:
    case, knee = make_case(prefer="energy"), make_case(prefer="knee")
    answer = solved(case)
    answer.record["certificate"]["energy"]["bound"] = 0.15
    found = rows(sweep_of((case, answer), (knee, solved(knee))), Store(Path("out")))
    assert found[0].gap == pytest.approx(0.25)
    assert found[1].gap is None
    assert found[1].proof == "proven"


def test_gap_of_a_heuristic_plan_is_unknown() -> None:
    case = make_case()
    answer = solved(case)
    answer.record["certificate"]["throughput"] |= {"bound": None, "gap": None, "status": "heuristic"}
    (row,) = rows(sweep_of((case, answer)), Store(Path("out")))
    assert (row.gap, row.proof) == (None, "heuristic")


def test_csv_and_json_have_a_line_a_case(sweep: Sweep, tmp_path: Path) -> None:
    files = write_sweep(sweep, tmp_path)
    with files.csv.open(newline="") as stream:
        table = list(csv.DictReader(stream))
    content = json.loads(files.json.read_text())
    assert content["schema"] == "edgecut/sweep-results/1"
    assert [r["status"] for r in table] == [c["status"] for c in content["cases"]]
    assert [r["status"] for r in table] == ["solved", "solved", "infeasible", "failed", "open"]
    assert float(table[1]["throughput_per_s"]) == content["cases"][1]["throughput_per_s"] == 80.0
    assert table[2]["throughput_per_s"] == ""
    assert table[2]["reasons"] == "--max-latency asks for <too> much.; So does energy."
    assert files.page.read_text().startswith("<!DOCTYPE html>")


class _Outline(HTMLParser):
    """Checks nesting and gathers ids, links and whatever would ask the network."""

    VOID = frozenset({"meta", "link", "br", "input", "circle", "path", "rect"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if tag == "a" and name == "href":
                self.links.append(value or "")
            if name == "src" or (name == "href" and tag != "a"):
                self.loads.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_page_is_well_formed_and_loads_nothing(sweep: Sweep) -> None:
    outline = _Outline()
    outline.feed(page(sweep))
    assert outline.open == []
    assert len(outline.ids) == len(set(outline.ids))
    assert outline.loads == ["data:,"]
    inner = {link[1:] for link in outline.links if link.startswith("#")}
    assert inner and inner <= set(outline.ids)


def test_page_links_each_plan_to_its_report(sweep: Sweep) -> None:
    text = page(sweep)
    for case in sweep.grid.cases[:2]:
        assert f'href="cases/{case.key}/report.html"' in text
    assert sweep.grid.cases[2].key not in text


def test_page_names_infeasible_cases_with_every_reason(sweep: Sweep) -> None:
    text = page(sweep)
    assert "--max-latency asks for &lt;too&gt; much." in text
    assert "So does energy." in text
    assert "ended by SIGKILL" in text
    assert "2 cases without an answer" in text


def test_unfinished_sweep_claims_nothing_about_the_rest() -> None:
    case = make_case()
    done = page(sweep_of((case, solved(case))))
    half = page(sweep_of((case, solved(case)), (make_case(seed=1), None)))
    assert "every limit can be met" in done
    assert "every limit can be met" not in half
    assert "none so far" in half


def test_names_are_escaped() -> None:
    case = make_case(limits_name="<script>alert(1)</script>")
    text = page(sweep_of((case, solved(case)), name='"><img src=x>'))
    assert "<script>alert" not in text
    assert "<img" not in text


def test_winner_is_best_in_the_preferred_objective() -> None:
    cases = []
    for prefer in ("throughput", "energy", "knee"):
        for name, rate, energy in (("a", 100.0, 0.4), ("b", 80.0, 0.1), ("c", 60.0, 0.2)):
            base = make_case(prefer=prefer)
            case = replace(base, system=replace(base.system, name=name))
            cases.append((case, solved(case, rate, energy)))
    by_rate, by_energy = winners(rows(sweep_of(*cases), Store(Path("out"))))
    assert by_rate.best.system == "a"
    assert by_rate.second is not None and by_rate.second.system == "b"
    assert (by_rate.value, by_rate.behind) == ("100 /s", "20.0 % lower")
    assert (by_energy.best.system, by_energy.value, by_energy.behind) == ("b", "100 mJ", "100 % more")


def test_winner_without_a_second_says_so(sweep: Sweep) -> None:
    alone = [row for row in rows(sweep, Store(Path("out"))) if row.system != "other"]
    (winner,) = winners(alone)
    assert (winner.second, winner.behind) == (None, "")


def test_plot_has_a_mark_a_place_and_none_without_plans(sweep: Sweep) -> None:
    found = rows(sweep, Store(Path("out")))
    svg = model_plot("m", found, ["mesh", "other", *{r.system for r in found}])
    assert len(re.findall('class="case', svg)) == 2
    assert len(re.findall('class="dim', svg)) == 4
    assert model_plot("m", found[2:], ["other", *{r.system for r in found}]) == ""


def test_cases_on_one_place_share_a_mark_that_names_them() -> None:
    row = Row("m", "s", "free", "latency", 0, "solved", "heuristic", 10.0, 0.1, 0.5, claim="not proven")
    svg = model_plot("m", [row, replace(row, prefer="energy")], ["s"])
    assert svg.count('class="case b0 hollow"') == 1
    assert "prefer latency" in svg and "prefer energy" in svg


def test_page_of_one_system_has_no_winners_and_of_no_plan_no_plots() -> None:
    case = make_case()
    text = page(sweep_of((case, infeasible("no way"))))
    assert 'id="winners"' not in text
    assert 'id="plots"' not in text
    assert "no way" in text
