"""Replicated segments: identical boards take alternate frames, and the order of frames is kept.

With r replicas of a segment, replica i runs the frames n with n mod r = i. A plan with replicas repeats itself every
R frames, the least common multiple of all replica counts; in each of these frames it is a plan without replicas.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from boards.board import Board
from optimizer.plan import Segment, Transfer
from optimizer.problem import Problem

__all__ = ["alike", "carried", "copies", "every_frame", "frames_of_turn", "replica_faults", "segments_of_frame"]


def frames_of_turn(segments: Sequence[Segment]) -> int:
    """Frames after which every replica is where it was: 1 without replicas."""
    if not _any_replicas(segments):
        return 1
    return math.lcm(*(max(1, len(s.replicas)) for s in segments))


def _any_replicas(segments: Sequence[Segment]) -> bool:
    for s in segments:  # noqa: SIM110 - every evaluation asks this a dozen times
        if s.replicas:
            return True
    return False


def segments_of_frame(segments: Sequence[Segment], frame: int) -> tuple[Segment, ...]:
    """The segments as they run one frame, without replicas."""
    if not _any_replicas(segments):
        return tuple(segments)
    return tuple(replace(s, processor=s.processor_of(frame), replicas=()) if s.replicas else s for s in segments)


def carried(transfers: Sequence[Transfer], frame: int) -> list[int]:
    """Positions of the transfers that carry a frame."""
    return [i for i, t in enumerate(transfers) if frame % t.every == t.first]


def copies(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """Every replica as a segment of its own, all under the one name: what stands on the boards."""
    if not _any_replicas(segments):
        return tuple(segments)
    return tuple(
        replace(s, processor=key, replicas=()) if s.replicas else s
        for s in segments
        for key in s.replicas or (s.processor,)
    )


def every_frame(segments: Sequence[Segment], frames: int) -> tuple[Segment, ...]:
    """The segments of all frames of a turn, one after the other."""
    if frames == 1:
        return segments_of_frame(segments, 0)
    return tuple(s for frame in range(frames) for s in segments_of_frame(segments, frame))


def alike(problem: Problem, p: int, q: int) -> bool:
    """Whether two processors may be replicas of each other: same costs of every operator, on boards built alike.

    Links and limits on memory may differ.
    """
    tables = problem.tables
    one, two = problem.processors[p], problem.processors[q]
    return (
        one.board.name != two.board.name
        and problem.precisions[p] == problem.precisions[q]
        and np.array_equal(tables.time_s[:, p], tables.time_s[:, q])
        and np.array_equal(tables.energy_j[:, p], tables.energy_j[:, q])
        and bool(tables.boundary_s_per_byte[p] == tables.boundary_s_per_byte[q])
        and bool(tables.segment_s[p] == tables.segment_s[q])
        and one.processor == replace(two.processor, name=one.processor.name)
        and _runtime(one.board) == _runtime(two.board)
    )


def _runtime(board: Board) -> tuple[object, ...]:
    return board.runtime, board.runtime_ram_bytes, board.weights_in, board.in_place


def replica_faults(problem: Problem, segments: Sequence[Segment]) -> Iterator[str]:
    """What is wrong with the replicas of the segments, in words."""
    times = Counter(s.processor for s in copies(segments))
    for s in segments:
        if not s.replicas:
            continue
        if len(s.replicas) < 2 or s.replicas[0] != s.processor or len(set(s.replicas)) < len(s.replicas):
            yield f"segment {s.name} has replicas {', '.join(s.replicas)}, expected two or more, {s.processor} first"
        for key in s.replicas:
            if times[key] > 1:
                yield f"{key} runs segment {s.name} with others in turn, and something else beside it"
        first = problem.processor_index[s.processor]
        for key in s.replicas[1:]:
            if key != s.processor and not alike(problem, first, problem.processor_index[key]):
                yield f"segment {s.name} has replicas {s.processor} and {key}, which are not on identical boards"
