"""Plans found so far. Every method of the search scores its candidates here, by ``evaluate()`` and nothing else."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from optimizer.evaluate import Schedule, evaluate, evaluate_batch
from optimizer.objectives import DEFAULT_OBJECTIVES, OBJECTIVES, objective_values
from optimizer.plan import Plan
from optimizer.problem import Problem
from optimizer.schedule import Outline, complete, complete_outline, contiguous_segments
from optimizer.segments import acyclic_segments

__all__ = ["Assignment", "Pool", "assignment_of", "dominates", "key_of"]

Assignment = npt.NDArray[np.int64]
_LEAN = b"lean"


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def key_of(assignment: Assignment) -> bytes:
    return assignment.astype(np.int16).tobytes()


class Pool:
    """Scored plans by assignment; feasible ones make the front."""

    def __init__(self, problem: Problem, objectives: Sequence[str] = DEFAULT_OBJECTIVES) -> None:
        self.problem = problem
        self.objectives = tuple(objectives)
        self._ties = (*self.objectives, *(o for o in OBJECTIVES if o not in self.objectives))
        self.evaluations = 0
        self._plans: dict[bytes, Plan | None] = {}
        self.progress: dict[str, list[tuple[float, float]]] = {o: [] for o in self.objectives}
        """By objective: when (time.monotonic) a better plan came, and its value."""

    def score(self, assignment: Assignment) -> Plan | None:
        """The complete plan of an assignment (feasible or not); None where no route joins the processors, or
        where they form a ring and none may be revisited."""
        return self._plans[self._scored(assignment)]

    def versions(self, assignment: Assignment) -> list[Plan]:
        """All plans that are made of an assignment: where memory is an objective, one with little RAM as well."""
        key = self._scored(assignment)
        found = [self._plans[key], self._plans.get(key + _LEAN)]
        return [p for p in found if p is not None]

    def _scored(self, assignment: Assignment) -> bytes:
        key = key_of(assignment)
        if key not in self._plans:
            outline = self.outline(assignment)
            if outline is None:
                self.evaluations += 1
                self._plans[key] = None
            else:
                self.score_outlines([(assignment, outline)])
        return key

    def has_scored(self, assignment: Assignment) -> bool:
        return key_of(assignment) in self._plans

    def outline(self, assignment: Assignment) -> Outline | None:
        """Segments, transfers and activities of an assignment; None as for ``score``."""
        (found,) = self.outlines([assignment])
        return found

    def outlines(self, assignments: Iterable[Assignment]) -> list[Outline | None]:
        """Those of many assignments, which takes less time than one by one."""
        cut = acyclic_segments if self.problem.non_contiguous else contiguous_segments
        cuts = [cut(self.problem, a) for a in assignments]
        self.problem.segment_table.prepare([s for segments in cuts for s in segments or ()])
        return Outline.of_many(self.problem, cuts)

    def score_outlines(self, outlines: Sequence[tuple[Assignment, Outline]]) -> list[Plan]:
        """What ``score`` gives, for many assignments side by side."""
        schedules = [complete_outline(self.problem, outline) for _, outline in outlines]
        scores = evaluate_batch(self.problem, schedules)
        plans = [Plan(s.segments, s.transfers, s.orders, score) for s, score in zip(schedules, scores, strict=True)]
        for (assignment, _), plan in zip(outlines, plans, strict=True):
            self.evaluations += 1
            self._plans[key_of(assignment)] = plan
            self._note(plan)
            if "memory" in self.objectives:
                lean = self._plans[key_of(assignment) + _LEAN] = self._lean(plan)
                self._note(lean)
        return plans

    def _note(self, plan: Plan | None) -> None:
        if plan is None or plan.score.violations:
            return
        for objective, value in zip(self.objectives, objective_values(plan.score, self.objectives), strict=True):
            known = self.progress[objective]
            if not known or value < known[-1][1]:
                known.append((time.monotonic(), value))

    def add(self, plan: Plan) -> Plan:
        """Keep a schedule that was made elsewhere, scored for this problem, beside the one that ``score`` makes."""
        schedule = Schedule.of(plan)
        scored = replace(plan, score=evaluate(self.problem, schedule))
        key = repr((schedule.segments, schedule.transfers, sorted(schedule.orders.items()))).encode()
        self._note(scored)
        return self._plans.setdefault(key, scored) or scored

    @cached_property
    def _without_ram(self) -> Problem:
        none = {board.name: 0 for board in self.problem.system.boards}
        return replace(self.problem, limits=replace(self.problem.limits, max_ram_bytes=none))

    def _lean(self, plan: Plan) -> Plan | None:
        """Beside the plan with the shortest period, the one of its assignment that makes do with the least RAM."""
        lean = complete(self._without_ram, plan.segments)
        if lean == Schedule.of(plan):
            return None
        score = evaluate(self.problem, lean)
        return replace(plan, segments=lean.segments, transfers=lean.transfers, orders=lean.orders, score=score)

    def feasible(self) -> list[Plan]:
        return [p for p in self._plans.values() if p is not None and not p.score.violations]

    def seen(self) -> list[Plan]:
        """All plans scored, feasible or not."""
        return [p for p in self._plans.values() if p is not None]

    def closest(self) -> str:
        """What the plan with the fewest broken limits breaks, in words."""
        plan = min(self.seen(), key=lambda p: (len(p.score.violations), p.score.period_s), default=None)
        return "" if plan is None else "; ".join(plan.score.violations)

    def best(self, objective: str) -> Plan | None:
        """The feasible plan with the least of one objective; ties go to the other objectives in order."""
        plans = self.feasible()
        return min(plans, key=lambda p: objective_values(p.score, [objective, *self._ties]), default=None)

    def best_value(self, objective: str) -> float:
        plan = self.best(objective)
        return math.inf if plan is None else objective_values(plan.score, [objective])[0]

    def front(self) -> list[Plan]:
        """Non-dominated feasible plans by ascending first objective, one for each point."""
        ranked = sorted(self.feasible(), key=lambda p: objective_values(p.score, self.objectives))
        front: list[Plan] = []
        for plan in ranked:
            values = objective_values(plan.score, self.objectives)
            kept = [objective_values(p.score, self.objectives) for p in front]
            if not any(k == values or dominates(k, values) for k in kept):
                front.append(plan)
        return front


def assignment_of(problem: Problem, plan: Plan) -> Assignment:
    """(n,) processor index by operator."""
    assignment = np.zeros(len(problem.graph.operators), dtype=np.int64)
    for segment in plan.segments:
        assignment[list(segment.operators)] = problem.processor_index[segment.processor]
    return assignment
