"""Options that several commands of `hil` share."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["json_option", "lab_option"]

lab_option = click.option(
    "--lab",
    "lab_path",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="Lab file: where the boards are reached, and their key.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON to stdout.")
