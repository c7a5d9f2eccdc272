"""The command `optimizer`: plan offline. The only module of this package that prints and exits."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from boards.errors import BoardsError
from optimizer.cli_options import SHARE, TIME, limit_options
from optimizer.errors import InputError, InternalError, OptimizerError
from optimizer.infeasible import Infeasible
from optimizer.plan import Front
from optimizer.problem import Limits

__all__ = ["cli", "main"]

_EPILOG = """\b
Exit codes: 0 done, 1 internal error, 2 bad input, 3 infeasible (verify: does not hold), 4 nothing found in time,
            130 interrupted.
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}, epilog=_EPILOG)
@click.version_option(package_name="edgecut", prog_name="optimizer")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Plan how to split a neural network over several boards, and prove how good the plan is.

    \b
    optimizer inspect zoo:efficientnet_b0
    optimizer solve   zoo:efficientnet_b0 --system demo -o out
    optimizer split   out/plan.json -o bundle
    """


@cli.command(short_help="Find the best splits of a model over the boards.", epilog=_EPILOG)
@click.argument("model")
@click.option("--system", "-s", required=True, help="A ready system's name (see boards/systems) or a YAML file.")
@click.option("--costs", type=click.Path(path_type=Path), help="Costs from `hil profile` or your own (JSON, CSV).")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=Path("out"),
    show_default=True,
    help="Folder for plan.json, front.json and report.html.",
)
@click.option(
    "--prefer",
    default="throughput",
    show_default=True,
    metavar="PREFERENCE",
    help="Which plan of the front to take: an objective, knee, weights (throughput=0.5,energy=0.5), or an order in "
    "which each step is proven (latency:5%>energy>throughput; the share is what later steps may give away).",
)
@click.option(
    "--objectives",
    default="throughput,latency,energy",
    show_default=True,
    help="Objectives that span the front, with commas; beside these memory, link-bytes, boards, accuracy-loss.",
)
@click.option(
    "--sensitivity",
    type=click.Path(path_type=Path),
    help="What operators lose in accuracy by precision (CSV or JSON: operator, precision, loss).",
)
@click.option(
    "--precision",
    multiple=True,
    metavar="BOARD=fp32|int8|any",
    help="Precisions among which to choose for a board's processors (default: fp32, else its first). Can be repeated.",
)
@limit_options
@click.option("--non-contiguous", is_flag=True, help="Let a processor be revisited: several segments each.")
@click.option("--replicate", is_flag=True, help="Let identical boards take alternate frames of a segment.")
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Binds a symbolic batch.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the search.")
@click.option("--time-limit", type=TIME, default="60s", show_default=True, help="Wall time of the search.")
@click.option("--workers", type=click.IntRange(min=1), help="Threads of CP-SAT (default: all cores).")
@click.option(
    "--gap", type=SHARE, default="0%", show_default=True, help="Stop when every objective is that close to its bound."
)
@click.option(
    "--reproducible",
    is_flag=True,
    help="The same plan.json bit for bit: one thread, and a time limit in CP-SAT's deterministic seconds.",
)
@click.option(
    "--start",
    type=click.Path(path_type=Path),
    help="A plan.json of the same model to start from, after a change of costs or of boards, say.",
)
@click.option(
    "--cost-uncertainty",
    type=SHARE,
    help="Every cost may be wrong by this share, for example 10%: how much worse than the best may the plan be then?",
)
@click.option("--json", "as_json", is_flag=True, help="Print the plan (or why there is none) as JSON on stdout.")
def solve(
    model: str, system: str, costs: Path | None, out: Path, prefer: str, objectives: str,
    sensitivity: Path | None, precision: tuple[str, ...], limits: Limits,
    non_contiguous: bool, replicate: bool, batch: int, seed: int, time_limit: float, workers: int | None, gap: float,
    reproducible: bool, start: Path | None, cost_uncertainty: float | None, as_json: bool,
) -> None:  # fmt: skip
    """Find the best splits of MODEL (an ONNX file or zoo:NAME) over the boards of a system.

    Writes plan.json (the preferred plan), front.json (all that are worth having) and report.html (look at it).
    Ctrl-C ends the search early: what is best so far is written, with its bounds and marked as interrupted.

    \b
    optimizer solve zoo:efficientnet_b0 --system demo -o out
    optimizer solve model.onnx --system bench.yaml --costs costs.json --max-latency 50ms --prefer energy -o out
    """
    from optimizer.request import (
        SolveRequest,
        make_folder,
        outcome_dict,
        report_data,
        solve_request,
        write_results,
    )  # fmt: skip

    request = SolveRequest(
        model, system, costs, limits, _objectives(objectives), prefer, seed, time_limit, batch, workers,
        non_contiguous, gap, reproducible, keep_on_interrupt=True, replicate=replicate, start=start,
        sensitivity=sensitivity, cost_uncertainty=cost_uncertainty, precisions=precision,
    )  # fmt: skip
    make_folder(out)
    with _progress() as tell:
        result = solve_request(request, tell)
    if as_json:
        click.echo(json.dumps(outcome_dict(result), indent=1, default=str))
    if not isinstance(result.outcome, Front):
        click.echo(result.outcome.text, err=True)
        sys.exit(3 if isinstance(result.outcome, Infeasible) else 4)
    files = write_results(result, out)
    if not as_json:
        from optimizer.report_terminal import solve_table

        console = _console()
        console.print(solve_table(report_data(result.problem, result.outcome)))
        if result.outcome.interrupted:
            console.print(
                "interrupted: the best plans so far; their certificates say how far from the best they may be"
            )
        console.print(f"plan    {files.plan}\nfront   {files.front}\nreport  {files.report}", highlight=False)
    if result.outcome.interrupted:
        sys.exit(130)


def _objectives(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


class _progress:  # noqa: N801  a context manager that is used like a function
    """A progress bar on stderr where that is a terminal; silent otherwise."""

    def __enter__(self) -> Callable[[str, float], None]:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console, transient=True,
            disable=not console.is_terminal,
        )  # fmt: skip
        self.bar.start()
        task = self.bar.add_task("loading", total=1.0)
        return lambda text, share: self.bar.update(task, description=text, completed=share)

    def __exit__(self, *details: object) -> None:
        self.bar.stop()


def _console() -> Any:
    from rich.console import Console

    return Console()


def _register() -> None:
    from optimizer.cli_model import inspect, split
    from optimizer.costs_cli import costs
    from optimizer.explain_cli import explain
    from optimizer.sweep_cli import sweep
    from optimizer.verify_cli import verify

    for command in (inspect, costs, split, explain, sweep, verify):
        cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: runs the command and ends the process with its exit code."""
    _register()
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        cli.main(args=given, prog_name="optimizer", standalone_mode=False)
    except click.ClickException as e:
        e.show()
        sys.exit(2)
    except (InputError, BoardsError) as e:
        _complain(e, given)
        sys.exit(2)
    except (InternalError, OptimizerError) as e:
        _complain(e, given)
        sys.exit(1)
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("interrupted; nothing was written", err=True)
        sys.exit(130)
    except OSError as e:
        _complain(e, given)
        sys.exit(2)


def _complain(error: Exception, arguments: Sequence[str]) -> None:
    if "--debug" in arguments:
        traceback.print_exception(error)
    click.echo(f"error: {error}", err=True)


if __name__ == "__main__":
    main()
