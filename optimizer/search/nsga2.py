"""NSGA-II refines the front: the only importer of pymoo.

Genome: the processor's place in the pipeline for every operator, and the order of processors as random keys.
Repair makes the places monotone along the graph, so every genome is a contiguous plan; where processors may be
revisited there is nothing to repair, and runs of operators may go anywhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.crossover import Crossover
from pymoo.core.mutation import Mutation
from pymoo.core.problem import Problem as PymooProblem
from pymoo.core.sampling import Sampling

from optimizer.graph import Graph, predecessors
from optimizer.objectives import objective_values
from optimizer.search.label_cuts import topological_orders
from optimizer.search.moves import Moves
from optimizer.search.pool import Assignment, Pool
from optimizer.search.screen import Screen

__all__ = ["Codec", "RefineOptions", "refine"]

Genomes = npt.NDArray[np.float64]
_WORST = 1e30
_CROSSED = 0.5
"""Share of children of two parents; the others are a parent with one small change."""


@dataclass(frozen=True)
class RefineOptions:
    """Size of the search; ``deadline`` by time.monotonic."""

    deadline: float
    seed: int
    population: int = 100
    generations: int = 80
    patience: int = 30
    """Generations without anything new on the front after which the search ends."""


class Codec:
    """Genomes and assignments. A genome holds n places in the pipeline (0..k-1), then k random keys."""

    def __init__(self, pool: Pool, domains: npt.NDArray[np.bool_]) -> None:
        graph = pool.problem.graph
        self.n, self.k = len(graph.operators), len(pool.problem.processors)
        self.units = pool.problem.units
        unit_of = {v: i for i, unit in enumerate(self.units) for v in unit}
        self.before: list[list[int]] = [[] for _ in self.units]
        """Operators outside of a unit that it reads from."""
        self.revisits = pool.problem.non_contiguous
        for tensor in graph.tensors:
            if tensor.producer is not None and not self.revisits:
                for c in tensor.consumers:
                    if unit_of[c] != unit_of[tensor.producer]:
                        self.before[unit_of[c]].append(tensor.producer)
        self.domains = domains
        self.moves = Moves(self.n, self.k, tuple(topological_orders(pool.problem)), _edges(graph), self.revisits)

    def decode(self, genomes: Genomes) -> list[Assignment]:
        """Assignments of a population, repaired unit by unit in all genomes at once."""
        count = len(genomes)
        order = np.argsort(genomes[:, self.n :], axis=1, kind="stable")
        places = np.clip(np.rint(genomes[:, : self.n].T), 0, self.k - 1).astype(np.int64)  # operators first
        restricted = set(np.argwhere(~self.domains)[:, 0].tolist())
        for unit, before in zip(self.units, self.before, strict=True):  # in topological order
            v = unit[0]
            for u in before:
                np.maximum(places[v], places[u], out=places[v])
            if v in restricted:
                places[v] = self._allowed_places(v, places[v], order)
            for w in unit[1:]:
                places[w] = places[v]
        assignments = order[np.arange(count), places]
        return [np.ascontiguousarray(column) for column in assignments.T]

    def _allowed_places(self, v: int, places: Assignment, order: Assignment) -> Assignment:
        """The next places whose processors may run the operator; the given ones where there are none."""
        allowed = self.domains[np.full_like(order, v), order] & (np.arange(self.k) >= places[:, None])
        return np.where(allowed.any(axis=1), allowed.argmax(axis=1), places)

    def encode(self, assignment: Assignment, order: Sequence[int]) -> npt.NDArray[np.float64]:
        keys = np.empty(self.k)
        keys[list(order)] = np.arange(self.k)
        place = np.empty(self.k)
        place[list(order)] = np.arange(self.k)
        return np.concatenate([place[assignment], keys])


def _edges(graph: Graph) -> npt.NDArray[np.int64]:
    """(e, 2) operators that make and use a tensor."""
    pairs = [(u, v) for v, before in enumerate(predecessors(graph)) for u in before]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


class _Archive:
    """Genomes of the best plans met so far, however many there are."""

    def __init__(self) -> None:
        self.age = self.changed = 0
        """Generations done, and those done when it last grew better."""
        self.genomes: Genomes = np.zeros((0, 0))
        self._figures: Genomes = np.zeros((0, 0))

    def add(self, genomes: Genomes, figures: Genomes) -> None:
        """Keep those that no other is as good as; one for each point."""
        if len(self.genomes):
            genomes, figures = np.vstack([self.genomes, genomes]), np.vstack([self._figures, figures])
        old = len(self.genomes)
        rows = np.lexsort(figures.T[::-1])
        kept: list[int] = []
        while len(rows):
            kept.append(int(rows[0]))
            rows = rows[(figures[rows] < figures[rows[0]]).any(axis=1)]
        if max(kept, default=0) >= old:
            self.changed = self.age
        self.genomes, self._figures = genomes[kept], figures[kept]


class _Task(PymooProblem):  # type: ignore[misc]
    def __init__(self, screen: Screen, codec: Codec) -> None:
        self.archive = _Archive()
        self.objectives = screen.pool.objectives
        super().__init__(n_var=codec.n + codec.k, n_obj=len(self.objectives), n_ieq_constr=1, xl=0, xu=codec.k)
        self.screen, self.codec = screen, codec

    def _evaluate(self, x: Genomes, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        values, broken = [], []
        for score in self.screen.scores(self.codec.decode(x)):
            if score is None:
                values.append([_WORST] * len(self.objectives))
                broken.append([_WORST])
                continue
            values.append([min(f, _WORST) for f in objective_values(score, self.objectives)])
            broken.append([float(len(score.violations))])
        out["F"], out["G"] = np.array(values), np.array(broken)
        fine = out["G"][:, 0] <= 0
        if fine.any():
            self.archive.add(x[fine], out["F"][fine])


class _Seeds(Sampling):  # type: ignore[misc]
    """The known front first, then neighbours of it and random cuts."""

    def __init__(self, codec: Codec, seeds: list[npt.NDArray[np.float64]], rng: np.random.Generator) -> None:
        super().__init__()
        self.codec, self.seeds, self.rng = codec, seeds, rng

    def _do(self, problem: Any, n_samples: int, **kwargs: Any) -> Genomes:
        genomes = list(self.seeds[:n_samples])
        while len(genomes) < n_samples:
            if self.seeds and self.rng.random() < 0.5:
                base = self.seeds[int(self.rng.integers(len(self.seeds)))]
                genomes.append(self.codec.moves.apply(base, self.rng))
            else:
                cuts = np.sort(self.rng.integers(0, self.codec.n + 1, self.codec.k - 1))
                places = np.searchsorted(cuts, np.arange(self.codec.n), side="right")
                genomes.append(np.concatenate([places, self.rng.random(self.codec.k) * self.codec.k]))
        return np.array(genomes, dtype=np.float64)


class _Splice(Crossover):  # type: ignore[misc]
    """One parent up to a cut, the other from there on, along any topological order; processor order from either."""

    def __init__(self, codec: Codec, rng: np.random.Generator) -> None:
        super().__init__(2, 2, prob=_CROSSED)
        self.codec, self.rng = codec, rng

    def _do(self, problem: Any, x: npt.NDArray[Any], **kwargs: Any) -> npt.NDArray[Any]:
        children = x.copy()
        n = self.codec.n
        for mating in range(x.shape[1]):
            behind = self.codec.moves.any_order(self.rng)[int(self.rng.integers(n + 1)) :]
            children[0, mating, behind] = x[1, mating, behind]
            children[1, mating, behind] = x[0, mating, behind]
            if self.rng.random() < 0.5:
                children[0, mating, n:], children[1, mating, n:] = x[1, mating, n:], x[0, mating, n:]
        return children


class _Move(Mutation):  # type: ignore[misc]
    """Small changes; of every other child none of its parents is changed, but one of the best plans met so far."""

    def __init__(self, codec: Codec, rng: np.random.Generator) -> None:
        super().__init__()
        self.codec, self.rng = codec, rng

    def _do(self, problem: Any, x: Genomes, **kwargs: Any) -> Genomes:
        return np.array([self.codec.moves.apply(self._base(problem.archive, g), self.rng) for g in x])

    def _base(self, archive: _Archive, child: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        if len(archive.genomes) == 0 or self.rng.random() < 0.5:
            return child
        return np.asarray(archive.genomes[int(self.rng.integers(len(archive.genomes)))])


def refine(
    pool: Pool,
    domains: npt.NDArray[np.bool_],
    seeds: Sequence[tuple[Assignment, Sequence[int]]],
    options: RefineOptions,
    on_generation: Callable[[int, int], None] | None = None,
) -> int:
    """Run NSGA-II on the pool until the generations or the time are used up; generations done.

    ``seeds``: assignments with their order of processors. Same seed, same generations: same plans.
    """
    codec = Codec(pool, domains)
    rng = np.random.default_rng(options.seed)
    genomes = [codec.encode(assignment, order) for assignment, order in seeds]
    algorithm = NSGA2(
        pop_size=options.population,
        sampling=_Seeds(codec, genomes, rng),
        crossover=_Splice(codec, rng),
        mutation=_Move(codec, rng),
        eliminate_duplicates=True,
    )
    task = _Task(Screen(pool), codec)
    algorithm.setup(task, termination=("n_gen", options.generations), seed=options.seed, verbose=False)
    done = 0
    while algorithm.has_next() and time.monotonic() < options.deadline:
        algorithm.next()
        done += 1
        if done - task.archive.changed > options.patience:
            break
        task.archive.age = done
        if on_generation is not None:
            on_generation(done, options.generations)
    return done
