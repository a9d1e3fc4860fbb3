"""Reading a run directory: files and JSON in, a `Run` out, or one InputError that says where and what.

Owns: file names, size limits, and the mapping of the documented JSON shapes (docs/json.md) to `run`'s dataclasses.
Nothing in the files is trusted: sizes, types and counts are bounded, and text is cleaned. Fields that this version
does not know are ignored, so that a later version's run can still be read as long as its `version` is the same.
"""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from mpio.errors import InputError
from mpio.events import RECORDS_MAX, Event, Kind
from mpio.report.run import (
    OPS,
    OUTCOMES,
    STEPS,
    BadBlock,
    Bound,
    Claim,
    Elsewhere,
    History,
    NodeFigures,
    PathFigures,
    Plain,
    Run,
    Stall,
    Step,
    Term,
    VerdictKind,
)
from mpio.report.shape import NS_MAX, Shape, clean, clean_lines, parse_json, plain

VERSION = 1  # of verdict.json and metrics.json

JSON_FILE_MAX_BYTES = 32 << 20
TEXT_FILE_MAX_BYTES = 256 << 10
LINE_MAX_BYTES = 64 << 10
JOURNAL_LINES_MAX = RECORDS_MAX
HISTORY_LINES_MAX = 2_000_000
CLAIMS_MAX = 1_000
STALLS_MAX = 10_000
STEPS_MAX = 100
BLOCKS_MAX = 100_000
PATHS_MAX = 1_024
NODES_MAX = 256
FIELDS_MAX = 1_000
SAMPLES_MAX = 100_000

VERDICTS: tuple[VerdictKind, ...] = ("pass", "fail", "unknown")
_SECRET_WORDS = ("password", "secret")


def read_run(directory: Path) -> Run:
    """Read a run directory. Raises InputError for anything missing or malformed."""
    if not directory.is_dir():
        raise InputError(str(directory), "expected a run directory, found " +
                         ("a file" if directory.exists() else "nothing"))
    notes: list[str] = []
    verdict = _versioned(directory / "verdict.json")
    metrics = _versioned(directory / "metrics.json")
    journal = _read_journal(directory / "journal.jsonl", notes)
    history = _read_history(directory / "history.jsonl", notes)
    scenario = _optional_text(directory / "scenario.toml", notes)
    _note_left_out(verdict, metrics, notes)
    settings = {name: value for name, value in metrics.shape("settings", {}).plain(FIELDS_MAX).items()
                if not any(word in name for word in _SECRET_WORDS)}
    return Run(
        name=clean(directory.resolve().name, 200),
        verdict=_verdict_kind(verdict, "verdict"),
        claims=tuple(_claim(item) for item in verdict.shapes("claims", CLAIMS_MAX)),
        stalls=tuple(sorted((_stall(item) for item in verdict.shapes("stalls", STALLS_MAX)),
                            key=lambda stall: stall.cut_ns)),
        counts=verdict.shape("counts", {}).plain(FIELDS_MAX),
        blocks=tuple(_bad_block(item) for item in verdict.shapes("blocks", BLOCKS_MAX, [])),
        settings=settings,
        profile=_profile(metrics, scenario),
        bound=_bound(metrics),
        latency_ns=_latency(metrics),
        iops=None if metrics.value.get("iops") is None else metrics.number("iops"),
        verified_bytes=metrics.optional_integer("verified_bytes"),
        paths=tuple(_path(item, index) for index, item in enumerate(metrics.shapes("paths", PATHS_MAX, []))),
        journal=journal,
        history=history,
        scenario=scenario,
        replay=_replay(_optional_text(directory / "repro.txt", notes)),
        notes=tuple(notes),
        elsewhere=_elsewhere(directory / "compare.json"),
        fences=metrics.shape("fences", {}).plain(FIELDS_MAX),
        nodes=_nodes(metrics),
    )


# --- files


def _open(path: Path, expected: str) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise InputError(str(path), f"expected {expected}, found no such file") from None
    except OSError as error:
        raise InputError(str(path), f"expected {expected}, found {error.strerror or error}") from None


def _read(path: Path, expected: str, size_max: int) -> str:
    try:
        with _open(path, expected) as file:
            content = file.read(size_max + 1)
    except OSError as error:
        raise InputError(str(path), f"expected {expected}, found {error.strerror or error}") from None
    if len(content) > size_max:
        raise InputError(str(path), f"expected at most {size_max} bytes, found more")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InputError(str(path), f"expected UTF-8 text, found a wrong byte at offset {error.start}") from None


def _versioned(path: Path) -> Shape:
    shape = Shape(parse_json(str(path), _read(path, "the drill's JSON", JSON_FILE_MAX_BYTES)), str(path))
    if (version := shape.integer("version")) != VERSION:
        raise InputError(shape.place("version"), f"expected {VERSION}, found {version}: another version wrote this run")
    return shape


