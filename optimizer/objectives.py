"""What a plan can be judged by: one table, read by the search, the certificates, the files and the report.

Every objective is minimised; throughput through its inverse, the period.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from optimizer.errors import LimitError
from optimizer.plan import Score
from optimizer.problem import Limits, Problem

__all__ = [
    "DEFAULT_OBJECTIVES",
    "OBJECTIVES",
    "Objective",
    "check_names",
    "check_objectives",
    "held",
    "objective_values",
]

DEFAULT_OBJECTIVES = ("throughput", "latency", "energy")
_ROUNDING = 1e-9
_MOMENT_S = 1e-12


@dataclass(frozen=True)
class Objective:
    """One figure of a plan. Units are those of ``report_format.quantity``."""

    name: str
    title: str
    read: Callable[[Score], float]
    """The minimised quantity."""
    unit: str
    """Of the minimised quantity."""
    certificate_unit: str
    shown_unit: str
    """Of the figure as people read it: a throughput in 1/s."""
    worse: str
    """What a larger value is called: "longer", "more"."""
    field: str
    """Key of the figure in plan.json's score."""
    inverted: bool = False
    """Whether the figure that is shown is the inverse of what is minimised."""
    integral: bool = False
    """Whether the minimised quantity is a whole number."""

    @property
    def heading(self) -> str:
        return self.title[0].upper() + self.title[1:]

    def shown(self, minimised: float) -> float:
        """The figure as people read it."""
        if not self.inverted:
            return minimised
        return 1.0 / minimised if minimised > 0 else math.inf


def _loss(score: Score) -> float:
    return math.inf if score.accuracy_loss is None else score.accuracy_loss


def _plain(name: str, title: str, read: Callable[[Score], float], unit: str, worse: str, field: str) -> Objective:
    return Objective(name, title, read, unit, unit, unit, worse, field, integral=unit in ("B", "boards"))


_TABLE = (
    Objective(
        "throughput", "throughput", lambda s: s.period_s, "s", "s (period)", "1/s", "below", "period_s", inverted=True
    ),
    _plain("latency", "latency", lambda s: s.latency_s, "s", "longer than", "latency_s"),
    _plain("energy", "energy", lambda s: s.energy_j, "J", "more than", "energy_j"),
    _plain("memory", "RAM of the fullest board", lambda s: s.memory_share, "share", "more than", "memory_share"),
    _plain("link-bytes", "bytes over links", lambda s: s.link_bytes, "B", "more than", "link_bytes"),
    _plain("boards", "boards used", lambda s: s.boards_used, "boards", "more than", "boards_used"),
    _plain("accuracy-loss", "loss of accuracy", _loss, "loss", "more than", "accuracy_loss"),
)
OBJECTIVES: Mapping[str, Objective] = {o.name: o for o in _TABLE}
"""By name, in the order in which they are listed and in which ties are broken."""


def objective_values(score: Score, objectives: Iterable[str]) -> tuple[float, ...]:
    """Minimised quantities in the order asked for."""
    return tuple(OBJECTIVES[o].read(score) for o in objectives)


def check_names(objectives: Sequence[str]) -> None:
    """Raises LimitError for names we do not know, and for none at all."""
    unknown = [o for o in objectives if o not in OBJECTIVES]
    if unknown or not objectives:
        raise LimitError(
            "unknown objective",
            expected=f"some of {', '.join(OBJECTIVES)}",
            got=", ".join(unknown) or "none",
            option="objectives",
        )


def check_objectives(objectives: Sequence[str], problem: Problem) -> None:
    """Raises LimitError as ``check_names`` does, and for what the problem says nothing of."""
    check_names(objectives)
    if "accuracy-loss" in objectives and problem.sensitivity is None:
        raise LimitError(
            "the objective accuracy-loss needs to know what operators lose",
            expected="a sensitivity table",
            got="none",
            hint="Give one with --sensitivity FILE (CSV or JSON: operator, precision, loss).",
            option="sensitivity",
        )


def held(problem: Problem, objective: str, value: float) -> Problem:
    """The problem with the minimised quantity of an objective limited to ``value`` (and a whisker for rounding).

    Limits that are tighter already stay.
    """
    limits, value = problem.limits, value * (1 + _ROUNDING)
    if objective == "memory":
        available = zip(problem.system.boards, problem.tables.ram_limit.tolist(), strict=True)
        share = min(1.0, value)
        return replace(problem, limits=replace(limits, max_ram_bytes={b.name: int(share * a) for b, a in available}))
    return replace(problem, limits=_HOLD[objective](limits, value))


def _least(given: float | None, value: float) -> float:
    return value if given is None else min(given, value)


def _hold_period(limits: Limits, value: float) -> Limits:
    return replace(limits, min_throughput_per_s=max(limits.min_throughput_per_s or 0.0, 1.0 / max(value, _MOMENT_S)))


_HOLD: Mapping[str, Callable[[Limits, float], Limits]] = {
    "throughput": _hold_period,
    "latency": lambda x, v: replace(x, max_latency_s=_least(x.max_latency_s, v)),
    "energy": lambda x, v: replace(x, max_energy_j=_least(x.max_energy_j, v)),
    "link-bytes": lambda x, v: replace(x, max_link_bytes=int(_least(x.max_link_bytes, v))),
    "boards": lambda x, v: replace(x, max_boards=int(_least(x.max_boards, v))),
    "accuracy-loss": lambda x, v: replace(x, max_accuracy_loss=_least(x.max_accuracy_loss, v)),
}
