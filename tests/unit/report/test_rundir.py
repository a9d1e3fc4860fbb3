"""Reading a run directory: whole runs are read, anything else is one InputError that says where."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from tests.unit.report.synthetic import Plan, write_run

from mpio.errors import InputError
from mpio.report import print_run, read_run, render_html
from mpio.report import rundir as module
from mpio.report.run import Elsewhere
from mpio.report.shape import TEXT_MAX, clean

SMALL = Plan(ios=200)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", SMALL)


def change(directory: Path, name: str, **fields: Any) -> None:
    path = directory / name
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_a_whole_run_is_read(directory: Path) -> None:
    run = read_run(directory)
    assert (run.verdict, len(run.claims), len(run.stalls), len(run.history)) == ("pass", 5, 2, 200)
    assert run.profile == "fast"
    assert run.bound is not None
    assert run.bound.worst_ns == sum(term.value_ns for term in run.bound.terms) == run.stalls[0].bound_ns
    assert [step.what for step in run.stalls[0].timeline][:3] == ["cut", "detected", "failed"]
    assert run.replay == "mpio drill two-blackholes --seed 4711 --out again"
    assert run.notes == ()


def test_secrets_are_left_out(directory: Path) -> None:
    run = read_run(directory)
    assert "queue_depth" in run.settings
    assert not any("password" in name for name in run.settings)


@pytest.mark.parametrize("name", ["verdict.json", "metrics.json", "journal.jsonl", "history.jsonl"])
def test_a_missing_file_is_named(directory: Path, name: str) -> None:
    (directory / name).unlink()
    with pytest.raises(InputError, match=f"{name}: expected .*, found no such file"):
        read_run(directory)


@pytest.mark.parametrize("name", ["verdict.json", "metrics.json", "journal.jsonl", "history.jsonl"])
def test_a_directory_in_place_of_a_file_is_named(directory: Path, name: str) -> None:
    (directory / name).unlink()
    (directory / name).mkdir()
    with pytest.raises(InputError, match=name):
        read_run(directory)


@pytest.mark.parametrize("name", ["scenario.toml", "repro.txt"])
def test_a_missing_text_is_noted(directory: Path, name: str) -> None:
    (directory / name).unlink()
    assert any(name in note for note in read_run(directory).notes)


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a run directory, found nothing"):
        read_run(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="expected a run directory, found a file"):
        read_run(tmp_path / "file")


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("verdict.json", {"version": 2}, r"verdict\.json: version: expected 1, found 2"),
        (
            "verdict.json",
            {"verdict": "maybe"},
            r"verdict\.json: verdict: expected one of pass, fail, unknown; found 'maybe'",
        ),
        ("verdict.json", {"claims": {}}, r"verdict\.json: claims: expected a list"),
        ("verdict.json", {"claims": [1]}, r"verdict\.json: claims\[0\]: expected a JSON object, found 1"),
        ("verdict.json", {"claims": [{"name": 1, "result": "pass"}]}, r"claims\[0\]\.name: expected text, found 1"),
        (
            "verdict.json",
            {"stalls": [{"fault": "x", "path": True, "start_ns": 1, "worst_stall_ns": 1, "timeline": []}]},
            r"stalls\[0\]\.path: expected an integer, found True",
        ),
        (
            "verdict.json",
            {"stalls": [{"fault": "x", "path": 1, "start_ns": 1, "worst_stall_ns": -1, "timeline": []}]},
            r"stalls\[0\]\.worst_stall_ns: expected a duration from 0",
        ),
        (
            "verdict.json",
            {"stalls": [{"fault": "x", "path": 1, "start_ns": 10**30, "worst_stall_ns": 1, "timeline": []}]},
            r"start_ns: expected an integer of at most 62 bits",
        ),
        ("verdict.json", {"blocks": [{"kind": "lost"}]}, r"blocks\[0\]\.lba: expected an integer, found nothing"),
        (
            "metrics.json",
            {"bound": {"terms": [{"name": "x"}], "worst_ns": 1, "best_ns": 1}},
            r"bound\.terms\[0\]\.value_ns",
        ),
        ("metrics.json", {"iops": "many"}, r"iops: expected a number, found 'many'"),
        (
            "metrics.json",
            {"paths": [{"throughput": {"interval_ns": 0, "start_ns": 0, "bytes": []}}]},
            r"throughput: expected interval_ns above 0",
        ),
        (
            "metrics.json",
            {"paths": [{"throughput": {"interval_ns": 5, "start_ns": 0, "bytes": ["a"]}}]},
            r"bytes as integers",
        ),
    ],
)
def test_wrong_values_are_named(directory: Path, name: str, fields: dict[str, Any], message: str) -> None:
    change(directory, name, **fields)
    with pytest.raises(InputError, match=message):
        read_run(directory)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected JSON"),
        ("[]", "expected a JSON object"),
        ("{", r"verdict\.json:1: expected JSON"),
        ('{"version": NaN}', "NaN"),
        ("[" * 100_000, "expected JSON"),
        ("9" * 10_000, "expected JSON"),
    ],
)
def test_what_is_no_json(directory: Path, content: str, message: str) -> None:
    (directory / "verdict.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_run(directory)


def test_what_is_no_text(directory: Path) -> None:
    (directory / "verdict.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(InputError, match="expected UTF-8 text, found a wrong byte at offset 0"):
        read_run(directory)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", r"history\.jsonl:2: expected JSON|history\.jsonl:2:1: expected JSON"),
        ("{}", r"history\.jsonl:2: op: expected one of read, write, flush, discard, found nothing"),
        ('{"op": "trim", "outcome": "ok", "start_ns": 1, "end_ns": 2, "length": 1}', r":2: op: expected one of"),
        (
            '{"op": "read", "outcome": "ok", "start_ns": 1.5, "end_ns": 2, "length": 1}',
            r":2: start_ns: expected an integer",
        ),
        (
            '{"op": "read", "outcome": "ok", "start_ns": 9, "end_ns": 2, "length": 1}',
            r":2: expected length from 0 and end_ns",
        ),
        ('{"op": "read", "outcome": "ok", "start_ns": 1, "end_ns": 2, "length": -1}', r":2: expected length from 0"),
        (
            '{"op": "read", "outcome": "ok", "start_ns": 1, "length": 1}',
            r":2: end_ns: expected an integer, found nothing",
        ),
    ],
)
def test_wrong_history_lines_are_named(directory: Path, line: str, message: str) -> None:
    path = directory / "history.jsonl"
    first = path.read_text().splitlines()[0]
    path.write_text(f"{first}\n{line}\n")
    with pytest.raises(InputError, match=message):
        read_run(directory)


def test_a_line_without_end_is_refused(directory: Path) -> None:
    (directory / "journal.jsonl").write_bytes(b"x" * (module.LINE_MAX_BYTES + 10))
    with pytest.raises(InputError, match="expected a line of at most"):
        read_run(directory)


def test_a_last_line_cut_off_by_a_crash_is_left_out_and_noted(directory: Path) -> None:
    path = directory / "history.jsonl"
    path.write_text(path.read_text() + '{"id": 7, "op": "re')
    run = read_run(directory)
    assert len(run.history) == 200
    assert any("cut off" in note for note in run.notes)


def test_kinds_of_a_later_version_are_left_out_and_noted(directory: Path) -> None:
    path = directory / "journal.jsonl"
    before = len(read_run(directory).journal)
    path.write_text(path.read_text() + '{"t_ns": 1, "seq": 1, "source": "x", "kind": "PathTeleported"}\n')
    run = read_run(directory)
    assert len(run.journal) == before
    assert any("1 lines of kinds" in note for note in run.notes)


def test_limits_are_kept_and_said(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HISTORY_LINES_MAX", 50)
    monkeypatch.setattr(module, "JOURNAL_LINES_MAX", 10)
    run = read_run(directory)
    assert (len(run.history), len(run.journal), run.history.lines_left_out) == (50, 10, True)
    assert sum("only the first" in note for note in run.notes) == 2


def test_a_file_over_its_limit_is_refused(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "JSON_FILE_MAX_BYTES", 100)
    with pytest.raises(InputError, match="expected at most 100 bytes"):
        read_run(directory)


@given(st.text(alphabet=st.characters(codec=None), max_size=100))
def test_cleaned_text_can_go_anywhere(text: str) -> None:
    cleaned = clean(text)
    cleaned.encode()
    assert all(character.isprintable() or character.isspace() or ord(character) > 0xA0 for character in cleaned)
    assert not set(cleaned) & set("\n\r\x1b\x00\u202e")


def test_long_text_is_cut() -> None:
    assert len(clean("x" * 10 * TEXT_MAX)) == TEXT_MAX
    assert clean("x" * 10 * TEXT_MAX).endswith("…")


def test_what_other_settings_would_have_made_of_it(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run", Plan(ios=100))
    assert read_run(directory).elsewhere == ()
    stall = {"worst_ns": 145_000_000_000, "bound_ns": 150_100_000_000}
    (directory / "compare.json").write_text(json.dumps({"version": 1, "own": "fast", "settings": [
        {"settings": "fast", "verdict": "pass", "stall": {"worst_ns": 700_000_000, "bound_ns": None}},
        {"settings": "sles10", "verdict": "fail", "stall": stall}]}))
    run = read_run(directory)
    assert run.elsewhere == (
        Elsewhere("fast", "pass", 700_000_000, None, own=True),
        Elsewhere("sles10", "fail", 145_000_000_000, 150_100_000_000))
    stream = io.StringIO()
    print_run(run, Console(file=stream, width=100))
    lines = stream.getvalue().splitlines()
    heading = next(index for index, line in enumerate(lines) if "with other settings" in line)
    assert lines[heading + 1].split() == ["fast", "up", "to", "700", "ms", "these", "settings"]
    assert lines[heading + 2].split() == ["sles10", "up", "to", "145", "s", "bound", "150.1", "s"]
    page = render_html(run)
    assert "The same faults with other settings" in page
    assert page.index("sles10") < page.index("150.1 s")


@pytest.mark.parametrize("text", ["[]", "{}", '{"version": 1}', '{"version": 1, "settings": [{"settings": 3}]}'])
def test_a_wrong_comparison_is_named(tmp_path: Path, text: str) -> None:
    directory = write_run(tmp_path / "run", Plan(ios=1))
    (directory / "compare.json").write_text(text)
    with pytest.raises(InputError, match=r"compare\.json"):
        read_run(directory)
