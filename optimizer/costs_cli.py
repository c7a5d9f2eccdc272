"""The command ``optimizer costs``: a cost table from the model of an accelerator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from boards.catalog import load_system
from optimizer.cli_options import FREQUENCY

__all__ = ["costs"]


@click.command(short_help="Model what a network costs on an accelerator (ZigZag).")
@click.argument("model")
@click.option("--system", "-s", required=True, help="A ready system's name (see boards/systems) or a YAML file.")
@click.option("--processor", required=True, metavar="BOARD/PROCESSOR", help="The accelerator in the system.")
@click.option("--accelerator", required=True, help="ZigZag's description of it: a YAML file, or a name it ships.")
@click.option("--mapping", help="ZigZag's mapping: a YAML file, or a name it ships (default: the accelerator's).")
@click.option("--clock", type=FREQUENCY, required=True, help="For example 200MHz.")
@click.option(
    "--loop-limit",
    type=click.IntRange(1, 12),
    default=6,
    show_default=True,
    help="Factors of loops ordered exhaustively: fewer is faster, more may find a better mapping.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Processes (default: all cores).")
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Binds a symbolic batch.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Cost table, for solve --costs.")
def costs(
    model: str, system: str, processor: str, accelerator: str, mapping: str | None, clock: float, loop_limit: int,
    workers: int | None, batch: int, output: Path,
) -> None:  # fmt: skip
    """Model what MODEL costs on an accelerator with ZigZag (pip install 'edgecut[accelerator]').

    Convolutions and matrix products get ZigZag's cycles and energy, all else the roofline's figures. Each kind of
    layer takes seconds; they are kept in OUTPUT.layers until the table is written, so that the same call goes on where
    an earlier one was ended. The table holds rows of that processor only; the system's others keep theirs.

    \b
    optimizer costs zoo:squeezenet1_1 -s eyeriss-simba --processor eyeriss/array \\
        --accelerator eyeriss_like --clock 200MHz -o costs.json
    optimizer solve zoo:squeezenet1_1 -s eyeriss-simba --costs costs.json -o out
    """
    from optimizer.cost_models.accelerator import accelerator_costs, find_accelerator
    from optimizer.costs_io import save_costs
    from optimizer.onnx_model import load_graph

    described = find_accelerator(accelerator, mapping, clock, loop_limit)
    graph = load_graph(model, batch)
    kept = output.with_name(f"{output.name}.layers")
    with _progress() as tell:
        table = accelerator_costs(
            graph, load_system(system), processor, described, workers=workers, progress=tell, keep=kept
        )
    save_costs(table, output)
    kept.unlink(missing_ok=True)
    modelled = sum(row.provenance.startswith("zigzag") for row in table.operators.values())
    click.echo(f"{output}: {len(table.operators)} rows of {processor}, {modelled} of them modelled by ZigZag")


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr where that is a terminal, else a line for every layer."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total: click.echo(f"{done} of {total} kinds of layers modelled", err=True)
        return
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("modelling layers", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
