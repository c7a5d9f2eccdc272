"""Operators that no board can run: a result that names each node, its operator type, and what the kernels take."""

from __future__ import annotations

import time

from optimizer.infeasible import Clash, Infeasible
from optimizer.problem import Problem
from optimizer.restrictions import named_processors
from optimizer.search.certify import plan_class

__all__ = ["uncovered"]

_NAMED = 8
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
    clashes = [_clash(problem, v) for v in nowhere[:_NAMED]]
    if len(nowhere) > _NAMED:
        text = f"{len(nowhere) - _NAMED} more operators have no board."
        clashes.append(Clash("kernels", None, None, "", text, ""))
    return Infeasible(tuple(clashes), plan_class(problem), _METHOD, time.monotonic() - begin)


def _clash(problem: Problem, v: int) -> Clash:
    op = problem.graph.operators[v]
    lacking = sorted({ref.key for q, ref in enumerate(problem.processors) if not problem.covered[v, q]})
    form = op.form
    precision = form.precision if form is not None else "of unknown precision"
    text = f"{op.op_type} {op.name!r} ({precision}) has no board that may run it: {', '.join(lacking)} cannot."
    return Clash(f"kernels for {op.name}", None, None, "", text, _takes(problem, v))


def _takes(problem: Problem, v: int) -> str:
    op = problem.graph.operators[v]
    for q, small in problem.small_processors.items():
        if not problem.covered[v, q]:
            known = small.runtime.operators.get(op.op_type)
            name = small.runtime.name
            if known is None:
                return f"{name} has no kernel for {op.op_type}; add a board with ONNX Runtime."
            return f"Of {op.op_type} {name} takes: {known.takes}."
    return ""
