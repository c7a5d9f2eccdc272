"""The only module that calls the planner and the bench: the same calls as the command lines make."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from boards.board import System
from boards.catalog import list_systems, load_system
from boards.errors import BoardsError
from hil.errors import BundleError, DeviceError, HilError, LabError, MeasurementAbortedError
from hil.lab import load_lab
from hil.measure import measure
from hil.measurement import Measurement
from optimizer.errors import InputError, OptimizerError
from optimizer.infeasible import Infeasible
from optimizer.objectives import OBJECTIVES
from optimizer.onnx_model import load_graph
from optimizer.plan import Front
from optimizer.plan_io import versions
from optimizer.plan_values import certificate_to_dict
from optimizer.request import SolveRequest, prepare, solve_request, write_results
from optimizer.split import split_plan
from optimizer.zoo import tiny_names, zoo_names
from server import problems
from server.inputs import solve_request_of
from server.order_faults import naming_fields, renamed
from server.schemas import MeasureOrder, SolveOrder

__all__ = [
    "CORE_ERRORS",
    "ModelFacts",
    "ModelSource",
    "Outcome",
    "Progress",
    "Sources",
    "StartSource",
    "check_lab",
    "check_solve",
    "inspect_model",
    "problem_of",
    "ready_systems",
    "run_measure",
    "run_solve",
    "version",
    "zoo_models",
]

CORE_ERRORS = (OptimizerError, BoardsError, HilError)
"""The bases of all errors of the core."""

_BAD_INPUT = (InputError, BoardsError, LabError, BundleError)

Progress = Callable[[str, float | None], None]
"""Called with what is being done and the share of the work done (0 to 1) where it is known."""


@dataclass(frozen=True)
class ModelSource:
    """A model for the core: what it loads, and what messages call it."""

    location: str
    """A path, or "zoo:NAME"."""
    name: str


@dataclass(frozen=True)
class StartSource:
    """A plan to start from: a plan.json or its content, and what messages call it."""

    plan: Path | Mapping[str, Any]
    name: str


@dataclass(frozen=True)
class Sources:
    """What a solve job is made of, beside its order."""

    model: ModelSource
    start: StartSource | None = None

    @property
    def names(self) -> dict[str, str]:
        """What messages call each file, by where it stands."""
        names = {self.model.location: self.model.name}
        if self.start is not None and isinstance(self.start.plan, Path):
            names[str(self.start.plan)] = self.start.name
        return names


@dataclass(frozen=True)
class ModelFacts:
    """What an upload is answered with."""

    operators: int
    macs: int
    parameters: int
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """How a job ended; its files are in its folder."""

    state: Literal["done", "failed", "infeasible"]
    result: Mapping[str, Any] | None = None
    error: problems.Problem | None = None


def version() -> str:
    """The version of edgecut."""
    return versions()["edgecut"]


def zoo_models() -> list[str]:
    """What jobs may name as model without uploading it."""
    return [f"zoo:{name}" for name in (*zoo_names(), *tiny_names())]


def ready_systems() -> list[dict[str, Any]]:
    """The ready systems: their boards, processors and links by name."""
    return [_system_summary(load_system(name)) | {"name": name} for name in list_systems()]


def problem_of(error: Exception) -> problems.Problem:
    """What a client is told of an error of the core: the message of the command line."""
    if isinstance(error, _BAD_INPUT):
        return problems.problem("invalid-input", str(error))
    cause = error.cause if isinstance(error, MeasurementAbortedError) else error
    if isinstance(cause, DeviceError):
        return problems.problem("bench-failed", str(error), board=cause.board, phase=cause.phase)
    if isinstance(error, HilError):
        return problems.problem("bench-failed", str(error))
    return problems.problem("internal", str(error))


def check_lab(lab: Path) -> None:
    """Raise LabError for a lab file that cannot be used."""
    load_lab(lab)


def inspect_model(model: ModelSource) -> ModelFacts:
    """Load a model and count it. Raises ModelError."""
    try:
        graph = load_graph(model.location)
    except InputError as e:
        raise renamed(e, {model.location: model.name}) from e
    return ModelFacts(len(graph.operators), graph.macs, graph.parameters, graph.warnings)


def check_solve(order: SolveOrder, sources: Sources) -> None:
    """Raise RequestError with what `optimizer solve` would say of its input before it starts to search."""
    with naming_fields(sources.names):
        prepare(_request(order, sources))


def run_solve(order: SolveOrder, sources: Sources, folder: Path, progress: Progress) -> Outcome:
    """Search a plan; plan.json, front.json and report.html go into the folder. Raises RequestError."""
    progress("reading the model", 0.0)
    with naming_fields(sources.names):
        found = solve_request(_request(order, sources), progress)
    if isinstance(found.outcome, Front):
        write_results(found, folder)
        return Outcome("done", result=_solve_summary(found.outcome))
    if isinstance(found.outcome, Infeasible):
        clashes = [asdict(clash) for clash in found.outcome.clashes]
        return Outcome("infeasible", error=problems.problem("infeasible", found.outcome.text, clashes=clashes))
    return Outcome("failed", error=problems.problem("nothing-found", found.outcome.text))


def run_measure(order: MeasureOrder, plan: Path, lab: Path, scratch: Path, folder: Path, progress: Progress) -> Outcome:
    """Split the plan and measure it in the lab; measurement.json goes into the folder."""

    def tell(step: str) -> None:
        progress(step, None)

    tell("splitting the model")
    output = folder / "measurement.json"
    with tempfile.TemporaryDirectory(dir=scratch) as place:
        split_plan(plan, Path(place) / "bundle", progress=tell)
        found = measure(Path(place) / "bundle", load_lab(lab), quick=order.quick, output=output, progress=tell)
    return Outcome("done", result=_measure_summary(found))


def _request(order: SolveOrder, sources: Sources) -> SolveRequest:
    start = None if sources.start is None else sources.start.plan
    return solve_request_of(order, sources.model.location, start)


def _finite(value: float) -> float | None:
    """None for what is not known: the loss of accuracy without a table."""
    return value if math.isfinite(value) else None


def _system_summary(system: System) -> dict[str, Any]:
    return {
        "boards": [
            {"name": b.name, "model": b.model, "processors": [p.name for p in b.processors]} for b in system.boards
        ],
        "links": [link.name for link in system.links],
        "source": system.source,
        "sink": system.sink,
    }


def _solve_summary(front: Front) -> dict[str, Any]:
    plan = front.plans[front.chosen]
    score = plan.score
    return {
        "throughput_per_s": score.throughput_per_s,
        **{o.field: _finite(o.read(score)) for o in OBJECTIVES.values()},
        "segments": [
            {
                "processor": s.processor,
                "precision": s.precision,
                "operators": len(s.operators),
                **({"replicas": list(s.replicas)} if s.replicas else {}),
            }
            for s in plan.segments
        ],
        "status": plan.status,
        "certificate": {name: certificate_to_dict(c) for name, c in front.certificates.items()},
        "chosen_because": front.chosen_because,
        "uncertainty": None if front.uncertainty is None else asdict(front.uncertainty),
        "front_plans": len(front.plans),
        "seconds": front.seconds,
    }


def _measure_summary(found: Measurement) -> dict[str, Any]:
    throughput, latency = found.throughput_per_s, found.latency
    return {
        "throughput_per_s": None if throughput is None else asdict(throughput),
        "latency_s": None if latency is None else {"p50": latency.p50_s, "p99": latency.p99_s},
        "prediction": dict(found.prediction),
        "relative_error": dict(found.relative_error),
        "emulated": found.emulated,
        "shaping": found.shaping,
        "quick": found.quick,
    }
