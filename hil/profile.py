"""Costs of a model on a lab's boards: fetched from the agents, mapped by optimizer.cost_models.profiled.

Each board runs the whole model under ONNX Runtime's profiler and without it, then the model cut in two at a
few places (the boundary term). All boards do so at the same time, as they will in a pipeline: emulated ones
share a machine, and their costs should contain what that costs. Then each link is measured, board to board.
"""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Event

from boards.board import Board, Link, ProcessorRef, System
from hil.emulate_choices import payload_bytes_per_s
from hil.errors import LabError
from hil.lab import check_lab
from hil.lab_types import Lab
from hil.profile_models import ModelFile, ProfileModels, profile_models
from hil.targets import connect_target
from hil.targets.target import ModelTimes, Target
from optimizer.cost_models.profiled import (
    CutTimes,
    LinkTimes,
    fit_boundary,
    fit_link,
    map_profile,
    profiled_costs,
)
from optimizer.costs import BoundaryCost, CostTable, LinkCost, OperatorCost
from optimizer.graph import Graph

__all__ = ["ProfileOptions", "profile"]

_BURST_S = 0.7
"""Length of the burst on a link of nominal speed; shorter ones say more of buffers than of the link."""
_BURST_MESSAGES = 8
_MAX_BURST_MESSAGE_BYTES = 1 << 20
_MIN_BURST_MESSAGE_BYTES = 1 << 10
_PINGS = 20

OpenTarget = Callable[[Lab, str], Target]


@dataclass(frozen=True)
class ProfileOptions:
    """``runs`` of each model on each board; ``cuts`` 0 leaves the boundary term out, ``links`` the links."""

    runs: int = 20
    level: str = "all"
    cuts: int = 4
    links: bool = True


@dataclass(frozen=True)
class _BoardCosts:
    operators: Mapping[tuple[str, str, str], OperatorCost]
    boundaries: Mapping[str, BoundaryCost]


def profile(
    graph: Graph,
    system: System,
    lab: Lab,
    options: ProfileOptions | None = None,
    progress: Callable[[str], None] | None = None,
    open_target: OpenTarget = connect_target,
) -> CostTable:
    """Measure a model on every board of the lab. Only CPUs are measured, one thread each.

    ``progress`` is told each step, from several threads. ``open_target`` connects to a board by its name.
    Raises LabError when the lab does not fit the system, DeviceError when a board fails.
    """
    options = options or ProfileOptions()
    tell = progress or (lambda _: None)
    check_lab(lab, system)
    boards = [board for board in system.boards if _cpus(board)]
    if not boards:
        raise LabError(
            "no board of the system has a CPU to profile on",
            where=f"system {system.name!r}",
            expected="a processor of kind cpu",
            got=", ".join(ref.key for ref in system.processors),
        )
    unknown = [ref.key for ref in system.processors if ref.processor.kind != "cpu"]
    if unknown:
        tell(f"Not measured, for want of a driver: {', '.join(unknown)}; import their costs to use them")
    with ExitStack() as stack:
        tell("Preparing the model and its cuts")
        models = stack.enter_context(profile_models(graph, options.cuts))
        targets = {b.name: stack.enter_context(open_target(lab, b.name)) for b in system.boards}
        pool = stack.enter_context(ThreadPoolExecutor(len(boards)))
        stop = Event()
        stack.callback(stop.set)  # before the pool waits for its threads
        futures = [
            pool.submit(_profile_board, graph, board, targets[board.name], models, options, tell, stop)
            for board in boards
        ]
        found = [future.result() for future in futures]
        links: dict[str, LinkCost] = {}
        if options.links:
            for link in system.links:
                if link.source in targets and link.target in targets:
                    tell(f"Measuring link {link.name}")
                    links[link.name] = _measure_link(link, targets[link.source], lab)
    return CostTable(
        operators={key: cost for costs in found for key, cost in costs.operators.items()},
        boundaries={key: cost for costs in found for key, cost in costs.boundaries.items()},
        links=links,
        model_sha256=graph.sha256,
    )


