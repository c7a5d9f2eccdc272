"""The tables that `optimizer solve` and `make demo` print, as rich renderables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from optimizer import report_format as fmt
from optimizer.objectives import OBJECTIVES
from optimizer.report_data import DemoRow, ReportData
from optimizer.report_segments import segment_rows
from optimizer.report_view import best_baseline
from optimizer.report_words import Claim, claim, objectives_shown, step_lines, value_of

__all__ = ["demo_table", "solve_table"]

_STYLE = {"proven": "green", "bounded": "yellow", "heuristic": "dim"}
_WIDE_COLUMNS = 100
_WIDE = (
    "throughput\npredicted",
    "\nmeasured",
    "\nerror",
    "latency\npredicted",
    "\nmeasured",
    "\nerror",
    "energy (model)\npredicted",
    "modelled from\nbusy time",
)
_NARROW = (
    "throughput\npred.",
    "\nmeas.",
    "\nerror",
    "latency\npred.",
    "\nmeas.",
    "\nerror",
    "energy\nmodel",
    "by busy\ntime",
)


def solve_table(data: ReportData) -> RenderableType:
    """The chosen plan: its segments, its score with what is proven of it, and a line about the front.

    Names are shown as they are: nothing in them is read as rich markup.
    """
    parts: list[RenderableType] = [
        Text.assemble(
            ("Plan for ", "bold"),
            (data.graph.name, "bold"),
            (" on ", "bold"),
            (data.system.name, "bold"),
            f" (preferred: {data.front.prefer})",
        ),
        _segments(data),
        _score(data),
        Text(_front_line(data), style="dim"),
    ]
    if data.front.chosen_because and len(data.front.plans) > 1:
        parts.append(Text(f"Chosen: {data.front.chosen_because}.", style="dim"))
    parts += [Text(line, style="dim") for line in step_lines(data.front)]
    parts += [Text(line) for line in data.uncertainty_text]
    parts += [Text(f"Warning: {warning}", style="yellow") for warning in data.warnings]
    parts += [Text(f"Broken limit: {v}", style="red") for v in data.plan.score.violations]
    return Group(*parts)


def _segments(data: ReportData) -> RenderableType:
    rows = segment_rows(data)
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("segment")
    table.add_column("processor", overflow="fold")
    for name in ("operators", "compute", "weights", "in", "out"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            Text(row.name),
            Text(f"{row.board}/{row.processor} {row.precision}"),
            str(row.operators),
            fmt.time(row.seconds),
            fmt.size(row.weight_bytes),
            fmt.size(row.in_bytes),
            fmt.size(row.out_bytes),
        )
    ends = [Text(f"{row.name} ends with {row.last}", style="dim", overflow="fold") for row in rows]
    return Padding(Group(table, *ends), (1, 0, 1, 2))


def _score(data: ReportData) -> RenderableType:
    score = data.plan.score
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for objective in objectives_shown(data.front):
        value = fmt.quantity(value_of(objective, score), OBJECTIVES[objective].shown_unit)
        said = claim(objective, data.front.certificates.get(objective), score)
        table.add_row(objective, value, _claim_text(said))
        if objective == "throughput":
            table.add_row("period", fmt.time(score.period_s), Text(_gain(data)))
    if "link-bytes" not in data.front.certificates:
        table.add_row("link bytes", fmt.size(score.link_bytes), Text("an inference, on the wire"))
    return Padding(table, (0, 0, 1, 2))


def _claim_text(said: Claim) -> Text:
    text = Text(said.headline, style=_STYLE[said.level])
    if said.detail:
        text.append(f" ({said.detail})", style="dim")
    return text


def _gain(data: ReportData) -> str:
    best = best_baseline(data)
    if best is None or not best.throughput_per_s:
        return "no single board can run the model alone" if data.baselines else ""
    ratio = data.plan.score.throughput_per_s / best.throughput_per_s
    return f"{ratio:.2f} times the best single board ({best.label}, {fmt.rate(best.throughput_per_s)})"


def _front_line(data: ReportData) -> str:
    scores = [p.score for p in data.front.plans]
    if len(scores) == 1:
        return f"The front has this plan only; searched {fmt.time(data.front.seconds)}."

    def span(objective: str) -> str:
        values = [value_of(objective, s) for s in scores]
        ends = [fmt.quantity(v, OBJECTIVES[objective].shown_unit) for v in (min(values), max(values))]
        return " to ".join(ends)

    spans = ", ".join(span(o) for o in objectives_shown(data.front))
    return f"The front has {len(scores)} plans: {spans}; searched {fmt.time(data.front.seconds)}."


def demo_table(rows: Sequence[DemoRow], *, title: str = "", caption: str = "") -> RenderableType:
    """Single-board baselines and the chosen plan, predicted and measured side by side.

    Energy has two columns, predicted by the model and modelled from measured busy time; neither is measured.
    Headers shorten where the terminal is narrow.
    """
    return _DemoTable(tuple(rows), title, caption)


@dataclass(frozen=True)
class _DemoTable:
    rows: tuple[DemoRow, ...]
    title: str
    caption: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.max_width >= _WIDE_COLUMNS
        table = Table(
            title=Text(self.title) if self.title else None,
            caption=Text(self.caption) if self.caption else None,
            box=SIMPLE_HEAD,
            pad_edge=False,
            padding=(0, 1 if wide else 0, 0, 0),
        )
        table.add_column("", min_width=8, overflow="fold")
        for header in _WIDE if wide else _NARROW:
            table.add_column(header, justify="right", no_wrap=True)
        for row in self.rows:
            table.add_row(*_demo_cells(row), style="bold" if row.chosen else None)
        yield table


def _demo_cells(row: DemoRow) -> tuple[Text | str, ...]:
    label = Text(row.label)
    if row.note:
        label.append(f"\n{row.note}", style="dim")
    return (
        label,
        fmt.rate(row.throughput_predicted_per_s),
        fmt.rate(row.throughput_measured_per_s),
        fmt.relative_error(row.throughput_predicted_per_s, row.throughput_measured_per_s),
        fmt.time(row.latency_predicted_s),
        fmt.time(row.latency_measured_s),
        fmt.relative_error(row.latency_predicted_s, row.latency_measured_s),
        fmt.energy(row.energy_predicted_j),
        fmt.energy(row.energy_modelled_j),
    )
