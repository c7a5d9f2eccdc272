"""Operators that no board can run: a result that names each node, its operator type, and what the kernels take."""

from __future__ import annotations

import time
from collections.abc import Sequence

from optimizer.infeasible import Clash, Infeasible
from optimizer.problem import Problem
from optimizer.restrictions import named_processors
from optimizer.search.certify import plan_class

__all__ = ["uncovered"]

_NAMED = 6
_METHOD = "kernel coverage"


def uncovered(problem: Problem) -> Infeasible | None:
    """Why there is no plan where some operator has no board; None where each has one."""
    begin = time.monotonic()
    if not problem.small_processors:
        return None
    may = problem.covered & named_processors(problem.graph, problem.processors, problem.limits)
    nowhere = [v for v, row in enumerate(may) if not row.any()]
    if not nowhere:
        return None
    kinds = dict.fromkeys(_kind(problem, v) for v in nowhere)
    text = " ".join(_of_kind(problem, kind, [v for v in nowhere if _kind(problem, v) == kind]) for kind in kinds)
    takes = " ".join(dict.fromkeys(_takes(problem, v) for v in nowhere))
    clash = Clash("kernels", None, None, "", text, takes)
    return Infeasible((clash,), plan_class(problem), _METHOD, time.monotonic() - begin, minimal=True)


def _kind(problem: Problem, v: int) -> tuple[str, str]:
    op = problem.graph.operators[v]
    return op.op_type, "" if op.form is None else op.form.precision


def _of_kind(problem: Problem, kind: tuple[str, str], operators: Sequence[int]) -> str:
    names = [f"{problem.graph.operators[v].name!r}" for v in operators]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    lacking = dict.fromkeys(
        ref.key for q, ref in enumerate(problem.processors) if not problem.covered[list(operators), q].any()
    )
    what, precision = kind
    listed = ", ".join(names[:_NAMED]) + more
    return f"{what} {listed} ({precision}) has no board that may run it: {', '.join(lacking)} cannot."


def _takes(problem: Problem, v: int) -> str:
    """What the kernels take of such an operator, in the words of the runtime's file."""
    op = problem.graph.operators[v]
    small = next(s for q, s in problem.small_processors.items() if not problem.covered[v, q])
    known = small.runtime.operators.get(op.op_type)
    if known is None:
        return f"{small.runtime.name} has no kernel for {op.op_type}; add a board with ONNX Runtime."
    return f"Of {op.op_type} {small.runtime.name} takes: {known.takes}."
