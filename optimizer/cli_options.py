"""Options that several commands share: quantities with units, and the limits on a plan."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import click

from boards.errors import UnitError
from boards.units import parse_bytes, parse_energy, parse_frequency, parse_rate, parse_time
from optimizer.errors import LimitError
from optimizer.problem import Limits

__all__ = ["ENERGY", "FREQUENCY", "RATE", "SHARE", "SIZE", "TIME", "limit_options", "parse_share"]


class _Quantity(click.ParamType):  # type: ignore[type-arg]
    """A number with a unit."""

    def __init__(self, name: str, parse: Callable[[str], float]) -> None:
        self.name, self.parse = name, parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, (int, float)):
            return float(value)
        try:
            return self.parse(value)
        except UnitError as e:
            self.fail(str(e), param, ctx)


def parse_share(text: str) -> float:
    """ "1%" or "0.01": a share of at least 0 and less than 1. Raises UnitError."""
    number, percent, rest = text.strip().partition("%")
    try:
        share = float(number) / (100 if percent else 1)
    except ValueError:
        share = float("nan")
    if rest or not 0 <= share < 1:
        raise UnitError("not a usable share", expected="0% to less than 100%, for example 1%", got=text)
    return share


TIME = _Quantity("TIME", parse_time)
RATE = _Quantity("RATE", parse_rate)
FREQUENCY = _Quantity("FREQUENCY", parse_frequency)
ENERGY = _Quantity("ENERGY", parse_energy)
SHARE = _Quantity("PERCENT", parse_share)
SIZE = _Quantity("SIZE", parse_bytes)

_OPTIONS = (
    click.option("--max-latency", type=TIME, help="For example 50ms."),
    click.option("--min-throughput", type=RATE, help="For example 20/s."),
    click.option("--max-energy", type=ENERGY, help="Joules an inference, for example 2J."),
    click.option(
        "--max-memory",
        multiple=True,
        metavar="BOARD=ram:SIZE|flash:SIZE",
        help="Memory that may be used, for example left=ram:320KiB. Can be repeated.",
    ),
    click.option(
        "--rate",
        type=RATE,
        help="Rate at which frames come, for example 20/s: the least throughput, and the interval of idle energy.",
    ),
    click.option(
        "--pin",
        multiple=True,
        metavar="NODE=BOARD",
        help="Keep operators (a name, or a pattern such as conv*) on a board or processor. Can be repeated.",
    ),
    click.option("--forbid", multiple=True, metavar="NODE=BOARD", help="Keep operators off a board. Can be repeated."),
    click.option(
        "--colocate", multiple=True, metavar="NODE,NODE[,...]", help="Operators share a processor. Can be repeated."
    ),
    click.option("--boards", type=click.IntRange(min=1), help="Use at most this many boards."),
    click.option("--max-link-bytes", type=SIZE, help="Bytes over all links an inference, for example 2MiB."),
    click.option(
        "--max-accuracy-loss", type=click.FloatRange(min=0.0), help="In the unit of --sensitivity, which it needs."
    ),
)


def limit_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the limits to a command, which gets them as ``limits: Limits``."""

    @functools.wraps(command)
    def with_limits(**given: Any) -> None:
        ram, flash = _memory_limits(given.pop("max_memory"))
        limits = Limits(
            max_latency_s=given.pop("max_latency"),
            min_throughput_per_s=given.pop("min_throughput"),
            max_energy_j=given.pop("max_energy"),
            max_ram_bytes=ram,
            max_flash_bytes=flash,
            pins=_pins(given.pop("pin")),
            forbids=tuple(dict.fromkeys(_node_and_board("--forbid", text) for text in given.pop("forbid"))),
            colocations=tuple(_nodes(text) for text in given.pop("colocate")),
            rate_per_s=given.pop("rate"),
            max_boards=given.pop("boards"),
            max_link_bytes=_whole(given.pop("max_link_bytes")),
            max_accuracy_loss=given.pop("max_accuracy_loss"),
        )
        command(limits=limits, **given)

    for option in reversed(_OPTIONS):
        with_limits = option(with_limits)
    return with_limits


def _memory_limits(texts: Sequence[str]) -> tuple[dict[str, int], dict[str, int]]:
    found: dict[str, dict[str, int]] = {"ram": {}, "flash": {}}
    for text in texts:
        board, _, rest = text.partition("=")
        kind, _, size = rest.partition(":")
        if not board or kind not in found or not size:
            raise LimitError("--max-memory is not usable", expected="BOARD=ram:SIZE or BOARD=flash:SIZE", got=text)
        found[kind][board] = parse_bytes(size)
    return found["ram"], found["flash"]


def _whole(size_bytes: float | None) -> int | None:
    return None if size_bytes is None else int(size_bytes)


def _pins(texts: Sequence[str]) -> dict[str, str]:
    pins: dict[str, str] = {}
    for operator, board in (_node_and_board("--pin", text) for text in texts):
        if pins.setdefault(operator, board) != board:
            raise LimitError(
                f"operator {operator!r} is pinned twice",
                expected="one board",
                got=f"--pin {operator}={pins[operator]} and --pin {operator}={board}",
            )
    return pins


def _nodes(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if len(names) < 2 or not all(names):
        raise LimitError("--colocate is not usable", expected="NODE,NODE[,...]", got=text)
    return names


def _node_and_board(option: str, text: str) -> tuple[str, str]:
    operator, separator, board = text.rpartition("=")
    if not separator or not operator or not board:
        raise LimitError(f"{option} is not usable", expected="NODE=BOARD", got=text)
    return operator, board
