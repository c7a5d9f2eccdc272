"""Quantities with units, as YAML files and the command line write them: "50ms", "320KiB", "100Mbit/s".

Reading is exact: the text is taken as a decimal fraction, scaled, and rounded once (bytes never: a size that
is not a whole number of bytes is refused). Writing is exact too unless a number of digits is asked for, so
that ``parse(format(x)) == x`` for every finite x >= 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction

from boards.errors import UnitError

__all__ = [
    "BANDWIDTH",
    "BYTES",
    "COMPUTE",
    "ENERGY",
    "ENERGY_PER_BYTE",
    "POWER",
    "QUANTITIES",
    "RATE",
    "TIME",
    "TIME_PER_BYTE",
    "Quantity",
    "format_bandwidth",
    "format_bytes",
    "format_compute",
    "format_energy",
    "format_energy_per_byte",
    "format_power",
    "format_rate",
    "format_time",
    "parse_bandwidth",
    "parse_bytes",
    "parse_compute",
    "parse_energy",
    "parse_energy_per_byte",
    "parse_frequency",
    "parse_power",
    "parse_rate",
    "parse_time",
    "parse_time_per_byte",
]

_NUMBER_AND_UNIT = re.compile(r"([+-]?)(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?\s*(\S.*)?", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?\.?(nan|inf).*", re.IGNORECASE)
_MAX_CHARACTERS = 64  # no real figure is longer; bounds the exact arithmetic below
_MAX_BYTES = 2**63 - 1  # what the solver's 64-bit integers can hold
_EXACT = Context(prec=1000, Emin=-10_000, Emax=10_000)  # more digits than any float times any unit has

_MICRO = ("u", "µ", "μ")  # ASCII, micro sign, Greek mu: all three are typed
_SI = {
    **dict.fromkeys(_MICRO, Fraction(1, 10**6)),
    "p": Fraction(1, 10**12),
    "n": Fraction(1, 10**9),
    "m": Fraction(1, 10**3),
    "": Fraction(1),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
}
_BINARY = {"Ki": Fraction(2**10), "Mi": Fraction(2**20), "Gi": Fraction(2**30), "Ti": Fraction(2**40)}


def _prefixed(prefixes: str, *units: tuple[str, Fraction]) -> dict[str, Fraction]:
    """Each unit with each of the SI prefixes; "u" brings its two other spellings along."""
    spelled = [q for p in prefixes for q in (_MICRO if p == "u" else (p.strip(),))]
    return {p + unit: _SI[p] * factor for unit, factor in units for p in spelled}


_ONE = Fraction(1)
_PER_BIT = Fraction(1, 8)


@dataclass(frozen=True)
class Quantity:
    """One kind of quantity: the units it is read in, with exact factors, and those it is written in."""

    name: str
    example: str
    factors: Mapping[str, Fraction]
    written: tuple[str, ...]
    """Units used for writing, small to large."""
    whole: bool = False
    """True: values are integers (bytes), and a bare integer needs no unit."""

    def parse(self, value: str | int) -> float | int:
        """The value in the base unit. Raises UnitError."""
        text = value.strip() if isinstance(value, str) else str(value)
        exact = self._read(text)
        if not self.whole:
            return self._as_float(exact, text)
        if exact.denominator != 1:
            raise self._error("not a whole number of bytes", text)
        if exact > _MAX_BYTES:
            raise self._error("too large", text, "at most 2^63 - 1 bytes")
        return int(exact)

    def format(self, value: float, digits: int | None = None) -> str:
        """The value with a unit; ``digits`` significant digits, or None for one that reads back exactly."""
        if not (math.isfinite(value) and value >= 0):
            raise self._error("cannot be written", repr(value), "a finite number, zero or more")
        number = Decimal(value) if isinstance(value, int) else Decimal(repr(float(value)))
        unit = self._unit_for(value, exact=digits is None)
        factor = self.factors[unit]
        scaled = _EXACT.divide(_EXACT.multiply(number, Decimal(factor.denominator)), Decimal(factor.numerator))
        if digits is not None:
            scaled = Context(prec=digits).plus(scaled)
        scaled = scaled.normalize(_EXACT)
        text = f"{scaled:f}" if -12 < scaled.adjusted() < 18 else f"{scaled:E}"
        return text + unit

    def _read(self, text: str) -> Fraction:
        if len(text) > _MAX_CHARACTERS:
            raise self._error("too long for a quantity", text)
        if _NOT_FINITE.fullmatch(text):
            raise self._error("not a finite number", text)
        match = _NUMBER_AND_UNIT.fullmatch(text)
        if match is None and text not in self.factors:
            raise self._error("not a number with a unit", text)
        if match is None:
            raise self._error("the number is missing", text)
        sign, digits, exponent, unit = match.groups()
        factor = self._factor(unit, text, is_integer=digits.isdigit() and not exponent)
        number = Fraction(Decimal(digits + (exponent or "")))
        if sign == "-" and number:
            raise self._error("negative", text, f"zero or more, such as {self.example}")
        return number * factor

    def _factor(self, unit: str | None, text: str, *, is_integer: bool) -> Fraction:
        if unit is None:
            if self.whole and is_integer:
                return _ONE
            raise self._error("the unit is missing", text)
        factor = self.factors.get(unit)
        if factor is None:
            known = next((u for u in self.factors if u.lower() == unit.lower()), None)
            hint = f" (did you mean {known!r}? upper and lower case differ)" if known else ""
            raise self._error(f"unknown unit {unit!r}{hint}", text)
        return factor

    def _as_float(self, exact: Fraction, text: str) -> float:
        try:
            return float(exact)
        except OverflowError as e:
            raise self._error("too large", text, "a number that a 64-bit float can hold") from e

    def _unit_for(self, value: float, *, exact: bool) -> str:
        if value == 0:
            return self.written[0] if self.whole else next(u for u in self.written if self.factors[u] >= 1)
        # 1us is a little less than a millionth in floats: not 1000ns for that
        fitting = [u for u in self.written if float(self.factors[u]) <= value]
        if self.whole and exact:  # the largest unit that leaves a short decimal: 1.5KiB, but 1001B
            fitting = [u for u in fitting if Fraction(int(value)) / self.factors[u] % Fraction(1, 4) == 0]
        return fitting[-1] if fitting else self.written[0]

    def _error(self, what: str, text: str, expected: str = "") -> UnitError:
        units = ", ".join(self.written)
        return UnitError(
            f"{self.name}: {what}",
            expected=expected or f"a number with one of the units {units}, such as {self.example}",
            got=text,
        )


TIME = Quantity(
    "time",
    "50ms",
    {**_prefixed("num ", ("s", _ONE)), "min": Fraction(60), "h": Fraction(3600)},
    ("ns", "us", "ms", "s"),
)
RATE = Quantity(
    "rate",
    "20/s",
    {
        "/s": _ONE,
        "Hz": _ONE,
        "fps": _ONE,
        "kHz": Fraction(1000),
        "/min": Fraction(1, 60),
        "/h": Fraction(1, 3600),
    },
    ("/s",),
)
ENERGY = Quantity("energy", "5mJ", _prefixed("pnum kM", ("J", _ONE)), ("pJ", "nJ", "uJ", "mJ", "J"))
POWER = Quantity("power", "2.5W", _prefixed("num k", ("W", _ONE)), ("nW", "uW", "mW", "W"))
BYTES = Quantity(
    "bytes",
    "320KiB",
    {**_prefixed(" kMGT", ("B", _ONE)), **{p + "B": f for p, f in _BINARY.items()}},
    ("B", "KiB", "MiB", "GiB"),
    whole=True,
)
BANDWIDTH = Quantity(
    "bandwidth",
    "100Mbit/s",
    {
        **_prefixed(" kMGT", ("B/s", _ONE), ("bit/s", _PER_BIT)),
        **{p + "B/s": f for p, f in _BINARY.items()},
    },
    ("B/s", "kB/s", "MB/s", "GB/s"),
)
COMPUTE = Quantity(
    "compute rate", "12GMAC/s", _prefixed(" kMGT", ("MAC/s", _ONE)), ("MAC/s", "kMAC/s", "MMAC/s", "GMAC/s")
)
FREQUENCY = Quantity("frequency", "200MHz", _prefixed(" kMG", ("Hz", _ONE)), ("Hz", "kHz", "MHz", "GHz"))
ENERGY_PER_BYTE = Quantity(
    "energy per byte",
    "0.5pJ/bit",
    _prefixed("pnum ", ("J/B", _ONE), ("J/bit", Fraction(8))),
    ("pJ/B", "nJ/B", "uJ/B", "mJ/B", "J/B"),
)
TIME_PER_BYTE = Quantity("time per byte", "1ns/B", _prefixed("pnum ", ("s/B", _ONE)), ("ps/B", "ns/B", "us/B", "s/B"))

QUANTITIES: Mapping[str, Quantity] = {
    q.name: q for q in (TIME, RATE, ENERGY, POWER, BYTES, BANDWIDTH, COMPUTE, FREQUENCY, ENERGY_PER_BYTE, TIME_PER_BYTE)
}


def parse_time(text: str) -> float:
    """Seconds from "50ms", "2s", "100us". Raises UnitError."""
    return TIME.parse(text)


def parse_rate(text: str) -> float:
    """Events a second from "20/s", "30Hz". Raises UnitError."""
    return RATE.parse(text)


def parse_energy(text: str) -> float:
    """Joules from "2J", "5mJ". Raises UnitError."""
    return ENERGY.parse(text)


def parse_power(text: str) -> float:
    """Watts from "2.5W", "300mW". Raises UnitError."""
    return POWER.parse(text)


def parse_bytes(value: str | int) -> int:
    """Bytes from "320KiB", "1MB", 327680 or "327680". Raises UnitError."""
    return int(BYTES.parse(value))


def parse_bandwidth(text: str) -> float:
    """Bytes a second from "100Mbit/s", "11.5kB/s". Raises UnitError."""
    return BANDWIDTH.parse(text)


def parse_compute(text: str) -> float:
    """Multiply-accumulates a second from "12GMAC/s". Raises UnitError."""
    return COMPUTE.parse(text)


def parse_frequency(text: str) -> float:
    """Hertz from "200MHz". Raises UnitError."""
    return FREQUENCY.parse(text)


def parse_energy_per_byte(text: str) -> float:
    """Joules a byte from "0.5pJ/bit", "4nJ/B". Raises UnitError."""
    return ENERGY_PER_BYTE.parse(text)


def parse_time_per_byte(text: str) -> float:
    """Seconds a byte from "1ns/B". Raises UnitError."""
    return TIME_PER_BYTE.parse(text)


def format_time(value_s: float, digits: int | None = 4) -> str:
    """Seconds as "50ms"."""
    return TIME.format(value_s, digits)


def format_rate(value_per_s: float, digits: int | None = 4) -> str:
    """Events a second as "20/s"."""
    return RATE.format(value_per_s, digits)


def format_energy(value_j: float, digits: int | None = 4) -> str:
    """Joules as "5mJ"."""
    return ENERGY.format(value_j, digits)


def format_power(value_w: float, digits: int | None = 4) -> str:
    """Watts as "2.5W"."""
    return POWER.format(value_w, digits)


def format_bytes(value_bytes: int, digits: int | None = 4) -> str:
    """Bytes as "320KiB"."""
    return BYTES.format(value_bytes, digits)


def format_bandwidth(value_bytes_per_s: float, digits: int | None = 4) -> str:
    """Bytes a second as "12.5MB/s"."""
    return BANDWIDTH.format(value_bytes_per_s, digits)


def format_compute(value_macs_per_s: float, digits: int | None = 4) -> str:
    """Multiply-accumulates a second as "12GMAC/s"."""
    return COMPUTE.format(value_macs_per_s, digits)


def format_energy_per_byte(value_j_per_byte: float, digits: int | None = 4) -> str:
    """Joules a byte as "4nJ/B"."""
    return ENERGY_PER_BYTE.format(value_j_per_byte, digits)
