"""Costs of a model on microcontroller boards: ticks of each operator, of links, of the work that links make.

A model that no board holds is measured in pieces. Boards of one type with the same limits run the same code at the same
clock: one of them is measured for all, and so is one wire for all that join the same types at the same rate.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from boards.board import Board, Link, ProcessorRef, System
from firmware_interface.compiler import CompiledSegment, compile_segment
from firmware_interface.errors import CompileError
from hil.errors import BundleError
from hil.lab_types import Lab
from hil.mcu_deploy import PART_HEAD_BYTES, McuBench, quicken
from hil.mcu_images import board_type
from hil.mcu_measure import round_trip_ns
from hil.mcu_routes import SIGNAL_BYTES, flood_routes
from hil.targets import connect_mcu
from hil.targets.serial_mcu import SerialMcu
from optimizer.costs import LinkCost, OperatorCost
from optimizer.graph import Graph
from optimizer.mcu import working_precision
from optimizer.onnx_file import load_onnx
from optimizer.onnx_prepare import Prepared, prepare
from optimizer.split_models import build_submodel

__all__ = ["McuCosts", "profile_mcus"]

Tell = Callable[[str], None]
RUNS = 3  # times repeat to a few ticks: more tell no more
RUN_TIMEOUT_S = 300.0
PROBE_BYTES = 4064  # four whole PARTs
LONG_PINGS = 5
FLOOD_FRAMES = 3  # inferences that are compared, at least
FLOOD_S = 4.0


@dataclass(frozen=True)
class McuCosts:
    """Part of a cost table."""

    operators: Mapping[tuple[str, str, str], OperatorCost]
    links: Mapping[str, LinkCost]


@dataclass(frozen=True)
class _Piece:
    """Operators that one image holds, in the graph's order from ``first`` on."""

    first: int
    compiled: CompiledSegment


def profile_mcus(graph: Graph, system: System, lab: Lab, boards: Sequence[Board], links: bool, tell: Tell) -> McuCosts:
    """Measure the model on ``boards`` of the lab, and the wires between them.

    Raises LabError, BundleError for a model that they cannot run even in pieces, DeviceError.
    """
    with ExitStack() as stack:
        targets = {b.name: stack.enter_context(connect_mcu(lab, b.name)) for b in boards}
        types = {name: board_type(target, lab, system) for name, target in targets.items()}
        if lab.emulated:
            quicken(targets)
        operators: dict[tuple[str, str, str], OperatorCost] = {}
        prepared = prepare(load_onnx(graph.source), graph.batch)
        images: dict[str, bytes] = {}
        for alike in _alike(boards, types):
            one = alike[0]
            times_s, images[one.name] = _time_operators(graph, prepared, targets[one.name], types[one.name], tell)
            provenance = f"profile: {one.name} ({types[one.name]}), {RUNS} runs, {_today()}"
            for board in alike:
                operators.update(_costs(graph, board, times_s, provenance))
        found: dict[str, LinkCost] = {}
        if links:
            found = _Links(lab, targets, types, images, tell).measure(system)
        for target in targets.values():
            with target.phase("unload"):
                target.client.unload()
    return McuCosts(operators, found)


def _alike(boards: Sequence[Board], types: Mapping[str, str]) -> list[list[Board]]:
    groups: dict[tuple[object, ...], list[Board]] = {}
    for board in boards:
        key = (types[board.name], board.model, board.ram_bytes, board.flash_bytes)
        groups.setdefault(key, []).append(board)
    return list(groups.values())


def _costs(
    graph: Graph, board: Board, times_s: Mapping[str, float], provenance: str
) -> Iterator[tuple[tuple[str, str, str], OperatorCost]]:
    for processor in board.processors:
        ref = ProcessorRef(board, processor)
        precision = working_precision(ref, graph)
        for name, seconds in times_s.items():
            yield (name, ref.key, precision), OperatorCost(seconds, seconds * processor.active_power_w, provenance)


