"""Commands about boards: `hil emulate`, `agent`, `agent-bundle`, `discover`."""

from __future__ import annotations

from pathlib import Path

import click

from hil.commands.options import json_option, lab_option, output_file_option

__all__ = ["agent", "agent_bundle", "discover", "emulate"]


@click.command(short_help="Run the boards of a system on this machine.")
@click.argument("system")
@click.option(
    "--lab-out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the lab file (default: a private folder). It is removed at the end.",
)
@click.option(
    "--shaping",
    type=click.Choice(["auto", "tc", "relay", "none"]),
    default="auto",
    show_default=True,
    help="How links are slowed down: by the kernel (root on Linux), by a relay process, not at all.",
)
@click.option("--cores", help="Cores to pin the boards to, in turn: 0,1 (default: all).")
@json_option
def emulate(system: str, lab_out: Path | None, shaping: str, cores: str | None, as_json: bool) -> None:
    """Run the boards of SYSTEM as processes on this machine, until Ctrl-C.

    SYSTEM is the name of a ready system or a system file. A Linux board is an agent pinned to a core, a
    microcontroller board its firmware in QEMU; links are as fast as the system says. The lab file's path is printed
    once all is up.

    \b
    Example:
      hil emulate demo --lab-out lab.yaml
    """
    from hil import cli_bench

    cli_bench.emulate(system, lab_out, shaping, cores, as_json)


@click.command(
    short_help="Serve this machine as one board of a bench.",
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def agent(arguments: tuple[str, ...]) -> int:
    """Serve this machine as one board of a bench (see `hil agent --help`).

    \b
    Example, on the board:
      hil agent --name left --bind 192.168.1.10 --port 41001 --key-file lab.key
    """
    from hil.agent_cli import main as agent_main

    return agent_main(list(arguments))


@click.command("agent-bundle", short_help="Write the agent as one file, for a board.")
@output_file_option("File to write.", "agent.pyz")
def agent_bundle(output: Path) -> None:
    """Write the agent as one file, for boards with only Python, numpy and onnxruntime.

    \b
    Example:
      hil agent-bundle -o agent.pyz && scp agent.pyz lab.key board:
      ssh board python3 agent.pyz --name left --bind 192.168.1.10 --port 41001 --key-file lab.key
    """
    from hil import cli_bench

    cli_bench.write_agent_bundle(output)


@click.command()
@lab_option
@json_option
def discover(lab_path: Path, as_json: bool) -> None:
    """Ask every board of the lab who it is.

    \b
    Example:
      hil discover --lab lab.yaml
    """
    from hil import cli_bench

    cli_bench.discover(lab_path, as_json)
