"""Label-DP: the whole Pareto front of contiguous plans, exactly, where the graph has few cuts.

A contiguous plan is a chain of downsets, one more a segment, each segment on a processor of its own; on a chain of
operators the downsets are simply the places to cut. A label is a beginning of such a plan: what has run, which
processors are spent, where the tensors stand that are still needed, and its figures so far. Of two labels that leave
the same things to do, one that is nowhere better is dropped, and so is a label that cannot lead past a plan already
known. ``evaluate()`` scores what comes out: the front is called complete only where it confirms every figure that
matters.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from optimizer.memory_plan import peaks_are_settled
from optimizer.objectives import objective_values
from optimizer.plan import Plan
from optimizer.search.covering import minimal_rows
from optimizer.search.cpsat import Budget
from optimizer.search.label_cuts import all_cuts, cuts_along_orders
from optimizer.search.label_known import KnownFront
from optimizer.search.label_lattice import Bools, Floats, Ints, Lattice
from optimizer.search.label_queue import LabelQueue
from optimizer.search.label_settle import TIGHT, LabelSettler, Promise
from optimizer.search.label_steps import Labels, Steps
from optimizer.search.label_transfers import can_handle
from optimizer.search.pool import Assignment, Pool

__all__ = ["MAX_LABELS", "LabelFront", "LabelSeeds", "label_front", "label_seeds", "may_label"]

MAX_CUTS = 800
MAX_PROCESSORS = 8
MAX_LABELS = 3_000_000
_HANDLED = ("throughput", "latency", "energy")
_SMALL = 1e-12
_BEAM = 60
_COARSE = 32
"""Labels a cut and cuts an order of the narrow search that finds plans to measure others by."""
_WEIGHTS = 6
"""Steps of the weights of objectives by which they are chosen."""


@dataclass(frozen=True)
class LabelFront:
    """What label-DP says of a front: a plan of the pool or one of ``open`` is as good as any plan of the class."""

    open: tuple[tuple[float, ...], ...]
    """Figures, in the order of the pool's objectives, that labels promise and no plan was found to keep."""
    made: int
    """Labels."""


def label_front(
    pool: Pool,
    deadline: float,
    max_cuts: int = MAX_CUTS,
    max_labels: int = MAX_LABELS,
    budget: Budget | None = None,
    *,
    seeded: bool = False,
) -> LabelFront | None:
    """Score every plan that may be on the front; the front is complete where nothing stays open.

    ``budget``: of CP-SAT, which is asked for other schedules where the first one falls short of its label.
    ``seeded``: the pool holds plans near the front, so that a narrow search for such is left out.
    None where this does not apply (see ``can_handle``; too many cuts or processors, other objectives, several segments
    a processor), or where time (time.monotonic) or room runs out before all labels are made. Promises stay open where
    a plan falls short of its label and might hide a better one, or where time runs out later. Figures of the front
    are exact to a millionth.
    """
    problem = pool.problem
    if not may_label(pool):
        return None
    sets = all_cuts(problem, max_cuts)
    if sets is None:
        return None
    coarse, whole = Lattice(problem, cuts_along_orders(problem, _COARSE)), Lattice(problem, sets)
    passes: list[tuple[Lattice, int | None, bool]] = [(coarse, _BEAM, True), (whole, None, True), (whole, None, False)]
    made, left = 0, None
    for lattice, beam, merge in passes[seeded:]:
        asked = budget if beam is None else None
        search = _Search(pool, lattice, _Effort(deadline, max_labels, beam, merge, asked))
        if not search.run():
            break
        search.score()
        made += search.made
        if beam is None:
            left = search.open()
            if not left:
                break
    return None if left is None else LabelFront(left, made)


@dataclass(frozen=True)
class LabelSeeds:
    """Assignments of whole plans that no other label of the search is as good as, and the labels made for them."""

    assignments: list[Assignment]
    made: int


def label_seeds(pool: Pool, cuts: Bools, labels_a_cut: int, deadline: float) -> LabelSeeds | None:
    """What a narrow search over some of the cuts finds that no plan of the pool reaches; None at the deadline.

    ``cuts``: (m, n) downsets, the empty and the full one among them.
    """
    search = _Search(pool, Lattice(pool.problem, cuts), _Effort(deadline, MAX_LABELS, labels_a_cut, True))
    return LabelSeeds([a for _, a in search.ends()], search.made) if search.run() else None


