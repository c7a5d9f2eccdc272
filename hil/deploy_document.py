"""From a bundle to what each board must know: the LOAD documents (PROTOCOL.md, section 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hil.agent_deployment import SCHEMA
from hil.errors import BundleError
from hil.lab_types import Lab
from optimizer.plan import Slot
from optimizer.split_manifest import MANIFEST, Bundle, BundleTensor

__all__ = ["Route", "Settings", "board_document", "routes_of"]

MIN_INPUT_WINDOW, MAX_INPUT_WINDOW = 16, 256


@dataclass(frozen=True)
class Settings:
    """How the boards run their segments."""

    level: str = "all"
    """Optimisation level of ONNX Runtime: disable, basic, extended, all."""
    threads: int = 1
    """Threads of one inference."""
    arena: bool = True
    """ONNX Runtime's memory arena: faster, but takes two to three times the live peak."""


@dataclass(frozen=True)
class Route:
    """A hop as the boards see it: from board to board, through any switches in between."""

    name: str
    """The link's name; of several through switches, joined by "+"."""
    first: str
    """The link that the sending board serves."""
    source: str
    target: str


def routes_of(tensor: BundleTensor, boards: Sequence[str]) -> tuple[Route, ...]:
    """The tensor's hops with switches taken out. A tensor that forks at a switch is sent once for each branch.

    TCP has no multicast; a wire to a switch then carries it more often than the plan's model says.
    """
    found: list[Route] = []
    for hop in tensor.hops:
        if hop.source in boards:
            found += _through(tensor, boards, hop.source, [hop.link], hop.target)
    return tuple(found)


def _through(tensor: BundleTensor, boards: Sequence[str], source: str, links: list[str], target: str) -> list[Route]:
    if target in boards:
        return [Route("+".join(links), links[0], source, target)]
    return [
        route
        for hop in tensor.hops
        if hop.source == target and hop.link not in links
        for route in _through(tensor, boards, source, [*links, hop.link], hop.target)
    ]


