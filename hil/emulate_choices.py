"""What an emulation can do on this machine: how links are slowed down, which cores boards run on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from boards.board import Link, System
from hil.emulate_processes import available_cores
from hil.errors import CoreError, EmulationError
from hil.lab_types import Shaping
from hil.netns import MAX_BOARDS, namespaces_unavailable

__all__ = [
    "RequestedShaping",
    "choose_cores",
    "choose_shaping",
    "is_slower_than_loopback",
    "payload_bytes_per_s",
]

RequestedShaping = Literal["auto", "tc", "relay", "none"]

_LOOPBACK_BYTES_PER_S = 500e6
"""A link as fast as this is left as fast as the machine copies."""
_NOTICED_LATENCY_S = 1e-3
"""Latency that "auto" takes the relay for; less disappears in the agents' own time for a message."""
_LONG_MESSAGE_BYTES = 1 << 20


def payload_bytes_per_s(link: Link) -> float:
    """Rate at which a long message's payload crosses a link, headers discounted, set-up time left out."""
    return link.bandwidth_bytes_per_s * _LONG_MESSAGE_BYTES / link.wire_bytes(_LONG_MESSAGE_BYTES)


def choose_shaping(system: System, requested: RequestedShaping) -> tuple[Shaping, tuple[str, ...]]:
    """How the links of a system are slowed down here, and what this leaves out, in sentences.

    Raises EmulationError when "tc" is asked for and cannot be had.
    """
    slow = [link for link in system.links if is_slower_than_loopback(link)]
    late = [link for link in slow if link.latency_s >= _NOTICED_LATENCY_S]
    shared = [link for link in slow if sum(other.medium == link.medium for other in slow) > 1]
    chosen: Shaping
    if requested == "auto":
        if not slow:
            chosen = "none"
        elif late or shared or system.switches or len(system.boards) > MAX_BOARDS:
            chosen = "relay"
        else:
            chosen = "relay" if namespaces_unavailable() else "tc"
    else:
        chosen = requested
    if requested == "tc":
        _check_tc(system)
    notes = list(_left_out(chosen, slow, late, shared))
    if chosen == "relay" and system.switches:
        notes.append("A link towards a switch is not paced on its own, only the one out of it.")
    if requested == "auto" and chosen == "relay" and not (late or shared or system.switches):
        reason = namespaces_unavailable()
        notes.append(f"Links are paced by a relay process instead of the kernel: {reason}.")
    return chosen, tuple(notes)


def _left_out(chosen: Shaping, slow: Sequence[Link], late: Sequence[Link], shared: Sequence[Link]) -> Iterator[str]:
    if chosen == "none" and slow:
        yield f"Not shaped: {_names(slow)} run as fast as this machine copies."
    if chosen == "tc" and late:
        yield f"Latency is left out on {_names(late)}: tc shapes bandwidth only."
    if chosen == "tc" and shared:
        yield f"{_names(shared)} share a medium, but tc shapes each alone, as if full duplex."
    with_setup = [link for link in slow if link.setup_s > 0]
    if chosen != "none" and with_setup:
        yield f"Set-up time of a message is left out on {_names(with_setup)}."


def _check_tc(system: System) -> None:
    reason = namespaces_unavailable()
    if system.switches:
        reason = f"system {system.name!r} has a switch, {system.switches[0]!r}, which only the relay imitates"
    elif not reason and len(system.boards) > MAX_BOARDS:
        reason = f"system {system.name!r} has {len(system.boards)} boards, and there is room for {MAX_BOARDS}"
    if reason:
        raise EmulationError(
            "links cannot be shaped by the kernel here",
            where="--shaping tc",
            expected="Linux, root, iproute2 and the right to make network namespaces",
            got=reason,
            hint="Use --shaping relay, which needs none of these, or --shaping auto.",
        )


def is_slower_than_loopback(link: Link) -> bool:
    """Whether a link has to be slowed down at all."""
    return link.bandwidth_bytes_per_s < _LOOPBACK_BYTES_PER_S or link.latency_s >= _NOTICED_LATENCY_S


def choose_cores(boards: int, asked: Sequence[int] | None) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Cores to pin to, in turn, and a note where boards must share one."""
    available = available_cores()
    if not available:
        return (), ("Boards are not pinned to cores: this system has no call for it.",)
    chosen = tuple(asked) if asked else available
    unknown = [core for core in chosen if core not in available]
    if unknown:
        raise CoreError(
            f"core {unknown[0]} cannot be used",
            where="--cores",
            expected=f"some of {', '.join(map(str, available))}",
            got=", ".join(map(str, chosen)),
        )
    distinct = len(set(chosen))
    if distinct < boards:
        return chosen, (f"{boards} boards share {distinct} core(s): they slow each other down; real ones would not.",)
    return chosen, ()


def _names(links: Sequence[Link]) -> str:
    return ", ".join(link.name for link in links)
