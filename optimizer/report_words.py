"""What is proven, in plain words: a certificate read against one plan."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Literal

from optimizer import report_format as fmt
from optimizer.objectives import DEFAULT_OBJECTIVES, OBJECTIVES
from optimizer.plan import Certificate, Front, Score

__all__ = [
    "Claim",
    "claim",
    "class_words",
    "in_plain_unit",
    "objectives_shown",
    "proven_plan",
    "step_lines",
    "value_of",
]

_PROVEN_GAP = 1e-4
"""A gap that prints as 0."""


@dataclass(frozen=True)
class Claim:
    """What may be said of a plan in one objective; ``detail`` speaks of the best plan if that is another."""

    level: Literal["proven", "bounded", "heuristic"]
    headline: str
    detail: str = ""


def objectives_shown(front: Front) -> tuple[str, ...]:
    """Throughput, latency, energy, and what else the front was searched for."""
    return (*DEFAULT_OBJECTIVES, *(o for o in OBJECTIVES if o in front.certificates and o not in DEFAULT_OBJECTIVES))


def value_of(objective: str, score: Score) -> float:
    """The plan's figure in an objective, as people read it."""
    found = OBJECTIVES[objective]
    return found.shown(found.read(score))


def claim(objective: str, certificate: Certificate | None, score: Score) -> Claim:
    """Words for the plan with ``score``.

    A certificate speaks of the best plan found in its objective. Where this plan is not that one, the words
    give what is known of the best and leave this plan's distance to it to the reader's eyes.
    """
    if certificate is None:
        return Claim("heuristic", "not proven")
    certificate = in_plain_unit(objective, certificate)
    within = class_words(certificate.plan_class)
    own, best = value_of(objective, score), certificate.value
    if objective == "throughput":
        own, best = _inverse(own), _inverse(best)
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
    share, how = fmt.percent(own / best - 1) if best > 0 else "some", OBJECTIVES[objective].worse
    if objective == "throughput":
        share = fmt.percent(1 - best / own)
    if level == "proven":
        return Claim("bounded", f"{share} {how} the best possible", f"{best_words}, proven{within}")
    return Claim(
        "bounded",
        f"{share} {how} the best found",
        f"{best_words}, within {_gap_words(gap)} of the best possible{within}",
    )


def step_lines(front: Front) -> tuple[str, ...]:
    """What is proven of each step of an order of preference."""
    lines = []
    for number, step in enumerate(front.steps):
        objective, found = OBJECTIVES[step.objective], in_plain_unit(step.objective, step.certificate)
        best = fmt.quantity(found.value, objective.shown_unit)
        held = "" if number == 0 else " with what stands before it held"
        gap = "not bounded" if found.gap is None else f"gap {_gap_words(found.gap)}"
        lines.append(f"Step {number + 1}, {objective.title}: the best is {best}{held} ({found.status}, {gap}).")
    return tuple(lines)


def _level(certificate: Certificate) -> Literal["proven", "bounded", "heuristic"]:
    if certificate.bound is None or certificate.gap is None or certificate.status == "heuristic":
        return "heuristic"
    return "proven" if certificate.gap <= _PROVEN_GAP and certificate.status == "proven" else "bounded"


def _gap_words(gap: float) -> str:
    return fmt.percent(gap) if gap > _PROVEN_GAP else "0 %"


def class_words(plan_class: str) -> str:
    """ " within contiguous plans, any order of boards" of "contiguous (...), any order of boards"."""
    words = re.sub(r"\s*\([^)]*\)", "", plan_class).strip()
    if not words:
        return ""
    head, comma, rest = words.partition(",")
    return f" within {words}" if "plan" in words else f" within {head} plans{comma}{rest}"


def in_plain_unit(objective: str, certificate: Certificate) -> Certificate:
    """The certificate of a throughput in 1/s, also where it speaks of the period."""
    if objective != "throughput" or not certificate.unit.startswith("s"):
        return certificate
    bound = None if certificate.bound is None else _inverse(certificate.bound)
    return replace(certificate, value=_inverse(certificate.value), bound=bound, unit="1/s")


def _inverse(value: float) -> float:
    return 1.0 / value if value > 0 else math.inf


def proven_plan(status: str) -> bool:
    """Whether a front point carries a proof ("proven (throughput)")."""
    return status.startswith("proven")
