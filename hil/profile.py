"""Costs of a model on a lab's boards: fetched from the agents, mapped by optimizer.cost_models.profiled.

Each board runs the whole model under ONNX Runtime's profiler and without it, then the model cut in two at a
few places (the boundary term). All boards do so at the same time, as they will in a pipeline: emulated ones
share a machine, and their costs should contain what that costs. Then each link is measured, board to board.
"""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from boards.board import Board, Link, ProcessorRef, System
from hil.emulate_choices import payload_bytes_per_s
from hil.errors import LabError
from hil.lab import check_lab
from hil.lab_types import Lab
from hil.mcu_profile import profile_mcus
from hil.profile_models import ModelFile, ProfileModels, profile_models
from hil.targets import connect_agent
from hil.targets.target import BesideModel, ModelProfile, Target
from optimizer.cost_models.profiled import (
    CutTimes,
    LinkTimes,
    fit_boundary,
    fit_link,
    map_profile,
    profiled_costs,
)
from optimizer.costs import BoundaryCost, CostTable, LinkCost, OperatorCost, merge_costs
from optimizer.graph import Graph

__all__ = ["ProfileOptions", "profile"]

_BURST_S = 0.7
"""Length of the burst on a link of nominal speed; shorter ones say more of buffers than of the link."""
_BURST_MESSAGES = 8
_MAX_BURST_MESSAGE_BYTES = 1 << 20
_MIN_BURST_MESSAGE_BYTES = 1 << 10
_PINGS = 20

OpenTarget = Callable[[Lab, str], Target]
T = TypeVar("T")


@dataclass(frozen=True)
class ProfileOptions:
    """``runs`` of each model on each board; ``cuts`` 0 leaves the boundary term out, ``links`` the links."""

    runs: int = 20
    level: str = "all"
    cuts: int = 4
    links: bool = True


def profile(
    graph: Graph,
    system: System,
    lab: Lab,
    options: ProfileOptions | None = None,
    progress: Callable[[str], None] | None = None,
    open_target: OpenTarget = connect_agent,
) -> CostTable:
    """Measure a model on every board of the lab: CPUs, one thread each, and microcontrollers.

    ``progress`` is told each step. ``open_target`` connects to a board by its name.
    Raises LabError when the lab does not fit the system, DeviceError when a board fails.
    """
    options = options or ProfileOptions()
    tell = progress or (lambda _: None)
    check_lab(lab, system)
    boards = [board for board in system.boards if _cpus(board)]
    mcus = [board for board in system.boards if lab.targets[board.name].serial is not None]
    if not boards and not mcus:
        raise LabError(
            "no board of the system has a CPU to profile on",
            where=f"system {system.name!r}",
            expected="a processor of kind cpu",
            got=", ".join(ref.key for ref in system.processors),
        )
    unknown = [ref.key for ref in system.processors if ref.processor.kind != "cpu" and ref.board not in mcus]
    if unknown:
        tell(f"Not measured, for want of a driver: {', '.join(unknown)}; import their costs to use them")
    tables = [_profile_agents(graph, system, lab, boards, options, tell, open_target)] if boards else []
    if mcus:
        found = profile_mcus(graph, system, lab, mcus, options.links, tell)
        tables.append(CostTable(found.operators, {}, found.links, graph.sha256))
    return merge_costs(*tables)


def _profile_agents(
    graph: Graph,
    system: System,
    lab: Lab,
    boards: Sequence[Board],
    options: ProfileOptions,
    tell: Callable[[str], None],
    open_target: OpenTarget,
) -> CostTable:
    with ExitStack() as stack:
        tell("Preparing the model and its cuts")
        models = stack.enter_context(profile_models(graph, options.cuts))
        targets = {
            b.name: stack.enter_context(open_target(lab, b.name))
            for b in system.boards
            if lab.targets[b.name].serial is None
        }
        pool = stack.enter_context(ThreadPoolExecutor(len(boards)))
        session = _Session({b.name: targets[b.name] for b in boards}, models, options, pool, tell)
        session.run()
        links: dict[str, LinkCost] = {}
        if options.links:
            for link in system.links:
                if link.source in targets and link.target in targets:
                    tell(f"Measuring link {link.name}")
                    links[link.name] = _measure_link(link, targets[link.source], lab, session.beside(link.source))
    operators: dict[tuple[str, str, str], OperatorCost] = {}
    boundaries: dict[str, BoundaryCost] = {}
    for board in boards:
        session.add_costs(graph, board, operators, boundaries)
    return CostTable(operators, boundaries, links, graph.sha256)


