"""Options that several commands of `hil` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

__all__ = ["json_option", "lab_option", "output_file_option", "output_folder_option", "quick_or_full_option"]

lab_option = click.option(
    "--lab",
    "lab_path",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="Lab file: where the boards are reached, and their key.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON to stdout.")
quick_or_full_option = click.option(
    "--quick/--full", default=True, show_default=True, help="6 windows of 2 s, or longer ones."
)

_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def output_file_option(help: str, default: str | None = None) -> _Decorator:
    """``-o/--output`` of a command that writes one file; without a default it writes none unless told."""
    return _output_option(click.Path(dir_okay=False, path_type=Path), help, default)


def output_folder_option(help: str, default: str) -> _Decorator:
    """``-o/--output`` of a command that fills a folder."""
    return _output_option(click.Path(file_okay=False, path_type=Path), help, default)


def _output_option(kind: click.Path, help: str, default: str | None) -> _Decorator:
    # Click shows a default only where there is one, and takes the text through `kind`.
    return click.option("-o", "--output", type=kind, default=default, show_default=True, help=help)
