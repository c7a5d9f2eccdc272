"""Command line of the bench: `hil COMMAND`."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import click

from boards.errors import BoardsError
from hil.commands import COMMANDS
from hil.errors import BundleError, CoreError, HilError, LabError, StimulusError
from optimizer.errors import InputError

__all__ = ["main"]

_EXIT_BAD_INPUT = 2
_EXIT_BENCH = 5
_EXIT_INTERRUPTED = 130
_BAD_INPUT = (InputError, BoardsError, LabError, BundleError, CoreError, StimulusError)
_EPILOG = (
    "Exit codes: 0 done; 1 internal error; 2 bad input; 5 the bench failed (a board did not answer, died or "
    "refused, or cannot be emulated here); 130 interrupted. Tables and progress go to the standard error, "
    "--json to the standard output."
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `hil` and exit. Every error is one paragraph on standard error; --debug shows the traceback."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if "--debug" not in given:
        sys.excepthook = _explain_internal_error
    sys.exit(run(given))


def run(arguments: Sequence[str]) -> int:
    """Run `hil`; the exit code. An internal error leaves as the exception it is."""
    debug = "--debug" in arguments
    try:
        with _ended_by_signals():
            return int(cli.main(list(arguments), prog_name="hil", standalone_mode=False) or 0)
    except click.ClickException as e:
        e.show()
        return _EXIT_BAD_INPUT
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted.", err=True)
        return _EXIT_INTERRUPTED
    except _BAD_INPUT as e:
        return _fail(e, _EXIT_BAD_INPUT, debug)
    except HilError as e:
        return _fail(e, _EXIT_BENCH, debug)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}, epilog=_EPILOG)
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.version_option(package_name="edgecut", prog_name="hil")
def cli(debug: bool) -> None:
    """The bench: boards (real or emulated) that run split networks, and what is measured on them.

    \b
    A first round, without any hardware:
      hil emulate demo --lab-out lab.yaml &
      hil profile zoo:mobilenet_v2 --lab lab.yaml -o costs.json
      optimizer solve zoo:mobilenet_v2 --system demo --costs costs.json -o plan
      hil measure plan/plan.json --lab lab.yaml --quick
    `hil demo` does all of it at once.
    """


for _command in COMMANDS:
    cli.add_command(_command)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into a clean end: context managers run, boards are let go."""

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before: dict[int, Any] = {}
    try:
        for name in ("SIGTERM", "SIGHUP"):
            if hasattr(signal, name):
                number = getattr(signal, name)
                before[number] = signal.signal(number, end)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _fail(error: Exception, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    else:
        click.echo(f"error: {error}", err=True)
    return code


def _explain_internal_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    where = ""
    while trace is not None:
        code = trace.tb_frame.f_code
        where = f"{Path(code.co_filename).name}:{trace.tb_lineno}, {code.co_name}"
        trace = trace.tb_next
    click.echo(
        f"internal error: {kind.__name__} at {where}: {error}. This is a fault of edgecut; please report it. "
        "Run again with `hil --debug ...` for the traceback.",
        err=True,
    )


if __name__ == "__main__":
    main()
