"""Boxes for a segment's operators: each alone, or gathered into blocks between single-tensor cuts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from optimizer import report_format as fmt
from optimizer.graph import Graph, Operator

__all__ = ["Group", "gather_blocks", "one_by_one"]

_RUN_MAX = 8
"""Operators of a plain chain drawn as one box."""
_SCOPE_MAX = 24
"""Operators of one module drawn as one box."""
_SCOPE_PARTS = 3
"""Parts of a path that tell one module from the next: "/features/features.3/features.3.0"."""


@dataclass(frozen=True)
class Group:
    """Operators drawn as one box."""

    operators: tuple[int, ...]
    label: str
    note: str
    macs: int


def one_by_one(graph: Graph, operators: Sequence[int]) -> tuple[Group, ...]:
    """Every operator a box of its own."""
    return tuple(Group((v,), graph.operators[v].op_type, "", graph.operators[v].macs) for v in operators)


def gather_blocks(graph: Graph, operators: Sequence[int]) -> tuple[Group, ...]:
    """Blocks between single-tensor cuts of the segment, neighbours with one scope and plain chains merged.

    A residual block, an inception module or an attention layer becomes one box. Order is kept, so the boxes
    stand in a topological order too.
    """
    merged: list[list[int]] = []
    for region in _regions(graph, operators):
        if merged and _belongs(graph, merged[-1], region):
            merged[-1].extend(region)
        else:
            merged.append(list(region))
    top_level = Counter(path[0] for op in graph.operators if (path := _path(op)))
    return tuple(_group(graph, members, top_level) for members in merged)


def _regions(graph: Graph, operators: Sequence[int]) -> list[list[int]]:
    """Maximal runs of operators between places where at most one tensor of the segment is alive."""
    place = {v: k for k, v in enumerate(operators)}
    change = [0] * (len(operators) + 1)
    for k, v in enumerate(operators):
        for t in graph.operators[v].outputs:
            last = max((place[c] for c in graph.tensors[t].consumers if c in place), default=k)
            change[k] += 1
            change[last] -= 1
    regions: list[list[int]] = [[]]
    alive = 0
    for k, v in enumerate(operators):
        regions[-1].append(v)
        alive += change[k]
        if alive <= 1 and k + 1 < len(operators):
            regions.append([])
    return regions


def _belongs(graph: Graph, before: Sequence[int], region: Sequence[int]) -> bool:
    """Whether a region goes on with the box before it: same module by its path, or a plain chain."""
    if len(before) + len(region) <= _SCOPE_MAX:
        old = _shared_path([graph.operators[v] for v in before])
        both = _shared_path([graph.operators[v] for v in (*before, *region)])
        if len(both) >= 2 and both[:_SCOPE_PARTS] == old[:_SCOPE_PARTS]:
            return True
    if len(region) > 1 or len(before) >= _RUN_MAX or not _is_chain(graph, (*before, *region)):
        return False
    path, last = _path(graph.operators[region[0]]), _path(graph.operators[before[-1]])
    return len(path) < _SCOPE_PARTS or path[:2] == last[:2]


def _is_chain(graph: Graph, members: Sequence[int]) -> bool:
    for v, w in pairwise(members):
        following = {c for t in graph.operators[v].outputs for c in graph.tensors[t].consumers}
        if following != {w}:
            return False
    return True


def _path(op: Operator) -> tuple[str, ...]:
    return tuple(op.name.strip("/").split("/"))[:-1] if "/" in op.name else ()


def _group(graph: Graph, members: Sequence[int], top_level: Mapping[str, int]) -> Group:
    ops = [graph.operators[v] for v in members]
    macs = sum(op.macs for op in ops)
    module = _shared_path(ops)[:_SCOPE_PARTS]
    # A module of the model's first level names the box only if most of it is in the box: not "features".
    telling = len(module) >= 2 or (len(module) == 1 and 2 * len(ops) > top_level[module[0]])
    label = module[-1] if telling and len(ops) > 1 else _chain_label([op.op_type for op in ops])
    work = f"{fmt.count(macs)} MAC" if macs else ""
    note = ", ".join(filter(None, ["" if len(ops) == 1 else f"{len(ops)} operators", work]))
    return Group(tuple(members), label, note, macs)


def _shared_path(ops: Sequence[Operator]) -> tuple[str, ...]:
    """The modules that all operators lie in, outermost first."""
    paths = [_path(op) for op in ops]
    shared = 0
    while all(len(p) > shared for p in paths) and len({p[shared] for p in paths}) == 1:
        shared += 1
    return paths[0][:shared]


def _chain_label(types: Sequence[str]) -> str:
    return " → ".join(types) if len(types) <= 3 else f"{types[0]} → … → {types[-1]}"
