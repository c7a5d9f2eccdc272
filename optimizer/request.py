"""From names and files to a solved problem and its result files: what the command line and the server call."""

from __future__ import annotations

import dataclasses
import datetime
import math
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from boards.board import System
from boards.catalog import load_system
from boards.units import format_bytes, format_energy, format_rate, format_time
from optimizer.cost_models.roofline import roofline_costs
from optimizer.costs import CostTable, merge_costs
from optimizer.costs_io import load_costs
from optimizer.errors import InputError, LimitError
from optimizer.infeasible import Infeasible, NothingFound
from optimizer.mcu import with_code
from optimizer.objectives import DEFAULT_OBJECTIVES, check_names
from optimizer.onnx_model import load_graph
from optimizer.plan import Front
from optimizer.plan_io import front_to_dict, plan_to_dict, versions, write_json
from optimizer.precision import parse_precisions, settled
from optimizer.preference import parse_preference
from optimizer.problem import Limits, Problem
from optimizer.report_data import Baseline, Measured, ReportData
from optimizer.search.pool import Pool
from optimizer.sensitivity import Sensitivity, load_sensitivity
from optimizer.solve import Progress, SolveOptions, check_options, solve
from optimizer.start import load_start
from optimizer.timeline import steady_state
from optimizer.uncertainty_words import uncertainty_words

__all__ = [
    "ResultFiles",
    "SolveRequest",
    "SolveResult",
    "make_problem",
    "prepare",
    "report_data",
    "solve_request",
    "write_results",
]


@dataclass(frozen=True)
class SolveRequest:
    """What `optimizer solve` is asked. ``costs`` None: roofline from the catalog's figures."""

    model: str | Path
    system: str | Path | System
    costs: Path | CostTable | None = None
    limits: Limits = field(default_factory=Limits)
    objectives: tuple[str, ...] = DEFAULT_OBJECTIVES
    prefer: str = "throughput"
    """An objective, "knee", weights, or an order: see optimizer.preference."""
    seed: int = 0
    time_limit_s: float = 60.0
    batch: int = 1
    workers: int | None = None
    non_contiguous: bool = False
    """Whether plans may come back to a processor."""
    gap: float = 0.0
    """Stop when every objective is within this share of its bound."""
    reproducible: bool = False
    keep_on_interrupt: bool = False
    """See SolveOptions."""
    start: Path | Mapping[str, Any] | None = None
    """A plan.json of the same model to start from, or its content; front.json beside the file is used as well."""
    cost_uncertainty: float | None = None
    """Share by which every cost may be wrong."""
    sensitivity: Path | Sensitivity | None = None
    """What operators lose in accuracy; needed where accuracy-loss is an objective or a limit."""
    precisions: tuple[str, ...] = ()
    """Allowed precisions, each as "board=int8", "board=fp32|int8" or "board=any"."""
    replicate: bool = False
    """Whether identical boards may take alternate frames of a segment."""


@dataclass(frozen=True)
class SolveResult:
    """``outcome`` is a front, or the reason why there is none. ``problem``: at the chosen plan's precisions."""

    problem: Problem
    outcome: Front | Infeasible | NothingFound


@dataclass(frozen=True)
class ResultFiles:
    plan: Path
    front: Path
    report: Path


def make_problem(request: SolveRequest) -> Problem:
    """Load and check everything the request names. Raises InputError or boards.errors.BoardsError.

    A cost file replaces the roofline row by row, so it may cover some boards only.
    """
    system = request.system if isinstance(request.system, System) else load_system(request.system)
    graph = with_code(load_graph(request.model, request.batch), system)
    costs = roofline_costs(graph, system)
    if request.costs is not None:
        given = request.costs if isinstance(request.costs, CostTable) else load_costs(request.costs)
        costs = merge_costs(costs, given)
    losses = request.sensitivity
    if losses is not None and not isinstance(losses, Sensitivity):
        losses = load_sensitivity(losses)
    precisions = parse_precisions(request.precisions, system)
    return Problem(graph, system, costs, request.limits, request.non_contiguous, losses, request.replicate, precisions)


def prepare(request: SolveRequest) -> tuple[Problem, SolveOptions]:
    """Everything but the search: raises what can be said of the request before it, as ``solve_request`` does."""
    _check(request)
    problem = make_problem(request)
    start = None if request.start is None else load_start(request.start, problem)
    options = SolveOptions(
        request.objectives, request.prefer, request.seed, request.time_limit_s, request.workers, request.gap,
        request.reproducible, request.keep_on_interrupt, start, request.cost_uncertainty,
    )  # fmt: skip
    check_options(problem, options)
    return problem, options


def solve_request(request: SolveRequest, progress: Progress | None = None) -> SolveResult:
    """Solve. Raises InputError or boards.errors.BoardsError for bad input; infeasible is a result."""
    problem, options = prepare(request)
    outcome = solve(problem, options, progress)
    if isinstance(outcome, Front):
        problem = settled(problem, outcome.plans[outcome.chosen])
    return SolveResult(problem, outcome)


