"""`use:`: a board or medium takes over another entry and overrides some of its figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from boards.errors import CycleError, DescriptionError, Fault, UnknownNameError, near_match
from boards.schema import BOARD_SCHEMA, MEDIUM_SCHEMA
from boards.yaml_tree import Node, read_tree

__all__ = ["Resolved", "Shelf", "board_shelf", "medium_shelf", "merge", "resolve", "resolve_name"]

_CATALOG = Path(__file__).parent / "catalog"


@dataclass(frozen=True)
class Shelf:
    """Where names are looked up: a catalog folder, and what a system file itself defines.

    ``kind`` is "board" or "medium".
    """

    kind: str
    schema: str
    folder: Path
    siblings: Mapping[str, Node]
    base: Path
    """Folder that paths in `use:` are relative to."""

    def names(self) -> list[str]:
        """Names of the catalog entries, sorted."""
        return sorted(path.stem for path in self.folder.glob("*.yaml"))

    def entry(self, name: str) -> Node:
        """The catalog entry of that name. Raises UnknownNameError, DescriptionError."""
        if name not in self.names():
            raise UnknownNameError(self.kind, name, self.names())
        return _read_catalog_entry(self.folder / f"{name}.yaml", self.schema)

    def file(self, path: Path) -> Node:
        """The entry in a file of its own. Raises DescriptionError."""
        return _read_entry(path, self.schema)


def board_shelf(siblings: Mapping[str, Node] | None = None, base: Path = Path()) -> Shelf:
    """Boards: the catalog, and the boards of one system file."""
    return Shelf("board", BOARD_SCHEMA, _CATALOG, siblings or {}, base)


def medium_shelf(siblings: Mapping[str, Node] | None = None, base: Path = Path()) -> Shelf:
    """Media: the catalog, and the `media:` of one system file."""
    return Shelf("medium", MEDIUM_SCHEMA, _CATALOG / "media", siblings or {}, base)


@dataclass(frozen=True)
class Resolved:
    """An entry written out in full. ``origin`` is the catalog name or file it started from, or "inline"."""

    node: Node
    origin: str


@lru_cache(maxsize=256)
def _read_catalog_entry(path: Path, schema: str) -> Node:
    """Catalog files never change while we run; a user's files may, so they are read each time."""
    return _read_entry(path, schema)


def _read_entry(path: Path, schema: str) -> Node:
    root = read_tree(path)
    children = dict(root.value) if isinstance(root.value, dict) else {}
    given = children.pop("schema", None)
    if given is None or given.value != schema:
        raise DescriptionError(
            [
                Fault(
                    "not a file of this kind",
                    file=root.file,
                    line=given.line if given else 1,
                    key="schema",
                    expected=f"schema: {schema}",
                    got=str(given.value) if given else "no key 'schema'",
                )
            ]
        )
    return Node(children, root.file, root.line)


def resolve(name: str, node: Node, shelf: Shelf, key: str, origin: str = "inline") -> Resolved:
    """The entry ``name`` with its chain of `use:` written out. Raises CycleError, DescriptionError."""
    return _resolve(node, shelf, key, origin, ((node.file, name),))


def resolve_name(named: Node, shelf: Shelf, key: str) -> Resolved:
    """The entry that a value names (a link's `medium:`): the file's own first, then the catalog."""
    name = named.value
    if isinstance(name, str) and name in shelf.siblings:
        return resolve(name, shelf.siblings[name], shelf, f"media.{name}")
    base_name, base, base_shelf, origin = _find(named, shelf, key)
    return _resolve(base, base_shelf, key, origin, ((base.file, base_name),))


def _resolve(node: Node, shelf: Shelf, key: str, origin: str, trail: tuple[tuple[str, str], ...]) -> Resolved:
    if not isinstance(node.value, dict) or "use" not in node.value:
        return Resolved(node, origin)
    use = node.value["use"]
    use_key = f"{key}.use" if key else "use"
    base_name, base, base_shelf, base_origin = _find(use, shelf, use_key)
    step = (base.file, base_name)
    if step in trail:
        names = [name for _, name in (*trail[trail.index(step) :], step)]
        raise CycleError(names, file=use.file, line=use.line, key=use_key)
    resolved = _resolve(base, base_shelf, key, base_origin, (*trail, step))
    own = {k: v for k, v in node.value.items() if k != "use"}
    is_catalog_entry = origin != "inline"
    return Resolved(
        merge(resolved.node, Node(own, node.file, node.line)), origin if is_catalog_entry else resolved.origin
    )


def _find(use: Node, shelf: Shelf, key: str) -> tuple[str, Node, Shelf, str]:
    """Name, node, shelf for its own `use:`, origin. Catalog entries come first, then the file's own."""
    name = use.value
    catalog = Shelf(shelf.kind, shelf.schema, shelf.folder, {}, shelf.folder)
    if isinstance(name, str) and name.endswith((".yaml", ".yml")):
        path = shelf.base / name
        beside = Shelf(shelf.kind, shelf.schema, shelf.folder, {}, path.parent)
        return path.stem, shelf.file(path), beside, path.stem
    known = [*shelf.names(), *shelf.siblings]
    if isinstance(name, str) and name in shelf.names():
        return name, shelf.entry(name), catalog, name
    if isinstance(name, str) and name in shelf.siblings:
        return name, shelf.siblings[name], shelf, "inline"
    raise DescriptionError(
        [
            Fault(
                f"unknown {shelf.kind} {name!r}",
                file=use.file,
                line=use.line,
                key=key,
                expected=f"one of {', '.join(known)}, or the path of a .yaml file",
                got=str(name),
                hint=near_match(str(name), known),
            )
        ]
    )


def merge(base: Node, over: Node) -> Node:
    """The base with the other's keys on top.

    Processors merge by name and their rates by precision; everything else is replaced. A figure is replaced
    whole, so that no source of the base stays beside a value it does not speak of.
    """
    if not isinstance(base.value, dict) or not isinstance(over.value, dict):
        return over
    merged = dict(base.value)
    for key, child in over.value.items():
        old = merged.get(key)
        if key == "processors" and old is not None:
            merged[key] = _merge_processors(old, child)
        elif key == "macs" and old is not None:
            merged[key] = _merge_keys(old, child)
        else:
            merged[key] = child
    return Node(merged, over.file, over.line)


def _merge_keys(base: Node, over: Node) -> Node:
    if not isinstance(base.value, dict) or not isinstance(over.value, dict):
        return over
    return Node({**base.value, **over.value}, over.file, over.line)


def _merge_processors(base: Node, over: Node) -> Node:
    if not isinstance(base.value, list) or not isinstance(over.value, list):
        return over
    result = list(base.value)
    position = {name: i for i, name in enumerate(_names(base.value))}
    for name, child in zip(_names(over.value), over.value, strict=True):
        index = position.get(name)
        if index is None:
            result.append(child)
        else:
            result[index] = merge(result[index], child)
    return Node(result, over.file, over.line)


def _names(nodes: Iterable[Node]) -> list[str | None]:
    """The `name:` of each node of a list; None where it has none."""
    names: list[str | None] = []
    for node in nodes:
        name = node.value.get("name") if isinstance(node.value, dict) else None
        names.append(name.value if name is not None and isinstance(name.value, str) else None)
    return names
