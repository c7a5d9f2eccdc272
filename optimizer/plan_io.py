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
from optimizer.mcu import with_code
from optimizer.onnx_model import load_graph
from optimizer.plan import Certificate, Front, Plan
from optimizer.plan_values import (
    arena_to_dict,
    certificate_from_dict,
    certificate_to_dict,
    plan_from_dict,
    precisions_from_dict,
    schedule_to_dict,
    score_to_dict,
)
from optimizer.problem import Limits, Problem
from optimizer.sensitivity import Sensitivity, sensitivity_from_rows, sensitivity_to_rows
from optimizer.versions import versions

__all__ = [
    "FRONT_SCHEMA",
    "OLDER_SCHEMAS",
    "PLAN_SCHEMA",
    "LoadedPlan",
    "front_to_dict",
    "load_plan",
    "plan_to_dict",
    "read_plan",
    "versions",
    "write_json",
]

PLAN_SCHEMA = "edgecut/plan/2"
FRONT_SCHEMA = "edgecut/front/2"
OLDER_SCHEMAS = {
    "edgecut/plan/1": "then a processor's work for messages came before and after the hop, now it passes beside it: "
    "latencies are shorter now, lists no longer name relays, and bounds of then are none; solve again"
}
"""What older files, which can be read all the same, meant by their figures."""


@dataclass(frozen=True)
class LoadedPlan:
    """A plan file as values: the problem it was made for, the plan, and what was claimed of it."""

    path: Path
    problem: Problem
    plan: Plan
    certificates: Mapping[str, Certificate]
    prefer: str
    seed: int
    schema: str = PLAN_SCHEMA

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
        **schedule_to_dict(graph, plan),
        "arenas": {name: arena_to_dict(graph, layout) for name, layout in plan.arenas.items()},
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
            {**schedule_to_dict(graph, plan), "score": score_to_dict(plan.score), "status": plan.status}
            for plan in front.plans
        ],
    }


def load_plan(path: str | Path, graph: Graph | None = None) -> LoadedPlan:
    """Read plan.json; ``graph``: the plan's model where it is loaded already.

    Raises PlanError, ModelError (the model is gone or changed) or CostError.
    """
    path = Path(path)
    return read_plan(_read(path), path, graph)


def read_plan(data: object, path: Path, graph: Graph | None = None) -> LoadedPlan:
    """As ``load_plan``, from the content of a plan.json; ``path`` is what messages call it."""
    if not isinstance(data, dict) or data.get("schema") not in (PLAN_SCHEMA, *OLDER_SCHEMAS):
        got = data.get("schema") if isinstance(data, dict) else type(data).__name__
        raise PlanError("this is not a plan", where=str(path), expected=f'"schema": "{PLAN_SCHEMA}"', got=repr(got))
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
        plan = plan_from_dict(graph, data)
        revisits = _revisits(path, data, plan)
        problem = Problem(
            with_code(graph, system),
            system,
            costs,
            limits,
            revisits,
            _sensitivity(path, data),
            precisions_allowed=precisions_from_dict(data),
        )
        certificates = {o: certificate_from_dict(c) for o, c in data["certificate"].items()}
        prefer, seed = str(data.get("prefer")), int(data.get("seed", 0))
        loaded = LoadedPlan(path, problem, plan, certificates, prefer, seed, data["schema"])
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


def _read(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except FileNotFoundError as e:
        raise PlanError("there is no such file", where=str(path), expected="a plan.json") from e
    except (OSError, ValueError, RecursionError) as e:
        raise PlanError(f"the file cannot be read: {e}", where=str(path), expected="a plan.json") from e


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


def _sensitivity(path: Path, data: Mapping[str, Any]) -> Sensitivity | None:
    rows = data.get("sensitivity")
    return None if rows is None else sensitivity_from_rows(rows, f"{path}: sensitivity")
