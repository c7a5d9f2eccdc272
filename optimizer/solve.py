"""The pipeline of `optimizer solve`: anchors, bounds, front, choice, certificates."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from optimizer.infeasible import Infeasible, NothingFound
from optimizer.mcu_coverage import uncovered
from optimizer.plan import Front
from optimizer.precision_search import solve_choices
from optimizer.problem import Problem
from optimizer.solve_options import SolveOptions, check_options
from optimizer.solve_stages import Run

__all__ = ["Progress", "SolveOptions", "check_options", "solve"]

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of the work done (0 to 1)."""


def solve(
    problem: Problem, options: SolveOptions | None = None, progress: Progress | None = None
) -> Front | Infeasible | NothingFound:
    """The Pareto front of the problem's class of plans with certificates, or why there is none.

    Raises LimitError as ``check_options`` does.
    """
    options = options or SolveOptions()
    check_options(problem, options)
    tell = progress or (lambda text, share: None)
    if any(len(allowed) > 1 for allowed in problem.precision_choices):
        return solve_choices(problem, options, solve, tell)
    nowhere = uncovered(problem)
    if nowhere is not None:
        return nowhere
    run = Run(problem, options)
    tell("cuts along the graph", 0.05)
    run.stage("order-DP", run.seed_pool)
    tell("the whole front, where it is cheap", 0.1)
    run.stage("exact front", run.enumerate)
    # the latency first: it is mostly proven at once, and leaves its time to the others
    for number, objective in enumerate(sorted(run.objectives, key=lambda o: o != "latency")):
        tell(f"proving {objective}", 0.2 + 0.5 * number / len(run.objectives))
        run.stage(f"CP-SAT {objective}", partial(run.prove, objective))
    if problem.replicate:
        tell("replicas", 0.6)
        run.stage("replicas", run.replicate)
    if not run.pool.feasible():
        return run.none_found()
    if len(run.preference.steps) > 1:
        tell("proving the preference", 0.65)
        run.stage("CP-SAT preference", run.prefer_in_order)
    if not run.exact and not options.gap and not run.done():
        tell("filling the front", 0.7)
        run.stage("epsilon-grid", run.grid)
        tell("refining the front", 0.85)
        run.stage("NSGA-II", run.refine)
    front = run.front()
    if options.cost_uncertainty is not None and not front.interrupted:
        tell("varying the costs", 0.95)
        front = run.with_uncertainty(front, options.cost_uncertainty)
    tell("done", 1.0)
    return front