def _optional_text(path: Path, notes: list[str]) -> str:
    if not path.exists():
        notes.append(f"{path.name} is missing from the run directory.")
        return ""
    return clean_lines(_read(path, "text", TEXT_FILE_MAX_BYTES), TEXT_FILE_MAX_BYTES)


def _lines(path: Path, expected: str, notes: list[str]) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their numbers. A last line that was cut off by a crash is left out and noted."""
    with _open(path, expected) as file:
        number = 0
        while line := file.readline(LINE_MAX_BYTES + 1):
            number += 1
            if not line.endswith(b"\n"):
                if len(line) > LINE_MAX_BYTES:
                    raise InputError(f"{path}:{number}", f"expected a line of at most {LINE_MAX_BYTES} bytes")
                notes.append(f"{path.name}: the last line was cut off and is left out.")
                return
            yield number, line


def _read_journal(path: Path, notes: list[str]) -> tuple[Event, ...]:
    events: list[Event] = []
    unknown_kinds = 0
    known_kinds = {str(kind) for kind in Kind}
    for number, line in _lines(path, "the drill's journal", notes):
        if len(events) >= JOURNAL_LINES_MAX:
            notes.append(f"{path.name}: only the first {JOURNAL_LINES_MAX:,} lines were read.")
            break
        record = Shape(parse_json(f"{path}:{number}", line.decode(errors="replace")), f"{path}:{number}")
        kind = record.text("kind")
        if kind not in known_kinds:
            unknown_kinds += 1
            continue
        fields = {clean(key, 100): plain(value) for key, value in record.value.items()
                  if key not in ("t_ns", "seq", "source", "kind")}
        events.append(Event(record.integer("t_ns"), record.integer("seq"), record.text("source"), Kind(kind), fields))
    if unknown_kinds:
        notes.append(f"{path.name}: {unknown_kinds:,} lines of kinds that this version does not know are left out.")
    return tuple(events)


def _read_history(path: Path, notes: list[str]) -> History:
    history = History()
    ops = {name: index for index, name in enumerate(OPS)}
    outcomes = {name: index for index, name in enumerate(OUTCOMES)}
    for number, line in _lines(path, "the drill's history of I/Os", notes):
        if len(history) >= HISTORY_LINES_MAX:
            notes.append(f"{path.name}: only the first {HISTORY_LINES_MAX:,} I/Os were read.")
            history.lines_left_out = True
            break
        try:
            record = json.loads(line)
            start_ns, end_ns, length = record["start_ns"], record["end_ns"], record["length"]
            if end_ns is None:
                end_ns = -1
            # bool is an int to Python, but not to us; the sum check also refuses floats
            if not (type(start_ns) is type(end_ns) is type(length) is int
                    and -NS_MAX <= start_ns <= NS_MAX and 0 <= length <= NS_MAX
                    and (end_ns == -1 or start_ns <= end_ns <= NS_MAX)):
                raise ValueError
            op, outcome = ops[record["op"]], outcomes[record["outcome"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise _history_error(path, number, line) from None
        history.start_ns.append(start_ns)
        history.end_ns.append(end_ns)
        history.length.append(length)
        history.op.append(op)
        history.outcome.append(outcome)
    return history


def _history_error(path: Path, number: int, line: bytes) -> InputError:
    """What exactly is wrong with a line of the history, found out at leisure."""
    where = f"{path}:{number}"
    try:
        record = Shape(parse_json(where, line.decode(errors="replace")), where)
        record.choice("op", OPS)
        record.choice("outcome", OUTCOMES)
        start_ns = record.integer("start_ns")
        record.integer("length")
        end_ns = None if record.value.get("end_ns", ...) is None else record.integer("end_ns")
    except InputError as error:
        return error
    return InputError(where, f"expected length from 0 and end_ns from start_ns on, "
                             f"found length {record.value['length']}, start_ns {start_ns}, end_ns {end_ns}")


# --- shapes


def _verdict_kind(shape: Shape, key: str) -> VerdictKind:
    return VERDICTS[VERDICTS.index(shape.choice(key, VERDICTS))]


def _claim(item: Shape) -> Claim:
    evidence = tuple(str(plain(value)) for value in item.items("evidence", FIELDS_MAX, []))
    return Claim(item.text("name"), _verdict_kind(item, "result"), item.text("detail", ""), evidence)


def _stall(item: Shape) -> Stall:
    worst_stall_ns = item.integer("worst_stall_ns")
    if worst_stall_ns < 0:
        raise InputError(item.place("worst_stall_ns"), f"expected a duration from 0, found {worst_stall_ns}")
    steps = [Step(step.choice("what", STEPS), step.integer("t_ns")) for step in item.shapes("timeline", STEPS_MAX)]
    return Stall(
        fault=item.text("fault"),
        path=item.optional_integer("path"),
        start_ns=item.integer("start_ns"),
        worst_stall_ns=worst_stall_ns,
        bound_ns=item.optional_integer("bound_ns"),
        best_ns=item.optional_integer("best_ns"),
        timeline=tuple(sorted(steps, key=lambda step: (step.t_ns, STEPS.index(step.what)))),
        terms=_terms(item, []),
        longest_gap_ns=item.optional_integer("longest_gap_ns"),
        ios=item.optional_integer("ios"),
        node=item.optional_integer("node"),
    )


def _bad_block(item: Shape) -> BadBlock:
    def shown(key: str) -> str:
        value = item.value.get(key)
        return "" if value is None else str(plain(value))

    return BadBlock(item.integer("lba"), item.integer("blocks", 1), item.text("kind"), shown("expected"),
                    shown("found"), shown("path"))


def _bound(metrics: Shape) -> Bound | None:
    if metrics.value.get("bound") is None:
        return None
    bound = metrics.shape("bound")
    return Bound(_terms(bound), bound.integer("worst_ns"), bound.integer("best_ns"))


def _terms(item: Shape, default: Any = ...) -> tuple[Term, ...]:
    return tuple(Term(term.text("name"), term.integer("value_ns"), term.text("source"))
                 for term in item.shapes("terms", FIELDS_MAX, default))


def _note_left_out(verdict: Shape, metrics: Shape, notes: list[str]) -> None:
    if (blocks := verdict.integer("blocks_left_out", 0)) > 0:
        notes.append(f"verdict.json: {blocks:,} more findings of bad blocks were left out by the drill.")
    if (ios := metrics.integer("history_left_out", 0)) > 0:
        notes.append(f"history.jsonl: {ios:,} more I/Os were left out by the drill; they are counted, but not drawn.")


def _elsewhere(path: Path) -> tuple[Elsewhere, ...]:
    """What other settings would have made of it; nothing where that was not asked for."""
    if not path.exists():
        return ()
    shape = _versioned(path)
    own = shape.text("own", "")
    return tuple(
        Elsewhere(row.text("settings"), _verdict_kind(row, "verdict"), stall.optional_integer("worst_ns"),
                  stall.optional_integer("bound_ns"), row.text("settings") == own)
        for row in shape.shapes("settings", FIELDS_MAX) for stall in [row.shape("stall")])


def _latency(metrics: Shape) -> dict[str, int]:
    latency = metrics.shape("latency_ns", {})
    return {clean(key, 40): latency.integer(key) for key, value in latency.value.items() if value is not None}


def _path(item: Shape, index: int) -> PathFigures:
    skipped = ("path", "node", "name", "throughput")
    counters: dict[str, Plain] = {key: value for key, value in item.plain(FIELDS_MAX).items() if key not in skipped}
    path = item.integer("path", index)
    name = item.text("name", f"path {path}")
    node = item.optional_integer("node")
    if item.value.get("throughput") is None:
        return PathFigures(path, name, counters, node=node)
    throughput = item.shape("throughput")
    samples = throughput.items("bytes", SAMPLES_MAX)
    interval_ns = throughput.integer("interval_ns")
    if interval_ns <= 0 or not all(type(sample) is int and 0 <= sample <= NS_MAX for sample in samples):
        raise InputError(throughput.where, "expected interval_ns above 0 and bytes as integers from 0")
    return PathFigures(path, name, counters, throughput.integer("start_ns"), interval_ns, tuple(samples), node)


def _nodes(metrics: Shape) -> tuple[NodeFigures, ...]:
    """The nodes with heartbeats; none in a run without."""
    if metrics.value.get("heartbeats") is None:
        return ()
    beats = metrics.shape("heartbeats")
    interval_ns, deadline_ns = beats.integer("interval_ns"), beats.integer("deadline_ns")
    nodes = []
    for item in beats.shapes("nodes", NODES_MAX):
        margins = item.items("margins_ns", SAMPLES_MAX)
        if interval_ns <= 0 or deadline_ns <= 0 or not all(
                margin is None or (type(margin) is int and abs(margin) <= NS_MAX) for margin in margins):
            raise InputError(beats.where, "expected interval_ns and deadline_ns above 0, and margins as integers or "
                                          "null")
        nodes.append(NodeFigures(item.integer("node"), item.text("halted", ""), deadline_ns,
                                 beats.integer("start_ns"), interval_ns, tuple(margins)))
    return tuple(nodes)


def _profile(metrics: Shape, scenario: str) -> str | None:
    """The profile's name: from the metrics, or else from the scenario's text."""
    if isinstance(name := metrics.value.get("profile"), str):
        return clean(name, 100)
    try:
        document = tomllib.loads(scenario)
    except (tomllib.TOMLDecodeError, RecursionError):
        return None
    settings = document.get("settings")
    name = settings.get("profile") if isinstance(settings, dict) else None
    return clean(name, 100) if isinstance(name, str) else None


def _replay(text: str) -> str:
    """The command in repro.txt: its lines without comments."""
    return "\n".join(line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
