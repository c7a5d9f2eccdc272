"""Where operators may run and which share a processor: pins, forbidden boards, colocations.

Colocations that share an operator make one group. In a contiguous plan a group also takes in every operator on a
path between two of its members, and groups that wait for each other are one: whoever left the processor between
them would have to come back to it.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
import numpy.typing as npt

from boards.board import ProcessorRef
from optimizer.errors import LimitError
from optimizer.graph import Graph
from optimizer.plan import Segment

if TYPE_CHECKING:
    from optimizer.problem import Limits

__all__ = [
    "Groups",
    "allowed_processors",
    "check_restrictions",
    "colocated",
    "colocation_faults",
    "held_together",
    "matching",
    "named_processors",
    "spread",
    "units_of",
]

Bools = npt.NDArray[np.bool_]
Groups = tuple[tuple[int, ...], ...]
_LISTED = 8


def matching(graph: Graph, name: str) -> list[int]:
    """Operators of that name, or that match the pattern; ascending."""
    if name in graph.operator_by_name:
        return [graph.operator_by_name[name].index]
    return [op.index for op in graph.operators if fnmatch.fnmatchcase(op.name, name)]


def colocated(graph: Graph, limits: Limits) -> Groups:
    """Operators that share a processor, groups with common operators joined; ascending, disjoint."""
    joined: nx.Graph[int] = nx.Graph()
    for names in limits.colocations:
        members = [v for name in names for v in matching(graph, name)]
        nx.add_path(joined, members)
    return _groups(nx.connected_components(joined))


def held_together(graph: Graph, groups: Groups) -> Groups:
    """What the groups come to in contiguous plans: disjoint, each ascending, none waiting for another and itself."""
    if not groups:
        return ()
    leader = {v: group[0] for group in groups for v in group}
    waits: nx.DiGraph[int] = nx.DiGraph()
    for u, v in _edges(graph):
        a, b = leader.get(u, u), leader.get(v, v)
        if a != b:
            waits.add_edge(a, b)
    members = {group[0]: group for group in groups}
    rings = [tuple(v for a in ring for v in members.get(a, (a,))) for ring in nx.strongly_connected_components(waits)]
    alone = [group for group in groups if group[0] not in waits]
    return _groups([*rings, *alone])


def units_of(graph: Graph, together: Groups) -> Groups:
    """All operators as groups and single ones, each unit behind what it reads from wherever groups allow it.

    Topological for groups that ``held_together`` made; within a unit ascending.
    """
    if not together:
        return tuple((op.index,) for op in graph.operators)
    leader = {v: group[0] for group in together for v in group}
    members = {group[0]: group for group in together}
    waits: nx.DiGraph[int] = nx.DiGraph()
    waits.add_nodes_from(leader.get(op.index, op.index) for op in graph.operators)
    waits.add_edges_from((leader.get(u, u), leader.get(v, v)) for u, v in _edges(graph))
    waits.remove_edges_from(list(nx.selfloop_edges(waits)))
    acyclic = nx.is_directed_acyclic_graph(waits)
    order = list(nx.lexicographical_topological_sort(waits)) if acyclic else sorted(waits)
    return tuple(members.get(v, (v,)) for v in order)


def allowed_processors(
    graph: Graph, processors: Sequence[ProcessorRef], limits: Limits, together: Groups, covered: Bools
) -> Bools:
    """(n, q) True where an operator may run; the members of a group may run where all of them may.

    ``covered``: (n, q) where the board's runtime can run it at all.
    """
    allowed = named_processors(graph, processors, limits) & covered
    for group in together:
        allowed[list(group)] = allowed[list(group)].all(axis=0)
    return allowed


def spread(values: Bools, together: Groups) -> Bools:
    """(n, q) domains with those of each group intersected."""
    result = values.copy()
    for group in together:
        result[list(group)] = result[list(group)].all(axis=0)
    return result


def colocation_faults(graph: Graph, groups: Groups, segments: Iterable[Segment]) -> Iterator[str]:
    """Groups of ``colocated`` whose operators do not run on the same processors, in words."""
    if not groups:
        return
    homes: dict[int, set[str]] = {}
    for segment in segments:
        for v in segment.operators:
            homes.setdefault(v, set()).add(segment.processor)
    for group in groups:
        for v in group[1:]:
            if homes.get(v) != homes.get(group[0]):
                names = [graph.operators[u].name for u in (group[0], v)]
                places = [", ".join(sorted(homes.get(u, {"none"}))) for u in (group[0], v)]
                yield f"{names[0]} and {names[1]} are colocated, but run on {places[0]} and {places[1]}"
                break


def check_restrictions(graph: Graph, processors: Sequence[ProcessorRef], limits: Limits) -> None:
    """Raises LimitError where a name stands for nothing, or restrictions contradict each other."""
    targets = sorted({name for ref in processors for name in (ref.key, ref.board.name)})
    for kind, option, pairs in (("pinned", "pin", limits.pins.items()), ("forbidden", "forbid", limits.forbids)):
        for operator, target in pairs:
            _check_operator(graph, f"{kind} operator", operator, option)
            if target not in targets:
                what = "pinned to" if kind == "pinned" else "forbidden on"
                raise LimitError(
                    f"operator {operator!r} is {what} unknown board {target!r}",
                    expected=f"one of {', '.join(targets)}",
                    got=target,
                    option=option,
                )
    for names in limits.colocations:
        for name in names:
            _check_operator(graph, "colocated operator", name, "colocate")
    _check_rings(graph, limits)
    _check_contradictions(graph, processors, limits)


def _check_operator(graph: Graph, label: str, name: str, option: str) -> None:
    if not matching(graph, name):
        raise LimitError(
            f"{label} {name!r} is not in the model",
            expected="an operator name as `optimizer inspect` prints it, or a pattern such as conv*",
            got=name,
            hint=_near(name, graph.operator_by_name),
            option=option,
        )


def _near(name: str, names: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(close)}?" if close else ""


def _check_rings(graph: Graph, limits: Limits) -> None:
    """Colocations join operators like the edges of a tree: one that joins what is joined already is a slip."""
    joined: nx.Graph[int] = nx.Graph()
    for names in limits.colocations:
        text = f"--colocate {','.join(names)}"
        if len(set(names)) < len(names):
            raise LimitError(f"{text} names an operator twice", expected="each operator once", option="colocate")
        members = sorted({v for name in names for v in matching(graph, name)})
        if len(members) < 2:
            raise LimitError(
                f"{text} names fewer than two operators",
                expected="NODE,NODE[,...]",
                got=", ".join(graph.operators[v].name for v in members),
                option="colocate",
            )
        part = {v: number for number, part in enumerate(nx.connected_components(joined)) for v in part}
        seen: dict[int, int] = {}
        for v in members:
            if v in part and seen.setdefault(part[v], v) != v:
                ring = [graph.operators[w].name for w in nx.shortest_path(joined, seen[part[v]], v)]
                raise LimitError(
                    f"the colocations are cyclic: {text} closes the ring {', '.join([*ring, ring[0]])}",
                    expected="operators that no other --colocate has joined already",
                    hint="Leave this one out: the others say it already.",
                    option="colocate",
                )
        nx.add_path(joined, members)


def _check_contradictions(graph: Graph, processors: Sequence[ProcessorRef], limits: Limits) -> None:
    """Pins, forbidden boards and colocations that leave no processor, whatever the plan."""
    alone = named_processors(graph, processors, limits)
    groups = colocated(graph, limits)
    inside = {v for group in groups for v in group}
    singles = [(op.index,) for op in graph.operators if op.index not in inside]
    for group in (*singles, *groups):
        if alone[list(group)].all(axis=0).any():
            continue
        names = [graph.operators[v].name for v in group]
        who = f"operator {names[0]}" if len(group) == 1 else f"the colocated operators {_listed(names)}"
        raise LimitError(
            f"no processor is left for {who}: {_listed(_about(graph, limits, group))} contradict each other",
            expected="at least one processor that all of them allow",
            hint="Leave one of them out.",
        )


def _about(graph: Graph, limits: Limits, group: tuple[int, ...]) -> list[str]:
    """The options that speak of operators of a group."""

    def touches(name: str) -> bool:
        return not set(group).isdisjoint(matching(graph, name))

    found = [f"--pin {o}={b}" for o, b in limits.pins.items() if touches(o)]
    found += [f"--forbid {o}={b}" for o, b in limits.forbids if touches(o)]
    found += [f"--colocate {','.join(names)}" for names in limits.colocations if any(touches(n) for n in names)]
    return found


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _LISTED} more" if len(texts) > _LISTED else ""
    return ", ".join(texts[:_LISTED]) + more


def named_processors(graph: Graph, processors: Sequence[ProcessorRef], limits: Limits) -> Bools:
    """(n, q) what pins and forbidden boards say of each operator by itself."""
    allowed = np.ones((len(graph.operators), len(processors)), dtype=np.bool_)
    for pairs, keep in ((limits.pins.items(), True), (limits.forbids, False)):
        for name, target in pairs:
            here = np.array([target in (ref.key, ref.board.name) for ref in processors])
            allowed[matching(graph, name)] &= here if keep else ~here
    return allowed


def _edges(graph: Graph) -> Iterator[tuple[int, int]]:
    for tensor in graph.tensors:
        if tensor.producer is not None:
            yield from ((tensor.producer, c) for c in tensor.consumers)


def _groups(sets: Iterable[Iterable[int]]) -> Groups:
    found = (tuple(sorted(members)) for members in sets)
    return tuple(sorted(group for group in found if len(group) > 1))
