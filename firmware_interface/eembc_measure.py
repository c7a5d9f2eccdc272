"""Measure a board with a standard benchmark firmware by the suite's rules.

A window is one ``infer`` command: at least 10 s and 10 iterations long, and under 30 s, where the reference runner
gives up. There are exactly five, each with a stimulus of its own; the figure is their median. Pre- and
post-processing and the warm-up are not timed.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from firmware_interface.eembc import BenchmarkClient, Identity, Inference, Mode
from firmware_interface.errors import BenchmarkError

__all__ = ["RULES", "Benchmark", "Rules", "Stimulus", "Window", "measure"]

WARMUPS = {"ad01": 10, "ic01": 5, "kws01": 10, "vww01": 5}  # the reference's
DEFAULT_WARMUPS = 10
AIM = 1.1  # times the shortest window, so that a slightly faster window is long enough too
PILOT_SHARE = 0.05  # of the shortest window: so long must be what we choose the iterations by
GROWTH = 100  # of the iterations, from one pilot to the next
TRIES = 4  # of a window: a board whose speed changes more often is not fit to be measured
ANSWER_MARGIN_S = 5.0
CLOCK_SHARE = 0.05  # by which board and host may differ: the wire and a busy host are in it
LOAD_SHARE = 0.3  # of a stimulus' time, for the progress
_MAX_PILOTS = 12
_MAX_ITERATIONS = 1_000_000_000

Tell = Callable[[float, str], None]


@dataclass(frozen=True)
class Rules:
    """Of the windows; the defaults are the suite's."""

    stimuli: int = 5
    least_s: float = 10.0
    least_iterations: int = 10
    most_s: float = 30.0


RULES = Rules()


@dataclass(frozen=True)
class Stimulus:
    """An input, with its name for messages."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Window:
    """A measured window. ``elapsed_s`` is by the board's clock, in energy mode by the host's."""

    stimulus: str
    iterations: int
    warmups: int
    elapsed_s: float
    host_s: float
    results: tuple[float, ...]

    @property
    def throughput_per_s(self) -> float:
        """Inferences a second."""
        return self.iterations / self.elapsed_s


@dataclass(frozen=True)
class Benchmark:
    """A measurement."""

    port: str
    identity: Identity
    mode: Mode
    rules: Rules
    windows: tuple[Window, ...]
    void_windows: int
    """Repeated, because they were too short or too long."""
    verified: bool
    """The board's buffer was read back and compared for each stimulus."""

    @property
    def throughput_per_s(self) -> float:
        """The median of the windows."""
        return statistics.median(window.throughput_per_s for window in self.windows)

    @property
    def clocks_agree(self) -> bool:
        """Board and host saw windows of the same length. An emulated board's clock runs as its emulator likes."""
        return all(abs(w.host_s - w.elapsed_s) <= CLOCK_SHARE * w.elapsed_s for w in self.windows)

    @property
    def by_the_rules(self) -> bool:
        """The suite's rules, timed by a board whose clock can be believed."""
        return self.rules == RULES and self.timed_by == "board" and self.clocks_agree

    @property
    def timed_by(self) -> str:
        """Whose clock: ``board``, or ``host`` where timestamps are pulses for a power meter."""
        return "host" if self.mode is Mode.ENERGY else "board"