def may_label(pool: Pool) -> bool:
    """Whether labels say enough of the problem and of all objectives, and processors are few."""
    problem = pool.problem
    return (
        not problem.non_contiguous
        and all(o in _HANDLED for o in pool.objectives)
        and len(problem.processors) <= MAX_PROCESSORS
        and can_handle(problem)
    )


@dataclass(frozen=True)
class _Effort:
    """``beam``: labels kept a cut, None for all. ``merge``: whether labels rule each other out.

    ``budget``: for schedules that attain labels, None to take the first schedule as it is.
    """

    deadline: float
    max_labels: int
    beam: int | None
    merge: bool
    budget: Budget | None = None


class _Search:
    """One pass over the cuts."""

    def __init__(self, pool: Pool, lattice: Lattice, effort: _Effort) -> None:
        self.pool, self.lattice = pool, lattice
        self.deadline, self.max_labels = effort.deadline, effort.max_labels
        self.beam, self.merge = effort.beam, effort.merge
        self.known = KnownFront(pool)
        self.settler = None if effort.budget is None else LabelSettler(pool, self.known, effort.budget)
        self.steps = Steps(pool.problem, lattice, self.known, pool.objectives)
        self.kept: list[Labels | None] = [None] * lattice.m
        self.made = 0
        self.loose: list[tuple[float, float, float]] = []
        """Figures of labels that their plans do not attain, or that break a limit."""

    def run(self) -> bool:
        """Make all labels; False when time or room runs out."""
        queue = LabelQueue()
        queue.add([(np.zeros(1, dtype=np.int64), self.steps.begin())])
        for cut in range(self.lattice.m):
            coming = queue.take(cut)
            if coming is None:
                continue
            labels = self.kept[cut] = self._sifted(cut, coming)
            if cut == self.lattice.m - 1:
                break
            grown = []
            for ends, longer in self.steps.expand(cut, labels):
                self.made += len(longer)
                grown.append((ends, longer))
                if time.monotonic() > self.deadline or self.made > self.max_labels:
                    return False
            queue.add(grown)
        return True

    def _sifted(self, cut: int, labels: Labels) -> Labels:
        period, latency, energy = self.steps.bounds(cut, labels)
        fine = np.flatnonzero(self.steps.promising(period, latency, energy))
        if self.merge:
            picked = labels.pick(fine)
            fine = fine[_undominated(picked)]
        if self.beam is not None and len(fine) > self.beam:
            by_name = dict(zip(_HANDLED, (period, latency, energy), strict=True))
            fine = fine[_spread(np.stack([by_name[o][fine] for o in self.pool.objectives], axis=1), self.beam)]
        return labels.pick(fine)

    def ends(self) -> Iterator[tuple[Promise, Assignment]]:
        """What the whole plans promise, and their assignments, most promising first."""
        labels = self.kept[-1]
        if labels is None or len(labels) == 0:
            return
        energy = self.steps.energy_j(labels.active_j, labels.used, labels.period_s)
        figures = np.stack([labels.period_s, labels.latency_s, energy], axis=1)
        if self.beam is not None:
            figures_of = figures[:, [o in self.pool.objectives for o in _HANDLED]]
            rows = minimal_rows(figures_of)
        else:
            rows = np.arange(len(labels))
        scale = figures.min(axis=0) + _SMALL
        order = np.argsort((figures[rows] / scale).sum(axis=1), kind="stable")
        for row in rows[order].tolist():
            more_w = 0.0 if self.pool.problem.limits.rate_per_s else float(self.steps.idle_w[labels.used[row]])
            period, latency, joules = figures[row].tolist()
            yield Promise(period, latency, joules, more_w), self._trace(labels, row)

    def _trace(self, labels: Labels, row: int) -> Assignment:
        sets, cut = self.lattice.sets, self.lattice.m - 1
        assignment = np.zeros(sets.shape[1], dtype=np.int64)
        while cut > 0:
            before = int(labels.origin_cut[row])
            assignment[sets[cut] & ~sets[before]] = int(labels.processor[row])
            row, cut = int(labels.origin[row]), before
            earlier = self.kept[cut]
            if earlier is not None:
                labels = earlier
        return assignment

    def score(self) -> None:
        """Score the whole plans that no known plan reaches; at the deadline or the end of CP-SAT's budget all are
        left as loose."""
        for promise, assignment in self.ends():
            figures = promise.period_s, promise.latency_s, promise.energy_j
            if self._reached(figures):
                continue
            if time.monotonic() > self.deadline or (self.settler is not None and self.settler.budget.left_s <= 0):
                self.loose.append(figures)
                continue
            plan = self.pool.score(assignment)
            if plan is None:
                continue
            if not plan.score.violations:
                self.known.add(self.known.point(objective_values(plan.score, self.pool.objectives)))
            if not self._settle(plan, promise):
                self.loose.append(figures)

    def _settle(self, plan: Plan, promise: Promise) -> bool:
        """Whether the label hides nothing: its plan attains it, or nothing of its assignment is worth having."""
        if self._keeps(plan, promise):
            if not plan.score.violations:
                return True
            if not self.merge and peaks_are_settled(self.pool.problem, plan):
                return True  # it lacks memory whatever its schedule
        if self.settler is None:
            return False
        found = self.settler.attain(plan, promise)
        if found is not None and not found.score.violations and self._keeps(found, promise):
            return True
        return not self.merge and self.settler.exhaust(plan, promise)

    def _keeps(self, plan: Plan, promise: Promise) -> bool:
        """Whether a plan has what its label promises of all that is an objective or limited."""
        limits, score = self.pool.problem.limits, plan.score
        rows = (
            ("throughput", limits.max_period_s, score.period_s, promise.period_s),
            ("latency", limits.max_latency_s, score.latency_s, promise.latency_s),
            ("energy", limits.max_energy_j, score.energy_j, promise.energy_j),
        )
        return all(
            found <= promised * (1 + TIGHT) + _SMALL
            for objective, limit, found, promised in rows
            if objective in self.pool.objectives or limit is not None
        )

    def _reached(self, figures: tuple[float, float, float]) -> bool:
        return bool(self.known.reaches(*(np.array([x]) for x in figures))[0])

    def open(self) -> tuple[tuple[float, ...], ...]:
        """What labels promised, their plans did not keep, and known plans do not reach."""
        named = (dict(zip(_HANDLED, figures, strict=True)) for figures in self.loose if not self._reached(figures))
        return tuple(tuple(figures[o] for o in self.pool.objectives) for figures in named)


