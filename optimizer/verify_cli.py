"""The command ``optimizer verify``."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import click

__all__ = ["verify"]

_MARKS = {True: "holds", False: "FAILS", None: "open"}


@click.command(short_help="Check that a plan keeps its word, without solving.")
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON on stdout.")
def verify(plan: Path, as_json: bool) -> None:
    """Check that PLAN (a plan.json) keeps its word, without solving.

    Checked anew: the schedule is complete (each operator once, transfers as the graph demands, every resource's
    list), nothing deadlocks, every figure within 1e-9, all limits and the memory of every board, certificates that
    agree with themselves, and, for two processors, the bounds. Bounds by CP-SAT are not checked anew, and it says so.

    \b
    Exit codes: 0 all that was checked holds, 2 the file cannot be read or its model is gone or changed,
                3 something does not hold.
    """
    from optimizer.plan_io import load_plan
    from optimizer.verify import verify as check

    found = check(load_plan(plan))
    if as_json:
        click.echo(json.dumps({"plan": str(plan), "holds": found.holds, **dataclasses.asdict(found)}, indent=1))
    else:
        for c in found.checks:
            click.echo(f"{_MARKS[c.holds]}  {c.name}: {c.text}")
        click.echo("The plan holds." if found.holds else "The plan does not hold.")
    if not found.holds:
        sys.exit(3)
