"""Seeds of the front: in a good order, none lost that might be on the front, and near it."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.objectives import objective_values
from optimizer.search.covering import covering_order, minimal_rows
from optimizer.search.front_seeds import score_promising, seed_front
from optimizer.search.label_queue import LabelQueue
from optimizer.search.label_steps import Labels
from optimizer.search.pool import Pool
from tests.optimizer.builders import random_problem

ALL = ("throughput", "latency", "energy")


def front(pool: Pool) -> list[tuple[float, ...]]:
    return sorted(objective_values(p.score, pool.objectives) for p in pool.front())


@settings(deadline=None)
@given(rows=st.lists(st.tuples(*[st.integers(0, 6)] * 3), min_size=1, max_size=30))
def test_minimal_rows_are_those_that_no_other_is_as_good_as(rows: list[tuple[int, ...]]) -> None:
    figures = np.array(rows, dtype=np.float64)
    kept = {tuple(row) for row in figures[minimal_rows(figures)].tolist()}
    beaten = {a for a in rows for b in rows if b != a and all(x <= y for x, y in zip(b, a, strict=True))}
    assert kept == set(rows) - beaten
    assert len(minimal_rows(figures)) == len(kept)


@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(*[st.floats(0, 1)] * 2), max_size=20),
    known=st.lists(st.tuples(*[st.floats(0, 1)] * 2), max_size=3),
)
def test_a_covering_order_names_every_point_once(
    rows: list[tuple[float, float]], known: list[tuple[float, float]]
) -> None:
    order = covering_order(np.array(rows).reshape(-1, 2), np.array(known).reshape(-1, 2))
    assert sorted(order) == list(range(len(rows)))


def test_points_that_add_most_volume_come_first() -> None:
    points = np.array([[0.0, 1.0], [0.45, 0.55], [0.1, 0.1], [1.0, 0.0], [2.0, 2.0]])
    order = covering_order(points, np.zeros((0, 2)))
    assert order[0] == 2
    assert order[-1] == 4
    known = np.array([[0.05, 0.05]])
    assert covering_order(points, known)[0] in (0, 3)


def test_labels_are_taken_at_the_cuts_where_they_end() -> None:
    rng = np.random.default_rng(0)
    queue, waiting = LabelQueue(), dict[int, list[float]]()
    number = 0.0
    for cut in range(40):
        parts = []
        for _ in range(int(rng.integers(0, 4))):
            ends = rng.integers(cut, 40, int(rng.integers(1, 9)))
            figures = number + np.arange(len(ends))
            number += len(ends)
            for end, figure in zip(ends.tolist(), figures.tolist(), strict=True):
                waiting.setdefault(end, []).append(figure)
            parts.append((ends, numbered(figures)))
        queue.add(parts)
        taken = queue.take(cut)
        assert sorted(waiting.pop(cut, [])) == sorted([] if taken is None else taken.period_s.tolist())
    assert not waiting


def numbered(figures: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Labels:
    zero, wide = np.zeros(len(figures), dtype=np.int64), np.zeros((len(figures), 2))
    return Labels(figures, figures, figures, wide, wide, zero, zero, zero, zero, zero, zero)


@pytest.mark.parametrize("objectives", [ALL, ALL[:2], ("throughput", "energy"), ("latency", "memory")])
def test_what_is_not_scored_is_not_on_the_front(objectives: tuple[str, ...]) -> None:
    spared = 0
    for seed in range(3):
        problem = random_problem(seed, 4, 3)
        ways = [np.array(way) for way in itertools.product(range(3), repeat=4)]
        whole, part = Pool(problem, objectives), Pool(problem, objectives)
        for way in ways:
            whole.score(way)
        score_promising(part, ways)
        assert front(part) == front(whole)
        spared += part.evaluations < whole.evaluations / 2
    assert spared


@pytest.mark.parametrize("k", [2, 3])
def test_seeds_of_a_small_graph_are_near_its_front(k: int) -> None:
    met = points = 0
    for seed in range(3):
        problem = random_problem(seed, 5, k)
        whole, pool = Pool(problem, ALL), Pool(problem, ALL)
        for way in itertools.product(range(k), repeat=5):
            whole.score(np.array(way))
        seed_front(pool, time.monotonic() + 60)
        assert all(not p.score.violations for p in pool.front())
        met += len(set(front(pool)) & set(front(whole)))
        points += len(front(whole))
    assert met >= 0.9 * points


def test_seeds_end_at_the_deadline_and_where_labels_say_nothing() -> None:
    late, other = Pool(random_problem(1, 6, 3), ALL), Pool(random_problem(1, 6, 3), ("memory", "latency"))
    seed_front(late, time.monotonic() - 1)
    seed_front(other, time.monotonic() + 60)
    assert not late.seen()
    assert not other.seen()


def test_the_same_seeds_every_time() -> None:
    pools = [Pool(random_problem(2, 9, 3), ALL) for _ in range(2)]
    for pool in pools:
        seed_front(pool, time.monotonic() + 60)
    assert front(pools[0]) == front(pools[1])
    assert pools[0].evaluations == pools[1].evaluations
