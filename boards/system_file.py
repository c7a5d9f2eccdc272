"""From a system file to a System: resolve `use:` and `medium:`, check against the schema, wire the boards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

from boards.board import Board, Link, Processor, System
from boards.check import check_wiring
from boards.errors import DescriptionError, Fault, near_match
from boards.faults import fault_at, key_text, validate
from boards.medium import Medium
from boards.runtime import firmware_ram_bytes
from boards.schema import MEDIUM_KEYS, SYSTEM_SCHEMA, BoardSpec, MediumSpec, ProcessorSpec, SystemSpec
from boards.use import Shelf, board_shelf, medium_shelf, merge, resolve, resolve_name
from boards.yaml_tree import Node, read_tree

__all__ = ["board_from_spec", "medium_from_spec", "read_system"]


def read_system(path: Path) -> System:
    """The system in a file. Raises DescriptionError with every fault that can be told from one reading."""
    root = read_tree(path)
    tree, models = _write_out(root, path.parent)
    spec = validate(SystemSpec, tree)
    faults = list(_reference_faults(spec, tree))
    if faults:
        raise DescriptionError(faults)
    boards = tuple(board_from_spec(name, models[name], board) for name, board in spec.boards.items())
    links, link_faults = _Wiring(spec, tree).build()
    if link_faults:
        raise DescriptionError(link_faults)
    system = System(
        name=spec.name,
        boards=boards,
        links=links,
        source=spec.source,
        sink=spec.sink,
        switches=tuple(switch.name for switch in spec.switches),
    )
    findings = check_wiring(system)
    if findings:
        raise DescriptionError(
            fault_at(tree, f.path, f.what, expected=f.expected, got=f.got, hint=f.hint) for f in findings
        )
    return system


def board_from_spec(name: str, model: str, spec: BoardSpec) -> Board:
    """A board from its checked description."""
    return Board(
        name=name,
        model=model,
        processors=tuple(_processor(p) for p in spec.processors),
        ram_bytes=spec.ram,
        flash_bytes=spec.flash,
        weights_in=spec.weights_in,
        in_place=spec.in_place,
        runtime=spec.runtime,
        runtime_ram_bytes=firmware_ram_bytes(spec.firmware) if spec.firmware else spec.runtime_ram,
        removable=spec.removable,
        firmware=spec.firmware or "",
    )


def medium_from_spec(name: str, spec: MediumSpec) -> Medium:
    """A medium from its checked description."""
    return Medium(
        name=name,
        duplex=spec.duplex,
        bandwidth_bytes_per_s=spec.bandwidth,
        setup_s=spec.setup,
        latency_s=spec.latency,
        mtu_bytes=spec.mtu,
        header_bytes=spec.header,
        min_payload_bytes=spec.min_payload,
        energy_j_per_byte=spec.energy,
        overlap=spec.overlap,
        send_s_per_byte=spec.send,
        receive_s_per_byte=spec.receive,
    )


def _processor(spec: ProcessorSpec) -> Processor:
    return Processor(
        name=spec.name,
        kind=spec.kind,
        macs_per_s={str(precision): rate for precision, rate in spec.macs.items()},
        memory_bytes_per_s=spec.memory_bandwidth,
        operator_overhead_s=spec.operator_overhead,
        active_power_w=spec.active_power,
        idle_power_w=spec.idle_power,
    )


def _write_out(root: Node, folder: Path) -> tuple[Node, dict[str, str]]:
    """The tree without `schema:`, `media:`, `use:` and names of media; and the model of each board."""
    children = dict(root.value) if isinstance(root.value, dict) else {}
    schema = children.pop("schema", None)
    if schema is None or schema.value != SYSTEM_SCHEMA:
        got = str(schema.value) if schema else "no key 'schema'"
        expected = f"schema: {SYSTEM_SCHEMA}"
        where = schema or root
        raise DescriptionError(
            [Fault("not a system file", where.file, where.line, "schema", expected=expected, got=got)]
        )
    models: dict[str, str] = {}
    boards = children.get("boards")
    if boards is not None and isinstance(boards.value, dict):
        shelf = board_shelf(boards.value, folder)
        written: dict[str, Node] = {}
        for name, node in boards.value.items():
            resolved = resolve(name, node, shelf, f"boards.{name}")
            written[name], models[name] = resolved.node, resolved.origin
        children["boards"] = Node(written, boards.file, boards.line)
    media = _media(children.pop("media", None), folder)
    for key in ("links", "shared_media", "switches"):
        listed = children.get(key)
        if listed is not None and isinstance(listed.value, list):
            entries = [_with_medium(entry, media, f"{key}[{i}]") for i, entry in enumerate(listed.value)]
            children[key] = Node(entries, listed.file, listed.line)
    return Node(children, root.file, root.line), models


def _media(node: Node | None, folder: Path) -> Shelf:
    if node is None:
        return medium_shelf({}, folder)
    if not isinstance(node.value, dict):
        expected = "`name: {use: ..., figures}` lines"
        raise DescriptionError([Fault("not usable", node.file, node.line, "media", expected=expected)])
    return medium_shelf(node.value, folder)


def _with_medium(entry: Node, media: Shelf, key: str) -> Node:
    """The entry with its medium written out and the figures it overrides moved into that medium."""
    if not isinstance(entry.value, dict):
        return entry
    own = {k: v for k, v in entry.value.items() if k not in MEDIUM_KEYS and k != "medium"}
    over = Node({k: v for k, v in entry.value.items() if k in MEDIUM_KEYS}, entry.file, entry.line)
    named = entry.value.get("medium")
    if named is None:
        # A link may be written out in full without any medium of a name.
        return Node({**own, "medium": over} if over.value else own, entry.file, entry.line)
    medium = resolve_name(named, media, f"{key}.medium").node
    return Node({**own, "medium": merge(medium, over)}, entry.file, entry.line)


def _reference_faults(spec: SystemSpec, tree: Node) -> Iterator[Fault]:
    """Names that stand for nothing, or for two things."""
    boards = list(spec.boards)
    nodes = [*boards, *(s.name for s in spec.switches)]
    for key, name in (("source", spec.source), ("sink", spec.sink)):
        if name not in boards:
            yield _unknown(tree, (key,), name, boards, "board")
    for i, link in enumerate(spec.links):
        for end in link.ends:
            if end not in nodes:
                yield _unknown(tree, ("links", i), end, nodes, "board or switch")
        if link.ends[0] == link.ends[1]:
            got = link.ends[0]
            yield fault_at(tree, ("links", i), "a link to itself", expected="two different ends", got=got)
    taken = {*boards}
    for key, entries in (("shared_media", spec.shared_media), ("switches", spec.switches)):
        for i, entry in enumerate(entries):
            if entry.name in taken:
                expected = "a name of its own for each board, switch and shared medium"
                yield fault_at(tree, (key, i, "name"), "name in use", expected=expected, got=entry.name)
            taken.add(entry.name)
            for j, board in enumerate(entry.boards):
                if board not in boards:
                    yield _unknown(tree, (key, i, "boards", j), board, boards, "board")
                elif board in entry.boards[:j]:
                    path = (key, i, "boards", j)
                    yield fault_at(tree, path, "named twice", expected="each board once", got=board)


def _unknown(tree: Node, path: tuple[str | int, ...], name: str, known: list[str], what: str) -> Fault:
    expected, hint = f"one of {', '.join(known)}", near_match(name, known)
    return fault_at(tree, path, f"unknown {what} {name!r}", expected=expected, got=name, hint=hint)


@dataclass
class _Wiring:
    """Makes directed links in file order; a second connection of two ends is told apart by its name."""

    spec: SystemSpec
    tree: Node

    def build(self) -> tuple[tuple[Link, ...], list[Fault]]:
        links: list[Link] = []
        faults: list[Fault] = []
        first: dict[str, str] = {}
        for path, label, link in self._all():
            if link.name not in first:
                first[link.name] = key_text(path)
                links.append(link)
                continue
            expected = f"`name:` on all but the first link {link.source} -> {link.target}"
            got = f"the name {link.name!r}, which {first[link.name]} has" if label else "no name"
            faults.append(fault_at(self.tree, path, "two links alike", expected=expected, got=got))
        return tuple(links), faults

    def _all(self) -> Iterator[tuple[tuple[str | int, ...], str, Link]]:
        for i, cable in enumerate(self.spec.links):
            medium = medium_from_spec("", cable.medium)
            one_way = cable.between is None
            for link in _cable(medium, *cable.ends, cable.name or "", one_way=one_way):
                yield ("links", i), cable.name or "", link
        joined = {frozenset(cable.ends) for cable in self.spec.links}
        for i, shared in enumerate(self.spec.shared_media):
            medium = medium_from_spec("", shared.medium)
            for a, b in permutations(shared.boards, 2):
                label = shared.name if frozenset((a, b)) in joined else ""
                link = medium.link(_link_name(a, b, label), a, b, shared.name)
                yield ("shared_media", i), shared.name, link
            joined |= {frozenset(pair) for pair in permutations(shared.boards, 2)}
        for i, switch in enumerate(self.spec.switches):
            medium = medium_from_spec("", switch.medium)
            for board in switch.boards:
                for link in _cable(medium, board, switch.name, "", one_way=False):
                    yield ("switches", i), switch.name, link


def _cable(medium: Medium, a: str, b: str, label: str, *, one_way: bool) -> Iterator[Link]:
    """Full duplex: each direction is its own resource. Half duplex: both share one."""
    suffix = f"#{label}" if label else ""
    shared = f"{a}<->{b}{suffix}"
    for source, target in ((a, b),) if one_way else ((a, b), (b, a)):
        name = _link_name(source, target, label)
        half = medium.duplex == "half" and not one_way
        yield medium.link(name, source, target, shared if half else name)


def _link_name(source: str, target: str, label: str) -> str:
    return f"{source}->{target}" + (f"#{label}" if label else "")
