"""Command line of the bench: `hil COMMAND`."""

from __future__ import annotations

import importlib
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
from hil.errors import AgentStartError, BundleError, CoreError, HilError, LabError, StimulusError
from optimizer.errors import InputError

__all__ = ["main"]

_EXIT_INTERNAL = 1
_EXIT_BAD_INPUT = 2
_EXIT_BENCH = 5
_EXIT_INTERRUPTED = 130
_BAD_INPUT = (InputError, BoardsError, LabError, BundleError, AgentStartError, CoreError, StimulusError)
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


_lab_option = click.option(
    "--lab",
    "lab_path",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="Lab file: where the boards are reached, and their key.",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON to stdout.")


@cli.command()
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
@_json_option
def emulate(system: str, lab_out: Path | None, shaping: str, cores: str | None, as_json: bool) -> None:
    """Run the boards of SYSTEM as processes on this machine, until Ctrl-C.

    SYSTEM is the name of a ready system or a system file. Each board is an agent pinned to a core; their links
    are as fast as the system says. The lab file's path is printed once all is up.

    \b
    Example:
      hil emulate demo --lab-out lab.yaml
    """
    from hil import cli_bench

    cli_bench.emulate(system, lab_out, shaping, cores, as_json)


@cli.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def agent(arguments: tuple[str, ...]) -> int:
    """Serve this machine as one board of a bench (see `hil agent --help`).

    \b
    Example, on the board:
      hil agent --name left --bind 192.168.1.10 --port 41001 --key-file lab.key
    """
    from hil.agent_cli import main as agent_main

    return agent_main(list(arguments))


@cli.command("agent-bundle")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("agent.pyz"),
    show_default=True,
    help="File to write.",
)
def agent_bundle(output: Path) -> None:
    """Write the agent as one file, for boards with only Python, numpy and onnxruntime.

    \b
    Example:
      hil agent-bundle -o agent.pyz && scp agent.pyz lab.key board:
      ssh board python3 agent.pyz --name left --bind 192.168.1.10 --port 41001 --key-file lab.key
    """
    from hil import cli_bench

    cli_bench.write_agent_bundle(output)


@cli.command()
@_lab_option
@_json_option
def discover(lab_path: Path, as_json: bool) -> None:
    """Ask every board of the lab who it is.

    \b
    Example:
      hil discover --lab lab.yaml
    """
    from hil import cli_bench

    cli_bench.discover(lab_path, as_json)


@cli.command()
@click.argument("model")
@_lab_option
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("costs.json"),
    show_default=True,
    help="Cost table to write.",
)
@click.option("--runs", type=click.IntRange(3, 1000), default=20, show_default=True, help="Runs of each model.")
@click.option(
    "--ort-level",
    type=click.Choice(["disable", "basic", "extended", "all"]),
    default="all",
    show_default=True,
    help="ONNX Runtime's optimisation level.",
)
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Value of a symbolic batch.")
@click.option("--no-boundary", is_flag=True, help="Leave out what a cut costs (faster).")
@click.option("--no-links", is_flag=True, help="Leave the links as the system file has them.")
@_json_option
def profile(
    model: str,
    lab_path: Path,
    output: Path,
    runs: int,
    ort_level: str,
    batch: int,
    no_boundary: bool,
    no_links: bool,
    as_json: bool,
) -> None:
    """Measure MODEL on the lab's boards: what each operator, a cut, and each link cost.

    MODEL is an ONNX file or zoo:NAME. The cost table is for `optimizer solve --costs`.

    \b
    Example:
      hil profile zoo:mobilenet_v2 --lab lab.yaml -o costs.json
    """
    from hil import cli_bench
    from hil.profile import ProfileOptions

    options = ProfileOptions(runs, ort_level, 0 if no_boundary else ProfileOptions.cuts, not no_links)
    cli_bench.profile(model, batch, lab_path, output, options, as_json)


@cli.command("run")
@click.argument("plan", type=click.Path(path_type=Path))
@_lab_option
@click.option(
    "--input",
    "input_path",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help=".npz with one array a model input, by its name; a leading axis of frames may be added.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("out.npz"),
    show_default=True,
    help=".npz to write, one array a model output.",
)
def run_command(plan: Path, lab_path: Path, input_path: Path, output: Path) -> None:
    """Run PLAN on the lab's boards with your input and bring the outputs back.

    PLAN is a plan.json (split on the way) or a bundle folder of `optimizer split`.

    \b
    Example:
      hil run plan/plan.json --lab lab.yaml --input x.npz -o out.npz
    """
    from hil import cli_run

    cli_run.run(plan, lab_path, input_path, output)


@cli.command()
@click.argument("plan", type=click.Path(path_type=Path))
@_lab_option
@click.option("--quick", is_flag=True, help="6 windows of 2 s, marked as such in the result.")
@click.option("--windows", type=click.IntRange(6, 1000), help="Number of windows (at least 6).")
@click.option("--window-s", type=click.FloatRange(0.1, 3600), help="Length of a window, seconds.")
@click.option("--latency-frames", type=click.IntRange(1), help="Frames sent one at a time for latency.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the measurement as JSON.",
)
@_json_option
def measure(
    plan: Path,
    lab_path: Path,
    quick: bool,
    windows: int | None,
    window_s: float | None,
    latency_frames: int | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Measure PLAN on the lab's boards: throughput, latency, what each stage does, bytes.

    PLAN is a plan.json (split on the way) or a bundle folder of `optimizer split`.

    \b
    Example:
      hil measure plan/plan.json --lab lab.yaml --quick -o measurement.json
    """
    from hil import cli_run

    cli_run.measure(plan, lab_path, quick, windows, window_s, latency_frames, output=output, as_json=as_json)


@cli.command()
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
@_json_option
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


@cli.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo-output"),
    show_default=True,
    help="Folder for the report and the JSON files.",
)
@click.option("--quick/--full", default=True, show_default=True, help="6 windows of 2 s, or longer ones.")
def demo(output: Path, quick: bool) -> None:
    """Split EfficientNet-B0 over two emulated boards by a proven plan, run it, measure it.

    \b
    Example:
      hil demo -o demo-output
    """
    # By name: the demo calls the planner, which nothing else of the bench may.
    importlib.import_module("hil.demo").run_demo(output, quick=quick)


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
