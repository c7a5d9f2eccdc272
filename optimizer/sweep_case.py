"""One case of a sweep: what is asked, the key of its answer, and how it is answered."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from boards.board import System
from boards.system_io import system_to_dict
from optimizer.cost_models.roofline import roofline_costs
from optimizer.costs import CostTable, merge_costs
from optimizer.costs_io import costs_to_dict
from optimizer.graph import Graph
from optimizer.infeasible import Infeasible, NothingFound
from optimizer.mcu import with_code
from optimizer.plan import Front
from optimizer.plan_io import versions
from optimizer.plan_values import certificate_to_dict, score_to_dict
from optimizer.problem import Limits, Problem

__all__ = ["REPORT_FILES", "Answer", "Case", "solve_case"]

REPORT_FILES = ("plan.json", "front.json", "report.html")
_ONE_AT_A_TIME = threading.Lock()
"""A Dask worker may have several threads; the solver's random numbers and time limit want a process of their own."""


@dataclass(frozen=True)
class Case:
    """A model on a system under limits. Carries all that a worker on another machine needs."""

    graph: Graph
    system: System
    costs: CostTable | None
    limits: Limits
    limits_name: str
    prefer: str
    seed: int
    time_limit_s: float
    non_contiguous: bool = False
    replicate: bool = False
    gap: float = 0.0
    reproducible: bool = False

    @cached_property
    def key(self) -> str:
        """Names the answer: the same for the same model, system, costs, limits, options and version of edgecut.

        The name of the limits does not count: they may be renamed without solving anew.
        """
        content = {
            "edgecut_version": versions()["edgecut"],
            "model": [self.graph.sha256, self.graph.batch],
            "system": system_to_dict(self.system),
            "costs": None if self.costs is None else costs_to_dict(self.costs),
            "limits": dataclasses.asdict(self.limits),
            "options": [self.prefer, self.seed, self.time_limit_s, self.gap, self.reproducible],
            "class": [self.non_contiguous, self.replicate],
        }
        text = json.dumps(content, sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def title(self) -> str:
        return f"{self.graph.name} on {self.system.name}, {self.limits_name}, {self.prefer}, seed {self.seed}"

    def variant(self, prefer: str, seed: int) -> Case:
        return replace(self, prefer=prefer, seed=seed)

    def problem(self) -> Problem:
        """Raises InputError where the parts do not fit together."""
        costs = roofline_costs(self.graph, self.system)
        if self.costs is not None:
            costs = merge_costs(costs, self.costs)
        graph = with_code(self.graph, self.system)
        return Problem(graph, self.system, costs, self.limits, self.non_contiguous, replicate=self.replicate)


@dataclass(frozen=True)
class Answer:
    """The record for cases/<key>.json, and the files of the plan (by name), none where there is no plan."""

    record: Mapping[str, Any]
    files: Mapping[str, bytes]


def solve_case(case: Case) -> Answer:
    """Solve one case with one thread of CP-SAT. Runs in a worker. Raises OptimizerError."""
    from optimizer.solve import SolveOptions, solve  # ortools and pymoo are loaded in the workers only

    with _ONE_AT_A_TIME:
        problem = case.problem()
        options = SolveOptions(
            prefer=case.prefer, seed=case.seed, time_limit_s=case.time_limit_s, workers=1, gap=case.gap,
            reproducible=case.reproducible,
        )  # fmt: skip
        outcome = solve(problem, options)
        record = {**_asked(case), **_answered(case, outcome), "versions": versions()}
        return Answer(record, _files(problem, outcome))


def _asked(case: Case) -> dict[str, Any]:
    return {
        "model": case.graph.name,
        "model_source": case.graph.source,
        "model_sha256": case.graph.sha256,
        "system": case.system.name,
        "prefer": case.prefer,
        "seed": case.seed,
        "time_limit_s": case.time_limit_s,
    }


def _answered(case: Case, outcome: Front | Infeasible | NothingFound) -> dict[str, Any]:
    if isinstance(outcome, Infeasible):
        reasons = [f"{c.text} {c.help}".rstrip() for c in outcome.clashes]
        return {"status": "infeasible", "reasons": reasons or [outcome.text], "seconds": outcome.seconds}
    if isinstance(outcome, NothingFound):
        return {"status": "nothing found", "reasons": [outcome.text], "seconds": outcome.seconds}
    plan = outcome.plans[outcome.chosen]
    board_of = {ref.key: ref.board.name for ref in case.system.processors}
    return {
        "status": "solved",
        "seconds": outcome.seconds,
        "score": score_to_dict(plan.score),
        "plan_status": plan.status,
        "segments": len(plan.segments),
        "boards": list(dict.fromkeys(board_of[s.processor] for s in plan.segments)),
        "certificate": {o: certificate_to_dict(c) for o, c in outcome.certificates.items()},
        "front": [
            [p.score.throughput_per_s, p.score.latency_s, p.score.energy_j]
            for p in outcome.plans
            if math.isfinite(p.score.throughput_per_s)
        ],
    }


def _files(problem: Problem, outcome: Front | Infeasible | NothingFound) -> dict[str, bytes]:
    if not isinstance(outcome, Front):
        return {}
    from optimizer.request import SolveResult, write_results

    # A worker may be on another machine: the files go back with the answer.
    with tempfile.TemporaryDirectory(prefix="edgecut-sweep-") as folder:
        write_results(SolveResult(problem, outcome), Path(folder))
        return {name: (Path(folder) / name).read_bytes() for name in REPORT_FILES}
