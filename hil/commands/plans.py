"""Commands about models and plans on boards: `hil profile`, `run`, `measure`, `demo`."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from hil.commands.options import json_option, lab_option, output_file_option, output_folder_option, quick_or_full_option

__all__ = ["demo", "demo_mcu", "flash_command", "measure", "profile", "run_command"]


@click.command(short_help="Measure what a network costs on the boards.")
@click.argument("model")
@lab_option
@output_file_option("Cost table to write.", "costs.json")
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
@json_option
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


@click.command("flash", short_help="Bring a plan's images onto microcontroller boards.")
@click.argument("plan", type=click.Path(path_type=Path))
@lab_option
@click.option("--base", is_flag=True, help="Put the base firmware on first, by the flasher that the lab file names.")
@json_option
def flash_command(plan: Path, lab_path: Path, base: bool, as_json: bool) -> None:
    """Bring PLAN's images into the slots of the lab's microcontroller boards.

    PLAN is a plan.json (split on the way) or a bundle folder of `optimizer split`. Boards are told apart by the chip's
    own number. What is there already is not sent again, a broken transfer goes on where it stopped, and every image is
    read back and compared. `hil run` and `hil measure` do the same before they start.

    \b
    Example:
      hil flash plan/plan.json --lab lab.yaml
    """
    from hil import cli_flash

    cli_flash.flash_plan(plan, lab_path, base, as_json)


@click.command("run", short_help="Run a plan on the boards with your input.")
@click.argument("plan", type=click.Path(path_type=Path))
@lab_option
@click.option(
    "--input",
    "input_path",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help=".npz with one array a model input, by its name; a leading axis of frames may be added.",
)
@output_file_option(".npz to write, one array a model output.", "out.npz")
def run_command(plan: Path, lab_path: Path, input_path: Path, output: Path) -> None:
    """Run PLAN on the lab's boards with your input and bring the outputs back.

    PLAN is a plan.json (split on the way) or a bundle folder of `optimizer split`.

    \b
    Example:
      hil run plan/plan.json --lab lab.yaml --input x.npz -o out.npz
    """
    from hil import cli_run

    cli_run.run(plan, lab_path, input_path, output)


@click.command(short_help="Measure a plan on the boards.")
@click.argument("plan", type=click.Path(path_type=Path))
@lab_option
@click.option("--quick", is_flag=True, help="6 windows of 2 s, marked as such in the result.")
@click.option("--windows", type=click.IntRange(6, 1000), help="Number of windows (at least 6).")
@click.option("--window-s", type=click.FloatRange(0.1, 3600), help="Length of a window, seconds.")
@click.option("--latency-frames", type=click.IntRange(1), help="Frames sent one at a time for latency.")
@output_file_option("Write the measurement as JSON.")
@json_option
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


@click.command(short_help="Plan, run and measure on two emulated boards.")
@output_folder_option("Folder for the report and the JSON files.", "demo-output")
@quick_or_full_option
def demo(output: Path, quick: bool) -> None:
    """Split EfficientNet-B0 over two emulated boards by a proven plan, run it, measure it.

    \b
    Example:
      hil demo -o demo-output
    """
    # By name: the demo calls the planner, which nothing else of the bench may.
    importlib.import_module("hil.demo").run_demo(output, quick=quick)


@click.command("demo-mcu", short_help="The same on three emulated Cortex-M4 boards.")
@output_folder_option("Folder for the reports and the JSON files.", "demo-mcu-output")
@quick_or_full_option
@click.option(
    "--model", "models", multiple=True, help="Networks to take (default: one small, one larger than a board)."
)
def demo_mcu(output: Path, quick: bool, models: tuple[str, ...]) -> None:
    """Split networks over three emulated Cortex-M4 boards, flash them, run them, measure them.

    \b
    Example:
      hil demo-mcu -o demo-mcu-output
    """
    module = importlib.import_module("hil.demo_mcu")
    module.run_demo_mcu(output, quick=quick, models=models or module.MODELS)
