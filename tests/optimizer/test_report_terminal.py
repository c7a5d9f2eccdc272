"""The tables in the terminal: complete, and legible at 80 columns."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console, RenderableType

from optimizer.report_terminal import demo_table, solve_table
from tests.optimizer.report_samples import measured_sample, sample


def _printed(what: RenderableType, width: int) -> str:
    stream = StringIO()
    Console(width=width, force_terminal=False, file=stream).print(what)
    return stream.getvalue()


@pytest.mark.parametrize("width", [80, 100, 160])
def test_solve_table_tells_plan_proof_and_front(width: int) -> None:
    text = " ".join(_printed(solve_table(sample()), width).split())
    for words in (
        "resnet on demo",
        "left/cpu fp32",
        "44.8 /s",
        "proven optimal within contiguous plans, any board order",
        "not proven (best found: 279 mJ)",
        "1.72 times the best single board (left/cpu, 26.1 /s)",
        "The front has 14 plans",
        "s1 ends with /fc/Gemm",
        "Warning: 2 operators of unknown type",
    ):
        assert words in text, words


def test_names_are_not_read_as_markup() -> None:
    data = sample(1)
    data = replace(data, graph=replace(data.graph, name="[red]x[/red]"), warnings=("[bold]w",))
    text = _printed(solve_table(data), 100)
    assert "[red]x[/red]" in text
    assert "[bold]w" in text


@pytest.mark.parametrize("width", [80, 99, 100, 140])
def test_demo_table_keeps_every_figure_at_any_width(width: int) -> None:
    text = _printed(demo_table(measured_sample().rows, title="the title", caption="quick"), width)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    for figure in (
        "44.8 /s",
        "43.1 /s",
        "+3.9 %",
        "58.3 ms",
        "60.1 ms",
        "\u22123.0 %",
        "311 mJ",
        "322 mJ",
        "quick",
    ):
        assert figure in text, figure
    assert "\u2013" in text  # what was not measured


def test_demo_table_names_energy_as_modelled() -> None:
    text = _printed(demo_table(measured_sample().rows), 120)
    assert "modelled from" in text
    assert text.count("measured") == 2
