"""Commands about boards that carry a standard benchmark firmware: `hil eembc`."""

from __future__ import annotations

from pathlib import Path

import click

from hil.commands.options import json_option

__all__ = ["eembc"]


@click.command(short_help="Measure a board with an EEMBC or MLPerf Tiny firmware.")
@click.argument("port")
@click.option("--model", type=click.Choice(["ic01", "kws01", "vww01", "ad01"]), help="What the board must have.")
@click.option(
    "--stimuli",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="Folder whose first five .bin files are taken, or a file (five times).",
)
@click.option("--baud", type=click.IntRange(300), help="Default: 115200. Energy mode: 9600.")
@click.option("--quick", is_flag=True, help="Windows of 1 s instead of 10 s, marked as such in the result.")
@click.option("--no-verify", is_flag=True, help="Do not read the board's buffer back (faster on slow lines).")
@click.option("--patience-s", type=click.FloatRange(1, 3600), help="A window's deadline, seconds (default: 65).")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the measurement as JSON.")
@json_option
def eembc(
    port: str,
    model: str | None,
    stimuli: tuple[Path, ...],
    baud: int | None,
    quick: bool,
    no_verify: bool,
    patience_s: float | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Measure a board that carries a standard benchmark firmware (EEMBC, MLPerf Tiny).

    PORT is a device, socket://HOST:PORT or unix:PATH. The board is measured by the suite's rules: five stimuli, a
    window of at least 10 s and 10 inferences each, the median.

    \b
    Example:
      hil eembc /dev/ttyACM0 --model ic01 --stimuli datasets/ic01
    """
    from hil import cli_eembc

    choices = cli_eembc.Choices(model, stimuli, baud, quick, not no_verify, patience_s)
    cli_eembc.eembc(port, choices, output, as_json)
