"""Moves of NSGA-II: genomes stay genomes, and together they reach every plan."""

from __future__ import annotations

import numpy as np

from optimizer.search.nsga2 import Codec, RefineOptions, refine
from optimizer.search.pool import Pool
from tests.optimizer.builders import random_problem


def test_a_move_leaves_its_parent_alone_and_makes_a_genome() -> None:
    problem = random_problem(3, 9, 3)
    moves = Codec(Pool(problem), problem.tables.allowed).moves
    rng = np.random.default_rng(0)
    genome = np.concatenate([np.repeat([0.0, 1.0, 2.0], 3), [0.0, 1.0, 2.0]])
    for _ in range(300):
        before = genome.copy()
        child = moves.apply(genome, rng)
        assert np.array_equal(genome, before)
        assert child.shape == genome.shape
        assert set(child[:9].tolist()) <= {0.0, 1.0, 2.0}
        assert len(set(child[9:].tolist())) == 3
        genome = child


def test_every_contiguous_plan_of_a_small_problem_is_reached_by_moves() -> None:
    problem = random_problem(1, 4, 2)
    codec = Codec(Pool(problem), problem.tables.allowed)
    rng = np.random.default_rng(0)
    genome = codec.encode(np.zeros(4, dtype=np.int64), (0, 1))
    seen = set()
    for _ in range(3000):
        genome = codec.moves.apply(genome, rng)
        (assignment,) = codec.decode(genome[None])
        seen.add(tuple(assignment.tolist()))
    truth = set()
    pool = Pool(problem)
    for bits in np.ndindex(2, 2, 2, 2):
        if pool.score(np.array(bits)) is not None:
            truth.add(bits)
    assert seen == truth


def test_one_processor_needs_no_moves() -> None:
    problem = random_problem(1, 4, 1)
    pool = Pool(problem)
    options = RefineOptions(deadline=np.inf, seed=0, population=4, generations=2)
    refine(pool, problem.tables.allowed, [], options)
    assert len(pool.front()) == 1
