"""System files: how boards are wired."""

from __future__ import annotations

from tests.boards.system_texts import BOARD, CABLE, ENDS, HEAD, TWO


def test_a_full_duplex_cable_is_two_links_with_a_medium_each(load):
    system = load(TWO + CABLE + ENDS)
    assert [(x.name, x.source, x.target, x.medium) for x in system.links] == [
        ("a->b", "a", "b", "a->b"),
        ("b->a", "b", "a", "b->a"),
    ]


def test_a_half_duplex_cable_is_two_links_with_one_medium(load):
    system = load(TWO + "links:\n  - {between: [a, b], medium: spi}\n" + ENDS)
    assert [x.medium for x in system.links] == ["a<->b", "a<->b"]


def test_a_one_way_link_is_one_link(load):
    system = load(TWO + "links:\n  - {from: a, to: b, medium: spi}\n" + ENDS)
    assert [(x.name, x.medium) for x in system.links] == [("a->b", "a->b")]


def test_figures_of_a_medium_may_be_overridden_by_the_link(load):
    system = load(
        TWO + "links:\n  - {between: [a, b], medium: ethernet-100m, bandwidth: 50Mbit/s, setup: 1ms}\n" + ENDS
    )
    for link in system.links:
        assert (link.bandwidth_bytes_per_s, link.setup_s, link.header_bytes) == (6.25e6, 1e-3, 26)


def test_a_link_may_be_written_out_without_a_named_medium(load):
    system = load(TWO + "links:\n  - {from: a, to: b, bandwidth: 1MB/s, mtu: 100, overlap: false}\n" + ENDS)
    link = system.links[0]
    assert (link.bandwidth_bytes_per_s, link.mtu_bytes, link.overlap) == (1e6, 100, False)


def test_a_file_may_define_media_of_its_own(load):
    text = TWO + "media:\n  slow: {use: fast, bandwidth: 1kB/s}\n  fast: {use: uart, overlap: true}\n"
    link = load(text + "links:\n  - {between: [a, b], medium: slow}\n" + ENDS).links[0]
    assert (link.bandwidth_bytes_per_s, link.overlap, link.mtu_bytes) == (1000.0, True, 1024)


def test_a_shared_medium_joins_every_pair_by_one_resource(load):
    text = HEAD + "boards: {a: {use: local-core}, b: {use: local-core}, c: {use: local-core}}\n"
    system = load(text + "shared_media: [{name: air, medium: wifi-4, boards: [a, b, c]}]\n" + ENDS)
    assert {x.name for x in system.links} == {"a->b", "b->a", "a->c", "c->a", "b->c", "c->b"}
    assert system.media == ("air",)


def test_a_switch_is_an_egress_and_an_ingress_port_for_each_board(load):
    text = HEAD + "boards: {a: {use: local-core}, b: {use: local-core}, c: {use: local-core}}\n"
    system = load(text + "switches: [{name: sw, medium: ethernet-1g, boards: [a, b, c]}]\n" + ENDS)
    assert system.switches == ("sw",)
    assert [x.name for x in system.links] == ["a->sw", "sw->a", "b->sw", "sw->b", "c->sw", "sw->c"]
    assert len(system.media) == 6
    route = system.route("a", "c")
    assert route is not None
    assert [system.links[i].name for i in route] == ["a->sw", "sw->c"]


def test_switches_may_be_joined_by_a_cable(load):
    boards = "boards: {a: {use: local-core}, b: {use: local-core}, c: {use: local-core}, d: {use: local-core}}\n"
    switches = (
        "switches:\n  - {name: s1, medium: ethernet-1g, boards: [a, b]}\n"
        "  - {name: s2, medium: ethernet-1g, boards: [c, d]}\n"
        "links:\n  - {between: [s1, s2], medium: ethernet-10g}\n"
    )
    system = load(HEAD + boards + switches + "source: a\nsink: d\n")
    assert len(system.route("a", "d") or ()) == 3


def test_a_second_connection_of_two_boards_is_told_apart_by_its_name(load):
    text = TWO + CABLE + "  - {between: [a, b], medium: spi, name: wires}\n"
    text += "shared_media: [{name: air, medium: wifi-4, boards: [a, b]}]\n" + ENDS
    assert [x.name for x in load(text).links] == [
        "a->b",
        "b->a",
        "a->b#wires",
        "b->a#wires",
        "a->b#air",
        "b->a#air",
    ]


def test_a_ring_of_links_is_a_legal_system(load):
    text = HEAD + "boards: {a: {use: local-core}, b: {use: local-core}, c: {use: local-core}}\nlinks:\n"
    for source, target in (("a", "b"), ("b", "c"), ("c", "a")):
        text += f"  - {{from: {source}, to: {target}, medium: ethernet-1g}}\n"
    assert len(load(text + ENDS).links) == 3


def test_a_board_may_use_another_of_the_file_and_keeps_its_own_name(load):
    text = HEAD + "boards:\n  a: {use: raspberry-pi-4, removable: true}\n  b: {use: a, ram: 1GiB}\n"
    system = load(text + CABLE + ENDS)
    assert [(b.name, b.model, b.removable) for b in system.boards] == [
        ("a", "raspberry-pi-4", True),
        ("b", "raspberry-pi-4", True),
    ]
    assert system.board("b").ram_bytes == 2**30


def test_a_board_may_be_written_out_in_the_file(load):
    system = load(HEAD + f"boards:\n  a: {{{BOARD}}}\nsource: a\nsink: a\n")
    assert system.boards[0].model == "inline"
    assert system.links == ()


def test_words_that_yaml_takes_for_something_else_stay_words(load):
    text = HEAD + f"boards:\n  no: {{{BOARD}}}\nsource: no\nsink: no\n"
    assert load(text).boards[0].name == "no"
