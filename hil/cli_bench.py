"""Commands of `hil` about boards: emulate, agent-bundle, discover, profile."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import click

from boards.units import format_bandwidth, format_time
from hil.agent_bundle import build_agent_bundle
from hil.cli_output import console, print_json, print_table, progress
from hil.emulate import Emulation
from hil.emulate_choices import RequestedShaping
from hil.errors import BundleError, DeviceError
from hil.lab import load_lab, load_lab_system
from hil.profile import ProfileOptions
from hil.profile import profile as measure_costs
from hil.targets import connect_target
from hil.targets.target import Identity
from optimizer.costs import CostTable
from optimizer.costs_io import save_costs
from optimizer.onnx_model import load_graph

__all__ = ["discover", "emulate", "profile", "write_agent_bundle"]

_CHECK_S = 0.2


def emulate(system: str, lab_out: Path | None, shaping: str, cores: str | None, as_json: bool) -> None:
    """Keep the boards of a system running until interrupted."""
    emulation = Emulation(
        system,
        shaping=cast(RequestedShaping, shaping),  # click.Choice has checked it
        cores=_cores(cores),
        lab_out=lab_out,
    )
    with ExitStack() as stack:
        with progress("Emulating") as tell:
            emulation.tell = tell
            stack.enter_context(emulation)
        lab = emulation.lab
        pids = emulation.process_ids()
        rows = [[name, t.address, str(pids[name])] for name, t in lab.targets.items()]
        print_table(f"{lab.system}, links: {lab.shaping}", ["board", "address", "process"], rows)
        for note in lab.notes:
            console().print(f"Note: {note}", highlight=False, markup=False)
        if as_json:
            print_json({"lab": str(lab.path), "shaping": lab.shaping, "processes": pids})
        else:
            click.echo(str(lab.path))
        console().print("Ctrl-C ends the boards.")
        while True:
            emulation.check()
            time.sleep(_CHECK_S)


def _cores(text: str | None) -> Sequence[int] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise click.BadParameter(f"expected numbers such as 0,1; got {text!r}", param_hint="--cores")
    return [int(part) for part in parts]


def write_agent_bundle(output: Path) -> None:
    """Write agent.pyz."""
    try:
        path = build_agent_bundle(output)
    except OSError as e:
        raise BundleError("the agent's bundle cannot be written", where=str(output), got=e.strerror or str(e)) from e
    click.echo(str(path))


def discover(lab_path: Path, as_json: bool) -> None:
    """Ask all boards who they are; raises the first failure after all were asked."""
    lab = load_lab(lab_path)
    found: dict[str, Identity] = {}
    failures: dict[str, DeviceError] = {}
    for name in lab.targets:
        try:
            with connect_target(lab, name) as target:
                found[name] = target.identify()
        except DeviceError as e:
            failures[name] = e
    if as_json:
        boards: dict[str, Any] = {name: dict(identity.facts) for name, identity in found.items()}
        print_json({"boards": boards, "errors": {name: str(e) for name, e in failures.items()}})
    rows = []
    for name, target_ in lab.targets.items():
        identity = found.get(name)
        state = _state(identity) if identity else ["-", "-", "-", "no answer"]
        rows.append([name, target_.address, *state])
    print_table(str(lab.path), ["board", "address", "host", "system", "onnxruntime", "state"], rows)
    for failure in failures.values():
        raise failure


def _state(identity: Identity) -> list[str]:
    facts = identity.facts
    if "uid" in facts:
        return [f"chip {facts['uid']}", f"{facts['board']} ({facts['core']})", "-", f"boots {facts['boots']}"]
    machine = f"{facts.get('machine', '')} {facts.get('system', '')}".strip()
    return [identity.hostname, machine, str(facts.get("onnxruntime", "")), str(facts.get("state", ""))]


def profile(model: str, batch: int, lab_path: Path, output: Path, options: ProfileOptions, as_json: bool) -> None:
    """Measure the model on the lab and write its cost table."""
    lab = load_lab(lab_path)
    system = load_lab_system(lab)
    graph = load_graph(model, batch)
    with progress("Profiling") as tell:
        table = measure_costs(graph, system, lab, options, tell)
    save_costs(table, output)
    _print_costs(table, graph.name)
    console().print(f"Costs: {output}", highlight=False, markup=False)
    if as_json:
        print_json(_summary(table, output))


def _print_costs(table: CostTable, name: str) -> None:
    rows = []
    for processor, total in _totals(table).items():
        boundary = table.boundaries.get(processor)
        cut = "-" if boundary is None else format_time(boundary.segment_s)
        per_mb = "-" if boundary is None else format_time(boundary.s_per_byte * 1e6)
        rows.append([processor, format_time(total), cut, per_mb])
    print_table(f"{name}, whole", ["processor", "operators", "segment", "boundary per MB"], rows)
    links = [
        [name, format_bandwidth(link.bandwidth_bytes_per_s), format_time(link.setup_s + link.latency_s)]
        for name, link in table.links.items()
    ]
    if links:
        print_table("Links", ["link", "bandwidth", "empty message"], links)


def _totals(table: CostTable) -> dict[str, float]:
    totals: dict[str, float] = {}
    for (_, processor, _), cost in table.operators.items():
        totals[processor] = totals.get(processor, 0.0) + cost.time_s
    return totals


def _summary(table: CostTable, output: Path) -> dict[str, Any]:
    return {
        "costs": str(output),
        "operators_s": _totals(table),
        "boundaries": {
            key: {"segment_s": b.segment_s, "s_per_byte": b.s_per_byte} for key, b in table.boundaries.items()
        },
        "links": {
            name: {
                "bandwidth_bytes_per_s": link.bandwidth_bytes_per_s,
                "setup_s": link.setup_s,
                "latency_s": link.latency_s,
                "send_s_per_byte": link.send_s_per_byte,
                "receive_s_per_byte": link.receive_s_per_byte,
            }
            for name, link in table.links.items()
        },
    }
