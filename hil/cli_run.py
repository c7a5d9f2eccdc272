"""Commands of `hil` about plans: run, measure."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from boards.units import format_energy, format_rate, format_time
from hil import measure as bench_measure
from hil import run as bench_run
from hil.cli_output import console, print_json, print_table, progress
from hil.errors import BundleError, MeasurementAbortedError
from hil.lab import load_lab
from hil.measurement import Measurement
from optimizer.atomic import write_atomically
from optimizer.split import split_plan
from optimizer.split_manifest import is_bundle

__all__ = ["bundle_of", "measure", "print_measurement", "run"]


@contextmanager
def bundle_of(plan: Path) -> Iterator[Path]:
    """A bundle folder for a plan.json (split into a folder that lives as long as the context) or a bundle.

    Raises BundleError for what is neither, the optimizer's errors for a plan that cannot be split.
    """
    if plan.is_dir():
        if not is_bundle(plan):
            raise BundleError(
                "a folder that is no bundle",
                where=str(plan),
                expected="a plan.json, or a folder that `optimizer split` wrote",
                got="no manifest.json in it",
            )
        yield plan
        return
    with tempfile.TemporaryDirectory(prefix="edgecut-bundle-") as folder:
        bundle = Path(folder) / "bundle"
        with progress("Splitting the model") as tell:
            split_plan(plan, bundle, progress=tell)
        yield bundle


def run(plan: Path, lab_path: Path, input_path: Path, output: Path) -> None:
    """Feed the arrays of an .npz through the boards; write the outputs as .npz."""
    lab = load_lab(lab_path)
    inputs = _read_inputs(input_path)
    with bundle_of(plan) as bundle, progress("Running") as tell:
        outputs = bench_run.run(bundle, lab, inputs, progress=tell)
    with tempfile.SpooledTemporaryFile() as stream:
        # Written whole or not at all, like every result.
        np.savez(stream, **outputs)  # type: ignore[arg-type]
        stream.seek(0)
        write_atomically(output, stream.read())
    rows = [[name, str(array.dtype), str(array.shape)] for name, array in outputs.items()]
    print_table(f"Outputs in {output}", ["output", "type", "shape"], rows)


def _read_inputs(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    try:
        with path.open("rb") as stream:
            archive = np.load(stream, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("a single array without a name")
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as e:
        raise BundleError(
            "the input cannot be read",
            where=str(path),
            expected="an .npz with one array a model input, by its name",
            got=str(e),
            hint="Write it with numpy.savez(path, input=array).",
        ) from e


def measure(
    plan: Path,
    lab_path: Path,
    quick: bool,
    windows: int | None,
    window_s: float | None,
    latency_frames: int | None,
    *,
    output: Path | None,
    as_json: bool,
) -> None:
    """Measure a plan; print it, write it. What was measured before a failure is shown too, marked partial."""
    lab = load_lab(lab_path)
    with bundle_of(plan) as bundle:
        try:
            with progress("Measuring") as tell:
                found = bench_measure.measure(
                    bundle,
                    lab,
                    windows=windows,
                    window_s=window_s,
                    latency_frames=latency_frames,
                    quick=quick,
                    progress=tell,
                )
        except MeasurementAbortedError as e:
            if isinstance(e.partial, Measurement):
                _deliver(e.partial, output, as_json)
            raise
    _deliver(found, output, as_json)


def _deliver(measurement: Measurement, output: Path | None, as_json: bool) -> None:
    print_measurement(measurement)
    content = measurement.to_json()
    if output is not None:
        write_atomically(output, json.dumps(content, indent=1, allow_nan=False) + "\n")
        console().print(f"Measurement: {output}", highlight=False, markup=False)
    if as_json:
        print_json(content)


def print_measurement(measurement: Measurement) -> None:
    """Tables on standard error: predicted against measured, stages, links."""
    marks = [word for word, holds in (("quick", measurement.quick), ("PARTIAL", measurement.partial)) if holds]
    if measurement.emulated:
        marks.append(f"emulated, links: {measurement.shaping}")
    title = str(measurement.model.get("source", "")) + (f" ({'; '.join(marks)})" if marks else "")
    print_table(title, ["figure", "measured", "interval", "predicted", "error"], _figures(measurement))
    stages = [
        [
            stage.processor,
            format_time(stage.compute_s),
            format_time(stage.send_s),
            format_time(stage.wait_s),
            f"{stage.busy_share:.0%}",
        ]
        for stage in measurement.stages
    ]
    if stages:
        print_table("Stages, a frame", ["processor", "compute", "send", "wait", "busy"], stages)
    links = [
        [
            link.link,
            f"{link.bytes_per_frame:,.0f}",
            f"{link.messages_per_frame:.2f}",
            format_time(link.receive_s),
        ]
        for link in measurement.links
    ]
    if links:
        print_table("Links, a frame", ["link", "bytes", "messages", "on the wire"], links)
    if measurement.checksum_mismatches:
        console().print(f"Outputs that differ for the same input: {measurement.checksum_mismatches}")


def _figures(measurement: Measurement) -> list[list[str]]:
    predicted, error = measurement.prediction, measurement.relative_error
    rows: list[list[str]] = []
    rate = measurement.throughput_per_s
    if rate is not None:
        interval = f"{format_rate(rate.low)} to {format_rate(rate.high)} ({rate.coverage:.0%})"
        promised = format_rate(predicted["throughput_per_s"])
        rows.append(["throughput", format_rate(rate.median), interval, promised, _percent(error, "throughput_per_s")])
    latency = measurement.latency
    if latency is not None:
        spread = f"p90 {format_time(latency.p90_s)}, p99 {format_time(latency.p99_s)}"
        promised = format_time(predicted["latency_s"])
        rows.append(["latency", format_time(latency.p50_s), spread, promised, _percent(error, "latency_s")])
    modelled = measurement.modelled
    # Energy is never measured here: busy time x catalog power does not belong into the measured column.
    from_busy = "-"
    if modelled.energy_j is not None:
        from_busy = f"{format_energy(modelled.energy_j)} from busy time ({modelled.energy_source})"
    rows.append(["energy", "-", from_busy, format_energy(predicted["energy_j"]), "-"])
    return rows


def _percent(error: Mapping[str, float], key: str) -> str:
    value = error.get(key)
    return "-" if value is None else f"{value:+.1%}"
