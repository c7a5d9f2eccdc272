"""Infeasible is a result: which limits clash, what they ask, what is possible, what would be enough."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Clash", "Infeasible", "NothingFound"]


@dataclass(frozen=True)
class Clash:
    """One limit of a clashing set, and the smallest relaxation of it alone that makes a plan possible.

    ``demand`` is the limit as given, ``bound`` what must at least be allowed (proven, all other limits held),
    ``best`` what is enough (a plan was found), all in ``unit`` (periods in s for throughput). ``gap`` is
    (best - bound) / best. None where it does not apply or was not settled in time.
    """

    limit: str
    demand: float | None
    bound: float | None
    unit: str
    text: str
    help: str
    best: float | None = None
    gap: float | None = None
    lever: str = ""
    """The relaxation in words; empty where relaxing this limit alone does not help or was not settled."""


@dataclass(frozen=True)
class Infeasible:
    """No plan of the class meets all limits; that is proven.

    ``minimal``: it was also proven that leaving out any one of the clashing limits makes a plan possible (with
    the other limits of the set; limits outside of the set left out).
    """

    clashes: tuple[Clash, ...]
    plan_class: str
    method: str
    seconds: float
    minimal: bool = False
    precisions: tuple[str, ...] = ()
    """"int8 on back/cpu": precisions that are not allowed now, each of which alone makes a plan possible."""

    @property
    def text(self) -> str:
        lines = [f"No plan meets the limits ({self.plan_class}; {self.method})."]
        if len(self.clashes) > 1:
            names = " and ".join(c.limit for c in self.clashes)
            why = "without any one of them a plan exists" if self.minimal else "a smaller set may clash as well"
            lines.append(f"What cannot be met together: {names} ({why}).")
        lines += [f"- {c.text} {c.help}".rstrip() for c in self.clashes]
        levers = [*(c.lever for c in self.clashes if c.lever), *self.precisions]
        if levers:
            lines.append(
                ("Any one of these is enough: " if len(levers) > 1 else "Enough: ") + ", or ".join(levers) + "."
            )
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
