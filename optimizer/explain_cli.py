"""The command ``optimizer explain``."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import click

from optimizer.cli_options import TIME, limit_options
from optimizer.infeasible import Infeasible
from optimizer.plan import Front
from optimizer.problem import Limits

__all__ = ["explain"]

_GAP = 0.01


@click.command(short_help="Which limits clash, and what would be enough.")
@click.argument("model")
@click.option("--system", "-s", required=True, help="A ready system's name (see boards/systems) or a YAML file.")
@click.option("--costs", type=click.Path(path_type=Path), help="Costs from `hil profile` or your own (JSON, CSV).")
@click.option(
    "--sensitivity",
    type=click.Path(path_type=Path),
    help="What operators lose in accuracy by precision (CSV or JSON: operator, precision, loss).",
)
@limit_options
@click.option("--non-contiguous", is_flag=True, help="Let a processor be revisited: several segments each.")
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Binds a symbolic batch.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the search.")
@click.option("--time-limit", type=TIME, default="60s", show_default=True, help="Wall time to find out.")
@click.option("--workers", type=click.IntRange(min=1), help="Threads of CP-SAT (default: all cores).")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON on stdout.")
def explain(
    model: str, system: str, costs: Path | None, sensitivity: Path | None, limits: Limits, non_contiguous: bool,
    batch: int, seed: int, time_limit: float, workers: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Say whether MODEL fits the boards and the limits; if not, which limits clash and what would be enough.

    Each answer is found by solving again, never estimated: a smallest set of limits that no plan meets together, and
    for each of them the least by which it alone must be loosened.

    \b
    optimizer explain zoo:squeezenet1_1 --system demo --max-latency 9ms --min-throughput 200/s
    Exit codes: 0 the limits can be met, 2 bad input, 3 they cannot, 4 not settled in time.
    """
    from optimizer.explain import margins
    from optimizer.request import SolveRequest, solve_request

    request = SolveRequest(
        model, system, costs, limits, seed=seed, time_limit_s=time_limit, batch=batch, workers=workers,
        non_contiguous=non_contiguous, gap=_GAP, sensitivity=sensitivity,
    )  # fmt: skip
    result = solve_request(request)
    outcome = result.outcome
    if isinstance(outcome, Front):
        found = margins(result.problem, outcome)
        if as_json:
            rows = [{**dataclasses.asdict(m), "text": m.text} for m in found]
            click.echo(json.dumps({"status": "feasible", "limits": rows}, indent=1))
        else:
            click.echo("The limits can be met.")
            for m in found:
                click.echo(f"- {m.text}")
        return
    status = "infeasible" if isinstance(outcome, Infeasible) else "nothing found"
    if as_json:
        click.echo(json.dumps({"status": status, **dataclasses.asdict(outcome), "text": outcome.text}, indent=1))
    else:
        click.echo(outcome.text)
    sys.exit(3 if isinstance(outcome, Infeasible) else 4)
