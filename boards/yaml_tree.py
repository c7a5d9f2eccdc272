"""YAML as a tree that remembers where every value stands, so that any later complaint can name file and line.

Scalars stay text: `no`, `1e6` or `12:30` mean what they say, and numbers are read with their units elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from boards.errors import DescriptionError, Fault

__all__ = ["Node", "Plain", "locate", "plain", "read_tree"]

_MAX_FILE_BYTES = 2**20  # a system of hundreds of boards needs a tenth of it
_MAX_DEPTH = 20  # the format needs 5; bounds the recursion below

Plain = dict[str, "Plain"] | list["Plain"] | str | None


@dataclass(frozen=True)
class Node:
    """A value and its place. ``value`` is a dict or list of nodes, a text, or None for an empty value."""

    value: dict[str, Node] | list[Node] | str | None
    file: str
    line: int


class _RefusedError(Exception):
    """YAML that a description has no use for."""

    def __init__(self, what: str, line: int) -> None:
        self.what, self.line = what, line
        super().__init__(what)


class _Loader(yaml.SafeLoader):
    """Composes nodes only: without aliases (`use:` is for that) and not deeper than a description is."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise _RefusedError("aliases (*name) are not read", self.line + 1)
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise _RefusedError("nested too deeply", self.line + 1)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def read_tree(path: Path) -> Node:
    """The file as a tree whose root is a mapping. Raises DescriptionError."""
    file = str(path)
    text = _read_text(path)
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
    except _RefusedError as e:
        raise _error(f"not readable as a description: {e.what}", file, e.line) from e
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark
        line = mark.line + 1 if mark else None
        raise _error(f"not readable as YAML: {e.problem or e.context}", file, line) from e
    except yaml.YAMLError as e:
        raise _error(f"not readable as YAML: {e}", file, None) from e
    finally:
        if loader is not None:
            loader.dispose()
    if not isinstance(root, yaml.MappingNode):
        raise _error("not a description", file, 1, expected="`key: value` lines", got=_kind(root))
    return _convert(root, file, "")


def plain(node: Node) -> Plain:
    """The values of a tree without their places."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


def locate(root: Node, path: Iterable[str | int]) -> Node:
    """The node at a path of keys and indices, or the deepest one that exists on the way."""
    node = root
    for step in path:
        if isinstance(node.value, dict) and step in node.value:
            node = node.value[str(step)]
        elif isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
        else:
            break
    return node


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_FILE_BYTES + 1)
    except OSError as e:
        got = e.strerror or type(e).__name__
        raise _error("cannot be read", str(path), None, expected="a readable YAML file", got=got) from e
    if len(data) > _MAX_FILE_BYTES:
        raise _error("too large", str(path), None, expected="at most 1 MiB", got="more")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise _error("not a text file", str(path), None, expected="YAML in UTF-8", got="other bytes") from e


def _convert(node: yaml.Node, file: str, key: str) -> Node:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.ScalarNode):
        is_null = node.tag == "tag:yaml.org,2002:null" and node.style is None
        return Node(None if is_null else node.value, file, line)
    if isinstance(node, yaml.SequenceNode):
        children = [_convert(child, file, f"{key}[{i}]") for i, child in enumerate(node.value)]
        return Node(children, file, line)
    return Node(_convert_mapping(node, file, key), file, line)


def _convert_mapping(node: yaml.Node, file: str, key: str) -> dict[str, Node]:
    children: dict[str, Node] = {}
    first_line: dict[str, int] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise _error("a key must be a plain word", file, line, key=key)
        name = key_node.value
        full = f"{key}.{name}" if key else name
        if name in children:
            raise _error(
                f"key {name!r} stands twice",
                file,
                line,
                key=full,
                expected="each key once",
                got=f"a first one in line {first_line[name]}",
            )
        first_line[name] = line
        child = _convert(value_node, file, full)
        # A block value starts below its key; the key's own line is where a reader looks.
        children[name] = Node(child.value, file, line) if isinstance(child.value, dict | list) else child
    return children


def _kind(root: yaml.Node | None) -> str:
    if root is None:
        return "an empty file"
    return "a list" if isinstance(root, yaml.SequenceNode) else "a single value"


def _error(
    what: str, file: str, line: int | None, *, key: str = "", expected: str = "", got: str = ""
) -> DescriptionError:
    return DescriptionError([Fault(what, file=file, line=line, key=key, expected=expected, got=got)])
