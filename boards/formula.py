"""Formulas of runtime files: whole-number arithmetic over named figures, nothing else."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from functools import lru_cache

__all__ = ["Formula", "parse_formula"]

Formula = Callable[[Mapping[str, int]], int]
"""The value for these figures. Raises KeyError for a figure that is not among them."""

_BINARY: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[int, int], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_WORD_BYTES = 4


@lru_cache(maxsize=1024)
def parse_formula(text: str) -> Formula:
    """A formula of ``+ - * // %``, comparisons, ``and or not``, ``a if b else c`` and ``align(x)`` (up to a multiple
    of 4). Raises ValueError for anything else."""
    try:
        return _node(ast.parse(text, mode="eval").body, text)
    except SyntaxError as e:
        raise ValueError(f"formula {text!r}: {e.msg}") from e


def _node(node: ast.expr, text: str) -> Formula:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        value = int(node.value)
        return lambda figures: value
    if isinstance(node, ast.Name):
        name = node.id
        return lambda figures: figures[name]
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        return _binary(_BINARY[type(node.op)], _node(node.left, text), _node(node.right, text))
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARISONS:
        return _binary(_COMPARISONS[type(node.ops[0])], _node(node.left, text), _node(node.comparators[0], text))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        inner = _node(node.operand, text)
        return lambda figures: int(not inner(figures))
    if isinstance(node, ast.BoolOp):
        parts, every = [_node(v, text) for v in node.values], isinstance(node.op, ast.And)
        return lambda figures: int((all if every else any)(part(figures) for part in parts))
    if isinstance(node, ast.IfExp):
        test, then, other = _node(node.test, text), _node(node.body, text), _node(node.orelse, text)
        return lambda figures: then(figures) if test(figures) else other(figures)
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "align" and len(node.args) == 1 and not node.keywords:
        inner = _node(node.args[0], text)
        return lambda figures: -(-inner(figures) // _WORD_BYTES) * _WORD_BYTES
    raise ValueError(f"formula {text!r}: {ast.unparse(node)!r} is not arithmetic over figures")


def _binary(combine: Callable[[int, int], int], left: Formula, right: Formula) -> Formula:
    return lambda figures: int(combine(left(figures), right(figures)))
