"""Errors of the boards package. All are bad input (exit code 2).

BoardsError
├── UnitError             a quantity that cannot be read: unit missing or unknown, NaN, negative
├── DescriptionError      a board, medium or system description that cannot be used
│   └── CycleError        a `use:` chain that comes back to itself
└── UnknownNameError      no catalog entry, medium or ready system of that name

DescribedError is the shape that the errors of the packages above this one share.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = [
    "BoardsError",
    "CycleError",
    "DescribedError",
    "DescriptionError",
    "Fault",
    "UnitError",
    "UnknownNameError",
    "near_match",
    "paragraph",
]

_SHOWN_FAULTS = 8  # the rest are counted: a file with more is better mended from the top
_SHOWN_CHARACTERS = 80  # of a value that is quoted back


def near_match(name: str, known: Iterable[str]) -> str:
    """'Did you mean ...?' for the closest known name, or '' when none is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"Did you mean {close[0]!r}?" if close else ""


def shorten(text: str) -> str:
    """The text, cut to a length that fits into a message."""
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."


def paragraph(what: str, *, where: str = "", expected: str = "", got: str = "", hint: str = "") -> str:
    """'WHERE: WHAT; expected EXPECTED; got GOT. HINT', of which only WHAT must be there."""
    parts = [f"{where}: {what}" if where else what]
    if expected:
        parts.append(f"expected {expected}")
    if got:
        parts.append(f"got {got}")
    return "; ".join(parts) + "." + (f" {hint}" if hint else "")


class DescribedError(Exception):
    """An error that says what is wrong, where, what was expected and got, and what to do: one paragraph."""

    def __init__(self, what: str, *, where: str = "", expected: str = "", got: str = "", hint: str = "") -> None:
        self.what, self.where, self.expected, self.got, self.hint = what, where, expected, got, hint
        super().__init__(paragraph(what, where=where, expected=expected, got=got, hint=hint))


class BoardsError(Exception):
    """Base of all errors of this package."""


class UnitError(BoardsError, ValueError):
    """A quantity that cannot be read. A ValueError too, so that validators may raise it."""

    def __init__(self, what: str, *, expected: str, got: str) -> None:
        self.what, self.expected, self.got = what, expected, shorten(got)
        super().__init__(f"{what}; expected {expected}; got {self.got!r}.")


@dataclass(frozen=True)
class Fault:
    """One fault in a description: where (file, line, key), what, expected, got, hint."""

    what: str
    file: str = ""
    line: int | None = None
    key: str = ""
    expected: str = ""
    got: str = ""
    hint: str = ""

    def __str__(self) -> str:
        place = ":".join(str(p) for p in (self.file, self.line) if p)
        where = ", ".join(p for p in (place, self.key) if p)
        return paragraph(self.what, where=where, expected=self.expected, got=shorten(self.got), hint=self.hint)


class DescriptionError(BoardsError):
    """A description with one or more faults; ``faults`` holds them all, the message one a line."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        lines = [str(fault) for fault in self.faults[:_SHOWN_FAULTS]]
        if len(self.faults) > _SHOWN_FAULTS:
            lines.append(f"... and {len(self.faults) - _SHOWN_FAULTS} more.")
        super().__init__("\n".join(lines))


class CycleError(DescriptionError):
    """A `use:` chain that comes back to itself; ``path`` lists the names, first and last alike."""

    def __init__(self, path: Iterable[str], *, file: str, line: int | None, key: str) -> None:
        self.path = tuple(path)
        super().__init__(
            [
                Fault(
                    f"cyclic definition: {' -> '.join(self.path)}",
                    file=file,
                    line=line,
                    key=key,
                    expected="a chain of `use:` that ends at an entry written out in full",
                    got=f"an entry that uses itself after {len(self.path) - 1} step(s)",
                    hint="Write out one of these entries instead of using another.",
                )
            ]
        )


class UnknownNameError(BoardsError):
    """No entry of that name. ``kind`` is "board", "medium" or "system"."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, tuple(sorted(known))
        hint = near_match(name, self.known)
        super().__init__(
            f"unknown {kind} {shorten(name)!r}; expected one of {', '.join(self.known)}"
            + (" or the path of a .yaml file" if kind != "medium" else "")
            + f".{' ' + hint if hint else ''}"
        )
