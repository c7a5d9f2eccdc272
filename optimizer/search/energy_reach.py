"""The least energy of contiguous plans, by downsets and sets of boards.

With who runs what given, energy is an active part (operators, links) and idle power times the interval of frames. For a
period T the least active part of plans that are at most so slow is found by dynamic programming, for every set of
processors at once. A plan that is better than some target must then be faster than where idling alone makes up the
difference; that is the next T. The search ends below the least period: nothing is better than the target.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from optimizer.errors import InternalError
from optimizer.problem import Problem
from optimizer.search.board_sets import Spend, TimeUpError
from optimizer.search.board_visits import Role, Visit
from optimizer.search.downsets import all_downsets
from optimizer.search.fluid import fluid_bound_s
from optimizer.search.half_boards import made_inside
from optimizer.search.pool import Pool
from optimizer.search.segment_loads import SegmentLoads
from optimizer.search.subset_reach import Segments, SubsetReach
from optimizer.search.visit_joules import VisitJoules

__all__ = ["energy_by_downsets", "is_proven_energy"]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_MAX_PAIRS = 2e5
_MAX_STATES = 256
_FOREVER_S = 1e30
_BETTER = 2e-5
"""A plan must be better by this share to count as better."""
_ROUNDING = 1e-9
_MOST_STEPS = 200
_ENTRY_S = 1e-8


def energy_by_downsets(pool: Pool, period_s: float, spend: Spend, gap: float = 0.0) -> float | None:
    """Joules that every plan needs at least; better plans that it meets go into the pool.

    ``period_s`` is proven: no plan has a shorter period. ``gap``: plans must be better by this share to be looked for.
    None where the downsets or the sets of boards are too many, boards are alike, a link occupies processors, or there
    is no plan at all.
    """
    search = _search(pool, period_s, spend)
    return None if search is None else search.run(1 - max(_BETTER, gap))


def is_proven_energy(problem: Problem, bound_j: float, period_s: float, spend: Spend) -> bool:
    """Whether it is proven anew that every plan needs so many joules. ``period_s`` as above. False says nothing."""
    search = _search(Pool(problem, ("energy",)), period_s, spend)
    return search is not None and search.proves(bound_j)


def _search(pool: Pool, period_s: float, spend: Spend) -> _Search | None:
    """None where it does not apply or would be too large."""
    problem = pool.problem
    if math.isinf(period_s) or problem.non_contiguous or not _applies(problem):
        return None
    work = problem.tables.time_s.min(axis=1)
    lattice = all_downsets(problem.graph, work, problem.together, round(math.sqrt(2 * _MAX_PAIRS)))
    if lattice is None:
        return None
    loads = SegmentLoads(problem, lattice)
    if any(count > 1 for count in loads.counts) or 2 ** len(loads.counts) > _MAX_STATES:
        return None
    try:
        return _Search(pool, loads, max(period_s, fluid_bound_s(problem)), spend)
    except TimeUpError:
        return None


def _applies(problem: Problem) -> bool:
    """Whether no hop takes idle time from a processor without adding at least as much active energy."""
    return all(link.overlap for link in problem.links) and all(
        r.processor.active_power_w >= r.processor.idle_power_w for r in problem.processors
    )


class _Pair:
    """Two processors one after the other, in the better order, parted where it costs least."""

    def __init__(self, loads: SegmentLoads, kinds: tuple[int, int], active: Floats) -> None:
        member, words = loads.lattice.member, loads.lattice.words
        count = len(member)
        inside = np.array([~(words & ~words[end]).any(axis=1) for end in range(count)]).T
        ends = np.arange(count)
        self._seconds, self._joules = [], []
        for kind in kinds:
            seconds = np.array([loads.work_s(kind, np.full(count, start), ends) for start in range(count)])
            self._seconds.append(np.where(inside, seconds, np.inf))
            self._joules.append(active[kind] - active[kind][:, None])

    def within(self, period_s: float) -> tuple[Floats, Ints, Bools]:
        """(m, m) from a start to an end: least joules, where it is parted, whether the first of the two begins."""
        one, two = (np.where(s <= period_s, j, np.inf) for s, j in zip(self._seconds, self._joules, strict=True))
        count = len(one)
        best, middle = np.full((count, count), np.inf), np.zeros((count, count), dtype=np.int64)
        ahead = np.ones((count, count), dtype=np.bool_)
        for end in range(1, count):
            for before, behind, first in ((one, two, True), (two, one, False)):
                total = before[:end, :end] + behind[:end, end]
                place = total.argmin(axis=1)
                value = total[np.arange(end), place]
                better = value < best[:end, end]
                best[:end, end][better] = value[better]
                middle[:end, end][better] = place[better]
                ahead[:end, end][better] = first
        return best, middle, ahead


class _Search:
    def __init__(self, pool: Pool, loads: SegmentLoads, period_s: float, spend: Spend) -> None:
        self.pool, self.problem, self.loads, self.period_s, self.spend = pool, pool.problem, loads, period_s, spend
        self.reach = SubsetReach(loads.lattice, loads, len(loads.counts), _FOREVER_S, spend)
        self.sets = self.reach.sets
        self.made = made_inside(loads)
        self.active = self._active()
        self.segment_j = self._segment_j()
        self.pairs = {
            i: _Pair(loads, (v.runs[0], v.runs[1]), self.active)
            for i, v in enumerate(self.reach.visits)
            if v.role is Role.PAIR
        }
        wires = [VisitJoules.of(self.problem, [loads.first[kind] for kind in v.runs]) for v in self.reach.visits]
        self.joules = [
            [self._of_visit(v, end, self._starts(end, i), wires[i]) for i, v in enumerate(self.reach.visits)]
            for end in range(len(loads.lattice.member))
        ]
        """By end and visit, aligned with the starts of the reach-DP: joules at least; of pairs without operators."""
        self.final = np.flatnonzero(self.sets.final([], self.reach.visits))
        self.idle_w = np.array([self._idle_w(state) for state in self.final.tolist()])

    def _starts(self, end: int, number: int) -> Ints:
        return self.reach.starts(end, number, _FOREVER_S).astype(np.int64)

    def _active(self) -> Floats:
        """(k, m) joules of operators above idling."""
        tables, refs = self.problem.tables, self.problem.processors
        idle = np.array([refs[q].processor.idle_power_w for q in self.loads.first])
        above = tables.energy_j[:, self.loads.first] - idle * tables.time_s[:, self.loads.first]
        return np.ascontiguousarray((self.loads.lattice.member @ above).T)

    def _segment_j(self) -> Floats:
        """(k,) of a segment itself."""
        tables, refs = self.problem.tables, self.problem.processors
        watts = [refs[q].processor.active_power_w - refs[q].processor.idle_power_w for q in self.loads.first]
        return np.asarray(np.array(watts) * tables.segment_s[self.loads.first])

    def _idle_w(self, state: int) -> float:
        """Of all processors that idle when those of the set are spent."""
        system = self.problem.system
        refs = self.problem.processors
        runs = {refs[q].board.name for kind, q in enumerate(self.loads.first) if self.sets.used[kind][state]}
        used = runs | {system.source, system.sink}
        return sum(r.processor.idle_power_w for r in refs if r.board.name in used or not r.board.removable)

    def _of_visit(self, visit: Visit, end: int, starts: Ints, over: VisitJoules) -> Floats:
        made = self.made[starts]
        joules = (self.loads.results & self.made[end] & ~made) @ over.results
        if visit.role is not Role.FIRST:  # what it makes may go to the other processor
            joules = joules + (self.loads.open[end] & self.loads.inner & ~made) @ over.leave
        if visit.role is not Role.SECOND:  # what it reads may be there already
            read = self.loads.used[end] > self.loads.used[starts]
            joules = joules + (read & made) @ over.enter + read @ over.inputs
        joules = joules + self.segment_j[list(visit.runs)].sum()
        if visit.role is not Role.PAIR:
            kind = visit.runs[0]
            joules = joules + self.active[kind, end] - self.active[kind, starts]
        return np.asarray(joules)

    def run(self, share: float) -> float:
        """Joules that every plan needs; none is looked for above that share of the least known.

        Every plan needs the target or is within the longest period. Of those within, one with a set of processors that
        needs less than the target is faster than ``room``: what the target leaves for idling, by the power of the set.
        """
        fixed = self.problem.limits.rate_per_s
        target, longest = self.pool.best_value("energy") * share, _FOREVER_S if fixed is None else 1.0 / fixed
        least = 0.0
        for _ in range(_MOST_STEPS):
            try:
                best = self._least_active(longest)
            except TimeUpError:
                break
            active = best[-1, self.final]
            if fixed is not None:
                return float((active + self.idle_w / fixed).min()) * (1 - _ROUNDING)
            least = max(least, min(target, float((active + self.idle_w * self.period_s).min())))
            target, longest = self._narrowed(best, target, longest, share)
            if longest < self.period_s * (1 + _ROUNDING):
                return target * (1 - _ROUNDING)
        return least * (1 - _ROUNDING)

    def proves(self, target: float) -> bool:
        """Whether no plan needs less than the target. False says nothing: what stands in the way may be no plan."""
        fixed = self.problem.limits.rate_per_s
        longest = _FOREVER_S if fixed is None else 1.0 / fixed
        for _ in range(_MOST_STEPS):
            try:
                active = self._least_active(longest)[-1, self.final]
            except TimeUpError:
                return False
            if fixed is not None:
                return float((active + self.idle_w / fixed).min()) >= target * (1 - _ROUNDING)
            shorter = float(self._room(active, target).max())
            if shorter < self.period_s * (1 + _ROUNDING):
                return True
            if shorter >= longest * (1 - _ROUNDING):
                return False
            longest = shorter
        return False

    def _room(self, active: Floats, target: float) -> Floats:
        """(final sets,) seconds that a plan's period may have if it is to need less than the target."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(active < target, (target - active) / self.idle_w, 0.0)

    def _narrowed(self, best: Floats, target: float, longest_s: float, share: float) -> tuple[float, float]:
        """A target that is lower or the same, and a longest period that is shorter by some share.

        The plans that stand in the way are scored, one a set at most: the target falls below what they need.
        """
        active = best[-1, self.final]
        while True:
            if math.isinf(target):
                nearest = int(np.argmin(active))
            else:
                room = self._room(active, target)
                nearest = int(np.argmax(room))
                if room[nearest] < longest_s * (1 - _BETTER):
                    return target, float(room[nearest])
            if math.isinf(active[nearest]):
                return math.inf, 0.0  # within the longest period there is no plan, and beyond it none either
            met = self._met(best, nearest, longest_s)
            target = min(target, met * (1 - 2 * _BETTER), self.pool.best_value("energy") * share)

    def _least_active(self, period_s: float) -> Floats:
        """(m, states) least joules above idling of beginnings that keep the period."""
        count, states = len(self.joules), len(self.sets.states)
        self.parted = {number: pair.within(period_s) for number, pair in self.pairs.items()}
        best = np.full((count, states), np.inf)
        best[0, 0] = 0.0
        for end in range(1, count):
            entries = 0
            for number, (before, step) in enumerate(zip(self.sets.before, self.sets.steps, strict=True)):
                starts, joules = self._entries(end, number, period_s)
                earlier = np.flatnonzero(before)
                entries += len(starts)
                if len(starts):
                    value = (best[starts][:, earlier] + joules[:, None]).min(axis=0)
                    best[end, earlier + step] = np.minimum(best[end, earlier + step], value)
            self.spend(_ENTRY_S * entries * states)
        return best

    def _entries(self, end: int, number: int, period_s: float) -> tuple[Ints, Floats]:
        starts = self.reach.starts(end, number, period_s).astype(np.int64)
        joules = self.joules[end][number][: len(starts)]
        return starts, joules + self.parted[number][0][starts, end] if number in self.parted else joules

    def _met(self, best: Floats, row: int, period_s: float) -> float:
        """Score the plan behind a value; its joules as they are counted here."""
        state, at = int(self.final[row]), len(best) - 1
        found: Segments = []
        longest = self.period_s
        while at > 0:
            at, state, more, seconds = self._step_back(best, at, state, period_s)
            found, longest = more + found, max(longest, seconds)
        assignment = np.zeros(len(self.problem.graph.operators), dtype=np.int64)
        member = self.loads.lattice.member
        for kind, start, end in found:
            assignment[member[end] & ~member[start]] = self.loads.first[kind]
        self.pool.score(assignment)
        return float(best[-1, self.final[row]] + self.idle_w[row] * longest)

    def _step_back(self, best: Floats, end: int, state: int, period_s: float) -> tuple[int, int, Segments, float]:
        """The downset and the set before the last visit, its segments, and its seconds."""
        for number, visit in enumerate(self.reach.visits):
            before = state - self.sets.steps[number]
            if before < 0 or not self.sets.before[number][before]:
                continue
            starts, joules = self._entries(end, number, period_s)
            serves = np.flatnonzero(best[starts, before] + joules == best[end, state])
            if len(serves) == 0:
                continue
            start = int(starts[serves[0]])
            seconds = float(self.reach.seconds_of(end, number)[serves[0]])
            if visit.role is not Role.PAIR:
                return start, before, [(visit.runs[0], start, end)], seconds
            _, middles, ahead = self.parted[number]
            middle = int(middles[start, end])
            one, two = visit.runs if ahead[start, end] else visit.runs[::-1]
            each = [self.loads.work_s(one, np.array([start]), np.array([middle]))[0]]
            each.append(self.loads.work_s(two, np.array([middle]), np.array([end]))[0])
            return start, before, [(one, start, middle), (two, middle, end)], max(seconds, *map(float, each))
        raise InternalError("a value of the energy search has no visit that makes it")