def _time_operators(
    graph: Graph, prepared: Prepared, target: SerialMcu, kind: str, tell: Tell
) -> tuple[dict[str, float], bytes]:
    """Seconds by operator, and the hash of the image that the board holds in the end."""
    memory = target.memory()
    pieces = list(_pieces(graph, prepared, kind, memory.slot, memory.arena, 0, len(graph.operators)))
    times_s = {operator.name: 0.0 for operator in graph.operators}
    sha256 = b""
    for number, piece in enumerate(pieces):
        tell(f"Measuring operators on {target.name}, image {number + 1} of {len(pieces)}")
        sha256 = target.write(piece.compiled.image).sha256
        for name, seconds in _time_piece(target, sha256, piece.compiled).items():
            times_s[name] = times_s.get(name, 0.0) + seconds
    return times_s, sha256


def _pieces(
    graph: Graph, prepared: Prepared, kind: str, slot: int, arena: int, first: int, end: int
) -> Iterator[_Piece]:
    """Images that fit, halved until they do."""
    try:
        compiled = _compile(graph, prepared, kind, first, end)
    except CompileError as e:
        raise BundleError(
            f"the model cannot be made an image: {e}",
            where=graph.source,
            hint="`optimizer solve` says what boards run.",
        ) from e
    if len(compiled.image) <= slot and compiled.ram_bytes <= arena:
        yield _Piece(first, compiled)
        return
    if end - first == 1:
        raise BundleError(
            f"operator {graph.operators[first].name} alone does not fit a board of type {kind}",
            where=graph.source,
            expected=f"{slot} bytes of slot and {arena} bytes of arena",
            got=f"{len(compiled.image)} and {compiled.ram_bytes} bytes",
        )
    middle = (first + end) // 2
    yield from _pieces(graph, prepared, kind, slot, arena, first, middle)
    yield from _pieces(graph, prepared, kind, slot, arena, middle, end)


def _compile(graph: Graph, prepared: Prepared, kind: str, first: int, end: int) -> CompiledSegment:
    inside = range(first, end)
    made = {t for v in inside for t in graph.operators[v].outputs}
    used = list(dict.fromkeys(t for v in inside for t in graph.operators[v].inputs))
    inputs = [t for t in used if t not in made]
    outside = {t for v, o in enumerate(graph.operators) if v not in inside for t in o.inputs} | set(graph.outputs)
    outputs = [t for v in inside for t in graph.operators[v].outputs if t in outside]
    model = build_submodel(prepared, graph, f"piece{first}", list(inside), inputs, outputs)
    return compile_segment(model.proto, board=kind)


def _time_piece(target: SerialMcu, sha256: bytes, compiled: CompiledSegment) -> dict[str, float]:
    with target.phase("measure operators"):
        client = target.client
        client.load(sha256)
        ran = client.run(RUNS, timeout_s=RUN_TIMEOUT_S)
        ticks = client.operator_ticks()
    hz = target.facts.tick_hz
    # Between operators the board looks after its lines: a share of that goes to each.
    between = max(0.0, ran.ticks - sum(ticks)) / max(1, len(ticks))
    times_s: dict[str, float] = {}
    for owner, spent in zip(compiled.records, ticks, strict=True):
        times_s[owner] = times_s.get(owner, 0.0) + (spent + between) / ran.runs / hz
    return times_s


