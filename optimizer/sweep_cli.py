"""The command ``optimizer sweep``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from optimizer.sweep import Sweep, Tell

__all__ = ["sweep"]


@click.command(short_help="Solve models x systems x limits, compare on one page.")
@click.argument("grid", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=Path("sweep"),
    show_default=True,
    help="Folder for index.html, results.csv, results.json and the cases.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Processes, one thread each (default: all cores).")
@click.option("--dask", metavar="ADDRESS", help="Run on this Dask cluster instead, for example tcp://10.0.0.5:8786.")
def sweep(grid: Path, out: Path, workers: int | None, dask: str | None) -> None:
    """Solve every combination in GRID (a YAML file): models x systems x limits; compare them on one page.

    Each case is kept as soon as it is solved. After an interruption the same command goes on where it stopped.

    \b
    optimizer sweep grid.yaml -o sweep
    optimizer sweep grid.yaml -o sweep --dask tcp://10.0.0.5:8786

    \b
    Exit codes: 0 done, 1 a case failed or internal error, 2 bad input, 3 every case is infeasible,
                4 no plan, and some case found nothing in time, 130 interrupted (what is solved is kept).
    """
    from optimizer.sweep import run_sweep
    from optimizer.sweep_grid import read_grid
    from optimizer.sweep_results import write_sweep
    from optimizer.sweep_runners import DaskCluster, Processes

    if dask is not None and workers is not None:
        raise click.UsageError(
            "--workers is for this machine; a Dask cluster has its own workers. Give one of the two."
        )
    runner = DaskCluster(dask) if dask is not None else Processes(workers)
    with _progress() as tell:
        done = run_sweep(read_grid(grid), out, runner, tell)
    files = write_sweep(done, out)
    click.echo(_summary(done))
    click.echo(f"page     {files.page}\nresults  {files.csv}\n         {files.json}")
    _complain(done)
    sys.exit(done.exit_code)


def _summary(done: Sweep) -> str:
    counts = done.counts()
    words = [f"{counts[s]} {s}" for s in ("solved", "infeasible", "nothing found", "failed", "open") if counts[s]]
    before = [f"{done.reused} done before"] if done.reused else []
    before += [f"{len(done.damaged)} damaged and redone"] if done.damaged else []
    note = f" ({', '.join(before)})" if before else ""
    return f"{len(done.grid.cases)} cases: {', '.join(words)}{note}."


def _complain(done: Sweep) -> None:
    for case in done.grid.cases:
        if case.key in done.failures:
            click.echo(f"failed: {case.title}: {done.failures[case.key]}", err=True)
    if done.interrupted:
        click.echo("interrupted; what is solved is kept, and the same command goes on from there", err=True)


@contextmanager
def _progress() -> Iterator[Tell]:
    """A bar on stderr where that is a terminal, else a line a case."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda text, done, total: click.echo(f"[{done}/{total}] {text}", err=True)
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("loading", total=None)

        def tell(text: str, done: int, total: int) -> None:
            if text.startswith("damaged"):
                bar.console.print(text, markup=False, highlight=False)
            bar.update(task, description=text, completed=done, total=total)

        yield tell
