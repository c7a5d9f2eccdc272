"""Quantities with units, read and written."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boards.errors import UnitError
from boards.units import (
    BYTES,
    QUANTITIES,
    Quantity,
    format_bandwidth,
    format_bytes,
    format_compute,
    format_energy,
    format_energy_per_byte,
    format_power,
    format_rate,
    format_time,
    parse_bandwidth,
    parse_bytes,
    parse_compute,
    parse_energy,
    parse_energy_per_byte,
    parse_frequency,
    parse_power,
    parse_rate,
    parse_time,
    parse_time_per_byte,
)

FLOAT_QUANTITIES = [q for q in QUANTITIES.values() if not q.whole]
finite = st.floats(min_value=0, allow_infinity=False, allow_nan=False)


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse_time, "50ms", 0.05),
        (parse_time, "2s", 2.0),
        (parse_time, "100us", 1e-4),
        (parse_time, "100µs", 1e-4),
        (parse_time, "100μs", 1e-4),
        (parse_time, " 1.5 min ", 90.0),
        (parse_time, "1e-3s", 1e-3),
        (parse_time, ".5ns", 5e-10),
        (parse_rate, "20/s", 20.0),
        (parse_rate, "90/min", 1.5),
        (parse_rate, "30Hz", 30.0),
        (parse_energy, "2J", 2.0),
        (parse_energy, "5mJ", 5e-3),
        (parse_power, "2.5W", 2.5),
        (parse_power, "300mW", 0.3),
        (parse_bytes, "320KiB", 327_680),
        (parse_bytes, "1MB", 1_000_000),
        (parse_bytes, "4GiB", 2**32),
        (parse_bytes, "1.5KiB", 1536),
        (parse_bytes, "4096", 4096),
        (parse_bytes, 4096, 4096),
        (parse_bandwidth, "100Mbit/s", 12.5e6),
        (parse_bandwidth, "11.5kB/s", 11_500.0),
        (parse_bandwidth, "1KiB/s", 1024.0),
        (parse_compute, "12GMAC/s", 12e9),
        (parse_frequency, "200MHz", 200e6),
        (parse_energy_per_byte, "0.5pJ/bit", 4e-12),
        (parse_energy_per_byte, "4nJ/B", 4e-9),
        (parse_time_per_byte, "1ns/B", 1e-9),
    ],
)
def test_known_texts_have_known_values(parse, text, value):
    assert parse(text) == value


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (format_time, 0.05, "50ms"),
        (format_time, 0.0, "0s"),
        (format_time, 1e-6, "1us"),
        (format_rate, 20.0, "20/s"),
        (format_energy, 0.0051234, "5.123mJ"),
        (format_power, 2.5, "2.5W"),
        (format_bytes, 327_680, "320KiB"),
        (format_bytes, 0, "0B"),
        (format_bandwidth, 12.5e6, "12.5MB/s"),
        (format_compute, 12e9, "12GMAC/s"),
        (format_energy_per_byte, 4e-12, "4pJ/B"),
    ],
)
def test_values_are_written_for_people(write, value, text):
    assert write(value) == text


@pytest.mark.parametrize("quantity", FLOAT_QUANTITIES, ids=lambda q: q.name)
@given(value=finite)
def test_exact_writing_reads_back_as_the_same_float(quantity: Quantity, value: float):
    assert quantity.parse(quantity.format(value)) == value


@given(value=st.integers(0, 2**63 - 1))
def test_exact_writing_of_bytes_reads_back_as_the_same_integer(value: int):
    assert parse_bytes(BYTES.format(value)) == value


@pytest.mark.parametrize("quantity", FLOAT_QUANTITIES, ids=lambda q: q.name)
@given(value=st.floats(1e-12, 1e15))
def test_four_digits_are_right_to_four_digits(quantity: Quantity, value: float):
    assert quantity.parse(quantity.format(value, 4)) == pytest.approx(value, rel=5.1e-4)


@given(number=st.integers(0, 10**12), places=st.integers(0, 12), data=st.data())
def test_reading_is_the_exact_fraction_rounded_once(number: int, places: int, data: st.DataObject):
    quantity = data.draw(st.sampled_from(FLOAT_QUANTITIES))
    unit, factor = data.draw(st.sampled_from(sorted(quantity.factors.items())))
    digits = str(number).rjust(places + 1, "0")
    text = f"{digits[: len(digits) - places]}.{digits[len(digits) - places :]}"
    assert quantity.parse(text + unit) == float(Fraction(number, 10**places) * factor)


@pytest.mark.parametrize("quantity", QUANTITIES.values(), ids=lambda q: q.name)
@pytest.mark.parametrize(
    "number", ["nan", "NaN", ".nan", "inf", "-inf", "-1", "-0.5", "1,5", "0x10", "", "1e9999", "٣"]
)
def test_what_is_no_number_from_zero_up_is_refused(quantity: Quantity, number: str):
    with pytest.raises(UnitError) as caught:
        quantity.parse(number + quantity.written[0])
    error = caught.value
    assert error.what and error.expected
    assert error.got == number + quantity.written[0]
    assert error.got in str(error)
    assert ("finite" in error.what) == (number.strip("-.").lower() in ("nan", "inf"))


@pytest.mark.parametrize("quantity", QUANTITIES.values(), ids=lambda q: q.name)
def test_an_unknown_unit_is_named_with_the_known_ones(quantity: Quantity):
    with pytest.raises(UnitError, match="unknown unit 'parsec'") as caught:
        quantity.parse("3parsec")
    assert quantity.written[0] in caught.value.expected
    assert quantity.example in caught.value.expected


def test_another_case_of_a_known_unit_is_pointed_out():
    with pytest.raises(UnitError, match="did you mean 'KiB'"):
        parse_bytes("320kib")


@pytest.mark.parametrize("quantity", FLOAT_QUANTITIES, ids=lambda q: q.name)
def test_a_number_without_unit_is_refused_even_if_zero(quantity: Quantity):
    for text in ("5", "0"):
        with pytest.raises(UnitError, match="the unit is missing"):
            quantity.parse(text)


def test_fractions_of_a_byte_are_refused():
    with pytest.raises(UnitError, match="whole number of bytes"):
        parse_bytes("0.3KiB")
    with pytest.raises(UnitError, match="unit is missing"):
        parse_bytes("1e3")


def test_more_bytes_than_64_bits_hold_are_refused():
    assert parse_bytes(str(2**63 - 1)) == 2**63 - 1
    with pytest.raises(UnitError, match="too large"):
        parse_bytes(str(2**63))


def test_a_long_text_is_refused_before_it_costs_anything():
    with pytest.raises(UnitError, match="too long") as caught:
        parse_time("1" * 10_000 + "s")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_impossible_values_are_not_written(value: float):
    with pytest.raises(UnitError, match="cannot be written"):
        format_time(value)
