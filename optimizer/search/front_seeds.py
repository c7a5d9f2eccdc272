"""Plans near the whole front, found without CP-SAT: where NSGA-II begins.

Label-DP with few labels a cut, first over coarse cuts along a few topological orders, then over finer ones and cuts
near those of the best plans known, again and again as long as that finds much that is new; at last over the cuts of
known plans alone, with many labels. Of what comes out, ``evaluate()`` scores what adds most to the front first, and
nothing that a known plan is as good as in any schedule.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import numpy as np

from optimizer.objectives import objective_values
from optimizer.search.covering import covering_order
from optimizer.search.exact_front import best_cuts
from optimizer.search.known_front import KnownFront
from optimizer.search.label_cuts import Bools, cuts_along_orders, cuts_near, distinct_cuts
from optimizer.search.label_dp import label_seeds, may_label
from optimizer.search.pool import Assignment, Pool, assignment_of, key_of
from optimizer.search.screen import least_scores

__all__ = ["score_promising", "seed_front"]

_BATCH = 8
_COARSE = ((16, 24), (32, 60))
"""Cuts an order and labels a cut of the first rounds."""
_FINE = (64, 100)
"""The same of the cuts that stand beside those near known plans."""
_NEAR = 2
"""Operators by which a cut may differ from one of a known plan."""
_MOST_NEAR = 150
_FINE_OF_TWO, _MOST_NEAR_OF_TWO = 256, 4000
"""Of two processors, whose cuts are all looked at side by side."""
_MOST_ROUNDS = 8
_FEW_NEW = 0.15
"""Share of the front: with no more new plans than that another round hardly pays."""
_MOST_LABELS = 400_000
_JOINED = 300
"""Labels a cut where plans are joined anew from the cuts of known ones alone."""
_MOST_JOINED = 3
"""Times that this is done."""


def seed_front(pool: Pool, deadline: float) -> None:
    """Score plans near the front until nothing new comes, or until the deadline (time.monotonic).

    Nothing is done where processors may be revisited, nor where there are more than two and label-DP does not apply.
    """
    two = len(pool.problem.processors) == 2 and not pool.problem.non_contiguous
    if not two and not may_label(pool):
        return
    made, looked_near = 0, set[bytes]()
    for number, (cuts, labels_a_cut) in enumerate(_rounds(pool, looked_near)):
        if time.monotonic() > deadline:
            return
        if two:
            score_promising(pool, best_cuts(pool, cuts))
        else:
            seeds = label_seeds(pool, cuts, labels_a_cut, deadline)
            if seeds is None:
                return
            made += seeds.made
            score_promising(pool, seeds.assignments)
        front = [key_of(a) for a in _front(pool)]
        new = sum(key not in looked_near for key in front)
        settled = number >= len(_COARSE) and new <= _FEW_NEW * len(front)
        if settled or made > _MOST_LABELS:
            break
    if not two:
        _join_anew(pool, deadline)


def _join_anew(pool: Pool, deadline: float) -> None:
    """Plans that are cut where known ones are: of so few cuts labels are kept that a wider search lets go.

    Once that has found plans, cuts next to those are looked at too.
    """
    ends = cuts_along_orders(pool.problem, 1)
    for near in range(_MOST_JOINED):
        front = _front(pool)
        cuts = distinct_cuts([ends, cuts_near(pool.problem, front, min(near, 1), _MOST_NEAR)])
        seeds = label_seeds(pool, cuts, _JOINED, deadline)
        if seeds is None:
            return
        score_promising(pool, seeds.assignments)
        known = {key_of(a) for a in front}
        if all(key_of(a) in known for a in _front(pool)):
            return


def _rounds(pool: Pool, looked_near: set[bytes]) -> Iterator[tuple[Bools, int]]:
    """(m, n) cuts and labels a cut. ``looked_near`` takes the assignments near whose cuts everything was looked at."""
    problem = pool.problem
    for places, labels in _COARSE:
        yield cuts_along_orders(problem, places), labels
    two = len(problem.processors) == 2
    places, labels = (_FINE_OF_TWO, 0) if two else _FINE
    most = _MOST_NEAR_OF_TWO if two else _MOST_NEAR
    fine = cuts_along_orders(problem, places)
    for _ in range(_MOST_ROUNDS):
        front = _front(pool)
        new = [a for a in front if key_of(a) not in looked_near]
        near = cuts_near(problem, new, _NEAR, most)
        looked_near |= {key_of(a) for a in new}
        yield distinct_cuts([fine, cuts_near(problem, front, 0, most), near]), labels


def _front(pool: Pool) -> list[Assignment]:
    return [assignment_of(pool.problem, plan) for plan in pool.front()]


def score_promising(pool: Pool, assignments: Iterable[Assignment]) -> None:
    """Score those of the assignments that may add a plan to the front, the one that promises to add most first."""
    new = {key_of(a): a for a in assignments if not pool.has_scored(a)}
    outlines = zip(new.values(), pool.outlines(new.values()), strict=True)
    drawn = [(a, o) for a, o in outlines if o is not None]
    if not drawn:
        return
    least = least_scores(pool.problem, [o for _, o in drawn])
    figures = np.array([objective_values(s, pool.objectives) for s in least])
    rows = [i for i, s in enumerate(least) if not s.violations and np.isfinite(figures[i]).all()]
    known = KnownFront(objective_values(p.score, pool.objectives) for p in pool.front())
    ranked = [rows[i] for i in covering_order(figures[rows], known.rows.reshape(-1, figures.shape[1]))]
    while ranked:
        batch: list[int] = []
        while ranked and len(batch) < _BATCH:
            if not known.reaches(figures[ranked[0]]):
                batch.append(ranked[0])
            ranked.pop(0)
        for plan in pool.score_outlines([drawn[i] for i in batch]):
            if not plan.score.violations:
                known.add(objective_values(plan.score, pool.objectives))
