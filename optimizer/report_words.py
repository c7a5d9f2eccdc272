"""What is proven, in plain words: a certificate read against one plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from optimizer import report_format as fmt
from optimizer.plan import Certificate, Score

__all__ = ["Claim", "claim", "proven_plan", "value_of"]

_PROVEN_GAP = 1e-4
"""A gap that prints as 0."""


@dataclass(frozen=True)
class Claim:
    """What may be said of a plan in one objective; ``detail`` speaks of the best plan if that is another."""

    level: Literal["proven", "bounded", "heuristic"]
    headline: str
    detail: str = ""


def value_of(objective: str, score: Score) -> float:
    """The plan's figure in an objective ("throughput", "latency", "energy")."""
    return {
        "throughput": score.throughput_per_s,
        "latency": score.latency_s,
        "energy": score.energy_j,
    }[objective]


def claim(objective: str, certificate: Certificate | None, score: Score) -> Claim:
    """Words for the plan with ``score``.

    A certificate speaks of the best plan found in its objective. Where this plan is not that one, the words
    give what is known of the best and leave this plan's distance to it to the reader's eyes.
    """
    if certificate is None:
        return Claim("heuristic", "not proven")
    within = f" within {certificate.plan_class}" if certificate.plan_class else ""
    own = _cost(objective, "", value_of(objective, score))
    best = _cost(objective, certificate.unit, certificate.value)
    attains = own <= best * (1 + _PROVEN_GAP)
    best_words = fmt.quantity(certificate.value, certificate.unit)
    level = _level(certificate)
    if level == "heuristic":
        return Claim("heuristic", "not proven", "" if attains else f"best found: {best_words}")
    gap = certificate.gap or 0.0
    if attains and level == "proven":
        return Claim("proven", f"proven optimal{within}")
    if attains:
        return Claim("bounded", f"within {_gap_words(gap)} of the best possible", within.strip())
    share = fmt.percent(own / best - 1) if best > 0 else "some"
    how = "longer than" if objective == "latency" else "more than"
    if objective == "throughput":
        share, how = fmt.percent(1 - best / own), "below"
    if level == "proven":
        return Claim("bounded", f"{share} {how} the best possible", f"{best_words}, proven{within}")
    return Claim(
        "bounded",
        f"{share} {how} the best found",
        f"{best_words}, within {_gap_words(gap)} of the best possible{within}",
    )


def _level(certificate: Certificate) -> Literal["proven", "bounded", "heuristic"]:
    if certificate.bound is None or certificate.gap is None or certificate.status == "heuristic":
        return "heuristic"
    return "proven" if certificate.gap <= _PROVEN_GAP and certificate.status == "proven" else "bounded"


def _gap_words(gap: float) -> str:
    return fmt.percent(gap) if gap > _PROVEN_GAP else "0 %"


def _cost(objective: str, unit: str, value: float) -> float:
    """The minimised quantity: a throughput becomes a period."""
    if objective == "throughput" and unit != "s":
        return 1.0 / value if value > 0 else float("inf")
    return value


def proven_plan(status: str) -> bool:
    """Whether a front point carries a proof ("proven (throughput)")."""
    return status.startswith("proven")
