"""What must hold of every system, whatever file it came from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from boards.board import Board, Link, Processor, System
from boards.errors import near_match

__all__ = ["Finding", "check_system", "check_wiring"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong; ``path`` says where in the system's fields."""

    path: tuple[str | int, ...]
    what: str
    expected: str = ""
    got: str = ""
    hint: str = ""


def check_system(system: System) -> tuple[Finding, ...]:
    """All findings of a system built from plain values; () for a sound one."""
    findings = [*_check_names(system)]
    for i, board in enumerate(system.boards):
        findings += _check_board(board, ("boards", i))
    for i, link in enumerate(system.links):
        findings += _check_link(link, ("links", i))
    # Routes can be asked for only once every end exists.
    return tuple(findings) or check_wiring(system)


def check_wiring(system: System) -> tuple[Finding, ...]:
    """Boards that no frame can reach from the source, or from which no result can reach the sink."""
    cut_off = [b.name for b in system.boards if system.route(system.source, b.name) is None]
    stuck = [b.name for b in system.boards if system.route(b.name, system.sink) is None and b.name not in cut_off]
    findings = []
    for names, what, got in (
        (cut_off, f"cannot be reached from the source {system.source!r}", f"no route {system.source} -> "),
        (stuck, f"cannot reach the sink {system.sink!r}", f"no route to {system.sink} from "),
    ):
        if names:
            findings.append(
                Finding(
                    ("boards",),
                    f"unconnected system: {', '.join(names)} {what}",
                    expected="links that lead from the source to every board and from there to the sink",
                    got=got + ", ".join(names),
                    hint="Add a link, or leave these boards out.",
                )
            )
    return tuple(findings)


def _check_names(system: System) -> Iterator[Finding]:
    if not system.boards:
        yield Finding(("boards",), "a system without boards", expected="at least one board", got="none")
    boards = [b.name for b in system.boards]
    nodes = [*boards, *system.switches]
    yield from _repeats(nodes, ("boards",), "board or switch")
    yield from _repeats([link.name for link in system.links], ("links",), "link")
    for i, link in enumerate(system.links):
        for key, end in (("source", link.source), ("target", link.target)):
            if end not in nodes:
                yield _unknown(("links", i, key), end, nodes, "board or switch")
    for key, name in (("source", system.source), ("sink", system.sink)):
        if name not in boards:
            yield _unknown((key,), name, boards, "board")


def _repeats(names: list[str], path: tuple[str | int, ...], what: str) -> Iterator[Finding]:
    for name in sorted({n for n in names if names.count(n) > 1}):
        yield Finding(path, f"two of name {name!r}", expected=f"each {what} name once", got=name)


def _unknown(path: tuple[str | int, ...], name: str, known: list[str], what: str) -> Finding:
    return Finding(
        path,
        f"unknown {what} {name!r}",
        expected=f"one of {', '.join(known)}",
        got=name,
        hint=near_match(name, known),
    )


def _check_board(board: Board, path: tuple[str | int, ...]) -> Iterator[Finding]:
    if not board.processors:
        yield Finding((*path, "processors"), "a board without processors", expected="at least one", got="none")
    yield from _repeats([p.name for p in board.processors], (*path, "processors"), "processor")
    yield from _numbers(
        path,
        above_zero={"ram_bytes": board.ram_bytes, "flash_bytes": board.flash_bytes},
        zero_or_more={"runtime_ram_bytes": board.runtime_ram_bytes},
    )
    if board.weights_in == "flash" and board.flash_bytes is None:
        yield Finding((*path, "flash_bytes"), "weights_in is flash", expected="a flash size", got="none")
    for i, processor in enumerate(board.processors):
        yield from _check_processor(processor, (*path, "processors", i))


def _check_processor(processor: Processor, path: tuple[str | int, ...]) -> Iterator[Finding]:
    if not processor.macs_per_s:
        yield Finding((*path, "macs_per_s"), "no precision", expected="at least one rate", got="none")
    known = ("fp32", "fp16", "int8")
    for precision in processor.macs_per_s:
        if precision not in known:
            yield _unknown((*path, "macs_per_s", precision), precision, list(known), "precision")
    yield from _numbers((*path, "macs_per_s"), above_zero=processor.macs_per_s, zero_or_more={})
    yield from _numbers(
        path,
        above_zero={"memory_bytes_per_s": processor.memory_bytes_per_s},
        zero_or_more={
            "operator_overhead_s": processor.operator_overhead_s,
            "active_power_w": processor.active_power_w,
            "idle_power_w": processor.idle_power_w,
        },
    )


def _check_link(link: Link, path: tuple[str | int, ...]) -> Iterator[Finding]:
    if link.source == link.target:
        yield Finding((*path, "target"), "a link to itself", expected="two different ends", got=link.target)
    yield from _numbers(
        path,
        above_zero={"bandwidth_bytes_per_s": link.bandwidth_bytes_per_s, "mtu_bytes": link.mtu_bytes},
        zero_or_more={
            "setup_s": link.setup_s,
            "latency_s": link.latency_s,
            "header_bytes": link.header_bytes,
            "min_payload_bytes": link.min_payload_bytes,
            "energy_j_per_byte": link.energy_j_per_byte,
            "send_s_per_byte": link.send_s_per_byte,
            "receive_s_per_byte": link.receive_s_per_byte,
        },
    )


def _numbers(
    path: tuple[str | int, ...],
    *,
    above_zero: Mapping[str, float | None],
    zero_or_more: Mapping[str, float],
) -> Iterator[Finding]:
    rows: Iterable[tuple[str, float | None, str]] = [
        *((k, v, "a finite number above zero") for k, v in above_zero.items()),
        *((k, v, "a finite number, zero or more") for k, v in zero_or_more.items()),
    ]
    for key, value, expected in rows:
        if value is None:
            continue
        zero_allowed = key in zero_or_more
        if not math.isfinite(value) or value < 0 or (value == 0 and not zero_allowed):
            yield Finding((*path, key), f"{key} is not usable", expected=expected, got=repr(value))
