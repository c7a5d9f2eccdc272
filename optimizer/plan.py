"""A plan: a complete, stored schedule of one network over the boards of a system, with its score and proof."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = [
    "ArenaLayout",
    "Certificate",
    "Flip",
    "Front",
    "Hop",
    "MemoryUse",
    "Plan",
    "PreferenceStep",
    "Regret",
    "Schedule",
    "Score",
    "Segment",
    "Slot",
    "Transfer",
    "Uncertainty",
]


@dataclass(frozen=True)
class Segment:
    """What one processor runs as one sub-model invocation."""

    name: str
    processor: str
    """Processor key "board/processor"."""
    precision: str
    operators: tuple[int, ...]
    """Operator indices of the graph in the order they run."""
    replicas: tuple[str, ...] = ()
    """Processor keys that take frames in turn, frame n the one at n mod their number, ``processor`` first; empty
    where ``processor`` takes every frame."""

    def processor_of(self, frame: int) -> str:
        """Key of the processor that runs this frame."""
        return self.replicas[frame % len(self.replicas)] if self.replicas else self.processor


@dataclass(frozen=True)
class Hop:
    """One tensor crossing one directed link."""

    tensor: int
    link: str


@dataclass(frozen=True)
class Transfer:
    """A tensor that leaves its segment (or enters as model input, or leaves as model output).

    ``producer`` is a segment name or None (model input, taken at the source board). ``consumers`` are segment
    names. ``hops`` is its multicast tree, each directed link once, parents before children; empty between
    segments of one board. ``boards`` holds a buffer of ``depth`` x ``size_bytes`` each.
    """

    tensor: int
    name: str
    size_bytes: int
    producer: str | None
    consumers: tuple[str, ...]
    to_sink: bool
    hops: tuple[Hop, ...]
    boards: tuple[str, ...]
    depth: int
    """Frames of this transfer that may exist at once."""
    every: int = 1
    first: int = 0
    """It carries the frames n with n mod ``every`` = ``first``: between replicas each way is a transfer of its own."""

    @property
    def label(self) -> str:
        """The tensor's name in activities, told apart from its transfers between other replicas."""
        return self.name if self.every == 1 else f"{self.name}#{self.first}"


@dataclass(frozen=True)
class Slot:
    """One entry of a resource's cyclic list: in turn m the resource serves frame m - stage.

    ``activity`` is "segment:NAME", "hop:LABEL@LINK" or "forward:LABEL@BOARD" with the label of a transfer, or
    "messages:PROCESSOR" (work beside hops on a processor without a segment). Frames
    that the activity does not serve on this resource are skipped: those below 0, and those of other replicas.
    """

    activity: str
    stage: int


@dataclass(frozen=True)
class MemoryUse:
    """Memory of one board, bytes."""

    ram_bytes: int
    ram_available_bytes: int
    flash_bytes: int
    flash_available_bytes: int | None
    weights_bytes: int
    arena_bytes: int
    buffer_bytes: int
    runtime_bytes: int

    @property
    def ram_share(self) -> float:
        if self.ram_available_bytes <= 0:
            return math.inf if self.ram_bytes > 0 else 0.0
        return self.ram_bytes / self.ram_available_bytes


@dataclass(frozen=True)
class Score:
    """What ``evaluate()`` says of a plan."""

    period_s: float
    throughput_per_s: float
    latency_s: float
    energy_j: float
    link_bytes: int
    """Wire bytes over all hops, one inference."""
    memory_bytes: Mapping[str, MemoryUse]
    """By board name; unused boards included."""
    occupancy_s: Mapping[str, float]
    """Busy seconds a frame by resource: processor key, link medium."""
    boards_used: int = 0
    """Boards that host a segment, relay, or are source or sink."""
    accuracy_loss: float | None = None
    """Sum of the operators' losses at their precisions; None without a sensitivity table."""
    violations: tuple[str, ...] = ()
    """Limits that the plan breaks, in words; () for a feasible plan."""

    @property
    def memory_share(self) -> float:
        """Used / available RAM of the fullest board; inf where a board has none and needs some."""
        return max((use.ram_share for use in self.memory_bytes.values()), default=0.0)