def board_document(
    bundle: Bundle,
    board: str,
    lab: Lab,
    *,
    deployment_id: str,
    settings: Settings,
    stimuli: Mapping[int, str],
    repeats_after: int,
    companions: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    """The LOAD document of one board.

    ``stimuli``: hash of the input frames by input tensor, which repeat after ``repeats_after`` frames;
    ``companions``: external data (name to hash) by segment.

    Raises BundleError when the manifest's lists do not hold together.
    """
    routes = {t.id: routes_of(t, bundle.boards) for t in bundle.tensors}
    here = [t for t in bundle.tensors if _is_here(t, bundle, board, routes[t.id])]
    all_routes = {r.name: r for group in routes.values() for r in group}
    token_out, token_in = _token_way(bundle, list(all_routes.values()), board)
    return {
        "schema": SCHEMA,
        "id": deployment_id,
        "board": board,
        "source": bundle.source,
        "sink": bundle.sink,
        "level": settings.level,
        "threads": settings.threads,
        "arena": settings.arena,
        "tensors": [_tensor(t, bundle, board, routes[t.id]) for t in here],
        "segments": [
            {
                "name": s.name,
                "sha256": s.sha256,
                "companions": dict(companions.get(s.name, {})),
                "inputs": list(s.inputs),
                "outputs": list(s.outputs),
            }
            for s in bundle.segments
            if s.board == board
        ],
        "processors": _processors(bundle, board, routes),
        "senders": _senders(bundle, board, routes),
        "out_links": {r.name: _address(r, lab) for r in all_routes.values() if r.source == board},
        "in_links": {r.name: {"from": r.source} for r in all_routes.values() if r.target == board},
        "token_out": token_out,
        "token_in": token_in,
        "stimuli": {str(t): sha for t, sha in stimuli.items()} if board == bundle.source else {},
        "repeats_after": repeats_after,
        "input_window": _input_window(bundle),
    }


def _address(route: Route, lab: Lab) -> dict[str, Any]:
    """Where the sending board connects: a lab's own address for any of the route's links, else the board's."""
    special = [lab.links[name] for name in route.name.split("+") if name in lab.links]
    host, port = (special[0].host, special[0].port) if special else lab.link_address(route.name, route.target)
    return {"to": route.target, "host": host, "port": port}


def _origin_board(tensor: BundleTensor, bundle: Bundle) -> str:
    if tensor.producer is None:
        return bundle.source
    return next(s.board for s in bundle.segments if s.name == tensor.producer)


def _is_here(tensor: BundleTensor, bundle: Bundle, board: str, routes: Sequence[Route]) -> bool:
    return board == _origin_board(tensor, bundle) or any(r.target == board for r in routes)


def _tensor(tensor: BundleTensor, bundle: Bundle, board: str, routes: Sequence[Route]) -> dict[str, Any]:
    arriving = [r.name for r in routes if r.target == board]
    local = {s.name for s in bundle.segments if s.board == board}
    at_origin = board == _origin_board(tensor, bundle)
    made = "input" if tensor.producer is None else "segment"
    return {
        "id": tensor.id,
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "size_bytes": tensor.size_bytes,
        "depth": tensor.depth,
        "origin": made if at_origin else "link",
        "from_link": "" if at_origin else arriving[0],
        "to_links": [r.name for r in routes if r.source == board],
        "consumers": [c for c in tensor.consumers if c in local],
        "to_sink": tensor.to_sink and board == bundle.sink,
    }


def _hop_of(slot: Slot, bundle: Bundle) -> tuple[BundleTensor, str]:
    name, _, link = slot.activity.removeprefix("hop:").rpartition("@")
    for tensor in bundle.tensors:
        if tensor.name == name and any(h.link == link for h in tensor.hops):
            return tensor, link
    raise BundleError(
        "an order names a hop that no tensor makes", where=str(bundle.directory / MANIFEST), got=slot.activity
    )


def _processors(bundle: Bundle, board: str, routes: Mapping[int, Sequence[Route]]) -> dict[str, list[dict[str, Any]]]:
    local = {s.name for s in bundle.segments if s.board == board}
    lists: dict[str, list[dict[str, Any]]] = {}
    for resource, slots in bundle.orders.items():
        if not resource.startswith(f"{board}/"):
            continue
        steps: list[dict[str, Any]] = []
        for slot in slots:
            kind, _, name = slot.activity.partition(":")
            if kind == "segment" and name in local:
                steps.append({"segment": name, "tensor": -1, "link": "", "stage": slot.stage})
            elif kind == "hop":
                tensor, link = _hop_of(slot, bundle)
                steps += [
                    {"segment": "", "tensor": tensor.id, "link": route.name, "stage": slot.stage}
                    for route in routes[tensor.id]
                    if link in route.name.split("+") and board in (route.source, route.target)
                ]
            # "forward:" and "messages:" are the processor time that taking in and sending on costs: on
            # this kind of board the network stack spends it by itself.
        lists[resource] = steps
    return lists


def _senders(bundle: Bundle, board: str, routes: Mapping[int, Sequence[Route]]) -> dict[str, list[dict[str, Any]]]:
    lists: dict[str, list[dict[str, Any]]] = {}
    for resource, slots in bundle.orders.items():
        if any(resource.startswith(f"{b}/") for b in bundle.boards):
            continue
        steps: list[dict[str, Any]] = []
        for slot in slots:
            if not slot.activity.startswith("hop:"):
                continue
            tensor, link = _hop_of(slot, bundle)
            steps += [
                {"segment": "", "tensor": tensor.id, "link": route.name, "stage": slot.stage}
                for route in routes[tensor.id]
                if route.first == link and route.source == board
            ]
        if steps:
            lists[resource] = steps
    return lists


def _token_way(bundle: Bundle, routes: Sequence[Route], board: str) -> tuple[str, str]:
    """Names of the links by which a token leaves this board towards the sink, and by which it comes in."""
    came_by: dict[str, Route | None] = {bundle.source: None}
    queue = [bundle.source]
    while queue:
        at = queue.pop(0)
        for route in routes:
            if route.source == at and route.target not in came_by:
                came_by[route.target] = route
                queue.append(route.target)
    if bundle.sink not in came_by:
        raise BundleError("no links in use lead from the source to the sink", where=str(bundle.directory / MANIFEST))
    way: list[Route] = []
    step = came_by[bundle.sink]
    while step is not None:
        way.append(step)
        step = came_by[step.source]
    leaves = next((r.name for r in way if r.source == board), "")
    comes = next((r.name for r in way if r.target == board), "")
    return leaves, comes


def _input_window(bundle: Bundle) -> int:
    """Run inputs that may wait at the source: at least as many frames as the pipeline can have open."""
    spread = 0
    for slots in bundle.orders.values():
        stages = [s.stage for s in slots]
        spread += max(stages, default=0) - min(stages, default=0)
    open_frames = 2 * max((s.stage for slots in bundle.orders.values() for s in slots), default=0)
    return min(MAX_INPUT_WINDOW, max(MIN_INPUT_WINDOW, open_frames + spread + 1))