def _undominated(labels: Labels) -> Ints:
    """Positions of the labels that no other with the same tensors waiting makes superfluous."""
    kept: list[Ints] = []
    figures = np.concatenate(
        [np.stack([labels.period_s, labels.active_j, labels.latency_s], axis=1), labels.finish_s, labels.load_s], axis=1
    )
    moving = figures.max(axis=0, initial=-np.inf) > figures.min(axis=0, initial=np.inf)
    figures = figures[:, moving]
    counts = np.array([int(s).bit_count() for s in labels.spent])
    for number in np.unique(labels.waiting).tolist():
        rows = np.flatnonzero(labels.waiting == number)
        rows = rows[np.lexsort((figures[rows].sum(axis=1), counts[rows]))]
        while len(rows):
            first, rows = rows[0], rows[1:]
            kept.append(first)
            worse = (figures[rows] >= figures[first] - _SMALL * np.abs(figures[first])).all(axis=1)
            worse &= (labels.spent[first] & ~labels.spent[rows]) == 0
            worse &= (labels.used[first] & ~labels.used[rows]) == 0
            rows = rows[~worse]
    return np.array(kept, dtype=np.int64)


def _spread(figures: Floats, count: int) -> Ints:
    """Positions of about ``count`` rows, the best by evenly spread weights of the figures."""
    least = figures.min(axis=0)
    share = figures / np.where(least > 0, least, 1.0)
    whole = [w for w in itertools.product(range(_WEIGHTS + 1), repeat=figures.shape[1]) if sum(w) == _WEIGHTS]
    values = share @ np.array(whole, dtype=np.float64).T
    best = np.argsort(values, axis=0, kind="stable")
    return np.unique(best[: max(1, 3 * count // len(whole))].reshape(-1))