class _Links:
    """Measures the wires of a bench; one for each pair of types and rate."""

    def __init__(
        self,
        lab: Lab,
        targets: Mapping[str, SerialMcu],
        types: Mapping[str, str],
        images: Mapping[str, bytes],
        tell: Tell,
    ) -> None:
        self._lab, self._targets, self._types, self._images, self._tell = lab, targets, types, images, tell

    def measure(self, system: System) -> dict[str, LinkCost]:
        """Costs by link, of the links that are wires of the lab."""
        known: dict[tuple[object, ...], LinkCost] = {}
        found: dict[str, LinkCost] = {}
        for link in sorted(system.links, key=lambda link: link.target not in self._images):
            wire = self._lab.wire(link.source, link.target)
            if wire is None or link.source not in self._targets or link.target not in self._targets:
                continue
            key = (self._types[link.source], self._types[link.target], wire.baud, link.mtu_bytes, link.header_bytes)
            if key not in known:
                self._tell(f"Measuring link {link.name}")
                known[key] = self._measure(link)
            found[link.name] = known[key]
        return found

    def _measure(self, link: Link) -> LinkCost:
        pair = {name: self._targets[name] for name in (link.source, link.target)}
        bench = McuBench(self._lab, pair, link.source, link.target)
        back = [link.target, link.source]
        # The least: what keeps an emulator from running only adds.
        small_s = round_trip_ns(bench, back, time.sleep, of=min) * 1e-9 / 2
        large_s = round_trip_ns(bench, back, time.sleep, PROBE_BYTES, LONG_PINGS, of=min) * 1e-9 - small_s
        # The run may end within a message, never within a PART.
        sent = self._targets[link.source].statistics("measure link")
        part_s = sent.send_ticks / self._targets[link.source].facts.tick_hz / max(1, sent.parts_sent)
        parts = -(-PROBE_BYTES // self._part_bytes(link.source))
        wire_bytes = link.wire_bytes(PROBE_BYTES) - link.wire_bytes(SIGNAL_BYTES)
        return LinkCost(
            bandwidth_bytes_per_s=wire_bytes / (large_s - small_s),
            # A signal takes longer than its bytes because of answers on the same line, which a pipeline has the other
            # way: no measure of what a message takes besides its bytes.
            setup_s=link.setup_s,
            latency_s=link.latency_s,
            send_s_per_byte=min(large_s, part_s * parts) / PROBE_BYTES,
            receive_s_per_byte=self._receive_s_per_byte(bench, link),
            provenance=f"profile: {link.source} to {link.target}, messages of {SIGNAL_BYTES} and {PROBE_BYTES} bytes, "
            f"{_today()}",
        )

    def _part_bytes(self, board: str) -> int:
        return self._targets[board].facts.max_payload - PART_HEAD_BYTES

    def _receive_s_per_byte(self, bench: McuBench, link: Link) -> float:
        """What each byte that comes takes of a board's computing: inferences alone, and beside a flood of bytes."""
        image = self._images.get(link.target)
        if image is None:
            return link.receive_s_per_byte
        routes = flood_routes(self._lab, link.source, link.target, PROBE_BYTES)
        images = {link.target: image}
        quiet = {link.target: routes[link.target]}
        bench.lay(quiet, images)
        bench.start()
        alone, _ = self._inferences(link.target)
        bench.stop()
        bench.lay(routes, images)
        bench.start()
        host, data = bench.links[link.source], bytes(PROBE_BYTES)
        with self._targets[link.source].phase("measure link"):
            for _ in range(2):
                host.send(0, data, timeout_s=RUN_TIMEOUT_S)
            host.flush(timeout_s=RUN_TIMEOUT_S)
        beside, parts_each = self._inferences(link.target)
        bench.stop()
        return max(0.0, beside - alone) / max(1.0, parts_each * self._part_bytes(link.target))

    def _inferences(self, board: str) -> tuple[float, float]:
        """Mean seconds of an inference, and parts that came meanwhile."""
        target = self._targets[board]
        begin = target.statistics("measure link")
        time.sleep(FLOOD_S)
        end = target.statistics("measure link")
        while end.frames < begin.frames + FLOOD_FRAMES:
            time.sleep(1.0)
            end = target.statistics("measure link")
        frames = end.frames - begin.frames
        seconds = (end.run_ticks - begin.run_ticks) / target.facts.tick_hz / frames
        return seconds, (end.parts_received - begin.parts_received) / frames


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()
