"""Host client for standard benchmark firmware: against a scripted board, and against ours."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_interface import eembc
from firmware_interface.eembc import BenchmarkClient, Identity, Mode
from firmware_interface.eembc_measure import RULES, Benchmark, Rules, Stimulus, Window, measure
from firmware_interface.eembc_text import LineReader, hex_commands, lap_us, result_values
from firmware_interface.errors import BenchmarkError, ConnectionLostError, DeadlineError
from tests.firmware_interface.fake_benchmark_board import HOST_CLOCK, FakeBenchmarkBoard
from tests.firmware_interface.posix_board import PosixBoard, build
from tests.waiting import PATIENCE_S

STIMULI = [Stimulus(f"s{i}.bin", bytes((i * 50 + j) % 256 for j in range(300))) for i in range(5)]
Change = Callable[[str, list[str]], list[str] | None]


@pytest.fixture(autouse=True)
def _scripted_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eembc, "time", HOST_CLOCK)


def client_of(board: FakeBenchmarkBoard) -> BenchmarkClient:
    client = BenchmarkClient(board, "fake")
    client.handshake()
    return client


def replacing(command: str, old: str, new: str) -> Change:
    """Rewrite lines in the answers to commands that begin so."""
    return lambda asked, lines: [line.replace(old, new) for line in lines] if asked.startswith(command) else lines


def silent_after(command: str) -> Change:
    return lambda asked, lines: None if asked.startswith(command) else lines


@pytest.mark.parametrize("boots", [True, False])
@pytest.mark.parametrize("mode", Mode)
def test_mode_is_found_on_a_board_that_starts_and_on_one_that_has_long_been_up(boots: bool, mode: Mode) -> None:
    board = FakeBenchmarkBoard(boots=boots, energy=mode is Mode.ENERGY)
    client = client_of(board)
    assert client.mode is mode
    assert client.identify() == Identity("unspecified", "ULPMark for tinyML Firmware V0.0.1", "ic01")
    assert (client.timestamp() is None) == (mode is Mode.ENERGY)
    assert "" not in board.commands


def test_board_that_drops_what_comes_while_it_starts_is_asked_again() -> None:
    board = FakeBenchmarkBoard(boots=False)
    board.deaf = 2
    assert client_of(board).mode is Mode.PERFORMANCE
    assert board.commands[:3] == ["name"] * 3


def test_stimulus_of_any_length_arrives_in_legal_commands() -> None:
    board = FakeBenchmarkBoard(piece=50)
    client = client_of(board)
    for length in (1, 37, 38, 39, 76, 3072, 27_648):
        data = bytes(i * 13 % 256 for i in range(length))
        told: list[int] = []
        client.load(data, told.append)
        assert client.buffer() == data
        assert told[-1] == length
    assert max(map(len, board.commands)) <= 80
    for length in (0, 27_649):
        with pytest.raises(ValueError, match="27648"):
            client.load(bytes(length))


@given(st.binary(min_size=1, max_size=2000))
def test_hex_commands_hold_whole_bytes_in_order(data: bytes) -> None:
    commands = list(hex_commands(data))
    assert all(command.startswith("db ") and len(command) <= 80 for command, _ in commands)
    assert bytes.fromhex("".join(command[3:] for command, _ in commands)) == data
    assert commands[-1][1] == len(data)


@given(st.lists(st.text("abc-[]09 ", min_size=1, max_size=30)), st.integers(1, 9))
def test_lines_do_not_depend_on_how_bytes_are_cut(lines: list[str], step: int) -> None:
    data = "".join(line + "\r\n" for line in lines).encode()
    reader = LineReader()
    assert [t for at in range(0, len(data), step) for t in reader.feed(data[at : at + step])] == lines


def test_endless_line_takes_no_endless_memory() -> None:
    reader = LineReader()
    assert sum(len(line) for _ in range(100) for line in reader.feed(b"x" * 4096)) > 300_000


def test_values_and_laps_are_read_or_refused() -> None:
    assert result_values("m-results-[0.100,-0.000,12.500]") == (0.1, -0.0, 12.5)
    values = result_values("m-results-[inf,-inf,nan]")
    assert values is not None and values[:2] == (math.inf, -math.inf) and math.isnan(values[2])
    assert [result_values(text) for text in ("m-results-[]", "m-results-[1,x]", "m-results-1")] == [None] * 3
    laps = [lap_us(text) for text in ("m-lap-us-4294967295", "m-lap-us-4294967296", "m-lap-us--1", "m-lap-us-")]
    assert laps == [4294967295, None, None, None]


def test_lap_counter_may_wrap_inside_a_window() -> None:
    client = client_of(FakeBenchmarkBoard(start_us=2**32 - 700_000))
    answer = client.infer(50, 1, 1.0)
    assert answer.laps_us is not None and answer.laps_us[1] < answer.laps_us[0]
    assert answer.board_s == pytest.approx(1.0)


@pytest.mark.parametrize("inference_us", [3.0, 155.6, 20_000.0, 999_000.0, 2_500_000.0])
def test_windows_keep_the_rules_at_any_speed(inference_us: float) -> None:
    board = FakeBenchmarkBoard(inference_us=inference_us, piece=7)
    found = measure(client_of(board), STIMULI)
    assert len(found.windows) == 5
    for window, stimulus in zip(found.windows, STIMULI, strict=True):
        assert 10.0 <= window.elapsed_s < 30.0
        assert (window.iterations >= 10, window.warmups, window.stimulus) == (True, 5, stimulus.name)
        assert window.results[0] == pytest.approx(stimulus.data[0] / 255, abs=6e-4)
    assert found.throughput_per_s == pytest.approx(1e6 / inference_us, rel=1e-3)
    assert (found.void_windows, found.timed_by, found.verified) == (0, "board", True)
    assert board.commands[board.commands.index("infer 1 1") - 1] == "db print"  # the first, a short one


def test_figure_is_the_median_of_the_windows() -> None:
    speeds = {2: 20_000.0, 3: 10_000.0, 4: 12_000.0, 5: 11_500.0, 6: 11_000.0}
    board = FakeBenchmarkBoard(inference_us=lambda window: speeds.get(window, 12_000.0))
    found = measure(client_of(board), STIMULI, rules=Rules(least_s=5.0))
    rates = sorted(window.throughput_per_s for window in found.windows)
    assert rates[0] < rates[2] < rates[4]
    assert found.throughput_per_s == rates[2]


def test_figure_is_by_the_rules_when_windows_are_long_enough_and_clocks_agree() -> None:
    window = Window("s", 100, 10, elapsed_s=10.0, host_s=10.2, results=(0.0,))
    good = Benchmark("p", Identity("n", "p", "ic01"), Mode.PERFORMANCE, RULES, (window,) * 5, 0, True)
    assert good.by_the_rules
    for change in (
        {"rules": Rules(least_s=1.0)},
        {"mode": Mode.ENERGY},
        {"windows": (window, replace(window, host_s=1.0))},
        {"windows": (window, replace(window, host_s=19.0))},
    ):
        assert not replace(good, **change).by_the_rules  # type: ignore[arg-type]


def test_window_that_came_out_too_short_is_void_and_repeated() -> None:
    board = FakeBenchmarkBoard(inference_us=lambda window: 20_000.0 if window == 0 else 5_000.0)
    found = measure(client_of(board), STIMULI, rules=Rules(least_s=0.3))
    assert found.void_windows == 1
    assert all(window.elapsed_s >= 0.3 for window in found.windows)


def test_board_too_slow_for_ten_inferences_in_a_window_is_refused() -> None:
    with pytest.raises(BenchmarkError, match=r"fake, choice of the iterations: 10 inferences take 31 s"):
        measure(client_of(FakeBenchmarkBoard(inference_us=3_100_000.0)), STIMULI)


def test_board_whose_clock_stands_still_is_refused() -> None:
    with pytest.raises(BenchmarkError, match="take no time that its clock shows"):
        measure(client_of(FakeBenchmarkBoard(inference_us=0.0)), STIMULI)


def test_board_whose_speed_jumps_is_refused() -> None:
    board = FakeBenchmarkBoard(inference_us=lambda window: 20_000.0 * 50 ** (window % 2))
    with pytest.raises(BenchmarkError, match="speed changes"):
        measure(client_of(board), STIMULI)


@pytest.mark.parametrize("count", [0, 4, 6])
def test_number_of_stimuli_is_five(count: int) -> None:
    with pytest.raises(ValueError, match="exactly 5"):
        measure(client_of(FakeBenchmarkBoard()), (STIMULI * 2)[:count])


def test_another_model_than_the_asked_one_is_refused() -> None:
    with pytest.raises(BenchmarkError, match="expected model kws01, the board has ic01"):
        measure(client_of(FakeBenchmarkBoard()), STIMULI, model="kws01")


def test_energy_mode_is_timed_by_the_host_and_says_so() -> None:
    board = FakeBenchmarkBoard(energy=True, inference_us=2000.0)
    found = measure(client_of(board), STIMULI, rules=Rules(least_s=0.1))
    assert (found.mode, found.timed_by) == (Mode.ENERGY, "host")
    for window in found.windows:
        assert window.elapsed_s == window.host_s >= 0.1
    client = client_of(FakeBenchmarkBoard(energy=True))
    answer = client.infer(5, 2, 1.0)
    assert (answer.laps_us, answer.board_s) == (None, None)


def test_laps_of_a_board_in_energy_mode_are_a_surprise() -> None:
    board = FakeBenchmarkBoard(energy=True, inference_us=10.0, change=replacing("infer", "m-warmup-done", "m-lap-us-1"))
    with pytest.raises(BenchmarkError, match="none in energy mode"):
        client_of(board).infer(1, 1, 1.0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (replacing("db load", "300 bytes", "30 bytes"), r"db load: expected m-\[Expecting 300 bytes\], got m-\[Exp"),
        (replacing("db ", "m-load-done", "m-done"), "expected m-load-done, got m-done"),
        (replacing("db ", "m-load-done", "e-[Invalid hex digit 'zz']"), "the board refused 'db "),
        (replacing("db print", "m-buffer-00-01", "m-buffer-00-00"), "not what was sent"),
        (replacing("infer", "m-infer-start-", "m-infer-start-9"), "expected m-infer-start-1, got "),
        (replacing("infer", "m-warmup-start-", "m-warmup-start-9"), "expected m-warmup-start-1"),
        (replacing("infer", "m-lap-us-", "m-lap-cycles-"), "expected two m-lap-us- lines"),
        (replacing("infer", "m-results-[", "m-results-[x"), r"expected one line m-results-\[f,f,...\]"),
        (replacing("infer", "m-infer-done", "m-infer-stop"), "expected m-infer-done"),
        (replacing("profile", "m-model-", "m-modell-"), r"expected one line m-model-\[...\]"),
        (replacing("name", "m-name-dut-[", "m-name-dut-"), "expected one line m-name-dut-"),
    ],
)
def test_what_the_protocol_does_not_have_is_an_error_with_phase_and_port(change: Change, said: str) -> None:
    with pytest.raises(BenchmarkError, match=said) as caught:
        measure(client_of(FakeBenchmarkBoard(change=change)), STIMULI)
    assert str(caught.value).startswith(f"fake, {caught.value.phase}: ")


@pytest.mark.parametrize("command", ["profile", "db load", "db 00", "db print", "infer 1 1", "infer 5"])
def test_silence_ends_at_a_deadline_that_names_phase_port_and_last_bytes(command: str) -> None:
    board = FakeBenchmarkBoard(change=silent_after(command))
    phase = "db, bytes to 38 of 300" if command == "db 00" else command
    with pytest.raises(DeadlineError, match=rf"m-ready from fake during {phase}.*last: '.*m-ready"):
        measure(client_of(board), STIMULI, patience_s=0.2)


def test_board_that_never_answers_and_one_at_another_rate_are_told_apart() -> None:
    silent = FakeBenchmarkBoard(boots=False, change=lambda command, lines: None)
    with pytest.raises(DeadlineError, match=r"during handshake within 3 s \(last: nothing\)"):
        BenchmarkClient(silent, "fake").handshake(3.0)
    garbling = FakeBenchmarkBoard(boots=False, change=lambda command, lines: ["\x80\xf8\x00"])
    with pytest.raises(DeadlineError, match="is it the right baud rate"):
        BenchmarkClient(garbling, "fake").handshake(3.0)


def test_slow_lines_and_lines_of_the_vendor_do_no_harm() -> None:
    def chatty(command: str, lines: list[str]) -> list[str]:
        return ["4 bytes lost due to alignment.", *lines]

    board = FakeBenchmarkBoard(piece=5, delay_s=0.0005, change=chatty)
    client = client_of(board)
    client.load(bytes(range(100)))
    assert client.buffer() == bytes(range(100))
    assert client.infer(3, 1, 1.0).iterations == 3


def test_flood_without_ready_is_refused() -> None:
    board = FakeBenchmarkBoard(change=lambda command, lines: ["noise"] * 30_000)
    with pytest.raises(BenchmarkError, match="lines without m-ready"):
        client_of(board).identify()


def test_port_that_closes_is_told_with_the_phase() -> None:
    board = FakeBenchmarkBoard()
    client = client_of(board)

    def closed(timeout_s: float) -> bytes:
        raise ConnectionLostError("gone")

    board.read = closed  # type: ignore[method-assign]
    with pytest.raises(ConnectionLostError, match=r"gone, during profile|gone, during name"):
        client.identify()


@settings(deadline=None, max_examples=40)
@given(st.binary(max_size=300))
def test_any_bytes_of_a_board_end_in_an_error_of_ours_or_an_answer(noise: bytes) -> None:
    board = FakeBenchmarkBoard()
    client = client_of(board)
    board.change = lambda command, lines: [*noise.decode("latin-1").split("\n"), "m-ready"]
    try:
        identity = client.identify()
    except BenchmarkError:
        return
    assert identity.name


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> PosixBoard:
    build("eembc", "EEMBC_BOARDS=posix-sanitized")
    return PosixBoard(tmp_path_factory.mktemp("eembc"), variant="eembc-ic01")


def test_our_firmware_is_measured_as_any_other(ours: PosixBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eembc, "time", time)  # a real board, in real time
    monkeypatch.setattr(eembc, "ANSWER_S", PATIENCE_S)
    stimuli = [Stimulus(str(i), bytes((i + j) % 256 for j in range(3072))) for i in range(5)]
    with ours, BenchmarkClient(ours.port(), "ours") as client:
        found = measure(client, stimuli, model="ic01", rules=Rules(least_s=0.05, most_s=20.0))
        assert found.identity == Identity("edgecut checksum", "edgecut: checksum of the input, no network", "ic01")
        assert client.results() == found.windows[-1].results
    assert all(window.elapsed_s >= 0.05 and window.iterations >= 10 for window in found.windows)
    assert len({window.results for window in found.windows}) == 5


def test_rules_are_those_of_the_suite() -> None:
    assert Rules(stimuli=5, least_s=10.0, least_iterations=10, most_s=30.0) == RULES


def test_port_that_is_not_there_is_told() -> None:
    with pytest.raises(ConnectionLostError, match="cannot open"):
        eembc.open_benchmark(str(Path("/dev/no-such-port")), 115_200)