class _Measuring:
    def __init__(self, client: BenchmarkClient, rules: Rules, warmups: int, patience_s: float) -> None:
        self.client, self.rules, self.warmups, self.patience_s = client, rules, warmups, patience_s
        self.iterations = 0
        self.void = 0

    def window(self, stimulus: Stimulus) -> Window:
        """A window that keeps the rules; the number of iterations is kept for the next."""
        if self.iterations == 0:
            self.iterations = self._first_iterations()
        for _ in range(TRIES):
            answer = self.client.infer(self.iterations, self.warmups, self.patience_s)
            elapsed_s = _elapsed_s(answer)
            if self.rules.least_s <= elapsed_s < self.rules.most_s:
                return Window(stimulus.name, self.iterations, self.warmups, elapsed_s, answer.host_s, answer.results)
            self.void += 1
            self.iterations = self._iterations(elapsed_s / self.iterations)
        raise self._broken(f"{TRIES} windows in turn were not {self._span()} long: the board's speed changes")

    def _first_iterations(self) -> int:
        """By short runs, the first of one inference, until one is long enough to tell."""
        count = 1
        for _ in range(_MAX_PILOTS):
            elapsed_s = _elapsed_s(self.client.infer(count, 1, self.patience_s))
            if elapsed_s >= PILOT_SHARE * self.rules.least_s:
                return self._iterations(elapsed_s / count)
            wanted_s = 1.5 * PILOT_SHARE * self.rules.least_s
            factor = min(GROWTH, wanted_s / elapsed_s) if elapsed_s > 0 else GROWTH
            count = math.ceil(count * max(2.0, factor))
            if count > _MAX_ITERATIONS:
                break
        raise self._broken(f"{count} inferences take no time that its clock shows")

    def _iterations(self, each_s: float) -> int:
        rules = self.rules
        count = _MAX_ITERATIONS if each_s <= 0 else math.ceil(AIM * rules.least_s / each_s)
        count = max(rules.least_iterations, min(count, _MAX_ITERATIONS))
        if count * each_s >= rules.most_s:
            raise self._broken(
                f"{rules.least_iterations} inferences take {rules.least_iterations * each_s:.3g} s; "
                f"a window must be {self._span()} long"
            )
        return count

    def _span(self) -> str:
        return f"at least {self.rules.least_s:g} s and under {self.rules.most_s:g} s"

    def _broken(self, problem: str) -> BenchmarkError:
        return BenchmarkError(problem, "choice of the iterations", self.client.name)


def _elapsed_s(answer: Inference) -> float:
    return answer.host_s if answer.board_s is None else answer.board_s


def measure(
    client: BenchmarkClient,
    stimuli: Sequence[Stimulus],
    *,
    model: str | None = None,
    rules: Rules = RULES,
    warmups: int | None = None,
    verify: bool = True,
    patience_s: float | None = None,
    tell: Tell = lambda share, text: None,
) -> Benchmark:
    """Shake hands, then load and time each stimulus.

    ``model`` is the one the board must have. ``patience_s`` is how long a window may take by the host's clock; without
    it, twice the longest window and a margin, as the warm-up may take as long (emulated boards may need more).
    ``tell`` gets the share that is done and what is under way.

    Raises ValueError for a number of stimuli that the rules do not allow, BenchmarkError when a rule cannot be kept,
    and as `BenchmarkClient`.
    """
    if len(stimuli) != rules.stimuli:
        raise ValueError(f"the rules ask for exactly {rules.stimuli} stimuli, not {len(stimuli)}")
    tell(0.0, "handshake")
    mode = client.handshake()
    identity = client.identify()
    if model is not None and identity.model != model:
        raise BenchmarkError(f"expected model {model}, the board has {identity.model}", "profile", client.name)
    if warmups is None:
        warmups = WARMUPS.get(identity.model, DEFAULT_WARMUPS)
    measuring = _Measuring(client, rules, warmups, patience_s or 2 * rules.most_s + ANSWER_MARGIN_S)
    windows = []
    for number, stimulus in enumerate(stimuli):
        _load(client, stimulus, verify, _part(tell, number, len(stimuli)))
        tell((number + LOAD_SHARE) / len(stimuli), f"{stimulus.name}: measuring")
        windows.append(measuring.window(stimulus))
    tell(1.0, "done")
    return Benchmark(client.name, identity, mode, rules, tuple(windows), measuring.void, verify)


def _part(tell: Tell, number: int, count: int) -> Tell:
    return lambda share, text: tell((number + LOAD_SHARE * share) / count, text)


def _load(client: BenchmarkClient, stimulus: Stimulus, verify: bool, tell: Tell) -> None:
    total = len(stimulus.data)
    client.load(stimulus.data, lambda sent: tell(sent / total, f"{stimulus.name}: loading"))
    if verify and client.buffer() != stimulus.data:
        raise BenchmarkError(
            f"the board's buffer is not what was sent ({stimulus.name}, {total} bytes)", "db print", client.name
        )
