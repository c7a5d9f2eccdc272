"""Command of `hil` about boards with a standard benchmark firmware: eembc."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from boards.units import format_rate, format_time
from firmware_interface.eembc import DEFAULT_BAUD, BenchmarkClient, Mode, open_benchmark
from firmware_interface.eembc_measure import RULES, Benchmark, Stimulus, measure
from firmware_interface.eembc_text import MAX_INPUT_BYTES
from firmware_interface.errors import BenchmarkError, ConnectionLostError, DeadlineError, WireError
from hil.cli_output import console, print_json, print_table
from hil.errors import (
    ConnectError,
    DeviceError,
    DeviceFailedError,
    DeviceLostError,
    DeviceTimeoutError,
    StimulusError,
)
from optimizer.atomic import write_atomically

__all__ = ["Choices", "eembc", "read_stimuli", "to_json"]

QUICK_S = 1.0


@dataclass(frozen=True)
class Choices:
    """Of the command line; ``stimuli`` are files, or one folder."""

    model: str | None
    stimuli: tuple[Path, ...]
    baud: int | None
    quick: bool
    verify: bool
    patience_s: float | None


def eembc(port: str, choices: Choices, output: Path | None, as_json: bool) -> None:
    """Measure the board on ``port``; print it, write it."""
    stimuli = read_stimuli(choices.stimuli)
    baud = choices.baud or DEFAULT_BAUD[Mode.PERFORMANCE]
    rules = replace(RULES, least_s=QUICK_S) if choices.quick else RULES
    with _client(port, baud) as client, _bar("Measuring") as tell, _errors_of(client):
        found = measure(
            client,
            stimuli,
            model=choices.model,
            rules=rules,
            verify=choices.verify,
            patience_s=choices.patience_s,
            tell=tell,
        )
    content = to_json(found, baud)
    _print(found)
    if output is not None:
        write_atomically(output, json.dumps(content, indent=1, allow_nan=False) + "\n")
        console().print(f"Measurement: {output}", highlight=False, markup=False)
    if as_json:
        print_json(content)


def read_stimuli(paths: Sequence[Path]) -> list[Stimulus]:
    """Five stimuli: the files, or the first five .bin files of the one folder. Raises StimulusError."""
    if len(paths) == 1 and paths[0].is_dir():
        files = sorted(paths[0].glob("*.bin"))
        if len(files) > RULES.stimuli:
            console().print(f"Note: the first {RULES.stimuli} of {len(files)} stimuli in {paths[0]} are taken.")
        files = files[: RULES.stimuli]
    else:
        files = list(paths)
        for path in files:
            if not path.is_file():
                raise StimulusError(
                    "the stimulus cannot be read",
                    where=str(path),
                    expected=f"a folder of {RULES.stimuli} .bin files, or one of {RULES.stimuli} files",
                    got="no such file or folder",
                )
    if len(files) != RULES.stimuli:
        raise StimulusError(
            "another number of stimuli than the suite's rules have",
            where=", ".join(str(path) for path in paths),
            expected=f"{RULES.stimuli} .bin files",
            got=str(len(files)),
            hint="Name a folder that holds them, or give --stimuli once for each file.",
        )
    return [_read_stimulus(path) for path in files]


def _read_stimulus(path: Path) -> Stimulus:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_INPUT_BYTES + 1)
    except OSError as error:
        raise StimulusError("the stimulus cannot be read", where=str(path), got=str(error)) from error
    if not 0 < len(data) <= MAX_INPUT_BYTES:
        raise StimulusError(
            "a stimulus that a benchmark firmware cannot take",
            where=str(path),
            expected=f"1 to {MAX_INPUT_BYTES:,} bytes",
            got="none" if not data else "more",
        )
    return Stimulus(path.name, data)


def _client(port: str, baud: int) -> BenchmarkClient:
    try:
        return open_benchmark(port, baud)
    except WireError as error:
        raise ConnectError(str(error), phase="open", board=port, hint="Is it this port, and free?") from error


@contextmanager
def _errors_of(client: BenchmarkClient) -> Iterator[None]:
    try:
        yield
    except WireError as error:
        raise _device_error(error, client) from error


def _device_error(error: WireError, client: BenchmarkClient) -> DeviceError:
    phase, board = client.phase, client.name
    if isinstance(error, DeadlineError):
        what = f"no answer within {error.timeout_s:.3g} s"
        return DeviceTimeoutError(what, phase=phase, board=board, last_message=error.received)
    if isinstance(error, ConnectionLostError):
        return DeviceLostError(error.reason, phase=phase, board=board, last_message=error.received)
    if isinstance(error, BenchmarkError):
        return DeviceFailedError(
            error.problem, phase=error.phase, board=board, code="BENCHMARK", last_message=error.received
        )
    return DeviceError(str(error), phase=phase, board=board)


@contextmanager
def _bar(title: str) -> Iterator[Callable[[float, str], None]]:
    """A bar on standard error; without a terminal, a line for each step."""
    screen = console()
    if not screen.is_terminal:
        said = ""

        def say(share: float, text: str) -> None:
            nonlocal said
            if text != said:
                said = text
                screen.print(f"{share:4.0%} {text}", highlight=False, markup=False)

        yield say
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen, transient=True) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda share, text: bar.update(task, completed=share, description=text)


def to_json(found: Benchmark, baud: int) -> dict[str, Any]:
    """The measurement as a document; values that JSON has no number for are the words inf, -inf, nan."""
    return {
        "schema": "edgecut/eembc/1",
        "port": found.port,
        "baud": baud,
        "mode": str(found.mode),
        "timed_by": found.timed_by,
        "name": found.identity.name,
        "profile": found.identity.profile,
        "model": found.identity.model,
        "by_the_rules": found.by_the_rules,
        "clocks_agree": found.clocks_agree,
        "stimuli_verified": found.verified,
        "void_windows": found.void_windows,
        "throughput_per_s": found.throughput_per_s,
        "latency_s": 1 / found.throughput_per_s,
        "windows": [
            {
                "stimulus": window.stimulus,
                "iterations": window.iterations,
                "warmups": window.warmups,
                "elapsed_s": window.elapsed_s,
                "host_s": window.host_s,
                "throughput_per_s": window.throughput_per_s,
                "results": [value if math.isfinite(value) else str(value) for value in window.results],
            }
            for window in found.windows
        ],
    }


def _print(found: Benchmark) -> None:
    identity = found.identity
    marks = {
        "quick": found.rules != RULES,
        "timed by the host": found.timed_by == "host",
        "the board's clock is not the host's": not found.clocks_agree,
    }
    said = "; ".join(mark for mark, holds in marks.items() if holds)
    title = f"{identity.model} on {identity.name} [{identity.profile}]".replace("[", r"\[")
    rows = [
        [
            format_rate(window.throughput_per_s),
            str(window.iterations),
            format_time(window.elapsed_s),
            format_time(window.host_s),
            window.stimulus,
        ]
        for window in found.windows
    ]
    title += f" ({said})" if said else ""
    print_table(title, ["inferences", "iterations", "window", "by the host", "stimulus"], rows)
    median = f"Median: {format_rate(found.throughput_per_s)}, {format_time(1 / found.throughput_per_s)} an inference"
    console().print(median, highlight=False, markup=False)
