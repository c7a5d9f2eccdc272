"""Small sweeps without a solver: cases, answers made up for them, and a runner that hands them out."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from optimizer.problem import Limits
from optimizer.sweep import Sweep
from optimizer.sweep_case import REPORT_FILES, Answer, Case
from optimizer.sweep_grid import Grid
from optimizer.sweep_runners import Finished
from tests.optimizer.builders import random_problem

_FIGURES = {"throughput": "period_s", "latency": "latency_s", "energy": "energy_j"}


def make_case(seed: int = 0, prefer: str = "throughput", limits: Limits | None = None, **changes: Any) -> Case:
    problem = random_problem(1)
    fields: dict[str, Any] = {
        "graph": problem.graph,
        "system": problem.system,
        "costs": problem.costs,
        "limits": limits or Limits(),
        "limits_name": "free",
        "prefer": prefer,
        "seed": seed,
        "time_limit_s": 5.0,
    }
    return Case(**{**fields, **changes})


def make_grid(*cases: Case, name: str = "sample") -> Grid:
    return Grid(name, Path("grid.yaml"), cases or tuple(make_case(seed) for seed in range(3)))


def solved(case: Case, throughput_per_s: float = 50.0, energy_j: float = 0.2, gap: float = 0.0) -> Answer:
    """An answer with a plan, ``gap`` above its bound in every objective."""
    board = case.system.boards[0].name
    memory = {"ram_bytes": 3000, "ram_available_bytes": 12000, "flash_bytes": 0, "flash_available_bytes": None}
    score: dict[str, Any] = {
        "period_s": 1 / throughput_per_s,
        "throughput_per_s": throughput_per_s,
        "latency_s": 0.03,
        "energy_j": energy_j,
        "link_bytes": 77,
        "memory_bytes": {
            board: memory | dict.fromkeys(("weights_bytes", "arena_bytes", "buffer_bytes", "runtime_bytes"), 1000)
        },
        "occupancy_s": {},
        "boards_used": 1,
        "accuracy_loss": None,
    }
    certificate = {
        objective: {
            "value": score[figure],
            "bound": score[figure] * (1 - gap),
            "gap": gap,
            "unit": "J" if objective == "energy" else "s",
            "status": "bounded" if gap else "proven",
            "class": "contiguous",
            "method": "made up",
            "seconds": 0.1,
        }
        for objective, figure in _FIGURES.items()
    }
    record = {
        "status": "solved", "seconds": 1.5, "score": score, "plan_status": "proven (throughput)", "segments": 1,
        "boards": [board], "certificate": certificate,
        "front": [[throughput_per_s, 0.03, energy_j], [throughput_per_s / 2, 0.02, energy_j / 2]],
    }  # fmt: skip
    return Answer(record, {name: name.encode() for name in REPORT_FILES})


def infeasible(*reasons: str) -> Answer:
    return Answer({"status": "infeasible", "reasons": list(reasons), "seconds": 0.2}, {})


class Scripted:
    """A runner with a list of answers: an Answer, the text of an error, or an exception to raise."""

    def __init__(self, *script: Answer | str | BaseException) -> None:
        self.script, self.ran = list(script), list[str]()
        self.closed = False

    def run(self, cases: Sequence[Case]) -> Generator[Finished, None, None]:
        try:
            for case, answer in zip(cases, self.script, strict=False):
                if isinstance(answer, BaseException):
                    raise answer
                self.ran.append(case.key)
                yield Finished(case, None, answer) if isinstance(answer, str) else Finished(case, answer)
        finally:
            self.closed = True


def silent(text: str, done: int, total: int) -> None:
    """A listener that does not listen."""


def sweep_of(*answers: tuple[Case, Answer | str | None], name: str = "sample") -> Sweep:
    """A sweep with these answers, errors (texts) and open cases (None)."""
    sweep = Sweep(make_grid(*(case for case, _ in answers), name=name))
    for case, answer in answers:
        if isinstance(answer, Answer):
            sweep.records[case.key] = answer.record
        elif answer is not None:
            sweep.failures[case.key] = answer
    return sweep
