"""Which plan of a front to take: one objective, the knee, weights, or objectives in order of importance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from boards.errors import near_match
from optimizer.errors import LimitError
from optimizer.objectives import OBJECTIVES, objective_values
from optimizer.plan import Plan
from optimizer.report_format import quantity

__all__ = ["KNEE", "Choice", "Preference", "Step", "choose", "parse_preference", "within"]

KNEE = "knee"
_FORMS = (
    "an objective, knee, weights such as throughput=0.5,energy=0.5, or an order such as latency:5%>energy>throughput"
)
_ROUNDING = 1e-9
Values = tuple[float, ...]


@dataclass(frozen=True)
class Step:
    """One objective of an order. ``tolerance``: the share of its best value that later steps may give away."""

    objective: str
    tolerance: float = 0.0


@dataclass(frozen=True)
class Preference:
    """A preference as it was written; exactly one of ``weights`` and ``steps`` is filled, or none for the knee.

    A single objective is an order of one step. Weights add up to 1.
    """

    text: str
    steps: tuple[Step, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)

    @property
    def objectives(self) -> tuple[str, ...]:
        """What it speaks of: these must be among the objectives of the search."""
        return (*(s.objective for s in self.steps), *self.weights)


@dataclass(frozen=True)
class Choice:
    """Position of the chosen plan, and in words how it was chosen."""

    index: int
    words: str


def parse_preference(text: str) -> Preference:
    """Raises LimitError for names we do not know, weights that do not work, and objectives named twice."""
    if text.strip() == KNEE:
        return Preference(KNEE)
    if "=" in text:
        return _weighted(text)
    steps = tuple(_step(part, text) for part in text.split(">"))
    _check_once([s.objective for s in steps], text)
    return Preference(">".join(_step_text(s) for s in steps), steps=steps)


def _step(part: str, text: str) -> Step:
    name, colon, share = part.strip().partition(":")
    objective = _known(name.strip(), text)
    return Step(objective, _tolerance(share.strip(), part, text) if colon else 0.0)


def _tolerance(share: str, part: str, text: str) -> float:
    number, percent, rest = share.partition("%")
    value = _number(number) / (100.0 if percent else 1.0)
    if rest or not 0 <= value < math.inf:
        raise LimitError(
            f"the tolerance in {part.strip()!r} is not usable",
            where=f"--prefer {text}",
            option="prefer",
            expected="a share of at least 0, such as 5% or 0.05",
            got=repr(share),
        )
    return value


def _step_text(step: Step) -> str:
    return f"{step.objective}:{100 * step.tolerance:g}%" if step.tolerance else step.objective


def _weighted(text: str) -> Preference:
    weights: dict[str, float] = {}
    names = []
    for part in text.split(","):
        name, equals, number = part.partition("=")
        objective = _known(name.strip(), text)
        weight = _number(number) if equals else math.nan
        if not 0 <= weight < math.inf:
            raise LimitError(
                f"the weight of {objective} is not usable",
                where=f"--prefer {text}",
                option="prefer",
                expected="a finite number, zero or more, such as throughput=0.5",
                got=repr(part.strip()),
            )
        names.append(objective)
        weights[objective] = weight
    _check_once(names, text)
    total = sum(weights.values())
    if not total > 0:
        raise LimitError(
            "all weights are zero", where=f"--prefer {text}", expected="a weight above zero", option="prefer"
        )
    canonical = ",".join(f"{o}={w:g}" for o, w in weights.items())
    return Preference(canonical, weights={o: w / total for o, w in weights.items()})


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _known(name: str, text: str) -> str:
    if name not in OBJECTIVES:
        raise LimitError(
            "unknown preference",
            where=f"--prefer {text}",
            option="prefer",
            expected=f"{_FORMS}; objectives are {', '.join(OBJECTIVES)}",
            got=repr(name),
            hint=near_match(name, [*OBJECTIVES, KNEE]),
        )
    return name


def _check_once(names: Sequence[str], text: str) -> None:
    twice = [n for n in names if names.count(n) > 1]
    if twice:
        raise LimitError(
            f"{twice[0]} stands twice",
            where=f"--prefer {text}",
            option="prefer",
            expected="each objective once",
            got=", ".join(names),
        )


def choose(plans: Sequence[Plan], preference: Preference, objectives: Sequence[str]) -> Choice:
    """The preferred one of the plans of a front that ``objectives`` span."""
    if preference.steps:
        return _in_order(plans, preference.steps, objectives)
    rows = [objective_values(p.score, objectives) for p in plans]
    normal = _normalised(rows)
    if preference.weights:
        weights = [preference.weights.get(o, 0.0) for o in objectives]
        costs = [sum(w * v for w, v in zip(weights, row, strict=True)) for row in normal]
        how = "the least weighted sum"
    else:
        costs = [sum(v * v for v in row) for row in normal]
        how = "nearest to the best of every objective at once"
    index = min(range(len(plans)), key=lambda i: (costs[i], rows[i]))
    spoken = preference.objectives or tuple(objectives)
    normalised = "each objective normalised from its best (0) to its worst (1) on the front"
    return Choice(index, f"{how}, {normalised}: {_spans(spoken, objectives, rows)}")


def _spans(spoken: Sequence[str], objectives: Sequence[str], rows: Sequence[Values]) -> str:
    def span(name: str) -> str:
        objective, column = OBJECTIVES[name], [row[list(objectives).index(name)] for row in rows]
        ends = [quantity(objective.shown(v), objective.shown_unit) for v in (min(column), max(column))]
        return f"{name} {ends[0]} to {ends[1]}"

    return "; ".join(span(name) for name in spoken)


def _normalised(rows: Sequence[Values]) -> list[Values]:
    """Each column from 0 (the least, "ideal") to 1 (the largest on the front, "nadir"); 0 where all are equal."""
    low = [min(column) for column in zip(*rows, strict=True)]
    high = [max(column) for column in zip(*rows, strict=True)]
    return [
        tuple((v - lo) / (hi - lo) if hi > lo else 0.0 for v, lo, hi in zip(row, low, high, strict=True))
        for row in rows
    ]


def within(plans: Sequence[Plan], step: Step) -> tuple[float, list[int]]:
    """What a step allows (its best value and the tolerance on top), and the positions of the plans that keep it."""
    values = [objective_values(p.score, [step.objective])[0] for p in plans]
    limit = min(values) * (1 + step.tolerance)
    return limit, [i for i, v in enumerate(values) if v <= limit * (1 + _ROUNDING)]


def _in_order(plans: Sequence[Plan], steps: Sequence[Step], objectives: Sequence[str]) -> Choice:
    left = list(range(len(plans)))
    for step in steps:
        kept = within([plans[i] for i in left], step)[1]
        left = [left[i] for i in kept]
    named = [s.objective for s in steps]
    # The last step's tolerance has nothing behind it to serve: the best of it is taken.
    rest = [named[-1], *named[:-1], *(o for o in objectives if o not in named)]
    index = min(left, key=lambda i: objective_values(plans[i].score, rest))
    if len(steps) == 1:
        return Choice(index, f"the best {OBJECTIVES[named[0]].title}")
    words = (
        f"{OBJECTIVES[s.objective].title}" + (f" (within {100 * s.tolerance:g} %)" if s.tolerance else "")
        for s in steps
    )
    return Choice(index, f"the best {', then '.join(words)}")
