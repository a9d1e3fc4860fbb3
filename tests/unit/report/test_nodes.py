"""Nodes with heartbeats in a report: their lanes, their margins, and what is refused in their figures."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from tests.unit.report.synthetic import MS, T0, Plan, S, write_run

from mpio.errors import InputError
from mpio.events import Event, Kind
from mpio.report import read_run
from mpio.report.html import render_html
from mpio.report.lanes import path_lanes
from mpio.report.nodes import node_lanes
from mpio.report.run import NodeFigures
from mpio.report.series import margin_columns
from mpio.report.timeline import NARROW, WIDE, run_timeline


def event(t_ns: int, source: str, kind: Kind, **fields: str | int | None) -> Event:
    return Event(t_ns, t_ns, source, kind, dict(fields))


STORY = [
    event(10, "node:1/heartbeat", Kind.HEARTBEAT_STATE_CHANGED, old="idle", new="joining"),
    event(20, "node:1/heartbeat", Kind.HEARTBEAT_STATE_CHANGED, old="joining", new="running"),
    event(25, "node:2/heartbeat", Kind.HEARTBEAT_STATE_CHANGED, old="joining", new="running"),
    event(30, "node:1/service", Kind.SERVICE_STARTED, term=1),
    event(35, "node:1/map:drill/path:1", Kind.PATH_STATE_CHANGED, old="down", new="up"),
    event(35, "node:2/map:drill/path:1", Kind.PATH_STATE_CHANGED, old="down", new="up"),
    event(60, "node:1/heartbeat", Kind.HEARTBEAT_STATE_CHANGED, old="running", new="hung"),
    event(70, "node:1/heartbeat", Kind.HEARTBEAT_STATE_CHANGED, old="hung", new="fenced"),
    event(70, "node:1/heartbeat", Kind.NODE_FENCED, node=1, cause="storage", reason="no good heartbeat"),
    event(72, "node:1", Kind.NODE_HALTED, node=1, how="fenced"),
    event(80, "node:2/heartbeat", Kind.PEER_DEAD, node=1),
    event(85, "node:2/service", Kind.SERVICE_STARTED, term=2),
    event(95, "node:2", Kind.NODE_CRASHED, node=2),
]


def test_a_node_s_lane_tells_its_life() -> None:
    one, two = node_lanes(STORY, 0, 100, [1, 2])
    assert [(span.start_ns, span.end_ns, span.label, span.state) for span in one.spans] == [
        (0, 10, "idle", "down"),
        (10, 20, "joining", "reconnecting"),
        (20, 30, "running", "up"),
        (30, 60, "running + service", "up"),
        (60, 70, "hung + service", "blocked"),
        (70, 72, "fenced + service", "failed"),
        (72, 100, "fenced", "failed"),
    ]
    assert [(mark.t_ns, mark.kind, mark.text) for mark in one.marks] == [
        (70, "self-fence", "no good heartbeat"), (80, "called dead", "by node 2")]
    assert [span.label for span in two.spans] == ["idle", "running", "running + service", "crashed"]
    assert (one.title, two.title) == ("node 1", "node 2")


def test_paths_of_a_node_end_with_it_and_are_not_its_neighbour_s() -> None:
    (one,) = path_lanes(STORY, 0, 100, [(1, "p")], node=1)
    (two,) = path_lanes(STORY, 0, 100, [(1, "p")], node=2)
    assert [span.label for span in one.spans] == ["down", "up", "down"]
    assert [span.label for span in two.spans] == ["down", "up"]
    assert one.title == "node 1 path 1"
    assert path_lanes(STORY, 0, 100) == []  # a run of one node has no such sources


def test_margins_keep_the_least_of_each_column() -> None:
    figures = NodeFigures(1, "", 100, 10, 5, (50, 30, None, None, 40, 20, 60))
    assert margin_columns(figures, 0, 50, 5) == [None, 30, None, 20, 60]
    assert margin_columns(figures, 0, 20, 2) == [None, 30]  # what is past the end is left out


def with_nodes(directory: Path, nodes: list[dict[str, Any]], **changes: Any) -> Path:
    """A made-up run that says it had nodes."""
    write_run(directory, Plan(ios=200, seconds=10))
    path = directory / "metrics.json"
    metrics = json.loads(path.read_text())
    for number, item in enumerate(metrics["paths"], 1):
        item |= {"node": number, "path": 1}
    metrics["heartbeats"] = {"kind": "own", "deadline_ns": 4 * S, "dead_ns": 6 * S, "start_ns": T0,
                             "interval_ns": 100 * MS, "nodes": nodes} | changes
    path.write_text(json.dumps(metrics))
    verdict = json.loads((directory / "verdict.json").read_text())
    for stall in verdict["stalls"]:
        stall |= {"node": stall["path"], "path": 1}
    (directory / "verdict.json").write_text(json.dumps(verdict))
    with (directory / "journal.jsonl").open("a") as journal:
        for item in STORY:
            journal.write(Event(T0 + item.t_ns * 100 * MS, 10**6 + item.seq, item.source, item.kind,
                                item.fields).to_json() + "\n")
    return directory


NODES = [{"node": 1, "state": "fenced", "halted": "fenced", "margins_ns": [4 * S, 3 * S, None]},
         {"node": 2, "state": "left", "halted": "", "margins_ns": [4 * S] * 90}]


@pytest.mark.parametrize("layout", [WIDE, NARROW])
def test_the_picture_has_a_panel_and_a_lane_a_node(tmp_path: Path, layout: Any) -> None:
    run = read_run(with_nodes(tmp_path / "run", NODES))
    assert [node.halted for node in run.nodes] == ["fenced", ""]
    assert [stall.node for stall in run.stalls] == [1, 2]
    figure = run_timeline(run, layout)
    root = ET.fromstring(figure.svg)
    texts = [element.text for element in root.iter() if element.text]
    assert "time left until a node fences itself" in texts
    assert {"node 1", "node 2"} <= set(texts)
    assert any(text.startswith("node 1: running + service for 3 s") for text in texts)
    assert any(text.startswith("node 1 path 1: up for") for text in texts)
    assert sum("margin" in (element.get("class") or "").split() for element in root.iter()) == 2
    assert sum(element.get("class") == "mark mark-self-fence" for element in root.iter()) == 2  # panel and lane
    assert "1 blackhole node 1 path 1" in texts


def test_the_whole_report(tmp_path: Path) -> None:
    html = render_html(read_run(with_nodes(tmp_path / "run", NODES)))
    assert "blackhole on node 2 path 1 (127.0.0.2:3260)" in html
    assert "node fenced itself" in html
    alone = render_html(read_run(write_run(tmp_path / "one", Plan(ios=100))))
    assert "node fenced itself" not in alone
    assert "time left until" not in alone


@pytest.mark.parametrize(("nodes", "changes", "words"), [
    ([{"node": 1, "margins_ns": ["much"]}], {}, "margins as integers or null"),
    ([{"node": 1, "margins_ns": [1.5]}], {}, "margins as integers or null"),
    ([{"node": 1, "margins_ns": [True]}], {}, "margins as integers or null"),
    ([{"node": 1, "margins_ns": []}], {"interval_ns": 0}, "expected interval_ns and deadline_ns above 0"),
    ([{"node": 1, "margins_ns": []}], {"deadline_ns": -1}, "expected interval_ns and deadline_ns above 0"),
    ([{"margins_ns": []}], {}, "expected an integer"),
    ([{"node": 1, "margins_ns": [], "halted": ""}] * 257, {}, "expected at most 256 items"),
])
def test_figures_that_are_not_are_refused(tmp_path: Path, nodes: list[dict[str, Any]], changes: dict[str, Any],
                                          words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_run(with_nodes(tmp_path / "run", nodes, **changes))