def _check(request: SolveRequest) -> None:
    parse_preference(request.prefer)
    check_names(request.objectives)
    if not (math.isfinite(request.time_limit_s) and request.time_limit_s > 0):
        got = f"{request.time_limit_s} s"
        raise LimitError("the time limit is not usable", expected="more than 0 s", got=got, option="time-limit")


def make_folder(out: Path) -> None:
    """Make the folder for results, or say why not; called before long work, so that none is lost for it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as e:
        raise InputError(
            "the output folder cannot be used",
            where=str(out),
            expected="a folder that can be written to",
            got=e.strerror or str(e),
            hint="Give another place with -o.",
        ) from e


def write_results(result: SolveResult, out: Path, measured: Measured | None = None) -> ResultFiles:
    """Write plan.json, front.json and report.html into the folder ``out``, each whole or not at all."""
    if not isinstance(result.outcome, Front):
        raise InputError("there is no plan to write", expected="a solved problem", got=type(result.outcome).__name__)
    make_folder(out)
    from optimizer.report import write_report  # templates take time to load, and a failed solve needs none

    front = result.outcome
    files = ResultFiles(out / "plan.json", out / "front.json", out / "report.html")
    write_json(files.front, front_to_dict(result.problem, front))
    write_report(report_data(result.problem, front, measured), files.report)
    write_json(files.plan, plan_to_dict(result.problem, front.plans[front.chosen], front))
    return files


def report_data(problem: Problem, front: Front, measured: Measured | None = None) -> ReportData:
    """What the report and the terminal table show."""
    return ReportData(
        graph=problem.graph,
        system=problem.system,
        front=front,
        timeline=steady_state(problem, front.plans[front.chosen]),
        baselines=tuple(baselines(problem)),
        limits_text=tuple(_limits_text(problem.limits)),
        uncertainty_text=() if front.uncertainty is None else tuple(uncertainty_words(front.uncertainty)),
        versions=versions(),
        created=datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
        measured=measured,
        warnings=problem.graph.warnings,
    )


def baselines(problem: Problem) -> Iterator[Baseline]:
    """The whole model on each processor alone, scored like any plan; limits but memory and rate do not apply."""
    free = replace(
        problem,
        limits=Limits(
            max_ram_bytes=problem.limits.max_ram_bytes,
            max_flash_bytes=problem.limits.max_flash_bytes,
            rate_per_s=problem.limits.rate_per_s,
        ),
    )
    pool = Pool(free)
    for q, ref in enumerate(problem.processors):
        plan = pool.score(np.full(len(problem.graph.operators), q, dtype=np.int64))
        if plan is None or not math.isfinite(plan.score.period_s):
            yield Baseline(ref.key, None, None, None, False, "no route between this board and source or sink")
        elif plan.score.violations:
            yield Baseline(ref.key, None, None, None, False, "; ".join(plan.score.violations))
        else:
            score = plan.score
            yield Baseline(ref.key, score.throughput_per_s, score.latency_s, score.energy_j, True)


def _limits_text(limits: Limits) -> Iterator[str]:
    if limits.max_latency_s is not None:
        yield f"latency at most {format_time(limits.max_latency_s)}"
    if limits.min_throughput_per_s is not None:
        yield f"throughput at least {format_rate(limits.min_throughput_per_s)}"
    if limits.max_energy_j is not None:
        yield f"energy at most {format_energy(limits.max_energy_j)}"
    for kind, sizes in (("RAM", limits.max_ram_bytes), ("flash", limits.max_flash_bytes)):
        for board, size in sizes.items():
            yield f"{kind} of {board} at most {format_bytes(size)}"
    if limits.rate_per_s is not None:
        yield f"frames come at {format_rate(limits.rate_per_s)} (energy counts this interval)"
    for operator, target in limits.pins.items():
        yield f"{operator} on {target}"
    for operator, target in limits.forbids:
        yield f"{operator} not on {target}"
    for names in limits.colocations:
        yield f"{', '.join(names)} on one processor"
    if limits.max_boards is not None:
        yield f"at most {limits.max_boards} boards"
    if limits.max_link_bytes is not None:
        yield f"at most {format_bytes(limits.max_link_bytes)} over links"
    if limits.max_accuracy_loss is not None:
        yield f"accuracy loss at most {limits.max_accuracy_loss:g}"


def outcome_dict(result: SolveResult) -> dict[str, object]:
    """The result as JSON values, for `--json` and the server: the plan, or why there is none."""
    outcome = result.outcome
    if isinstance(outcome, Front):
        return plan_to_dict(result.problem, outcome.plans[outcome.chosen], outcome)
    if isinstance(outcome, Infeasible):
        return {"status": "infeasible", **dataclasses.asdict(outcome)}
    return {"status": "nothing found", **dataclasses.asdict(outcome)}
