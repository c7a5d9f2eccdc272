"""From ReportData to what the page says: key figures, certificates, and the rows of its tables."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

from optimizer import report_format as fmt
from optimizer.objectives import DEFAULT_OBJECTIVES, OBJECTIVES
from optimizer.plan import Certificate, Front, Plan
from optimizer.report_data import Baseline, DemoRow, ReportData
from optimizer.report_pareto import PlotAxis, anchors, on_scale, pareto_svg
from optimizer.report_segments import boards_used
from optimizer.report_words import Claim, claim, class_words, in_plain_unit, objectives_shown, proven_plan, value_of

__all__ = [
    "Card",
    "CertificateRow",
    "FrontRow",
    "best_baseline",
    "cards",
    "certificate_rows",
    "front_rows",
    "further_objectives",
    "measured_cells",
    "pareto_plots",
]


@dataclass(frozen=True)
class Card:
    """One key figure. ``claim`` says what is proven of it, where that is known."""

    title: str
    value: str
    note: str
    claim: Claim | None = None


@dataclass(frozen=True)
class CertificateRow:
    """What is proven of one objective, for the chosen plan and for the best plan found."""

    objective: str
    value: str
    best: str
    bound: str
    gap: str
    claim: Claim
    plan_class: str
    method: str
    seconds: str


@dataclass(frozen=True)
class FrontRow:
    """One plan of the front."""

    number: int
    chosen: bool
    proven: bool
    status: str
    mark: str
    throughput: str
    latency: str
    energy: str
    link_bytes: str
    further: tuple[str, ...]
    """Figures of the objectives that have no column of their own (see ``further_objectives``)."""
    boards: str
    segments: int


def further_objectives(front: Front) -> tuple[str, ...]:
    """Objectives without a column of their own in the table of the front."""
    return tuple(o for o in objectives_shown(front) if o not in (*DEFAULT_OBJECTIVES, "link-bytes", "boards"))


def cards(data: ReportData) -> tuple[Card, ...]:
    """Key figures of the chosen plan."""
    score, certificates = data.plan.score, data.front.certificates
    claims = {o: claim(o, certificates.get(o), score) for o in objectives_shown(data.front)}
    used = boards_used(data.system, data.plan)
    hops = sum(len(t.hops) for t in data.plan.transfers)
    return (
        Card("Throughput", fmt.rate(score.throughput_per_s), _against_baseline(data), claims["throughput"]),
        Card("Period", fmt.time(score.period_s), _bottleneck(data.plan)),
        Card("Latency", fmt.time(score.latency_s), "one frame alone, source to sink", claims["latency"]),
        Card("Energy", fmt.energy(score.energy_j), "an inference, from the cost model", claims["energy"]),
        Card(
            "Link bytes",
            fmt.size(score.link_bytes),
            f"on the wire an inference, {_plural(hops, 'hop')}",
            claims.get("link-bytes"),
        ),
        Card("Boards used", f"{len(used)} of {len(data.system.boards)}", ", ".join(used), claims.get("boards")),
        *(
            Card(OBJECTIVES[o].heading, _shown(o, data.plan), _NOTES[o], claims[o])
            for o in further_objectives(data.front)
        ),
    )


_NOTES = {"memory": "used of what is available", "accuracy-loss": "sum over operators, from the sensitivity table"}


def _shown(objective: str, plan: Plan) -> str:
    return fmt.quantity(value_of(objective, plan.score), OBJECTIVES[objective].shown_unit)


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def best_baseline(data: ReportData) -> Baseline | None:
    """The feasible single board with the highest throughput."""
    feasible = [b for b in data.baselines if b.feasible and b.throughput_per_s]
    return max(feasible, key=lambda b: b.throughput_per_s or 0.0, default=None)


def _against_baseline(data: ReportData) -> str:
    best = best_baseline(data)
    if best is None or not best.throughput_per_s:
        return "no single board can run it alone" if data.baselines else "inferences a second, steady state"
    ratio = data.plan.score.throughput_per_s / best.throughput_per_s
    if abs(ratio - 1) < 0.005:
        return f"as {best.label} alone, the best single board"
    return f"{ratio:.2f} times the best single board ({best.label})"


def _bottleneck(plan: Plan) -> str:
    busy = plan.score.occupancy_s
    if not busy or plan.score.period_s <= 0:
        return "between two results"
    resource = max(busy, key=busy.__getitem__)
    return f"{resource} is busy {fmt.percent(busy[resource] / plan.score.period_s)} of it"


def certificate_rows(data: ReportData) -> tuple[CertificateRow, ...]:
    """One row an objective that has a certificate."""
    found = data.front.certificates
    return tuple(_certificate_row(o, in_plain_unit(o, found[o]), data.plan) for o in OBJECTIVES if o in found)


def _certificate_row(objective: str, certificate: Certificate, plan: Plan) -> CertificateRow:
    said = claim(objective, certificate, plan.score)
    gap = certificate.gap
    return CertificateRow(
        objective=objective,
        value=_shown(objective, plan),
        best=fmt.quantity(certificate.value, certificate.unit),
        bound="none" if certificate.bound is None else fmt.quantity(certificate.bound, certificate.unit),
        gap="unknown" if gap is None else "0" if gap <= 1e-4 else fmt.percent(gap),
        # The class of plans has a column of its own.
        claim=replace(said, headline=said.headline.removesuffix(class_words(certificate.plan_class))),
        plan_class=certificate.plan_class,
        method=certificate.method,
        seconds=fmt.time(certificate.seconds),
    )


def front_rows(data: ReportData) -> tuple[FrontRow, ...]:
    """All plans of the front in its order."""
    named = anchors(data.front)
    rows = []
    for i, plan in enumerate(data.front.plans):
        score = plan.score
        rows.append(
            FrontRow(
                number=i + 1,
                chosen=i == data.front.chosen,
                proven=proven_plan(plan.status),
                status=plan.status,
                mark=named.get(i, ""),
                throughput=fmt.rate(score.throughput_per_s),
                latency=fmt.time(score.latency_s),
                energy=fmt.energy(score.energy_j),
                link_bytes=fmt.size(score.link_bytes),
                further=tuple(_shown(o, plan) for o in further_objectives(data.front)),
                boards=", ".join(boards_used(data.system, plan)),
                segments=len(plan.segments),
            )
        )
    return tuple(rows)


def measured_cells(row: DemoRow) -> tuple[str, ...]:
    """Throughput, latency and period: predicted, measured, error of each; then energy predicted, modelled."""
    predicted, measured = row.throughput_predicted_per_s, row.throughput_measured_per_s
    period_predicted = 1 / predicted if predicted else None
    period_measured = 1 / measured if measured else None
    return (
        fmt.rate(predicted),
        fmt.rate(measured),
        fmt.relative_error(predicted, measured),
        fmt.time(row.latency_predicted_s),
        fmt.time(row.latency_measured_s),
        fmt.relative_error(row.latency_predicted_s, row.latency_measured_s),
        fmt.time(period_predicted),
        fmt.time(period_measured),
        fmt.relative_error(period_predicted or 0.0, period_measured),
        fmt.energy(row.energy_predicted_j),
        fmt.energy(row.energy_modelled_j),
    )


@dataclass(frozen=True)
class Plot:
    """One pair of objectives as an inline SVG. ``first``: shown at once; the others are there to be chosen."""

    title: str
    svg: str
    first: bool


def pareto_plots(data: ReportData) -> tuple[Plot, ...]:
    """Every pair of objectives that the plans of the front differ in; throughput against another one first."""
    near = on_scale(data.front, data.baselines)
    plots = []
    for x, y in itertools.combinations(objectives_shown(data.front), 2):
        title = f"{OBJECTIVES[x].heading} and {OBJECTIVES[y].title}"
        svg = pareto_svg(data.front, near, _plot_axis(data, x), _plot_axis(data, y), title)
        first = x == "throughput" and (y in DEFAULT_OBJECTIVES or y in data.front.prefer)
        if svg and (first or _differ(data.front, x, y)):
            plots.append(Plot(title, svg, first))
    return tuple(plots)


def _differ(front: Front, *objectives: str) -> bool:
    """Whether the plans of the front differ in each of the objectives."""
    return all(len({value_of(o, p.score) for p in front.plans}) > 1 for o in objectives)


def _plot_axis(data: ReportData, objective: str) -> PlotAxis:
    bound = _bound(data.front.certificates.get(objective), objective)
    return PlotAxis(OBJECTIVES[objective], bound)


def _bound(certificate: Certificate | None, objective: str) -> float | None:
    """The proven limit as it is drawn, in the unit of the figure that is shown."""
    if certificate is None or not certificate.bound or certificate.status == "heuristic":
        return None
    return in_plain_unit(objective, certificate).bound
