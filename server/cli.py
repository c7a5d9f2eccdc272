"""The command `edgecut`. The only module of this package that prints, exits and sets up logging."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from boards.errors import BoardsError, UnitError
from boards.units import parse_bytes
from hil.errors import LabError
from server.config import ServerConfig
from server.errors import StartError

__all__ = ["cli", "main"]

_BAD_INPUT = 2
_INTERRUPTED = 130


class _Size(click.ParamType):  # type: ignore[type-arg]
    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_bytes(value)
        except UnitError as e:
            self.fail(str(e), param, ctx)


def _default_data() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "edgecut" / "server"


_data_option = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=_default_data,
    show_default="~/.local/share/edgecut/server",
    help="Folder for models, jobs and results; made where it is missing.",
)
_lab_option = click.option(
    "--lab", "labs", multiple=True, metavar="NAME=FILE", help="A lab that measure jobs may use. Can be repeated."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="edgecut", prog_name="edgecut")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Split neural networks over embedded boards, as a service.

    `optimizer` plans on the command line, `hil` measures on boards.
    """


@cli.group()
def server() -> None:
    """The HTTP service; docs/http-api.md lists its calls."""


@server.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="An address of this machine only.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 takes a free one.")
@_data_option
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Jobs that may run at once.")
@click.option(
    "--max-upload", type=_Size(), default="512MiB", show_default=True, help="Largest model file that is taken."
)
@_lab_option
def dev(host: str, port: int, data: Path, workers: int, max_upload: int, labs: Sequence[str]) -> None:
    """Serve on this machine, for test harnesses, until Ctrl-C.

    \b
    edgecut server dev --port 8080 --data service-data
    edgecut server dev --port 0 --lab bench=lab.yaml

    There is no log-in: only programs on this machine can connect. Prints the address on the standard output
    once it answers. Jobs run in worker processes of their own and survive a restart.
    Exit codes: 0 ended on request, 1 internal error, 2 cannot start.
    """
    from server.dev import serve
    from server.work import check_lab

    config = ServerConfig(data.absolute(), _labs(labs), max_upload)
    for path in config.labs.values():
        check_lab(path)
    _log_to_stderr()
    serve(config, host, port, workers, ready=click.echo)


@server.command(hidden=True)
@_data_option
@click.option("--name", required=True)
@_lab_option
def worker(data: Path, name: str, labs: Sequence[str]) -> None:
    """A worker of `edgecut server dev`, which starts it; its standard input is the pipe from there."""
    from server.worker import run_worker

    _log_to_stderr()
    run_worker(name, ServerConfig(data, _labs(labs)), sys.stdin.fileno())


def _labs(texts: Sequence[str]) -> dict[str, Path]:
    labs: dict[str, Path] = {}
    for text in texts:
        name, separator, path = text.partition("=")
        if not (name and separator and path) or name in labs:
            raise click.BadParameter(f"expected NAME=FILE, each name once; got {text!r}", param_hint="--lab")
        labs[name] = Path(path).absolute()
    return labs


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: runs the command and ends the process with its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        cli.main(args=given, prog_name="edgecut", standalone_mode=False)
    except click.ClickException as e:
        e.show()
        sys.exit(_BAD_INPUT)
    except (StartError, LabError, BoardsError) as e:
        if "--debug" in given:
            traceback.print_exception(e)
        click.echo(f"error: {e}", err=True)
        sys.exit(_BAD_INPUT)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
