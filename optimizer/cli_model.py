"""Commands about models: ``optimizer inspect`` and ``optimizer split``."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console

__all__ = ["inspect", "split"]


@click.command(short_help="What a model consists of: totals, cut points, live sets.")
@click.argument("model")
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Binds a symbolic batch.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON instead of tables.")
@click.option("--top", default=10, show_default=True, type=click.IntRange(min=0), help="Rows in each table.")
def inspect(model: str, batch: int, as_json: bool, top: int) -> None:
    """Show what MODEL (an ONNX file or zoo:NAME) consists of: totals, cut points, widest live sets.

    \b
    optimizer inspect zoo:mobilenet_v2
    optimizer inspect model.onnx --json > model.json
    """
    from optimizer.inspect_model import inspection_tables, inspection_values
    from optimizer.onnx_model import load_graph

    graph = load_graph(model, batch)
    if as_json:
        click.echo(json.dumps(inspection_values(graph, top), indent=1))
    else:
        _console().print(inspection_tables(graph, top))


@click.command(short_help="Cut the model of a plan into one sub-model a segment.")
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Directory of the bundle.")
@click.option("--no-verify", is_flag=True, help="Do not compare the sub-models with the whole model.")
def split(plan: Path, output: Path, no_verify: bool) -> None:
    """Split the model of PLAN (a plan.json) into one sub-model a segment, with a manifest.

    The chain of sub-models is checked against the whole model in ONNX Runtime: bit for bit up to optimisation
    level EXTENDED, within 1e-5 at level ALL.

    \b
    optimizer split out/plan.json -o out/bundle
    """
    from optimizer.split import split_plan
    from optimizer.split_report import bundle_table

    console = _console()
    with console.status("reading the plan") as status:
        bundle = split_plan(plan, output, progress=status.update, verify=not no_verify)
    console.print(bundle_table(bundle))


def _console() -> Console:
    # Names of nodes and files are printed as they are: "[0]" is no markup, ":x:" no emoji.
    return Console(markup=False, emoji=False, highlight=False)
