"""The report in a real browser, opened from file:// as a user would."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optimizer.report import write_report
from tests.integration.browser import Browser
from tests.needs import needs_chromium, needs_program
from tests.optimizer.report_samples import sample

pytestmark = [pytest.mark.integration, pytest.mark.needs_chromium]

_STATES = """
return [...document.querySelectorAll('#graph .segment')].map((block) =>
  [...block.querySelectorAll(':scope > [data-face]')]
    .filter((face) => face.getClientRects().length > 0).map((face) => face.dataset.face).join());
"""
_GEOMETRY = """
const attributes = (selector, ...names) => [...document.querySelectorAll(selector)]
  .map((e) => names.map((n) => e.getAttribute(n)).join(' '));
return [attributes('[id^=block]', 'transform'), attributes('#wires path', 'd'),
  attributes('#wire-labels text', 'x', 'y'), attributes('#graph', 'width', 'height')].flat();
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = needs_chromium()
    driver = needs_program("chromedriver", "apt-get install chromium-driver")
    with Browser(chromium, driver) as opened:
        yield opened


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A middling report and one as large as ResNet-152's, over four boards with skips."""
    folder = tmp_path_factory.mktemp("reports")
    middling, large = folder / "middling.html", folder / "large.html"
    write_report(sample(12, boards=("left", "hub", "right"), measured=True), middling)
    write_report(sample(64, boards=("a", "b", "c", "d")), large)
    return {"middling": middling, "large": large}


@pytest.fixture
def page(browser: Browser, reports: dict[str, Path]) -> Browser:
    browser.resize(1280, 900)
    browser.protocol("Emulation.setEmulatedMedia", {"media": "", "features": []})
    browser.open(reports["middling"])
    return browser


def test_page_opens_without_console_messages_and_with_every_section(page: Browser) -> None:
    sections = page.run("return [...document.querySelectorAll('main > section')].map((s) => s.id)")
    assert sections == [
        "figures",
        "measured",
        "proof",
        "pareto",
        "gantt",
        "memory",
        "segments",
        "transfers",
        "front",
        "baselines",
        "network",
    ]
    heights = page.run(
        "return [...document.querySelectorAll('main > section')].map((s) => s.getBoundingClientRect().height)"
    )
    assert min(heights) > 80
    assert page.console() == []


def test_console_messages_would_be_seen(page: Browser) -> None:
    page.run("console.error('seen'); setTimeout(() => { throw new Error('thrown'); }, 0)")
    page.run("return new Promise((done) => setTimeout(done, 50))")
    text = " ".join(page.console())
    assert "seen" in text and "thrown" in text


def test_page_asks_the_network_for_nothing(page: Browser) -> None:
    assert page.run("return performance.getEntriesByType('resource').map((e) => e.name)") == []


def test_segment_closes_and_opens_by_click(page: Browser) -> None:
    assert page.run(_STATES) == ["blocks", "blocks", "blocks"]
    before = page.run(_GEOMETRY)
    height = page.run("return document.getElementById('graph').getBoundingClientRect().height")
    page.click("#block2 .toggle")
    assert page.run(_STATES) == ["blocks", "closed", "blocks"]
    assert page.run("return document.querySelector('#block2 .toggle').getAttribute('aria-expanded')") == "false"
    assert page.run("return document.getElementById('graph').getBoundingClientRect().height") < height
    page.click("#block2 .toggle")
    assert page.run(_STATES) == ["blocks", "blocks", "blocks"]
    # The browser stacks by the rule that Python stacked by.
    assert _numbers(page.run(_GEOMETRY)) == pytest.approx(_numbers(before), abs=0.26)
    assert page.console() == []


def test_browser_stacks_lanes_and_parallel_rows_as_python_does(browser: Browser, tmp_path: Path) -> None:
    data = sample(12, boards=("left", "hub", "right"))
    first, *_ = (t for t in data.plan.transfers if t.producer == "s0")
    fork = replace(first, consumers=("s1", "s2"))
    plan = replace(data.plan, transfers=tuple(fork if t is first else t for t in data.plan.transfers))
    write_report(replace(data, front=replace(data.front, plans=(plan,))), tmp_path / "fork.html")
    browser.resize(1280, 900)
    browser.open(tmp_path / "fork.html")
    before = browser.run(_GEOMETRY)
    browser.click("[data-all=closed]")
    browser.click("[data-all=blocks]")
    assert _numbers(browser.run(_GEOMETRY)) == pytest.approx(_numbers(before), abs=0.26)
    assert len(before) > 10


def _numbers(texts: list[str]) -> list[float]:
    return [float(x) for text in texts for x in re.findall(r"-?\d+(?:\.\d+)?", text)]


def test_segment_opens_by_keyboard_and_keeps_what_was_shown(page: Browser) -> None:
    page.press("#block1 .detail", "\ue007")  # Enter
    assert page.run(_STATES)[0] == "operators"
    page.press("#block1 .toggle", " ")
    assert page.run(_STATES)[0] == "closed"
    page.press("#block1 .toggle", "\ue007")
    assert page.run(_STATES)[0] == "operators"
    assert page.run("return document.activeElement.classList.contains('toggle')") is True


