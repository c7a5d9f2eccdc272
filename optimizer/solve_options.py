"""How to search: what `optimizer solve` is told beside the problem."""

from __future__ import annotations

from dataclasses import dataclass

from optimizer.objectives import DEFAULT_OBJECTIVES, check_objectives
from optimizer.preference import parse_preference
from optimizer.problem import Problem
from optimizer.start import Start

__all__ = ["SolveOptions", "check_options"]


@dataclass(frozen=True)
class SolveOptions:
    """How to search. ``objectives`` span the front, with those that ``prefer`` speaks of."""

    objectives: tuple[str, ...] = DEFAULT_OBJECTIVES
    prefer: str = "throughput"
    """Which plan of the front to take: see optimizer.preference."""
    seed: int = 0
    time_limit_s: float = 60.0
    workers: int | None = None
    gap: float = 0.0
    """Each objective is good enough when it is within this share of its bound."""
    reproducible: bool = False
    """One worker and deterministic budgets: the same plans again with the same OR-Tools on the same architecture."""
    keep_on_interrupt: bool = False
    """Ctrl-C ends the search with the best plans so far, where there are any; else it is raised."""
    start: Start | None = None
    """What an earlier solve found: the search begins there, and refines less."""
    cost_uncertainty: float | None = None
    """Share by which costs may be wrong: what that does to the chosen plan takes up to half the time limit more."""

    part: bool = False
    """Of a larger search: which limits clash is not looked into, nor where tensors stand in memory."""

    @property
    def spanning(self) -> tuple[str, ...]:
        """What spans the front: the objectives, then what the preference speaks of. Raises LimitError."""
        return tuple(dict.fromkeys([*self.objectives, *parse_preference(self.prefer).objectives]))


def check_options(problem: Problem, options: SolveOptions) -> None:
    """Raises LimitError for objectives and preferences that we do not know or that the problem says nothing of."""
    check_objectives(options.spanning, problem)
