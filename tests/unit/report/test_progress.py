"""Live progress: plain lines into a file, one redrawn block on a terminal, and never a flood."""

import io

import pytest

from mpio.events import Journal, Kind
from mpio.report import Progress

MS = 1_000_000
S = 1_000 * MS


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def play(stream: io.StringIO) -> str:
    journal = Journal()
    with Progress(stream, total_ns=25 * S) as progress:
        journal.sinks.append(progress.event)
        journal.record(100 * S, "drill", Kind.PHASE_ENTERED, phase="safety")
        journal.record(100 * S + 1, "map:m/path:1", Kind.PATH_ADDED, portal="a:1")
        journal.record(100 * S + 2, "map:m/path:1", Kind.PATH_STATE_CHANGED, old="down", new="up", cause="login")
        for tick in range(100):
            progress.sample(100 * S + tick * 100 * MS, tick * 200, 5 * MS)
        journal.record(110 * S, "drill", Kind.FAULT_INJECTED, fault="blackhole", path=1, how="relay")
        journal.record(111 * S, "map:m/path:1", Kind.PATH_STATE_CHANGED, old="up", new="failed", cause="[bold]silence")
        progress.sample(112 * S, 20_000, 812 * MS)
    return stream.getvalue()


def test_plain_lines() -> None:
    text = play(io.StringIO())
    assert "\x1b" not in text
    lines = text.splitlines()
    assert lines[0] == "   0.000 s  PhaseEntered drill phase: safety"
    assert any("FaultInjected" in line and "blackhole" in line for line in lines)
    assert any("up → failed, cause: [bold]silence" in line for line in lines)
    assert any("safety: path 1 up, " in line and "2\u202f000 a second, worst latency 5 ms" in line for line in lines)
    assert len(lines) < 12


def test_a_terminal_is_redrawn_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    text = play(Terminal())
    assert "\x1b[" in text
    assert "safety" in text
    assert "of about 25 s" in text
    assert text.count("safety") < 70  # a dozen seconds of samples, five redraws a second at most


def test_a_flapping_path_does_not_flood() -> None:
    stream = io.StringIO()
    with Progress(stream) as progress:
        journal = Journal()
        journal.sinks.append(progress.event)
        for index in range(10_000):
            journal.record(index * 1_000, "map:m/path:1", Kind.PATH_STATE_CHANGED, old="up", new="failed", cause="x")
        journal.record(2 * S, "map:m/path:1", Kind.PATH_STATE_CHANGED, old="failed", new="up", cause="x")
    assert len(stream.getvalue().splitlines()) == 52
    assert "9\u202f950 more events" in stream.getvalue() or "9950 more events" in stream.getvalue()


def test_an_error_inside_ends_the_display() -> None:
    stream = Terminal()
    with pytest.raises(RuntimeError, match="boom"), Progress(stream):
        raise RuntimeError("boom")


def test_paths_are_named_by_their_node_where_there_are_several() -> None:
    stream = io.StringIO()
    with Progress(stream) as progress:
        journal = Journal()
        journal.sinks.append(progress.event)
        for node in (2, 1):
            journal.record(node, f"node:{node}/map:m/path:1", Kind.PATH_STATE_CHANGED, old="down", new="up", cause="x")
        journal.record(3, "node:1/heartbeat", Kind.NODE_FENCED, node=1, cause="storage", reason="storage hangs")
        progress.sample(10 * S, 1, MS)
    text = stream.getvalue()
    assert "node 1 path 1 up  node 2 path 1 up" in text
    assert "NodeFenced node:1/heartbeat" in text
