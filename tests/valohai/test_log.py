"""What a step prints: all of it in a file, what a log can take in the log."""

from __future__ import annotations

import json
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_datasets.core.format import keys
from prefect_datasets.valohai.running.log_lines import MOST_BYTES, LineCutter, readable
from prefect_datasets.valohai.running.step_metadata import MOST_KEYS, MOST_VALUES, StepMetadata
from prefect_datasets.valohai.running.throttle import Throttle
from tests.valohai.steps import Heard, Machine


@given(text=st.binary(max_size=400), cuts=st.lists(st.integers(0, 400), max_size=8))
def test_lines_do_not_depend_on_how_they_arrive(text: bytes, cuts: list[int]) -> None:
    text = text.replace(b"\r", b"")
    cutter = LineCutter()
    places = [0, *sorted(cuts), len(text)]
    lines: list[bytes] = []
    for start, end in pairwise(places):
        lines += cutter.feed(text[start:end], 0.0)
    lines += cutter.finish()
    assert lines == text.removesuffix(b"\n").split(b"\n") if text else lines == []


def test_an_endless_line_comes_in_pieces() -> None:
    cutter = LineCutter()
    pieces = [piece for _ in range(100) for piece in cutter.feed(b"x" * 65536, 0.0)]
    assert {len(piece) for piece in pieces} == {MOST_BYTES}
    assert sum(map(len, pieces)) + len(cutter.finish()[0]) == 100 * 65536


def test_a_progress_bar_is_a_line_now_and_then() -> None:
    cutter = LineCutter()
    shown = [
        line for n in range(600) for line in cutter.feed(f"\r{n} of 600".encode(), 100 + n / 10)
    ]
    assert len(shown) == 6
    assert cutter.feed(b"\rdone\r\n", 161.0)[-1:] == [b"done"]


def test_windows_line_ends_are_line_ends() -> None:
    cutter = LineCutter()
    assert cutter.feed(b"a\r\nb\r", 1.0) + cutter.feed(b"\nc", 1.0) + cutter.finish() == [
        b"a",
        b"b",
        b"c",
    ]


@given(st.binary(max_size=300))
def test_a_readable_line_is_one_that_a_database_takes(line: bytes) -> None:
    text = readable(line, 50)
    text.encode()
    assert "\0" not in text
    assert all(character == "\t" or ord(character) >= 32 for character in text)


def test_colours_are_left_out() -> None:
    assert readable(b"\x1b[1;31mred\x1b[0m \x1b]8;;http://x\x07link\x1b]8;;\x07", 99) == "red link"


def test_few_lines_are_shown_one_by_one() -> None:
    throttle = Throttle(0.0)
    lines = [f"{n}".encode() for n in range(500)]
    assert throttle.take(lines, 0.0) == [f"{n}" for n in range(500)]
    assert throttle.finish() == []


@given(
    bursts=st.lists(st.tuples(st.integers(1, 5000), st.floats(0.001, 30)), min_size=1, max_size=40)
)
def test_no_more_is_shown_than_a_server_takes(bursts: list[tuple[int, float]]) -> None:
    throttle, now, number = Throttle(0.0), 0.0, 0
    shown: list[str] = []
    for n_lines, pause in bursts:
        shown += throttle.take([f"line {number + n}".encode() for n in range(n_lines)], now)
        number += n_lines
        now += pause
    shown += throttle.finish()
    assert len(shown) <= 1_000 + now * 11 + 1
    assert max(map(len, shown)) < 30_000
    told = [int(line.split()[1]) for text in shown for line in text.split("\n") if line[0] == "l"]
    assert told == sorted(set(told)), "in order, each once"
    assert len(told) + throttle.n_left_out == number
    assert told[-1] == number - 1, "the last line is always seen"


def test_metadata_are_objects_alone() -> None:
    metadata = StepMetadata()
    taken = [b'{"a": 1}', b' {"a": 2, "b": [1]}\r', b"[1]", b"{no}", b'{"a"', b"{}", b'{"n": NaN}']
    assert [metadata.read(line) for line in taken] == [True, True, False, False, False, True, True]
    assert metadata.last == {"a": 2, "b": [1], "n": "NaN"}
    assert metadata.series == {"a": [1, 2], "n": ["NaN"]}
    json.dumps(metadata.last, allow_nan=False)


def test_metadata_stay_small() -> None:
    metadata = StepMetadata()
    for n in range(MOST_VALUES * 3):
        metadata.read(json.dumps({"loss": n, f"key{n}": "x" * 2000}).encode())
    assert metadata.series == {"loss": list(range(MOST_VALUES * 2, MOST_VALUES * 3))}
    assert len(metadata.last) == MOST_KEYS
    assert metadata.n_ignored_keys == MOST_VALUES * 3 - (MOST_KEYS - 1)


def test_a_million_lines(machine: Machine) -> None:
    log = Heard()
    outcome = machine.run("seq 1000000; echo '{\"last\": true}'", log=log)
    assert outcome.error is None
    assert outcome.metadata == {"last": True}
    assert len(log.lines) < 1_300
    assert log.lines[:2] == ["1", "2"]
    assert log.text.endswith('1000000\n{"last": true}')
    assert any("in the whole log alone" in note for note in log.notes)
    whole = machine.store.read(keys.log_key(outcome.execution))
    assert whole.count(b"\n") == 1_000_001


def test_output_that_is_no_text(machine: Machine) -> None:
    """Bytes of all values, half a letter, and a line of 30 MB that ends nowhere."""
    log = Heard()
    noise = random.Random(1).randbytes(200_000)
    (machine.checkout / "noise").write_bytes(noise)
    outcome = machine.run(
        "cat noise; printf '\\303'; head -c 30000000 /dev/zero | tr '\\0' x",
        "echo; echo end",
        log=log,
    )
    assert outcome.error is None
    assert log.text.endswith("\nend")
    assert sum(map(len, log.lines)) < 3_000_000
    assert machine.store.read(keys.log_key(outcome.execution)).startswith(noise)


def test_lines_arrive_as_they_are_printed(machine: Machine) -> None:
    """The step goes on when the line was heard, and not before."""
    heard: list[str] = []

    def hear(line: str) -> None:
        heard.append(line)
        (machine.checkout / "flag").touch()

    machine.run(
        "echo first; for i in $(seq 300); do test -e flag && break; sleep 0.1; done; test -e flag",
        "python -c 'print(\"second\"); import time; time.sleep(0.1)'",
        log=Heard(on_line=hear),
        write_repository=True,
    )
    assert heard == ["first", "second"]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_metadata_come_from_standard_output_alone(machine: Machine, stream: str) -> None:
    to = " >&2" if stream == "stderr" else ""
    outcome = machine.run(f"echo '{{\"a\": 1}}'{to}")
    assert outcome.metadata == ({"a": 1} if stream == "stdout" else {})
