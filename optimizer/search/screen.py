"""Plans that are worth completing: what no schedule of an assignment can better, against what is known.

Orders and depths take most of the time that a plan takes. The segments alone say how busy every resource is, how
long one frame takes at least, what crosses the links and what must be in memory. Where these figures break a limit or
are dominated by a known plan, no schedule of the assignment can be on the front.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from optimizer.board_use import memory_use
from optimizer.evaluate import data_arcs, resource_occupancy_s, score_of
from optimizer.events import Events
from optimizer.longest_paths import earliest_starts
from optimizer.objectives import objective_values
from optimizer.plan import Schedule, Score
from optimizer.problem import Problem
from optimizer.replicas import copies
from optimizer.schedule import Outline
from optimizer.search.known_front import KnownFront
from optimizer.search.pool import Assignment, Pool, key_of

__all__ = ["Screen", "least_scores"]

Floats = npt.NDArray[np.float64]
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
        self.pool.problem.segment_table.prepare((copies(o.segments), o.transfers) for _, o in drawn)
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
    latencies = _least_latencies_s(outlines)
    found = []
    for outline, latency in zip(outlines, latencies, strict=True):
        occupancy = resource_occupancy_s(outline.events)
        schedule = Schedule(outline.segments, outline.transfers, {})
        memory = memory_use(problem, schedule, with_arenas=False)
        period = max(occupancy.values(), default=0.0)
        found.append(score_of(problem, schedule, outline.events, period, latency, occupancy, memory))
    return found


def _least_latencies_s(outlines: Sequence[Outline]) -> list[float]:
    """By outline; all activities of all of them at once."""
    events = [o.events for o in outlines]
    nodes = [len(e.names) for e in events]
    heads = earliest_starts(nodes, [data_arcs(e) for e in events])
    tails = earliest_starts([n + 1 for n in nodes], [_reversed_arcs(e) for e in events])
    return [
        _least_latency_s(
            e, heads.at_s[heads.first[g] : heads.first[g + 1]], tails.at_s[tails.first[g] : tails.first[g + 1] - 1]
        )
        for g, e in enumerate(events)
    ]


def _reversed_arcs(events: Events) -> list[tuple[int, int, float, int]]:
    """Arcs from the ends of the frame, a node of their own, back to what comes first.

    Longest ways along them are what follows an activity's start.
    """
    last = len(events.names)
    arcs = [(j, i, events.duration_s[i] + lag, 0) for i, j, lag in events.arcs]
    arcs += [(last, i, events.duration_s[i], 0) for i in range(last)]
    return arcs + [(last, i, events.duration_s[i] + lag, 0) for i, _, lag, _ in events.depth_arcs]


def _least_latency_s(events: Events, heads_s: Floats, tails_s: Floats) -> float:
    """Longest path; or of a resource: what comes first, all its work, what comes last.

    The frame may end before the last of that work, which then is taken off again.
    """
    path = float((heads_s + tails_s).max())
    head: dict[str, float] = {}
    tail: dict[str, float] = {}
    rest_s = tails_s - np.array(events.held_s)
    for resources, before, after in zip(events.resources, heads_s.tolist(), rest_s.tolist(), strict=True):
        for r in resources:
            head[r] = min(before, head.get(r, before))
            tail[r] = min(after, tail.get(r, after))
    busy = resource_occupancy_s(events)
    return max(path, *(head[r] + busy[r] + tail[r] for r in busy)) * (1 - _SLACK)
