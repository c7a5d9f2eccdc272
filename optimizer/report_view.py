"""From ReportData to what the page says: key figures, certificates, and the rows of its tables."""

from __future__ import annotations

from dataclasses import dataclass, replace

from optimizer import report_format as fmt
from optimizer.plan import Certificate, Plan
from optimizer.report_data import Baseline, DemoRow, ReportData
from optimizer.report_pareto import anchors, on_scale, pareto_svg
from optimizer.report_segments import boards_used
from optimizer.report_words import Claim, claim, class_words, in_plain_unit, proven_plan, value_of

__all__ = [
    "OBJECTIVES",
    "Card",
    "CertificateRow",
    "FrontRow",
    "best_baseline",
    "cards",
    "certificate_rows",
    "front_rows",
    "measured_cells",
    "pareto_plots",
]

OBJECTIVES = ("throughput", "latency", "energy")


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
    boards: str
    segments: int


def cards(data: ReportData) -> tuple[Card, ...]:
    """Key figures of the chosen plan."""
    score, certificates = data.plan.score, data.front.certificates
    claims = {o: claim(o, certificates.get(o), score) for o in OBJECTIVES}
    used = boards_used(data.system, data.plan)
    hops = sum(len(t.hops) for t in data.plan.transfers)
    return (
        Card("Throughput", fmt.rate(score.throughput_per_s), _against_baseline(data), claims["throughput"]),
        Card("Period", fmt.time(score.period_s), _bottleneck(data.plan)),
        Card("Latency", fmt.time(score.latency_s), "one frame alone, source to sink", claims["latency"]),
        Card("Energy", fmt.energy(score.energy_j), "an inference, from the cost model", claims["energy"]),
        Card("Link bytes", fmt.size(score.link_bytes), f"on the wire an inference, {_plural(hops, 'hop')}"),
        Card("Boards used", f"{len(used)} of {len(data.system.boards)}", ", ".join(used)),
    )


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
    names = [*OBJECTIVES, *(name for name in found if name not in OBJECTIVES)]
    return tuple(_certificate_row(name, in_plain_unit(name, found[name]), data.plan) for name in names if name in found)


def _certificate_row(objective: str, certificate: Certificate, plan: Plan) -> CertificateRow:
    known = objective in OBJECTIVES
    unit = {"throughput": "1/s", "latency": "s", "energy": "J"}.get(objective, certificate.unit)
    value = value_of(objective, plan.score) if known else certificate.value
    said = claim(objective, certificate, plan.score) if known else Claim("heuristic", certificate.status)
    gap = certificate.gap
    return CertificateRow(
        objective=objective,
        value=fmt.quantity(value, unit),
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


def pareto_plots(data: ReportData) -> tuple[str, ...]:
    """Inline SVGs: throughput against latency, throughput against energy."""
    near = on_scale(data.front, data.baselines)
    bounds = {name: _bound(data.front.certificates.get(name), name) for name in OBJECTIVES}
    latency = pareto_svg(
        data.front,
        near,
        title="Throughput and latency",
        y_label="latency",
        y_of=lambda p: p.score.latency_s,
        baseline_y=lambda b: b.latency_s,
        y_format=fmt.time,
        bounds=(bounds["throughput"], bounds["latency"]),
    )
    energy = pareto_svg(
        data.front,
        near,
        title="Throughput and energy",
        y_label="energy an inference",
        y_of=lambda p: p.score.energy_j,
        baseline_y=lambda b: b.energy_j,
        y_format=fmt.energy,
        bounds=(bounds["throughput"], bounds["energy"]),
    )
    return tuple(svg for svg in (latency, energy) if svg)


def _bound(certificate: Certificate | None, objective: str) -> float | None:
    """The proven limit as it is drawn: a throughput in 1/s, else s or J."""
    if certificate is None or not certificate.bound or certificate.status == "heuristic":
        return None
    return in_plain_unit(objective, certificate).bound
