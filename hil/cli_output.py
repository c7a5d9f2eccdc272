"""What the commands of `hil` print: tables and progress for people (stderr), JSON for programs (stdout)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

__all__ = ["console", "print_json", "print_table", "progress"]


def console() -> Console:
    """The console on standard error; made anew, so that a redirected stderr is honoured."""
    return Console(stderr=True)


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(value, indent=1, allow_nan=False))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on standard error; columns whose first cell is a number stand to the right."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for position, name in enumerate(columns):
        is_number = bool(rows) and rows[0][position][:1].isdigit()
        table.add_column(name, justify="right" if is_number else "left")
    for row in rows:
        table.add_row(*row)
    console().print(table)


@contextmanager
def progress(title: str) -> Iterator[Callable[[str], None]]:
    """A line that says what is going on while the context lasts; yields the function that changes it.

    Without a terminal, each step is a line of its own.
    """
    screen = console()
    if not screen.is_terminal:
        yield lambda text: screen.print(text, highlight=False, markup=False)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=screen, transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda text: bar.update(task, description=text)
