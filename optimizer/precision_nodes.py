"""The search of ``precision_search``: nodes of choices of precision, bounded, looked at one by one, and parted."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from optimizer.infeasible import Infeasible, NothingFound
from optimizer.objectives import objective_values
from optimizer.plan import Certificate, Front, Plan
from optimizer.precision import Choice, at_precisions, energy_is_relaxed, open_choice, relaxed, worth_trying
from optimizer.precision_plans import RealPlans
from optimizer.problem import Problem
from optimizer.search.certify import PROVEN_GAP, certificate, plan_class
from optimizer.search.cpsat import Bound
from optimizer.search.pool import assignment_of, dominates
from optimizer.search.pruning import simple_bound
from optimizer.solve_options import SolveOptions
from optimizer.start import Start

__all__ = ["Outcome", "PrecisionSearch", "SolveOne"]

_ONE_BY_ONE = 8
"""Combinations up to which all are solved, and none is bounded before."""
_NODE_SHARE = 0.2
"""Of the time left for one node; of few combinations each gets an even share."""
_LEAST_S = 0.2
_REALISED = 12
"""Plans of a relaxed problem that are tried at real precisions."""
_EXACT = 1e-9
_REPRODUCIBLE_NODES = 60
"""Nodes looked at where no wall time counts."""
Outcome = Front | Infeasible | NothingFound
SolveOne = Callable[[Problem, SolveOptions], Outcome]


@dataclass
class _Node:
    """``bounds``: lower bounds by objective over every plan below; inf where there is none."""

    choice: Choice
    bounds: dict[str, float]
    tries: int = 0
    closed: bool = False
    """Nothing better is left below it than what its bounds say."""
    minds: int = 0
    """The processor by which it is parted."""


@dataclass
class _Certified:
    """Over what was looked at so far: methods by objective, and what the parts took."""

    methods: dict[str, list[str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    deterministic_s: dict[str, float] = field(default_factory=dict)

    def take(self, front: Front) -> None:
        for objective, c in front.certificates.items():
            self.methods.setdefault(objective, [])
            if c.method not in self.methods[objective]:
                self.methods[objective].append(c.method)
            self.seconds[objective] = self.seconds.get(objective, 0.0) + c.seconds
            used_s = self.deterministic_s.get(objective, 0.0) + (c.deterministic_s or 0.0)
            self.deterministic_s[objective] = round(used_s, 6)


class PrecisionSearch:
    """The state of one search; ``run`` fills ``plans`` and what ``certificate`` says."""

    def __init__(
        self, problem: Problem, options: SolveOptions, objectives: tuple[str, ...], solve_one: SolveOne, seconds: float
    ) -> None:
        self.problem, self.options, self.objectives, self.solve_one = problem, options, objectives, solve_one
        self.seconds, self.used_s, self.begin = seconds, 0.0, time.monotonic()
        self.worth = worth_trying(problem)
        self.count = math.prod(len(allowed) for allowed in self.worth)
        self.plans: list[Plan] = []
        self.certified = _Certified()
        self.exact = True
        self.interrupted = False
        self.evaluations = self.looked_at = 0
        self.stages: dict[str, float] = {}
        self.nodes = [_Node(c, self._needed(c)) for c in self._first()]
        self.real = RealPlans(problem, self.worth, objectives)

    @property
    def open(self) -> list[_Node]:
        return [n for n in self.nodes if not n.closed]

    @property
    def left_s(self) -> float:
        used_s = self.used_s if self.options.reproducible else time.monotonic() - self.begin
        return self.seconds - used_s

    def _first(self) -> Iterator[Choice]:
        if self.count > _ONE_BY_ONE:
            yield self.worth
            return
        for vector in itertools.product(*self.worth):
            yield tuple((p,) for p in vector)

    def _needed(self, choice: Choice) -> dict[str, float]:
        """What every plan of a choice needs, found at once."""
        problem = relaxed(self.problem, choice)
        found = {o: simple_bound(problem, o) for o in self.objectives}
        if "energy" in found and not energy_is_relaxed(self.problem):
            found["energy"] = self._least_energy_j(choice)
        return found

    def _least_energy_j(self, choice: Choice) -> float:
        """Every operator where, and as, it takes least."""
        rows, refs = self.problem.costs.operators, self.problem.processors
        return sum(
            min(rows[op.name, ref.key, p].energy_j for ref, ps in zip(refs, choice, strict=True) for p in ps)
            for op in self.problem.graph.operators
        )

    def run(self, tell: Callable[[float], None]) -> None:
        while not self.interrupted and (self.looked_at == 0 or self.left_s > 0):
            if self.options.reproducible and self.looked_at >= _REPRODUCIBLE_NODES:
                return
            for node in self.open:
                self._drop(node)
            chosen = self._next()
            if chosen is None:
                return
            self._look(chosen)
            tell(min(1.0, 1.0 - self.left_s / self.seconds))

    def _next(self) -> _Node | None:
        """The open node that holds the widest gap open; where all gaps are closed, one that may add to the front."""
        still = self.open
        if not still:
            return None
        gap, objective = max((self._gap(o), o) for o in self.objectives)
        if gap > max(PROVEN_GAP, self.options.gap):
            return min(still, key=lambda n: (n.bounds[objective], n.tries))
        if self.options.gap or len(self.objectives) == 1:
            return None
        scale = {o: max(self.best(o), 1e-300) for o in self.objectives}
        return min(still, key=lambda n: (n.tries, sum(n.bounds[o] / scale[o] for o in self.objectives)))

    def _gap(self, objective: str) -> float:
        best = self.best(objective)
        if math.isinf(best):
            return math.inf
        return (best - self.bound(objective)) / best if best > 0 else 0.0

    def best(self, objective: str) -> float:
        return min((objective_values(p.score, [objective])[0] for p in self.plans), default=math.inf)

    def bound(self, objective: str) -> float:
        return min(n.bounds[objective] for n in self.nodes)

    def _drop(self, node: _Node) -> None:
        """Close a node below which nothing is left that known plans do not reach."""
        promised = [node.bounds[o] for o in self.objectives]
        if any(math.isinf(b) for b in promised):
            node.closed = True
            return
        for plan in self.plans:
            values = objective_values(plan.score, self.objectives)
            if all(v <= b * (1 + max(PROVEN_GAP, self.options.gap)) for v, b in zip(values, promised, strict=True)):
                node.closed = True
                self.exact &= all(v <= b * (1 + _EXACT) for v, b in zip(values, promised, strict=True))
                return

    def _look(self, node: _Node) -> None:
        """Solve a node's problem; what stays open of it is parted, or tried again with more time."""
        real = not open_choice(node.choice)
        share = 1.0 / len(self.open) if self.count <= _ONE_BY_ONE else _NODE_SHARE
        seconds = max(_LEAST_S, min(1.0, share * 2**node.tries) * self.left_s)
        gap = self.options.gap if real else max(PROVEN_GAP / 2, self.options.gap)
        options = replace(
            self.options, objectives=self.objectives, prefer=self.objectives[0], time_limit_s=seconds, gap=gap,
            start=_without_bounds(self.options), cost_uncertainty=None, part=True,
        )  # fmt: skip
        outcome = self.solve_one(relaxed(self.problem, node.choice), options)
        self.looked_at += 1
        node.tries += 1
        if isinstance(outcome, Infeasible):
            node.bounds = dict.fromkeys(self.objectives, math.inf)
            node.closed = True
        elif isinstance(outcome, Front):
            self._take(node, outcome, real)
        self._drop(node)
        if not real and not node.closed:
            self._part(node)

    def _take(self, node: _Node, front: Front, real: bool) -> None:
        self.certified.take(front)
        self.evaluations += front.evaluations
        self.interrupted = front.interrupted
        self.used_s += sum(c.deterministic_s or 0.0 for c in front.certificates.values())
        for name, seconds in front.stages.items():
            self.stages[name] = self.stages.get(name, 0.0) + seconds
        for objective, c in front.certificates.items():
            if objective == "energy" and not real and not energy_is_relaxed(self.problem):
                continue
            node.bounds[objective] = max(node.bounds[objective], c.bound or 0.0)
        if real:
            self.plans += front.plans
            whole = all(p.status != "heuristic" for p in front.plans)
            proven = all(c.status == "proven" for c in front.certificates.values())
            node.closed = whole or proven
            self.exact &= whole
        else:
            node.minds = self.real.minds(node.choice, assignment_of(self.problem, front.plans[front.chosen]))
            for plan in front.plans[:_REALISED]:
                self.plans += self.real.plans(node.choice, assignment_of(self.problem, plan))
        self.plans = self.front()

    def front(self) -> list[Plan]:
        rows = sorted((objective_values(p.score, self.objectives), i) for i, p in enumerate(self.plans))
        kept: list[tuple[tuple[float, ...], int]] = []
        for values, i in rows:
            if not any(k == values or dominates(k, values) for k, _ in kept):
                kept.append((values, i))
        return [self.plans[i] for _, i in kept]

    def _part(self, node: _Node) -> None:
        """Its children in its place: one for each precision of the processor that it minds."""
        self.nodes.remove(node)
        q = node.minds
        if len(node.choice[q]) == 1:  # nothing was found to tell by
            q = max(range(len(node.choice)), key=lambda p: (len(node.choice[p]), -p))
        before, behind = node.choice[:q], node.choice[q + 1 :]
        for precision in node.choice[q]:
            self.nodes.append(_Node((*before, (precision,), *behind), dict(node.bounds)))

    def certificate(self, objective: str, plans: Sequence[Plan] | None = None) -> Certificate:
        """The certificate of the best plan of all choices: none goes below the least bound of the nodes.

        ``plans``: those that count, all unless given.
        """
        done = self.certified
        methods = "; ".join(done.methods.get(objective, []))
        bound = Bound(
            value=self.bound(objective),
            complete=True,
            method=f"{self._how()}: {methods}" if methods else self._how(),
            seconds=done.seconds.get(objective, 0.0),
            deterministic_s=done.deterministic_s.get(objective, 0.0),
        )
        counted = self.plans if plans is None else plans
        best = min((objective_values(p.score, [objective])[0] for p in counted), default=math.inf)
        text = f"{plan_class(self.problem)}, any allowed precision of a processor"
        return certificate(objective, best, bound, text, self.options.seed)

    def _how(self) -> str:
        if self.count <= _ONE_BY_ONE:
            return f"each of {self.count} choices of precision"
        return f"branch and bound over {self.count} choices of precision, {self.looked_at} nodes looked at"

    def none(self, seconds: float) -> Outcome:
        """Why there is no plan; which limits clash is said of the first choice."""
        if self.interrupted:
            raise KeyboardInterrupt
        if any(not math.isinf(n.bounds[self.objectives[0]]) for n in self.nodes):
            return NothingFound(seconds, self.real.closest())
        vector = [allowed[0] for allowed in self.worth]
        options = replace(self.options, start=_without_bounds(self.options), cost_uncertainty=None)
        first = self.solve_one(at_precisions(self.problem, vector), options)
        if not isinstance(first, Infeasible):
            return NothingFound(seconds, "")
        method = f"{self._how()}; what follows is of the first: {first.method}"
        return replace(first, method=method, seconds=seconds, minimal=first.minimal and self.count == 1)


def _without_bounds(options: SolveOptions) -> Start | None:
    """The start's plans; its bounds are those of one choice of precisions."""
    return None if options.start is None else replace(options.start, bounds={})
