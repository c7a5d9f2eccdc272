"""System files that cannot be used: file, line, key, expected and got are said."""

from __future__ import annotations

from textwrap import dedent

import pytest

from boards.catalog import load_system
from boards.errors import BoardsError, CycleError, DescriptionError
from tests.boards.system_texts import BOARD, CABLE, ENDS, HEAD, PROCESSOR, TWO

# What is refused: (text, key of the first fault, line, words of the message)
REFUSED = {
    "unknown unit": (
        TWO + "links:\n  - {between: [a, b], medium: spi, bandwidth: 3parsec/s}\n" + ENDS,
        "links[0].medium.bandwidth",
        7,
        ["unknown unit 'parsec/s'", "100Mbit/s"],
    ),
    "unknown key": (
        TWO.replace("b: {use: local-core}", "b: {use: local-core, rma: 1GiB}") + CABLE + ENDS,
        "boards.b.rma",
        5,
        ["unknown key 'rma'", "Did you mean 'ram'?"],
    ),
    "unknown key of a link": (
        TWO + "links:\n  - {between: [a, b], medium: spi, bandwith: 1MB/s}\n" + ENDS,
        "links[0].bandwith",
        7,
        ["Did you mean 'bandwidth'?"],
    ),
    "duplicate key": (TWO + "boards: {}\n", "boards", 6, ["stands twice", "line 3"]),
    "duplicate board": (
        HEAD + "boards:\n  a: {use: local-core}\n  a: {use: local-core}\n" + ENDS,
        "boards.a",
        5,
        ["stands twice"],
    ),
    "missing source": (TWO + CABLE + "sink: b\n", "source", 1, ["'source' is missing"]),
    "missing sink": (TWO + CABLE + "source: a\n", "sink", 1, ["'sink' is missing"]),
    "unknown source": (TWO + CABLE + "source: aa\nsink: b\n", "source", 8, ["unknown board 'aa'", "a, b"]),
    "sink is a switch": (
        TWO + "switches: [{name: sw, medium: spi, boards: [a, b]}]\nsource: a\nsink: sw\n",
        "sink",
        8,
        ["unknown board 'sw'"],
    ),
    "link to an unknown board": (
        TWO + "links:\n  - {between: [a, bb], medium: spi}\n" + ENDS,
        "links[0]",
        7,
        ["unknown board or switch 'bb'", "a, b"],
    ),
    "unconnected": (
        TWO.replace("b: {use", "lonely: {use: local-core}\n  b: {use") + CABLE + ENDS,
        "boards",
        3,
        ["unconnected", "lonely cannot be reached from the source 'a'"],
    ),
    "cannot reach the sink": (
        HEAD
        + "boards: {a: {use: local-core}, b: {use: local-core}, pit: {use: local-core}}\n"
        + CABLE
        + "  - {from: a, to: pit, medium: spi}\n"
        + ENDS,
        "boards",
        3,
        ["pit cannot reach the sink 'b'"],
    ),
    "zero boards": (HEAD + "boards: {}\n" + ENDS, "boards", 3, ["at least 1"]),
    "empty boards": (HEAD + "boards:\n" + ENDS, "boards", 3, ["expected `key: value` lines", "got nothing"]),
    "unknown catalog entry": (
        TWO.replace("b: {use: local-core}", "b: {use: local-cor}") + CABLE + ENDS,
        "boards.b.use",
        5,
        ["unknown board 'local-cor'", "Did you mean 'local-core'?"],
    ),
    "unknown medium": (
        TWO + "links:\n  - {between: [a, b], medium: ethernet-100}\n" + ENDS,
        "links[0].medium",
        7,
        ["unknown medium 'ethernet-100'", "Did you mean 'ethernet-100m'?"],
    ),
    "board name with a slash": (
        HEAD + f"boards:\n  a/b: {{{BOARD}}}\nsource: a/b\nsink: a/b\n",
        "boards.a/b",
        4,
        ["letters, digits"],
    ),
    "two cables alike": (
        TWO + CABLE + "  - {between: [b, a], medium: spi}\n" + ENDS,
        "links[1]",
        8,
        ["two links alike", "`name:`"],
    ),
    "link to itself": (
        TWO + CABLE + "  - {between: [b, b], medium: spi}\n" + ENDS,
        "links[1]",
        8,
        ["a link to itself"],
    ),
    "both forms of a link": (
        TWO + "links:\n  - {between: [a, b], from: a, to: b, medium: spi}\n" + ENDS,
        "links[0]",
        7,
        ["two ends", "between, from, to"],
    ),
    "half of a link": (
        TWO + "links:\n  - {from: a, medium: spi}\n" + ENDS,
        "links[0]",
        7,
        ["two ends", "both `from: a` and `to: b`"],
    ),
    "link without medium": (
        TWO + "links:\n  - {between: [a, b]}\n" + ENDS,
        "links[0].medium",
        7,
        ["'medium' is missing"],
    ),
    "three ends": (
        TWO + "links:\n  - {between: [a, b, a], medium: spi}\n" + ENDS,
        "links[0].between",
        7,
        ["at most 2"],
    ),
    "negative figure": (
        TWO.replace("b: {use: local-core}", "b: {use: local-core, ram: -1GiB}") + CABLE + ENDS,
        "boards.b.ram",
        5,
        ["negative", "-1GiB"],
    ),
    "zero ram": (
        TWO.replace("b: {use: local-core}", "b: {use: local-core, ram: 0B}") + CABLE + ENDS,
        "boards.b.ram",
        5,
        ["zero"],
    ),
    "idle above active": (
        TWO.replace(
            "b: {use: local-core}",
            "b: {use: local-core, processors: [{name: cpu, idle_power: 9W}]}",
        )
        + CABLE
        + ENDS,
        "boards.b.processors[0]",
        5,
        ["active_power is below idle_power"],
    ),
    "flash without a size": (
        TWO.replace("b: {use: local-core}", "b: {use: local-core, weights_in: flash}") + CABLE + ENDS,
        "boards.b",
        5,
        ["weights_in is flash"],
    ),
    "not a choice": (
        TWO.replace("b: {use: local-core}", "b: {use: local-core, weights_in: rom}") + CABLE + ENDS,
        "boards.b.weights_in",
        5,
        ["'ram' or 'flash'", "rom"],
    ),
    "not a yes or no": (
        TWO.replace("b: {use: local-core}", "b: {use: local-core, removable: maybe}") + CABLE + ENDS,
        "boards.b.removable",
        5,
        ["true or false", "maybe"],
    ),
    "unknown precision": (
        HEAD + f"boards:\n  a: {{{BOARD.replace('fp32', 'fp64')}}}\nsource: a\nsink: a\n",
        "boards.a.processors[0].macs.fp64",
        4,
        ["'fp32', 'fp16' or 'int8'"],
    ),
    "two processors of one name": (
        HEAD + f"boards:\n  a: {{processors: [{PROCESSOR}, {PROCESSOR}], ram: 1GiB}}\nsource: a\nsink: a\n",
        "boards.a",
        4,
        ["two processors of one name", "cpu"],
    ),
    "name of switch and board": (
        TWO + "switches: [{name: a, medium: spi, boards: [a, b]}]\n" + ENDS,
        "switches[0].name",
        6,
        ["name in use"],
    ),
    "board twice on a switch": (
        TWO + "switches: [{name: sw, medium: spi, boards: [a, b, a]}]\n" + ENDS,
        "switches[0].boards[2]",
        6,
        ["named twice"],
    ),
    "figure with unknown keys": (
        TWO.replace("b: {use: local-core}", "b: {use: local-core, ram: {value: 1GiB, sauce: me}}") + CABLE + ENDS,
        "boards.b.ram",
        5,
        ["not a figure", "'sauce'"],
    ),
    "list for a figure": (
        TWO.replace("b: {use: local-core}", "b: {use: local-core, ram: [1GiB]}") + CABLE + ENDS,
        "boards.b.ram",
        5,
        ["not a quantity", "a list"],
    ),
    "another schema": (
        "schema: edgecut/lab/1\nname: x\n",
        "schema",
        1,
        ["edgecut/system/1", "edgecut/lab/1"],
    ),
    "no schema": ("name: x\n", "schema", 1, ["edgecut/system/1"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_file_is_refused_with_file_line_key_expected_and_got(case: str, refuse):
    text, key, line, words = REFUSED[case]
    faults = refuse(text)
    fault = faults[0]
    assert (fault.key, fault.line) == (key, line), faults
    assert fault.file.endswith("bench.yaml")
    for word in words:
        assert word in str(fault)
    assert fault.expected and fault.got


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("boards: [a, b\n", "not readable as YAML"),
        ("- a\n- b\n", "a list"),
        ("", "an empty file"),
        ("just words\n", "a single value"),
        ("a: &x {b: 1}\nc: *x\n", "aliases"),
        ("a: &x [*x]\n", "aliases"),
        ("a: " + "[" * 100_000, "nested too deeply"),
        ("a: \x07\n", "not readable as YAML"),
        ("? [a]\n: b\n", "plain word"),
        ("#" * (2**20 + 1), "too large"),
        ("a: 1\n---\nb: 2\n", "not readable as YAML"),
    ],
)
def test_what_is_no_yaml_mapping_is_refused(text: str, words: str, refuse):
    assert words in str(refuse(text)[0])


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path):
    with pytest.raises(DescriptionError, match="No such file"):
        load_system(tmp_path / "none.yaml")
    with pytest.raises(DescriptionError, match="cannot be read"):
        load_system(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    with pytest.raises(DescriptionError, match="UTF-8"):
        load_system(tmp_path / "latin.yaml")


def test_all_faults_of_a_file_are_told_at_once(refuse):
    text = HEAD + "boards:\n  a: {use: local-core, ram: 3parsec}\n  b: {use: local-core, rma: 1GiB}\n" + CABLE
    keys = [f.key for f in refuse(text)]
    assert keys == ["boards.a.ram", "boards.b.rma", "source", "sink"]


def test_a_fault_in_a_file_that_is_used_names_that_file(tmp_path, refuse):
    (tmp_path / "mine.yaml").write_text("schema: edgecut/board/1\nuse: local-core\nram: lots\n")
    fault = refuse(HEAD + "boards:\n  a: {use: mine.yaml}\nsource: a\nsink: a\n")[0]
    assert fault.file.endswith("mine.yaml")
    assert fault.line == 3


@pytest.mark.parametrize(
    ("boards", "path"),
    [
        ("a: {use: a}", ("a", "a")),
        ("a: {use: b}\n  b: {use: a}", ("a", "b", "a")),
        ("a: {use: b}\n  b: {use: c}\n  c: {use: b}", ("b", "c", "b")),
    ],
)
def test_a_cyclic_use_is_refused_with_the_path(boards: str, path: tuple[str, ...], load):
    with pytest.raises(CycleError, match="cyclic definition") as caught:
        load(dedent(HEAD) + f"boards:\n  {boards}\nsource: a\nsink: a\n")
    assert caught.value.path == path
    assert " -> ".join(path) in str(caught.value)
    assert ".use" in caught.value.faults[0].key


def test_a_cyclic_medium_is_refused_with_the_path(load):
    text = TWO + "media: {x: {use: y}, y: {use: x}}\nlinks:\n  - {between: [a, b], medium: x}\n" + ENDS
    with pytest.raises(CycleError, match="x -> y -> x"):
        load(text)


def test_many_faults_are_counted_and_not_all_printed(load):
    boards = "\n".join(f"  b{i}: {{use: local-core, ram: x}}" for i in range(20))
    with pytest.raises(BoardsError, match="and 12 more") as caught:
        load(HEAD + "boards:\n" + boards + "\nsource: b0\nsink: b0\n")
    assert len(str(caught.value).splitlines()) == 9