@dataclass(frozen=True)
class Certificate:
    """What is proven of one objective ("throughput", "latency", "energy").

    ``gap`` = (best - bound) / best of the minimised quantity (period, latency, energy), at most 1e-4 prints as 0.
    """

    value: float
    bound: float | None
    gap: float | None
    unit: str
    status: str
    """"proven", "bounded" or "heuristic"."""
    plan_class: str
    method: str
    seconds: float
    """Wall time of the proof."""
    deterministic_s: float | None = None
    """CP-SAT's deterministic time of the proof."""
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ArenaLayout:
    """Where the tensors of a segment's arena stand. Buffers count rounded up to ``alignment``."""

    size_bytes: int
    peak_bytes: int
    """Largest sum of live buffers: no layout of this order of operators is smaller."""
    alignment: int
    offsets: Mapping[int, int]
    """Bytes from the start of the arena by tensor index; tensors worked in place share theirs."""

    @property
    def excess_bytes(self) -> int:
        """How far the layout misses the bound."""
        return self.size_bytes - self.peak_bytes


@dataclass(frozen=True)
class Plan:
    """A complete schedule. ``orders`` is by resource name: processor key or link medium."""

    segments: tuple[Segment, ...]
    transfers: tuple[Transfer, ...]
    orders: Mapping[str, tuple[Slot, ...]]
    score: Score
    status: str = "heuristic"
    """"proven (throughput)" and the like where this plan attains a proven optimum, else "heuristic"."""
    arenas: Mapping[str, ArenaLayout] = field(default_factory=dict)
    """By segment name; empty for plans that are not reported on their own."""


@dataclass(frozen=True)
class PreferenceStep:
    """One objective of an order of preference: the best of it with the objectives before it held.

    ``limit``: what the steps behind it are held to, of the minimised quantity.
    """

    objective: str
    limit: float
    certificate: Certificate


@dataclass(frozen=True)
class Schedule:
    """The part of a plan that decides: segments, transfers with depths, and the order on every resource."""

    segments: tuple[Segment, ...]
    transfers: tuple[Transfer, ...]
    orders: Mapping[str, tuple[Slot, ...]]

    @classmethod
    def of(cls, plan: Plan) -> Schedule:
        return cls(plan.segments, plan.transfers, plan.orders)


@dataclass(frozen=True)
class Regret:
    """How much worse the chosen plan can be than the best plan for the costs that turn out to be true, as a share.

    ``at_most`` is proven (None: nothing is); ``attained`` was found, in the scenario told in words.
    """

    objective: str
    at_most: float | None
    attained: float
    scenario: str
    method: str


@dataclass(frozen=True)
class Flip:
    """Two plans of the front (by index) whose ranking in an objective turns round in a scenario."""

    objective: str
    better: int
    worse: int
    scenario: str


@dataclass(frozen=True)
class Uncertainty:
    """Costs within ``share`` of what was given: see optimizer.uncertainty for what varies.

    Of the pairs of plans of the front, the ranking of ``firm_pairs`` is proven to stay, of ``flips`` seen to turn
    round, of ``open_pairs`` neither.
    """

    share: float
    regrets: tuple[Regret, ...]
    flips: tuple[Flip, ...]
    firm_pairs: int
    open_pairs: int
    seconds: float


@dataclass(frozen=True)
class Front:
    """Non-dominated plans, by ascending period, with the certificates of the objectives."""

    plans: tuple[Plan, ...]
    certificates: Mapping[str, Certificate]
    chosen: int
    """Index of the preferred plan."""
    prefer: str
    seed: int
    seconds: float
    evaluations: int
    stages: Mapping[str, float] = field(default_factory=dict)
    """Wall seconds by search stage."""
    interrupted: bool = False
    """Whether the search was ended by hand before it was done."""
    reproducible: bool = False
    """Whether the same call gives the same plan file again, which then says no wall times."""
    gap: float = 0.0
    """The share of its bound within which each objective was good enough."""
    uncertainty: Uncertainty | None = None
    """What becomes of the chosen plan and of the ranking where costs are not quite as given."""
    chosen_because: str = ""
    """How the preference led to the chosen plan, in words."""
    steps: tuple[PreferenceStep, ...] = ()
    """What is proven of each step, where the preference is an order of several objectives."""
    progress: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    """By objective, better and better values with the wall seconds after which they were found. Not in files."""
