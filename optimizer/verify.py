"""verify(loaded plan): whether a plan file keeps its word, checked without solving.

Structure first (what ``evaluate()`` takes for granted), then every figure, the limits, and the claims of proof.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace

from optimizer.evaluate import Schedule, evaluate
from optimizer.events import UnroutableError, build_events, build_transfers
from optimizer.memory_plan import arena_faults
from optimizer.objectives import OBJECTIVES, objective_values
from optimizer.plan import Certificate, Plan, Score
from optimizer.plan_io import OLDER_SCHEMAS, LoadedPlan
from optimizer.problem import Problem
from optimizer.replicas import replica_faults
from optimizer.search.certify import PROVEN_GAP
from optimizer.verify_bounds import bound_checks
from optimizer.verify_check import Check, check_of

__all__ = ["Check", "Verification", "verify"]

_TOLERANCE = 1e-9
_BOUND_TIME_S = 60.0


@dataclass(frozen=True)
class Verification:
    """All checks in the order they were made. ``holds``: none of them failed."""

    checks: tuple[Check, ...]

    @property
    def holds(self) -> bool:
        return all(c.holds is not False for c in self.checks)


def verify(loaded: LoadedPlan, bound_time_s: float = _BOUND_TIME_S) -> Verification:
    """Check structure, score, limits and claims of a plan; bounds anew where that is cheap."""
    problem, plan = loaded.problem, loaded.plan
    structure = [_operators(problem, plan)]
    if structure[0].holds:
        structure.append(_transfers(problem, plan))
    if all(c.holds for c in structure):
        structure.append(_orders(problem, plan))
    checks = [*_age(loaded), *structure]
    if all(c.holds for c in structure):
        score = evaluate(problem, Schedule.of(plan))
        checks += [_runs(score), _score(plan.score, score), _limits(problem, score)]
        if plan.arenas:
            checks.append(check_of("arenas", arena_faults(problem, plan), "no two live tensors share bytes"))
    else:
        checks.append(Check("score", None, "not re-checked, because the schedule is not complete"))
    checks.append(_claims(plan, loaded.certificates))
    checks += bound_checks(problem, loaded.certificates, bound_time_s)
    return Verification(tuple(checks))


def _age(loaded: LoadedPlan) -> Iterator[Check]:
    """What an older file meant by its figures."""
    if loaded.schema in OLDER_SCHEMAS:
        yield Check("schema", None, f"the file is {loaded.schema}: {OLDER_SCHEMAS[loaded.schema]}")


def _operators(problem: Problem, plan: Plan) -> Check:
    """Every operator once, in an order that respects the graph, at the precision the problem plans with."""
    return check_of(
        "operators",
        _operator_faults(problem, plan),
        f"each of the {len(problem.graph.operators)} operators runs once, in {len(plan.segments)} segment(s)",
    )


def _operator_faults(problem: Problem, plan: Plan) -> Iterator[str]:
    graph = problem.graph
    times = Counter(v for s in plan.segments for v in s.operators)
    segments_on = Counter(s.processor for s in plan.segments)
    for op in graph.operators:
        if times[op.index] != 1:
            yield f"operator {op.name} stands in {times[op.index]} segments, expected 1"
    yield from replica_faults(problem, plan.segments)
    if len({s.name for s in plan.segments}) != len(plan.segments):
        yield "two segments have the same name"
    for segment in plan.segments:
        if not segment.operators:
            yield f"segment {segment.name} runs nothing"
        if not problem.non_contiguous and segments_on[segment.processor] > 1:
            yield f"segment {segment.name} comes back to {segment.processor}, which a contiguous plan does not"
        done: set[int] = set()
        for v in segment.operators:
            makers = {graph.tensors[t].producer for t in graph.operators[v].inputs} & set(segment.operators)
            if not makers <= done:
                yield f"segment {segment.name} runs {graph.operators[v].name} before what it needs"
                break
            done.add(v)
        expected = problem.precisions[problem.processor_index[segment.processor]]
        if segment.precision != expected:
            yield f"segment {segment.name} has precision {segment.precision}, its processor works in {expected}"


def _transfers(problem: Problem, plan: Plan) -> Check:
    """The tensors that leave their segments, over the routes of the system, and nothing else."""
    try:
        needed = {t.label: t for t in build_transfers(problem, plan.segments)}
    except UnroutableError as e:
        return Check("transfers", False, str(e))
    return check_of("transfers", _transfer_faults(plan, needed), f"{len(needed)} tensor(s) leave their segments")


def _transfer_faults(plan: Plan, needed: Mapping[str, object]) -> Iterator[str]:
    times = Counter(t.label for t in plan.transfers)
    yield from (f"tensor {name} is transferred {count} times" for name, count in times.items() if count > 1)
    yield from (f"tensor {name} leaves its segment, but is not transferred" for name in needed if name not in times)
    yield from (f"tensor {name} is transferred without need" for name in times if name not in needed)
    for t in plan.transfers:
        if t.depth < 1:
            yield f"tensor {t.label} has depth {t.depth}, expected at least 1"
        if t.label in needed and replace(t, depth=1) != needed[t.label]:
            yield f"tensor {t.label} has another size, route, maker or user than the graph and the system ask for"


def _orders(problem: Problem, plan: Plan) -> Check:
    """Every resource serves each of its activities once a turn."""
    events = build_events(problem, plan.segments, plan.transfers)
    expected: dict[str, Counter[str]] = {}
    for frame in events.alone or (events,):
        for name, resources in zip(frame.names, frame.resources, strict=True):
            for r in resources:
                expected.setdefault(r, Counter())[name] = 1
    given = {r: Counter(s.activity for s in slots) for r, slots in plan.orders.items() if slots}

    def faults() -> Iterator[str]:
        for r in sorted({*expected, *given}):
            lacks = expected.get(r, Counter()) - given.get(r, Counter())
            extra = given.get(r, Counter()) - expected.get(r, Counter())
            yield from (f"the list of {r} lacks {a}" for a in lacks)
            yield from (f"the list of {r} has {a} too much" for a in extra)

    return check_of("orders", faults(), f"{len(expected)} resource(s) serve each of their activities once a turn")


def _runs(score: Score) -> Check:
    if math.isfinite(score.period_s) and math.isfinite(score.latency_s):
        return Check("no deadlock", True, "no activity waits for itself")
    return Check("no deadlock", False, "the orders deadlock: some activities wait for each other for ever")


def _score(stored: Score, found: Score) -> Check:
    """Every stored figure equals what ``evaluate()`` says now."""
    old, new = _figures(stored), _figures(found)

    def faults() -> Iterator[str]:
        for name in {**old, **new}:
            a, b = old.get(name), new.get(name)
            if a is None or b is None or not math.isclose(a, b, rel_tol=_TOLERANCE, abs_tol=0.0):
                yield f"{name} is stored as {a}, but is {b}"

    return check_of("score", faults(), f"{len(new)} figures, recomputed, are equal within {_TOLERANCE:g}")


def _figures(score: Score) -> dict[str, float]:
    """All numbers of a score by name; a missing limit counts as infinity."""
    figures: dict[str, float] = {}
    for key, value in asdict(score).items():
        if key == "memory_bytes":
            for board, use in value.items():
                figures |= {f"{board}.{k}": math.inf if v is None else float(v) for k, v in use.items()}
        elif key == "occupancy_s":
            figures |= {f"occupancy of {r}": float(v) for r, v in value.items()}
        elif isinstance(value, (int, float)):
            figures[key] = float(value)
    return figures


def _limits(problem: Problem, score: Score) -> Check:
    return check_of("limits", score.violations, "all limits and the memory of every board are kept")


def _claims(plan: Plan, certificates: Mapping[str, Certificate]) -> Check:
    """Certificates agree with themselves and with the plan's own figures."""

    def faults() -> Iterator[str]:
        for objective, c in certificates.items():
            if objective not in OBJECTIVES:
                continue
            value = objective_values(plan.score, [objective])[0]
            if value < c.value * (1 - _TOLERANCE):
                yield f"{objective}: the plan has {value:.9g}, better than the best of the file, {c.value:.9g}"
            if f"proven ({objective}" in plan.status and value > c.value * (1 + _TOLERANCE):
                yield f"{objective}: the plan is said to attain the optimum {c.value:.9g}, but has {value:.9g}"
            if c.bound is None:
                if c.status == "proven":
                    yield f"{objective}: said to be proven without a bound"
                continue
            gap = max(0.0, (c.value - c.bound) / c.value) if c.value > 0 else 0.0
            if c.bound > c.value * (1 + _TOLERANCE):
                yield f"{objective}: the bound {c.bound:.9g} is above the value {c.value:.9g}"
            if c.gap is None or abs(c.gap - gap) > _TOLERANCE:
                yield f"{objective}: the gap is stored as {c.gap}, but is {gap:.9g}"
            if c.status == "proven" and gap > PROVEN_GAP:
                yield f"{objective}: said to be proven with a gap of {gap:.3g}"

    return check_of(
        "certificates", faults(), "values, bounds, gaps and statuses agree with each other and with the plan"
    )