def test_buttons_set_all_segments(page: Browser) -> None:
    for name in ("operators", "closed", "blocks"):
        page.click(f"[data-all={name}]")
        assert page.run(_STATES) == [name] * 3


def test_opened_blocks_do_not_overlap(page: Browser) -> None:
    page.click("[data-all=operators]")
    boxes: list[Any] = page.run(
        "return [...document.querySelectorAll('[id^=block]')].map((b) => "
        "{ const r = b.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; })"
    )
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def tip_with(page: Browser, text: str) -> str:
    """What the tooltip says once it says ``text``, or after a minute; its event may come after the click's."""
    end = time.monotonic() + 60.0
    while True:
        tip = page.run("const t = document.getElementById('tooltip'); return t.hidden ? '' : t.textContent")
        if text in str(tip) or time.monotonic() > end:
            return str(tip)
        time.sleep(0.05)


def test_tooltip_follows_pointer_focus_and_escape(page: Browser) -> None:
    page.click("#pareto .pt.chosen > path")
    assert tip_with(page, "Plan 1").startswith("Plan 1 (chosen): 44.8 /s")
    page.press("body", "\ue00c")  # Escape
    assert page.run("return document.getElementById('tooltip').hidden") is True
    page.click("#gantt .bar")
    assert "frame n" in tip_with(page, "frame n")


def test_tooltip_keeps_the_words_for_assistive_technology(page: Browser) -> None:
    page.click("#pareto .pt.chosen > path")
    label = page.run("return document.querySelector('#pareto .pt.chosen').getAttribute('aria-label')")
    assert str(label).startswith("Plan 1 (chosen)")


@pytest.mark.parametrize("width", [400, 700, 1280])
def test_page_never_scrolls_sideways(page: Browser, width: int) -> None:
    page.resize(width, 900)
    assert page.run("return document.documentElement.scrollWidth") <= width
    texts = page.run(
        "return [...document.querySelectorAll('.card p, .m-text, .g-name, h1, h2')]"
        ".filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.textContent)"
    )
    assert texts == []


def test_nothing_is_cut_off_on_paper(page: Browser) -> None:
    page.resize(760, 900)
    page.protocol("Emulation.setEmulatedMedia", {"media": "print"})
    cut = page.run(
        "return [...document.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth + 1)"
        ".map((e) => e.getAttribute('aria-label'))"
    )
    assert cut == []


def test_bar_labels_are_shown_whole_or_not_at_all(page: Browser) -> None:
    for width in (400, 1280):
        page.resize(width, 900)
        cut = page.run(
            "return [...document.querySelectorAll('.bar span')].filter((s) => s.getClientRects().length && "
            "s.getBoundingClientRect().right > s.parentElement.getBoundingClientRect().right + 0.5)"
            ".map((s) => s.textContent)"
        )
        assert cut == []


def test_dark_mode_keeps_text_apart_from_its_ground(page: Browser) -> None:
    script = """
    const light = (css) => {
      const [r, g, b] = css.match(/[\\d.]+/g).map(Number).map((v) => {
        const c = v / 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    return ['--ink', '--soft', '--good', '--fair', '--none', '--mark'].map((name) => {
      const probe = document.createElement('i');
      probe.style.color = `var(${name})`;
      probe.style.backgroundColor = 'var(--card)';
      document.body.append(probe);
      const style = getComputedStyle(probe);
      const [a, b] = [light(style.color), light(style.backgroundColor)].sort((x, y) => y - x);
      probe.remove();
      return (a + 0.05) / (b + 0.05);
    });
    """
    for scheme in ("light", "dark"):
        page.protocol("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        assert min(page.run(script)) >= 4.5, scheme
    paper = page.run("return getComputedStyle(document.body).backgroundColor")
    assert paper == "rgb(18, 22, 28)"


def test_page_tells_all_without_scripts(browser: Browser, reports: dict[str, Path]) -> None:
    browser.resize(1280, 900)
    browser.protocol("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.open(reports["middling"])
    finally:
        browser.protocol("Emulation.setScriptExecutionDisabled", {"value": False})
    assert browser.run("return document.documentElement.classList.contains('scripted')") is False
    assert browser.run(_STATES) == ["blocks", "blocks", "blocks"]
    assert browser.run("return getComputedStyle(document.querySelector('.buttons')).display") == "none"


def test_report_of_resnet152_size_opens_closed_and_expands(browser: Browser, reports: dict[str, Path]) -> None:
    assert reports["large"].stat().st_size < 6_000_000
    browser.open(reports["large"])
    assert browser.run(_STATES) == ["closed"] * 4
    browser.click("[data-all=operators]")
    assert browser.run(_STATES) == ["operators"] * 4
    model = json.loads(browser.run("return document.getElementById('graph-model').textContent"))
    assert len(model["blocks"]) == 6
    shown = browser.run(
        "return [...document.querySelectorAll('#graph .box')].filter((b) => b.getClientRects().length).length"
    )
    assert shown == 6 + 8 * 64
    assert browser.console() == []
