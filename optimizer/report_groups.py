"""Boxes for a segment's operators: each alone, or gathered into blocks between single-tensor cuts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from optimizer import report_format as fmt
from optimizer.graph import Graph, Operator

__all__ = ["Group", "gather_blocks", "one_by_one"]

_RUN_MAX = 8
"""Operators of a plain chain drawn as one box."""
_SCOPE_MAX = 24
"""Operators of neighbouring blocks with one name scope drawn as one box."""
_SCOPE_PARTS = 3
"""Parts of an operator's path that make its scope: "/features/features.3/conv"."""


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
    return tuple(_group(graph, members) for members in merged)


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
    scope = _scope(graph.operators[before[-1]])
    if scope and len(before) + len(region) <= _SCOPE_MAX:
        return all(_scope(graph.operators[v]) == scope for v in (*before, *region))
    return len(region) == 1 and len(before) < _RUN_MAX and _is_chain(graph, before)


def _is_chain(graph: Graph, members: Sequence[int]) -> bool:
    for v, w in pairwise(members):
        following = {c for t in graph.operators[v].outputs for c in graph.tensors[t].consumers}
        if following != {w}:
            return False
    return True


def _path(op: Operator) -> tuple[str, ...]:
    return tuple(op.name.strip("/").split("/"))[:-1] if "/" in op.name else ()


def _scope(op: Operator) -> tuple[str, ...]:
    return _path(op)[:_SCOPE_PARTS]


def _group(graph: Graph, members: Sequence[int]) -> Group:
    ops = [graph.operators[v] for v in members]
    macs = sum(op.macs for op in ops)
    if len(ops) == 1:
        label = ops[0].op_type
    else:
        label = _shared_scope(ops) or _chain_label([op.op_type for op in ops])
    work = f"{fmt.count(macs)} MAC" if macs else ""
    note = ", ".join(filter(None, ["" if len(ops) == 1 else f"{len(ops)} operators", work]))
    return Group(tuple(members), label, note, macs)


def _shared_scope(ops: Sequence[Operator]) -> str:
    """Last part of the path that all share, if it says more than the model's first level does."""
    paths = [_path(op) for op in ops]
    shared = 0
    while all(len(p) > shared for p in paths) and len({p[shared] for p in paths}) == 1:
        shared += 1
    return paths[0][shared - 1] if shared >= 2 else ""


def _chain_label(types: Sequence[str]) -> str:
    return " → ".join(types) if len(types) <= 3 else f"{types[0]} → … → {types[-1]}"
