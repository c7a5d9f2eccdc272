"""Infeasible is a result: which limits cannot be met, what they ask, what is possible, what would help."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Clash", "Infeasible", "NothingFound"]


@dataclass(frozen=True)
class Clash:
    """One limit that no plan meets. ``demand`` is what is asked, ``bound`` the best that is possible, same unit."""

    limit: str
    demand: float | None
    bound: float | None
    unit: str
    text: str
    help: str


@dataclass(frozen=True)
class Infeasible:
    """No plan of the class meets all limits. ``proven``: every order of processors was closed."""

    clashes: tuple[Clash, ...]
    plan_class: str
    method: str
    seconds: float

    @property
    def text(self) -> str:
        lines = [f"No plan meets the limits ({self.plan_class}; {self.method})."]
        lines += [f"- {c.text} {c.help}".rstrip() for c in self.clashes]
        return "\n".join(lines)


@dataclass(frozen=True)
class NothingFound:
    """No feasible plan was found in the time given, and none was proven impossible."""

    seconds: float
    closest: str

    @property
    def text(self) -> str:
        return (
            f"No feasible plan was found in {self.seconds:.1f} s, and none was proven impossible. "
            f"Closest plan seen: {self.closest or 'none'}. Give more time with --time-limit or loosen a limit."
        )