class _Session:
    """All boards in step: each does the same thing at the same time, and meanwhile this process only waits.

    Emulated boards share the machine with this process: what it did during their timing would be in the times.
    """

    def __init__(
        self,
        targets: Mapping[str, Target],
        models: ProfileModels,
        options: ProfileOptions,
        pool: ThreadPoolExecutor,
        tell: Callable[[str], None],
    ) -> None:
        self._targets, self._models, self._options = targets, models, options
        self._pool, self._tell = pool, tell
        self._files: dict[tuple[str, Path], tuple[str, dict[str, str]]] = {}
        self._versions: Mapping[str, str] = {}
        self._profiles: Mapping[str, ModelProfile] = {}
        self._wholes_s: list[Mapping[str, float]] = []
        self._halves_s: list[Mapping[str, float]] = []

    def run(self) -> None:
        """Put, profile, time. Raises DeviceError."""
        options = self._options
        self._versions = self._each(lambda t: str(t.identify().facts.get("onnxruntime", "unknown")))
        self._tell("Bringing the models to the boards")
        self._each(self._put_all)
        self._tell(f"Profiling the whole model, {options.runs} runs")
        self._profiles = self._each(self._profile)
        self._wholes_s.append(self._time(self._models.whole))
        for position, cut in enumerate(self._models.cuts):
            self._tell(f"Timing cut {position + 1} of {len(self._models.cuts)}")
            before, behind = self._time(cut.before), self._time(cut.behind)
            self._halves_s.append({name: before[name] + behind[name] for name in before})
            # Right beside its halves, so that the machine's slow moods strike both alike.
            self._wholes_s.append(self._time(self._models.whole))

    def add_costs(
        self,
        graph: Graph,
        board: Board,
        operators: dict[tuple[str, str, str], OperatorCost],
        boundaries: dict[str, BoundaryCost],
    ) -> None:
        """Enter what was measured on a board, for each of its CPUs."""
        name, options = board.name, self._options
        how = f"onnxruntime {self._versions[name]}, level {options.level}, {options.runs} runs, {_today()}"
        provenance = f"profile: {name}, {how}"
        found = self._profiles[name]
        times = map_profile(graph, found.trace, found.optimised_model)
        cuts = [
            CutTimes(cut.crossing_bytes, halves_s[name], whole_s[name])
            for cut, halves_s, whole_s in zip(self._models.cuts, self._halves_s, self._wholes_s[1:], strict=True)
        ]
        boundary = fit_boundary(cuts, f"{provenance}, {len(cuts)} cuts") if cuts else None
        for processor in _cpus(board):
            operators.update(profiled_costs(graph, processor, times, self.whole_s(name), boundary, provenance))
            if boundary is not None:
                boundaries[processor.key] = boundary

    def beside(self, board: str) -> BesideModel | None:
        """The whole model, to be run while the board sends; None where it was not profiled."""
        if (board, self._models.whole.path) not in self._files:
            return None
        model, companions = self._files[board, self._models.whole.path]
        return BesideModel(model, self._options.runs, self._options.level, companions=companions)

    def whole_s(self, board: str) -> float:
        """Median seconds of the whole model on a board."""
        return statistics.median(whole_s[board] for whole_s in self._wholes_s)

    def _each(self, call: Callable[[Target], T]) -> dict[str, T]:
        """The call's result by board; the first failure once all have ended."""
        futures = {name: self._pool.submit(call, target) for name, target in self._targets.items()}
        wait(futures.values())
        return {name: future.result() for name, future in futures.items()}

    def _put_all(self, target: Target) -> None:
        halves = [half for cut in self._models.cuts for half in (cut.before, cut.behind)]
        for model in (self._models.whole, *halves):
            companions = {name: target.put_file(path) for name, path in model.data}
            self._files[target.name, model.path] = target.put_file(model.path), companions

    def _profile(self, target: Target) -> ModelProfile:
        model, companions = self._files[target.name, self._models.whole.path]
        options = self._options
        return target.profile_model(model, runs=options.runs, level=options.level, companions=companions)

    def _time(self, model: ModelFile) -> dict[str, float]:
        """Median seconds of one run, by board."""

        def call(target: Target) -> float:
            file, companions = self._files[target.name, model.path]
            options = self._options
            times = target.time_model(file, runs=options.runs, level=options.level, companions=companions)
            return _median_s(times.times_ns)

        return self._each(call)


def _measure_link(link: Link, source: Target, lab: Lab, beside: BesideModel | None) -> LinkCost:
    """Burst and ping-pong over one link, as a cost entry; sending also beside a model that runs."""
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
        beside=beside,
    )
    send_s = probe.burst_send_cpu_ns * 1e-9
    if probe.beside is not None:
        send_s = max(send_s, probe.beside.lost_s_per_byte * probe.burst_bytes)
    times = LinkTimes(
        round_trip_s=_median_s(probe.round_trip_ns[0]),
        burst_bytes=probe.burst_bytes,
        burst_s=probe.burst_receive_ns * 1e-9,
        send_processor_s=send_s,
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
