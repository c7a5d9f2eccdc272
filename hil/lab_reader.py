"""Reading a lab file key by key: every complaint names file, line and key."""

from __future__ import annotations

from typing import NoReturn

from boards.errors import near_match
from boards.yaml_tree import Node
from hil.errors import LabError

__all__ = ["Reader"]

_MAX_PORT = 65535
_MAX_NUMBER = 2**63 - 1


class Reader:
    """A node and its dotted key; every complaint names file, line and key."""

    def __init__(self, node: Node, key: str) -> None:
        self._node, self._key = node, key

    def fail(self, what: str, *, expected: str, got: str, hint: str = "") -> NoReturn:
        place = f"{self._node.file}:{self._node.line}"
        where = f"{place}, {self._key}" if self._key else place
        raise LabError(what, where=where, expected=expected, got=got, hint=hint)

    def text(self) -> str:
        value = self._node.value
        if not isinstance(value, str) or not value:
            self.fail("not a text", expected="a text", got=_kind(self._node))
        return value

    def one_of(self, *allowed: str) -> str:
        value = self.text()
        if value not in allowed:
            hint = near_match(value, allowed)
            self.fail("not one of the known words", expected=" or ".join(allowed), got=value, hint=hint)
        return value

    def port(self) -> int:
        value = self.text()
        if not value.isascii() or not value.isdigit() or not 0 < int(value) <= _MAX_PORT:
            self.fail("not a port", expected=f"a whole number from 1 to {_MAX_PORT}", got=value)
        return int(value)

    def number(self, most: int = _MAX_NUMBER) -> int:
        """A whole number from 0 on."""
        value = self.text()
        if not value.isascii() or not value.isdigit() or int(value) > most:
            self.fail("not a number of the kind that belongs here", expected=f"a whole number up to {most}", got=value)
        return int(value)

    def items(self) -> list[Reader]:
        """The entries of a list."""
        value = self._node.value
        if not isinstance(value, list):
            self.fail("not a list", expected="a list", got=_kind(self._node))
        return [self._at(f"[{i}]", node) for i, node in enumerate(value)]

    def mapping(self) -> list[tuple[str, Reader]]:
        value = self._node.value
        if not isinstance(value, dict):
            self.fail("not a mapping", expected="`name: {...}` entries", got=_kind(self._node))
        return [(name, self._at(name, node)) for name, node in value.items()]

    def only(self, keys: tuple[str, ...]) -> None:
        for name, reader in self.mapping():
            if name not in keys:
                reader.fail(f"unknown key {name!r}", expected=", ".join(keys), got=name, hint=near_match(name, keys))

    def find(self, name: str) -> Reader | None:
        return next((reader for key, reader in self.mapping() if key == name), None)

    def child(self, name: str) -> Reader:
        found = self.find(name)
        if found is None:
            self.fail(f"key {name!r} is missing", expected=f"`{name}: ...`", got="no such key")
        return found

    def optional(self, name: str, default: str) -> Reader:
        return self.find(name) or self._at(name, Node(default, self._node.file, self._node.line))

    def optional_mapping(self, name: str) -> list[tuple[str, Reader]]:
        found = self.find(name)
        return [] if found is None or found._node.value is None else found.mapping()

    def optional_text(self, name: str) -> str:
        found = self.find(name)
        return "" if found is None else found.text()

    def optional_items(self, name: str) -> list[Reader]:
        found = self.find(name)
        return [] if found is None or found._node.value is None else found.items()

    def optional_texts(self, name: str) -> tuple[str, ...]:
        found = self.find(name)
        if found is None or found._node.value is None:
            return ()
        if not isinstance(found._node.value, list):
            found.fail("not a list", expected="a list of texts", got=_kind(found._node))
        return tuple(found._at(f"[{i}]", node).text() for i, node in enumerate(found._node.value))

    def _at(self, name: str, node: Node) -> Reader:
        return Reader(node, f"{self._key}.{name}" if self._key else name)


def _kind(node: Node) -> str:
    kinds = {dict: "a mapping", list: "a list", str: "an empty text"}
    return "nothing" if node.value is None else kinds[type(node.value)]
