"""Plans and fronts as files: plan.json carries all that is needed to check, split and run the plan."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boards.errors import BoardsError
from boards.system_io import system_from_dict, system_to_dict
from optimizer.atomic import write_atomically
from optimizer.costs_io import costs_from_dict, costs_to_dict
from optimizer.errors import PlanError
from optimizer.graph import Graph
from optimizer.onnx_model import load_graph
from optimizer.plan import ArenaLayout, Certificate, Front, Hop, MemoryUse, Plan, Score, Segment, Slot, Transfer
from optimizer.problem import Limits, Problem
from optimizer.sensitivity import Sensitivity, sensitivity_from_rows, sensitivity_to_rows
from optimizer.versions import versions

__all__ = [
    "FRONT_SCHEMA",
    "PLAN_SCHEMA",
    "LoadedPlan",
    "front_to_dict",
    "load_plan",
    "plan_to_dict",
    "score_from_dict",
    "score_to_dict",
    "versions",
    "write_json",
]

PLAN_SCHEMA = "edgecut/plan/1"
FRONT_SCHEMA = "edgecut/front/1"


@dataclass(frozen=True)
class LoadedPlan:
    """A plan file as values: the problem it was made for, the plan, and what was claimed of it."""

    path: Path
    problem: Problem
    plan: Plan
    certificates: Mapping[str, Certificate]
    prefer: str
    seed: int

    @property
    def graph(self) -> Graph:
        return self.problem.graph

    @property
    def system(self) -> Any:
        return self.problem.system


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write atomically; numbers must be finite."""
    write_atomically(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def plan_to_dict(problem: Problem, plan: Plan, front: Front) -> dict[str, Any]:
    """plan.json of one plan of the front."""
    graph = problem.graph
    return {
        "schema": PLAN_SCHEMA,
        "edgecut_version": versions()["edgecut"],
        "model": {"source": _lasting(graph.source), "sha256": graph.sha256, "batch": graph.batch},
        "system": system_to_dict(problem.system),
        "costs": costs_to_dict(problem.costs),
        "limits": dataclasses.asdict(problem.limits),
        "non_contiguous": problem.non_contiguous,
        "gap": front.gap,
        "uncertainty": None if front.uncertainty is None else dataclasses.asdict(front.uncertainty),
        "precisions": {r.key: p for r, p in zip(problem.processors, problem.precisions, strict=True)},
        "sensitivity": None if problem.sensitivity is None else sensitivity_to_rows(problem.sensitivity),
        **_schedule_to_dict(graph, plan),
        "arenas": {name: _arena_to_dict(graph, layout) for name, layout in plan.arenas.items()},
        "score": score_to_dict(plan.score),
        "certificate": _certificates_to_dict(front),
        "status": plan.status,
        "interrupted": front.interrupted,
        "prefer": front.prefer,
        "chosen_because": front.chosen_because,
        "preference_steps": _steps_to_list(front),
        "seed": front.seed,
        "versions": versions(),
    }


def _lasting(source: str) -> str:
    """The model's name as another process can use it: a path from the root."""
    return source if source.startswith("zoo:") else str(Path(source).absolute())


def _schedule_to_dict(graph: Graph, plan: Plan) -> dict[str, Any]:
    return {
        "segments": [
            {
                "name": s.name,
                "processor": s.processor,
                "precision": s.precision,
                "operators": [graph.operators[v].name for v in s.operators],
                **({"replicas": list(s.replicas)} if s.replicas else {}),
            }
            for s in plan.segments
        ],
        "transfers": [
            {
                "tensor": t.name,
                "size_bytes": t.size_bytes,
                "producer": t.producer,
                "consumers": list(t.consumers),
                "to_sink": t.to_sink,
                "hops": [{"link": h.link} for h in t.hops],
                "boards": list(t.boards),
                "depth": t.depth,
                **({"every": t.every, "first": t.first} if t.every > 1 else {}),
            }
            for t in plan.transfers
        ],
        "orders": {
            resource: [{"activity": s.activity, "stage": s.stage} for s in slots]
            for resource, slots in plan.orders.items()
        },
    }


def _arena_to_dict(graph: Graph, layout: ArenaLayout) -> dict[str, Any]:
    return {
        "size_bytes": layout.size_bytes,
        "peak_bytes": layout.peak_bytes,
        "excess_bytes": layout.excess_bytes,
        "alignment": layout.alignment,
        "offsets": {graph.tensors[t].name: offset for t, offset in layout.offsets.items()},
    }


def _arena(graph: Graph, data: Mapping[str, Any]) -> ArenaLayout:
    return ArenaLayout(
        size_bytes=int(data["size_bytes"]),
        peak_bytes=int(data["peak_bytes"]),
        alignment=int(data["alignment"]),
        offsets={graph.tensor_index[name]: int(offset) for name, offset in data["offsets"].items()},
    )


def score_to_dict(score: Score) -> dict[str, Any]:
    return {
        "period_s": score.period_s,
        "throughput_per_s": score.throughput_per_s,
        "latency_s": score.latency_s,
        "energy_j": score.energy_j,
        "energy_source": "model",
        "link_bytes": score.link_bytes,
        "boards_used": score.boards_used,
        "accuracy_loss": score.accuracy_loss,
        "memory_share": score.memory_share,
        "memory_bytes": {name: dataclasses.asdict(use) for name, use in score.memory_bytes.items()},
        "occupancy_s": dict(score.occupancy_s),
    }


def score_from_dict(data: Mapping[str, Any]) -> Score:
    """The inverse of ``score_to_dict``. Raises KeyError, TypeError or ValueError."""
    return Score(
        period_s=float(data["period_s"]),
        throughput_per_s=float(data["throughput_per_s"]),
        latency_s=float(data["latency_s"]),
        energy_j=float(data["energy_j"]),
        link_bytes=int(data["link_bytes"]),
        memory_bytes={name: MemoryUse(**use) for name, use in data["memory_bytes"].items()},
        occupancy_s={name: float(v) for name, v in data["occupancy_s"].items()},
        boards_used=int(data["boards_used"]),
        accuracy_loss=None if data["accuracy_loss"] is None else float(data["accuracy_loss"]),
    )


def _certificates_to_dict(front: Front) -> dict[str, Any]:
    return {o: _certificate_of(front, c) for o, c in front.certificates.items()}


def _certificate_of(front: Front, certificate: Certificate) -> dict[str, Any]:
    fields = certificate_to_dict(certificate)
    if front.reproducible:
        del fields["seconds"]
    return fields


def _steps_to_list(front: Front) -> list[dict[str, Any]]:
    """What is proven of each objective of an order of preference, with those before it held at their limits."""
    return [
        {"objective": s.objective, "limit": s.limit, "certificate": _certificate_of(front, s.certificate)}
        for s in front.steps
    ]


def certificate_to_dict(certificate: Certificate) -> dict[str, Any]:
    """``value`` and ``bound`` are the minimised quantity: for "throughput" the period in seconds."""
    fields = dataclasses.asdict(certificate)
    fields["class"] = fields.pop("plan_class")
    return fields


def certificate_from_dict(data: Mapping[str, Any]) -> Certificate:
    """The inverse of ``certificate_to_dict``. Raises TypeError or ValueError."""
    fields = {"plan_class" if k == "class" else k: v for k, v in data.items()}
    fields.setdefault("seconds", 0.0)  # reproducible plans say no wall times
    for key in ("value", "bound", "gap", "seconds"):
        if fields[key] is not None:
            fields[key] = float(fields[key])
    return Certificate(**fields)


def front_to_dict(problem: Problem, front: Front) -> dict[str, Any]:
    """front.json: every plan of the front with its score, and the certificates."""
    graph = problem.graph
    return {
        "schema": FRONT_SCHEMA,
        "model": {"source": graph.source, "sha256": graph.sha256, "batch": graph.batch},
        "system": problem.system.name,
        "prefer": front.prefer,
        "chosen": front.chosen,
        "chosen_because": front.chosen_because,
        "preference_steps": _steps_to_list(front),
        "seed": front.seed,
        **({} if front.reproducible else {"seconds": front.seconds, "stages_s": dict(front.stages)}),
        "evaluations": front.evaluations,
        "interrupted": front.interrupted,
        "certificate": _certificates_to_dict(front),
        "versions": versions(),
        "plans": [
            {**_schedule_to_dict(graph, plan), "score": score_to_dict(plan.score), "status": plan.status}
            for plan in front.plans
        ],
    }


def load_plan(path: str | Path, graph: Graph | None = None) -> LoadedPlan:
    """Read plan.json; ``graph``: the plan's model where it is loaded already.

    Raises PlanError, ModelError (the model is gone or changed) or CostError.
    """
    path = Path(path)
    data = _read(path)
    model = _need(path, data, "model", dict)
    source, batch = _need(path, model, "source", str), _need(path, model, "batch", int)
    if graph is None:
        graph = load_graph(_find_model(path, source), batch)
    elif graph.batch != batch:
        raise PlanError(
            "the plan was made for another batch", where=str(path), expected=f"batch {graph.batch}", got=str(batch)
        )
    if graph.sha256 != model.get("sha256"):
        raise PlanError(
            f"the model {graph.source} is not the one this plan was made for",
            where=str(path),
            expected=f"sha256 {str(model.get('sha256'))[:16]}",
            got=graph.sha256[:16],
            hint="Solve again with the changed model.",
        )
    try:
        system = system_from_dict(_need(path, data, "system", dict), where=f"{path}: system")
    except BoardsError as e:
        faults = " ".join(str(e).splitlines())
        raise PlanError(f"the system in the plan is not usable: {faults}", where=str(path)) from e
    costs = costs_from_dict(_need(path, data, "costs", dict), where=f"{path}: costs")
    limits = _limits(path, _need(path, data, "limits", dict))
    try:
        plan = _plan(graph, data)
        revisits = _revisits(path, data, plan)
        problem = Problem(
            graph, system, costs, limits, revisits, _sensitivity(path, data), precisions_allowed=_precisions(data)
        )
        certificates = {o: certificate_from_dict(c) for o, c in data["certificate"].items()}
        loaded = LoadedPlan(path, problem, plan, certificates, str(data.get("prefer")), int(data.get("seed", 0)))
        _check_names(path, problem, plan)
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise PlanError(
            f"the plan cannot be understood: {type(e).__name__} {e}",
            where=str(path),
            expected=f"a file that `optimizer solve` wrote ({PLAN_SCHEMA})",
        ) from e
    return loaded


def _revisits(path: Path, data: Mapping[str, Any], plan: Plan) -> bool:
    """Whether the plan's class lets a processor be revisited; older files show it by doing so."""
    if "non_contiguous" in data:
        return bool(_need(path, data, "non_contiguous", bool))
    return len({s.processor for s in plan.segments}) < len(plan.segments)


def _check_names(path: Path, problem: Problem, plan: Plan) -> None:
    """Processors, links and boards that a plan names must be the system's, segments its own."""
    segments = {s.name for s in plan.segments}
    makers = [t.producer for t in plan.transfers if t.producer is not None]
    for kind, names, known in (
        ("processor", [p for s in plan.segments for p in (s.processor, *s.replicas)], problem.processor_index),
        ("link", [h.link for t in plan.transfers for h in t.hops], problem.link_by_name),
        ("board", [b for t in plan.transfers for b in t.boards], problem.board_index),
        ("segment", [*makers, *(c for t in plan.transfers for c in t.consumers)], segments),
    ):
        for name in names:
            if name not in known:
                raise PlanError(
                    f"the plan names an unknown {kind}",
                    where=str(path),
                    expected=f"one of {', '.join(known)}",
                    got=repr(name),
                )


def _find_model(plan: Path, source: str) -> str:
    """Where the model was, else beside the plan (both were moved)."""
    if source.startswith("zoo:") or Path(source).exists():
        return source
    beside = plan.parent / Path(source).name
    return str(beside) if beside.exists() else source


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except FileNotFoundError as e:
        raise PlanError("there is no such file", where=str(path), expected="a plan.json") from e
    except (OSError, ValueError, RecursionError) as e:
        raise PlanError(f"the file cannot be read: {e}", where=str(path), expected="a plan.json") from e
    if not isinstance(data, dict) or data.get("schema") != PLAN_SCHEMA:
        got = data.get("schema") if isinstance(data, dict) else type(data).__name__
        raise PlanError("this is not a plan", where=str(path), expected=f'"schema": "{PLAN_SCHEMA}"', got=repr(got))
    return data


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a number that a plan may hold")


def _need(path: Path, data: Mapping[str, Any], key: str, kind: type) -> Any:
    value = data.get(key)
    if not isinstance(value, kind):
        raise PlanError(f"key {key!r} is not usable", where=str(path), expected=kind.__name__, got=type(value).__name__)
    return value


def _limits(path: Path, data: Mapping[str, Any]) -> Limits:
    try:
        listed = {key: [tuple(entry) for entry in data.get(key, ())] for key in ("forbids", "colocations")}
        return Limits(**{**data, **{key: tuple(entries) for key, entries in listed.items()}})
    except TypeError as e:
        raise PlanError(f"the limits cannot be understood: {e}", where=str(path)) from e


def _precisions(data: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """By processor key; older files say none and mean the defaults."""
    return {_text(key): (_text(precision),) for key, precision in data.get("precisions", {}).items()}


def _sensitivity(path: Path, data: Mapping[str, Any]) -> Sensitivity | None:
    rows = data.get("sensitivity")
    return None if rows is None else sensitivity_from_rows(rows, f"{path}: sensitivity")


def _plan(graph: Graph, data: Mapping[str, Any]) -> Plan:
    operators = graph.operator_by_name
    return Plan(
        segments=tuple(
            Segment(
                _text(s["name"]),
                _text(s["processor"]),
                _text(s["precision"]),
                tuple(operators[name].index for name in s["operators"]),
                tuple(_text(key) for key in s.get("replicas", ())),
            )
            for s in data["segments"]
        ),
        transfers=tuple(_transfer(graph, t) for t in data["transfers"]),
        orders={
            r: tuple(Slot(_text(s["activity"]), int(s["stage"])) for s in slots) for r, slots in data["orders"].items()
        },
        score=score_from_dict(data["score"]),
        status=str(data["status"]),
        arenas={_text(name): _arena(graph, layout) for name, layout in data.get("arenas", {}).items()},
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, got {value!r}")
    return value


def _transfer(graph: Graph, data: Mapping[str, Any]) -> Transfer:
    tensor = graph.tensor_index[data["tensor"]]
    return Transfer(
        tensor=tensor,
        name=data["tensor"],
        size_bytes=int(data["size_bytes"]),
        producer=data["producer"],
        consumers=tuple(data["consumers"]),
        to_sink=bool(data["to_sink"]),
        hops=tuple(Hop(tensor, h["link"]) for h in data["hops"]),
        boards=tuple(data["boards"]),
        depth=int(data["depth"]),
        every=int(data.get("every", 1)),
        first=int(data.get("first", 0)),
    )
