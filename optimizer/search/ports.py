"""What leaving or reaching a board costs at least, by tensor: the link that every such route begins or ends with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from boards.board import Link
from optimizer.problem import Problem
from optimizer.search.many_boards_chain import link_facts, occupancy_s

__all__ = ["Port", "one_medium", "port"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Port:
    """Least seconds by tensor, for one board and direction. All zero where nothing is sure.

    Of a board of several processors: for what comes from, or goes to, other boards.
    """

    wire_s: Floats
    """(t,) on the medium; of several media the share that the busiest surely gets."""
    held_s: Floats
    """(t,) for which hops hold the processor (``overlap: false``)."""
    work_s: Floats
    """(t,) for which the processor sends or receives."""
    medium: str | None
    """The medium, where there is only one."""
    key: tuple[object, ...]
    """Equal for ports that cost the same."""


def port(problem: Problem, q: int, *, leaving: bool) -> Port:
    """The way out of (or into) the board of processor q, to (from) the boards of the others, source and sink."""
    tables = problem.tables
    board = problem.processors[q].board
    sizes = (tables.tensor_bytes[:, q] if leaving else tables.tensor_bytes.min(axis=1)).astype(np.float64)
    zero = np.zeros(len(sizes))
    links = _outer_links(problem, q, leaving)
    if not links:
        return Port(zero, zero, zero, None, ())
    media = list(dict.fromkeys(link.medium for link in links))
    wire = np.min([occupancy_s(link, sizes) for link in links], axis=0)
    sure = len(board.processors) == 1  # else another processor of the board may be held, or work for the message
    held = zero if any(link.overlap for link in links) or not sure else wire
    rates = [link.send_s_per_byte if leaving else link.receive_s_per_byte for link in links]
    key = (*sorted((link_facts(link), link.overlap) for link in links), len(media))
    work = sizes * min(rates) if sure else zero
    return Port(wire / len(media), held, work, media[0] if len(media) == 1 else None, key)


def _outer_links(problem: Problem, q: int, leaving: bool) -> list[Link]:
    """First links of all routes from the board (last links of all routes to it)."""
    system = problem.system
    own = problem.processors[q].board.name
    others = dict.fromkeys([*problem.board_index, system.source, system.sink])
    found: dict[int, Link] = {}
    for other in others:
        route = system.route(own, other) if leaving else system.route(other, own)
        if route:
            index = route[0] if leaving else route[-1]
            found[index] = problem.links[index]
    return list(found.values())


def one_medium(away: Port, here: Port) -> bool:
    """Whether all that comes and goes takes turns on one medium."""
    return away.medium is not None and away.medium == here.medium
