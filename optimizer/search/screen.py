"""Plans that are worth completing: what no schedule of an assignment can better, against what is known.

Orders and depths take most of the time that a plan takes. The segments alone say how busy every resource is, how
long one frame takes at least, what crosses the links and what must be in memory. Where these figures break a limit or
are dominated by a known plan, no schedule of the assignment can be on the front.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from optimizer.evaluate import scores_of
from optimizer.event_table import EventTable
from optimizer.longest_paths import ArcRows, Graphs, earliest_starts
from optimizer.objectives import objective_values
from optimizer.plan import Schedule, Score
from optimizer.plan_table import PlanTable
from optimizer.problem import Problem
from optimizer.ragged import Floats
from optimizer.schedule import Outline
from optimizer.search.known_front import KnownFront
from optimizer.search.pool import Assignment, Pool, key_of

__all__ = ["Screen", "least_scores"]

_SLACK = 1e-9
"""Share by which sums in another order may exceed what they bound."""


class Screen:
    """Scores for a search that wants the front: complete plans go into the pool, hopeless ones are not completed."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._least: dict[bytes, Score | None] = {}
        self._known = KnownFront(objective_values(p.score, pool.objectives) for p in pool.front())

    def scores(self, assignments: Sequence[Assignment]) -> list[Score | None]:
        """By assignment its plan's score, or where no schedule of it can be on the front, figures that none betters.

        None where no route joins the processors, or where they form a ring and none may be revisited.
        """
        new = {key: a for a in assignments if (key := key_of(a)) not in self._least and not self.pool.has_scored(a)}
        outlines = dict(zip(new, self.pool.outlines(new.values()), strict=True))
        self._least |= {key: None for key, outline in outlines.items() if outline is None}
        drawn = [(new[key], outline) for key, outline in outlines.items() if outline is not None]
        promising = []
        for (a, outline), least in zip(drawn, least_scores(self.pool.problem, [o for _, o in drawn]), strict=True):
            if least.violations or self._known.dominates(objective_values(least, self.pool.objectives)):
                self._least[key_of(a)] = least
            else:
                promising.append((a, outline))
        for plan in self.pool.score_outlines(promising):
            if not plan.score.violations:
                self._known.add(objective_values(plan.score, self.pool.objectives))
        return [self._score(a) for a in assignments]

    def _score(self, assignment: Assignment) -> Score | None:
        if key_of(assignment) in self._least:
            return self._least[key_of(assignment)]
        plan = self.pool.score(assignment)
        return None if plan is None else plan.score


def least_scores(problem: Problem, outlines: Sequence[Outline]) -> list[Score]:
    """Figures that no schedule of each outline betters, with the limits that all of them break.

    The period is that of the busiest resource, the latency that of the longest path or the busiest resource between
    its nearest ends, memory that of weights, one buffer a transfer and the runtime.
    """
    if not outlines:
        return []
    schedules = [Schedule(o.segments, o.transfers, {}) for o in outlines]
    plans = PlanTable.of(problem, [(o.segments, o.transfers) for o in outlines])
    period_s = plans.busy_s.max(axis=1)
    return scores_of(problem, schedules, plans, period_s, _least_latencies_s(plans), with_arenas=False)


def _least_latencies_s(plans: PlanTable) -> Floats:
    """(plans,) longest path; or of a resource: what comes first, all its work, what comes last.

    The frame may end before the last of that work, which then is taken off again.
    """
    events = plans.events
    heads_s = earliest_starts(Graphs(events.first, plans.data_arcs())).at_s
    tails_s = _tails_s(events)
    resources = plans.busy_s.shape[1]
    of_plan = np.repeat(np.arange(len(plans.frames)), np.diff(plans.first))
    least = np.maximum.reduceat(heads_s + tails_s, plans.first[:-1])
    at = of_plan[events.use_activity] * resources + events.use_resource
    before, after = np.full((2, plans.busy_s.size), np.inf)
    np.minimum.at(before, at, heads_s[events.use_activity])
    np.minimum.at(after, at, (tails_s - events.held_s)[events.use_activity])
    used = np.isfinite(before)
    before[~used] = after[~used] = 0.0
    through_s = (before + plans.busy_s.ravel() + after).reshape(-1, resources)
    return np.asarray(np.maximum(least, through_s.max(axis=1)) * (1 - _SLACK))


def _tails_s(events: EventTable) -> Floats:
    """(a,) what follows an activity's start: longest ways back from the ends of each frame, nodes of their own."""
    count = len(events.first) - 1
    node = np.arange(len(events.frame)) + events.frame  # behind the activities of each frame its end
    first = events.first + np.arange(count + 1)
    end = (first[1:] - 1)[events.frame]
    parts = [
        (node[events.arc_target], node[events.arc_source], events.duration_s[events.arc_source] + events.arc_lag_s),
        (end, node, events.duration_s),
        (end[events.free_end], node[events.free_end], events.duration_s[events.free_end] + events.free_lag_s),
    ]
    source, target, length = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    arcs = ArcRows(source, target, length, np.zeros(len(length), dtype=np.int64))
    return np.asarray(earliest_starts(Graphs(first, arcs)).at_s[node])