def _profile_board(
    graph: Graph,
    board: Board,
    target: Target,
    models: ProfileModels,
    options: ProfileOptions,
    tell: Callable[[str], None],
    stop: Event,
) -> _BoardCosts:
    """Everything one board measures, as cost entries of its CPUs."""
    version = str(target.identify().facts.get("onnxruntime", "unknown"))
    how = f"onnxruntime {version}, level {options.level}, {options.runs} runs, {_today()}"
    provenance = f"profile: {board.name}, {how}"
    tell(f"Profiling the whole model on {board.name}")
    whole, companions = _put(target, models.whole)
    profiled = target.profile_model(whole, runs=options.runs, level=options.level, companions=companions)
    times = map_profile(graph, profiled.trace, profiled.optimised_model)
    wholes_s = [_median_s(profiled.times_ns)]
    cuts: list[CutTimes] = []
    for position, cut in enumerate(models.cuts):
        if stop.is_set():
            break  # another board failed: nobody waits for this result
        tell(f"Timing cut {position + 1} of {len(models.cuts)} on {board.name}")
        halves_s = sum(_time(target, half, options) for half in (cut.before, cut.behind))
        # Right beside its halves, so that the machine's slow moods strike both alike.
        wholes_s.append(_time(target, models.whole, options))
        cuts.append(CutTimes(cut.crossing_bytes, halves_s, wholes_s[-1]))
    boundary = fit_boundary(cuts, f"{provenance}, {len(cuts)} cuts") if cuts else None
    operators: dict[tuple[str, str, str], OperatorCost] = {}
    boundaries: dict[str, BoundaryCost] = {}
    for processor in _cpus(board):
        operators |= profiled_costs(graph, processor, times, statistics.median(wholes_s), boundary, provenance)
        if boundary is not None:
            boundaries[processor.key] = boundary
    return _BoardCosts(operators, boundaries)


def _put(target: Target, model: ModelFile) -> tuple[str, dict[str, str]]:
    """Bring a model and its external data to the board: its hash, and theirs by relative name."""
    companions = {name: target.put_file(path) for name, path in model.data}
    return target.put_file(model.path), companions


def _time(target: Target, model: ModelFile, options: ProfileOptions) -> float:
    """Median seconds of one run."""
    name, companions = _put(target, model)
    times: ModelTimes = target.time_model(name, runs=options.runs, level=options.level, companions=companions)
    return _median_s(times.times_ns)


def _measure_link(link: Link, source: Target, lab: Lab) -> LinkCost:
    """Burst and ping-pong over one link, as a cost entry."""
    nominal = payload_bytes_per_s(link) * _BURST_S / _BURST_MESSAGES
    size = int(min(_MAX_BURST_MESSAGE_BYTES, max(_MIN_BURST_MESSAGE_BYTES, nominal)))
    probe = source.probe_link(
        link.name,
        link.target,
        lab.link_address(link.name, link.target),
        sizes=(0,),
        repeats=_PINGS,
        burst_messages=_BURST_MESSAGES,
        burst_size=size,
    )
    times = LinkTimes(
        round_trip_s=_median_s(probe.round_trip_ns[0]),
        burst_bytes=probe.burst_bytes,
        burst_s=probe.burst_receive_ns * 1e-9,
        send_processor_s=probe.burst_send_cpu_ns * 1e-9,
        receive_processor_s=probe.burst_receive_cpu_ns * 1e-9,
    )
    how = f"burst of {probe.burst_bytes} bytes, {_PINGS} round trips"
    return fit_link(link, times, f"profile: {link.source} to {link.target}, {how}, {_today()}")


def _cpus(board: Board) -> list[ProcessorRef]:
    return [ProcessorRef(board, p) for p in board.processors if p.kind == "cpu"]


def _median_s(times_ns: tuple[int, ...]) -> float:
    return statistics.median(times_ns) * 1e-9


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()
