"""Figures as people read them: three significant digits, a fitting unit, binary bytes."""

from __future__ import annotations

import math

__all__ = [
    "MINUS",
    "count",
    "energy",
    "percent",
    "quantity",
    "rate",
    "relative_error",
    "shorten",
    "size",
    "spread",
    "time",
]

_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_JOULES = ((1e3, "kJ"), (1.0, "J"), (1e-3, "mJ"), (1e-6, "µJ"), (1e-9, "nJ"))
_COUNTS = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_BYTES = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B"))
MINUS = "\N{MINUS SIGN}"
_MISSING = "\N{EN DASH}"


def time(seconds: float | None) -> str:
    """Three digits always, so that figures in a column line up: "24.0 ms"."""
    return _scaled(seconds, _SECONDS)


def energy(joules: float | None) -> str:
    return _scaled(joules, _JOULES)


def rate(per_second: float | None) -> str:
    """A throughput in inferences a second."""
    return _MISSING if per_second is None else f"{_digits(per_second)} /s"


def size(size_bytes: float | None) -> str:
    return _scaled(size_bytes, _BYTES, whole=True)


def count(number: float) -> str:
    """A large count: "386 M"."""
    return _scaled(number, _COUNTS, whole=True).rstrip()


def percent(fraction: float | None) -> str:
    """A share: "87.3 %"; anything above zero that would print as zero is "< 0.1 %"."""
    if fraction is None or not math.isfinite(fraction):
        return _MISSING
    if 0 < fraction < 0.0005:
        return "< 0.1 %"
    return f"{100 * fraction:.0f} %" if fraction >= 0.9995 else f"{100 * fraction:.1f} %"


def relative_error(predicted: float, measured: float | None) -> str:
    """How far the prediction is from the measurement, signed: "+3.1 %"."""
    if measured is None or measured == 0 or not math.isfinite(predicted):
        return _MISSING
    return f"{100 * (predicted - measured) / measured:+.1f} %".replace("-", MINUS)


def spread(interval: tuple[float, float] | None) -> str:
    """An interval of throughputs: "71.2 to 73.0 /s"; empty without one."""
    return "" if interval is None else f"{_digits(interval[0])} to {_digits(interval[1])} /s"


def quantity(value: float, unit: str) -> str:
    """A value with the unit that a certificate names."""
    if unit in ("1/s", "/s", "inferences/s"):
        return rate(value)
    if unit == "s":
        return time(value)
    if unit == "J":
        return energy(value)
    if unit == "B":
        return size(value)
    if unit == "share":
        return percent(value)
    if unit == "loss":
        return _digits(value)
    if unit == "boards":
        return f"{value:.0f} board" + ("" if value == 1 else "s")
    return f"{_digits(value)} {unit}"


def shorten(text: str, limit: int) -> str:
    """At most ``limit`` characters; the middle goes, because names differ at their ends."""
    if len(text) <= limit:
        return text
    tail = (limit - 1) * 2 // 3
    return f"{text[: limit - 1 - tail]}…{text[len(text) - tail :]}"


def _scaled(value: float | None, units: tuple[tuple[float, str], ...], *, whole: bool = False) -> str:
    if value is None:
        return _MISSING
    if not math.isfinite(value):
        return "∞"
    factor, unit = next(((f, u) for f, u in units if abs(value) >= f * 0.9995), units[-1])
    if value == 0:
        factor, unit = 1.0, next(u for f, u in units if f == 1)
    return f"{_digits(value / factor, whole=whole)} {unit}"


def _digits(value: float, *, whole: bool = False) -> str:
    """Three significant digits, never in exponent form; ``whole``: whole numbers stay whole."""
    if not math.isfinite(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    if value == 0:
        return "0"
    if abs(value) >= 999.5:
        return f"{value:,.0f}".replace(",", "\u202f")
    if whole and value == int(value):
        return f"{value:.0f}"
    exponent = int(f"{value:.2e}".partition("e")[2])  # of the rounded value: 0.9999 is 1.00
    return f"{value:.{min(max(0, 2 - exponent), 9)}f}"
