"""What costs that are off do to a plan, in words."""

from __future__ import annotations

from collections.abc import Iterator

from optimizer.plan import Uncertainty

__all__ = ["uncertainty_words"]


def uncertainty_words(found: Uncertainty) -> Iterator[str]:
    """What was found, a sentence a line."""
    share = f"{100 * found.share:g} %"
    for r in found.regrets:
        bound = "without a proven bound" if r.at_most is None else f"proven at most {_percent(r.at_most)}"
        yield (
            f"Costs within {share}: regret in {r.objective} {bound}; "
            f"found {_percent(r.attained)} ({r.scenario}; {r.method})."
        )
    pairs = len(found.flips) + found.firm_pairs + found.open_pairs
    if found.flips:
        first = found.flips[0]
        yield (
            f"The ranking of {len(found.flips)} of {pairs} pairs of plans can turn round, for example plan "
            f"{first.worse} beats plan {first.better} in {first.objective} with {first.scenario}."
        )
    elif found.open_pairs == 0:
        yield f"The ranking of all {pairs} pairs of plans of the front survives: proven."
    if found.open_pairs:
        yield f"For {found.open_pairs} of {pairs} pairs no such case was found, and none is ruled out."


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
