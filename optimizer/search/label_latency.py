"""What is left of a frame behind an operator, at least, given which processors are spent.

Operators that come before or behind every other one are the *trunk*. Between two of them on one processor everything
runs there, one after the other (a contiguous plan does not come back to a processor); between two on different ones at
least the longest path passes, and a hop where the boards differ.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from optimizer.graph import predecessors, successors
from optimizer.problem import Problem

__all__ = ["latency_tails", "trunk"]

Floats = npt.NDArray[np.float64]


def trunk(problem: Problem) -> list[int]:
    """Operators that depend on, or are needed by, every other one; in topological order."""
    n = len(problem.graph.operators)
    before = [0] * n
    behind = [0] * n
    for v, row in enumerate(predecessors(problem.graph)):
        for u in row:
            before[v] |= before[u] | 1 << u
    for v, row in reversed(list(enumerate(successors(problem.graph)))):
        for w in row:
            behind[v] |= behind[w] | 1 << w
    return [v for v in range(n) if (before[v] | behind[v] | 1 << v) == (1 << n) - 1]


def latency_tails(problem: Problem) -> Floats:
    """(n, 2^k) seconds from the start of an operator to the end, by processors spent as bits; inf where all are."""
    time_s = problem.tables.time_s
    n, k = time_s.shape
    sets = np.arange(1 << k)
    fastest = np.where((sets[:, None] >> np.arange(k) & 1 == 0)[None], time_s[:, None, :], np.inf).min(axis=2)
    joints = trunk(problem)
    number = {v: i for i, v in enumerate(joints)}
    within = np.zeros((n, 1 << k))  # to the next joint, or to the end behind the last one
    for v, after in reversed(list(enumerate(successors(problem.graph)))):
        inner = [w for w in after if w not in number]
        within[v] = 0.0 if v in number else fastest[v]
        if inner:
            within[v] += np.max(within[inner], axis=0)
    ahead = _from_joints(problem, joints, within)
    tails = np.zeros((n, 1 << k))
    following = len(joints)
    for v in reversed(range(n)):
        if v in number:
            following = number[v]
            tails[v] = ahead[following]
        else:
            tails[v] = within[v] + (ahead[following] if following < len(joints) else 0.0)
    return tails


def _from_joints(problem: Problem, joints: list[int], within: Floats) -> Floats:
    """(joints, 2^k) from the start of each joint to the end."""
    time_s, board_of = problem.tables.time_s, problem.tables.board_of
    k = time_s.shape[1]
    sets = np.arange(1 << k)
    ahead = np.full((len(joints), 1 << k), np.inf)
    later = np.zeros((k, 1 << k))  # from the end of the joint, by its processor and those spent before it
    for i in reversed(range(len(joints))):
        joint = joints[i]
        if i == len(joints) - 1:
            later = np.tile(within[joint], (k, 1))
        else:
            block, coming = range(joint + 1, joints[i + 1]), joints[i + 1]
            hop = _least_hop_s(problem, [joint, *block])
            now = np.empty_like(later)
            for q in range(k):
                now[q] = time_s[list(block), q].sum() + time_s[coming, q] + later[q]
                for p in range(k):
                    if p != q:
                        way = within[joint] + (hop if board_of[p] != board_of[q] else 0.0)
                        on = way + time_s[coming, p] + later[p, sets | 1 << q]
                        now[q] = np.minimum(now[q], np.where(sets >> p & 1 == 0, on, np.inf))
            later = now
        for q in range(k):
            begun = np.where(sets >> q & 1 == 0, time_s[joint, q] + later[q], np.inf)
            ahead[i] = np.minimum(ahead[i], begun)
    return ahead


def _least_hop_s(problem: Problem, operators: list[int]) -> float:
    """Seconds of the quickest hop of any tensor that these operators make."""
    sizes = problem.tables.tensor_bytes.min(axis=1)
    made = [t for v in operators for t in problem.graph.operators[v].outputs if problem.graph.tensors[t].consumers]
    return min((link.occupancy_s(int(sizes[t])) for t in made for link in problem.links), default=0.0)
