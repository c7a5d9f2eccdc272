"""Which shaping an emulation takes, what it says it leaves out, which cores boards get."""

from __future__ import annotations

from dataclasses import replace

import pytest

from boards.board import Board, Link, Processor, System
from boards.catalog import load_system
from hil import emulate_choices
from hil.emulate_choices import choose_cores, choose_shaping, payload_bytes_per_s
from hil.errors import EmulationError
from hil.netns import tbf_options

_FAST = Link("a->b", "a", "b", "a->b", 2e9)
_SLOW = replace(_FAST, bandwidth_bytes_per_s=1e6)


def _system(*links: Link) -> System:
    processor = Processor("cpu", "cpu", {"fp32": 1e9}, 1e9, 0.0, 1.0, 0.1)
    boards = tuple(Board(n, "inline", (processor,), 2**30, None, "ram", False, "onnxruntime", 0, True) for n in "ab")
    return System("small", boards, links, "a", "b")


@pytest.fixture
def _with_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulate_choices, "namespaces_unavailable", lambda: "")


@pytest.fixture
def _without_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulate_choices, "namespaces_unavailable", lambda: "they need root")


@pytest.mark.usefixtures("_with_namespaces")
def test_kernel_shapes_where_it_can() -> None:
    assert choose_shaping(load_system("demo"), "auto") == ("tc", ())


@pytest.mark.usefixtures("_without_namespaces")
def test_relay_paces_where_the_kernel_may_not() -> None:
    shaping, notes = choose_shaping(_system(_SLOW), "auto")
    assert shaping == "relay"
    assert "they need root" in " ".join(notes)


@pytest.mark.usefixtures("_with_namespaces")
def test_links_as_fast_as_loopback_are_left_alone() -> None:
    assert choose_shaping(_system(_FAST), "auto") == ("none", ())
    assert choose_shaping(load_system("demo-unshaped"), "auto") == ("none", ())


@pytest.mark.usefixtures("_with_namespaces")
@pytest.mark.parametrize(
    "links",
    [
        (replace(_SLOW, latency_s=0.02),),
        (replace(_SLOW, medium="air"), replace(_SLOW, name="b->a", source="b", target="a", medium="air")),
    ],
)
def test_relay_does_what_tc_cannot(links: tuple[Link, ...]) -> None:
    assert choose_shaping(_system(*links), "auto") == ("relay", ())
    shaping, notes = choose_shaping(_system(*links), "tc")
    assert shaping == "tc"
    assert "a->b" in " ".join(notes)


@pytest.mark.usefixtures("_without_namespaces")
def test_tc_that_cannot_be_had_is_an_error_with_a_way_out() -> None:
    with pytest.raises(EmulationError, match=r"they need root.*--shaping relay"):
        choose_shaping(_system(_SLOW), "tc")


def test_no_shaping_is_said_plainly() -> None:
    assert choose_shaping(_system(_FAST), "none") == ("none", ())
    assert "Not shaped: a->b" in choose_shaping(_system(_SLOW), "none")[1][0]


@pytest.mark.usefixtures("_with_namespaces")
def test_setup_time_is_said_to_be_left_out() -> None:
    assert "Set-up time" in choose_shaping(_system(replace(_SLOW, setup_s=0.01)), "auto")[1][0]


def test_cores_go_round_and_sharing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulate_choices, "available_cores", lambda: (0, 1))
    assert choose_cores(2, None) == ((0, 1), ())
    assert choose_cores(2, [1, 0]) == ((1, 0), ())
    cores, notes = choose_cores(3, None)
    assert cores == (0, 1)
    assert "3 boards share 2 core(s)" in notes[0]
    assert choose_cores(2, [1, 1])[1]
    with pytest.raises(EmulationError, match=r"core 7 cannot be used.*0, 1"):
        choose_cores(2, [0, 7])


def test_machine_without_affinity_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulate_choices, "available_cores", lambda: ())
    assert choose_cores(2, None)[0] == ()
    assert choose_cores(2, None)[1]


def test_payload_rate_discounts_headers() -> None:
    assert payload_bytes_per_s(_SLOW) == pytest.approx(1e6)
    framed = replace(_SLOW, mtu_bytes=1000, header_bytes=250)
    assert payload_bytes_per_s(framed) == pytest.approx(0.8e6, rel=1e-3)


@pytest.mark.parametrize("rate", [1e3, 9e4, 1.2e7, 1.2e8, 1e9])
def test_shaper_lets_a_full_frame_pass_and_little_more(rate: float) -> None:
    options = tbf_options(rate)
    values = dict(zip(options[::2], options[1::2], strict=True))
    bits_per_s = int(values["rate"].removesuffix("bit"))
    assert rate * 8 < bits_per_s < rate * 8 * 1.2  # headers on top
    assert int(values["burst"]) >= 2 * 590
    assert int(values["burst"]) < max(3200, rate * 1e-3)
