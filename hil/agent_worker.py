"""One processor of a run: its cyclic list, followed to the letter."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from firmware_interface.errors import WireError
from hil.agent_deployment import Step
from hil.agent_model import ORT_ERRORS, Runner
from hil.agent_progress import Waiter

if TYPE_CHECKING:
    from hil.agent_run import Run

__all__ = ["Worker"]


class _SegmentStep:
    """A segment's entry in a processor's list, with what it needs at hand."""

    def __init__(self, run: Run, step: Step, runner: Runner) -> None:
        segment = run.deployment.segments[step.segment]
        tensors = run.deployment.tensors
        self.stage, self.name, self.runner = step.stage, step.segment, runner
        self.inputs = [tensors[t] for t in segment.inputs]
        self.outputs = [tensors[t] for t in segment.outputs]
        self._run, self._progress = run, run.progress
        # Inputs of the model last: taking one is a promise, made when all else is there.
        self._made = [t.id for t in self.inputs if t.origin != "input"]
        self._arriving = [t.id for t in self.inputs if t.origin == "link"]
        self._from_outside = [t.id for t in self.inputs if t.origin == "input"]
        self._room = [(t.id, t.depth) for t in self.outputs]
        self._takes_input = bool(self._from_outside)
        self.frame = 0
        self.frames = self.compute_ns = self.compute_max_ns = 0

    def ready(self) -> bool:
        """Whether the frame's inputs are here and its outputs have room; or it is not to be served at all."""
        progress, frame = self._progress, self.frame
        if frame >= progress.limit:
            return True
        for tensor, depth in self._room:
            if progress.ended[tensor] + depth <= frame:
                return False
        for tensor in self._made:
            if progress.available[tensor] <= frame:
                return False
        for tensor in self._from_outside:  # noqa: SIM110 - a generator is two more calls between two inferences
            if not self._run.may_take_input(tensor, frame):
                return False
        return True

    def awaits_arrival(self) -> bool:
        """Whether a tensor of the frame has still to come by a link, and nothing has ended that."""
        progress, frame = self._progress, self.frame
        if progress.stopped or frame >= progress.limit:
            return False
        return any(progress.available[t] <= frame for t in self._arriving)

    def waiting_for(self) -> str:
        """What is waited for, in words."""
        return f"{self.name} frame {self.frame}"

    def serve(self) -> int:
        """Run the frame and tell everybody; when the computing ended."""
        run, frame = self._run, self.frame
        if run.latency is not None and self._takes_input:
            run.latency.frame_started(frame)
        start = time.monotonic_ns()
        self.runner.run(frame)
        end = time.monotonic_ns()
        for tensor in self.outputs:
            run.publish(tensor, frame)
        for tensor in self.inputs:
            run.use(tensor, self.name, frame + 1)
        spent = end - start
        self.frames += 1
        self.compute_ns += spent
        if spent > self.compute_max_ns:
            self.compute_max_ns = spent
        if run.latency is not None:
            run.latency.computed(self.name, start, end)
        return end


class _AttendStep:
    """A hop that occupies the processor too (its link does not overlap): it waits until the hop is over."""

    def __init__(self, run: Run, step: Step) -> None:
        self.stage, self.frame = step.stage, 0
        self._run, self._step = run, step
        tensor = run.deployment.tensors[step.tensor]
        self.name = f"{tensor.name}@{step.link}"
        self._senders = [s for s in run.senders_of[step.tensor] if (step.tensor, step.link) in s.sent]
        for sender in self._senders:
            sender.attended[step.tensor, step.link] = 0

    def ready(self) -> bool:
        """Whether the hop is over: sent, or arrived."""
        progress, key = self._run.progress, (self._step.tensor, self._step.link)
        if self.frame >= progress.limit:
            return True
        if self._senders:
            return all(s.sent[key] > self.frame for s in self._senders)
        return progress.available[self._step.tensor] > self.frame

    def waiting_for(self) -> str:
        """What is waited for, in words."""
        return f"{self.name} frame {self.frame}"

    def attend(self) -> None:
        """The processor is there: the hop may begin."""
        for sender in self._senders:
            with self._run.progress.lock:
                sender.attended[self._step.tensor, self._step.link] = self.frame + 1
            sender.kick()


class Worker:
    """One processor: its cyclic list, followed to the letter."""

    def __init__(self, run: Run, name: str, steps: Sequence[Step], runners: Mapping[str, Runner]) -> None:
        self._run, self.name = run, name
        self._steps = [_SegmentStep(run, s, runners[s.segment]) if s.segment else _AttendStep(run, s) for s in steps]
        self._waiter = Waiter(name)
        self.done = False
        self.wait_ns = self.send_ns = 0

    def run(self) -> None:
        """Thread: serve turns until every entry is past the limit."""
        try:
            turn = 0
            while self._turn(turn):
                turn += 1
            self.done = not self._run.progress.stopped
        except WireError as error:
            self._run.fail(f"processor {self.name}: {error}")
        except ORT_ERRORS as error:
            self._run.fail(f"processor {self.name}: ONNX Runtime: {error}")

    def _turn(self, turn: int) -> bool:
        """Serve one turn; False when no entry has anything left to do."""
        run, progress, live = self._run, self._run.progress, False
        for step in self._steps:
            step.frame = turn - step.stage
            if step.frame < 0:
                live = True
                continue
            begin = time.monotonic_ns()
            if isinstance(step, _AttendStep) and step.frame < progress.limit:
                step.attend()
            for source in run.news:
                source.look()
            with progress.lock:
                ready = progress.stopped or step.ready()
            if not ready:
                if run.inlet is not None:
                    self._read_inlet(step)
                progress.wait(self._waiter, step.ready, step.waiting_for, run.news)
            self.wait_ns += time.monotonic_ns() - begin
            if progress.stopped:
                return False
            if step.frame >= progress.limit:
                continue
            live = True
            if isinstance(step, _SegmentStep):
                end = step.serve()
                self.send_ns += time.monotonic_ns() - end
        return live

    def _read_inlet(self, step: _SegmentStep | _AttendStep) -> None:
        """One frame at a time: read what the step waits for, which saves waking a thread or this one."""
        inlet = self._run.inlet
        if inlet is not None and isinstance(step, _SegmentStep):
            while step.awaits_arrival() and inlet.read(step.awaits_arrival):
                pass

    def as_document(self) -> dict[str, Any]:
        """For STATISTICS."""
        return {
            "wait_ns": self.wait_ns,
            "send_ns": self.send_ns,
            "segments": {
                s.name: {
                    "frames": s.frames,
                    "compute_ns": s.compute_ns,
                    "compute_max_ns": s.compute_max_ns,
                }
                for s in self._steps
                if isinstance(s, _SegmentStep)
            },
        }
