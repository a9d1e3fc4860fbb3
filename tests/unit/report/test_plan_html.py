"""The timing sheet as a page: well-formed, self-contained, to scale, and nothing in it can become markup."""

import json
import re
from xml.etree import ElementTree as ET

import pytest
from tests.unit.report.plan_synthetic import S, conflict, plan
from tests.unit.report.test_html import Outline

from mpio.report.plan_html import render_plan
from mpio.report.plan_ladder import NARROW, WIDE, Layout, ladder
from mpio.report.sheet import Asked, Deadline, Finding, Rung, Setting, Sheet

SHEETS = {
    "plan": plan(),
    "conflict": conflict(),
    "empty": Sheet("assessment", "ok", "NOT JUDGED", "Nothing known."),
}


@pytest.fixture(params=SHEETS, ids=str)
def html(request: pytest.FixtureRequest) -> str:
    return render_plan(SHEETS[request.param])


def test_tags_nest_and_references_lead_somewhere(html: str) -> None:
    attributes = Outline(html).attributes
    ids = [value for name, value in attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {value for name, value in attributes if name == "aria-labelledby"} <= set(ids)


def test_the_page_needs_nothing_but_itself(html: str) -> None:
    outline = Outline(html)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base"} & set(outline.tags)
    assert not any(
        name in ("src", "href", "srcset", "action", "style") or name.startswith("on") for name, _ in outline.attributes
    )
    assert not re.search(r"https?://|@import|url\((?!#)", html)


def test_what_terminal_says_the_page_says_too() -> None:
    text = Outline(render_plan(plan())).text
    for words in ("WOULD STALL", "25.77 s", "for ever", "goal: no stall longer", "silence after the ping", "violated",
                  "noop_out_timeout", "put it in iscsid.conf", "-6 s", "requests fail after 75 s",
                  "polling_interval at least 6"):
        assert words in text
    text = Outline(render_plan(conflict())).text
    for words in ("CONFLICT", "--max-stall 3s", "raise --max-stall to 11 s"):
        assert words in text


@pytest.mark.parametrize("layout", [WIDE, NARROW], ids=["wide", "narrow"])
def test_the_ladder_is_to_scale(layout: Layout) -> None:
    root = ET.fromstring(ladder(plan(), layout))
    deadlines = [node.find("line") for node in root.iter("g") if node.find("text") is not None]
    xs = [float(line.get("x1", "")) for line in deadlines if line is not None]
    assert len(xs) == 3
    per_second = (xs[1] - xs[0]) / 38
    zero = xs[0] - 20 * per_second
    bars: dict[str, list[tuple[float, float]]] = {}
    for rect in root.iter("rect"):
        if "term" in rect.get("class", ""):
            bars.setdefault(rect.get("y", ""), []).append((float(rect.get("x", "")), float(rect.get("width", ""))))
    silent = next(iter(bars.values()))
    assert silent[0][0] == pytest.approx(zero, abs=0.5)
    assert sum(width for _, width in silent) == pytest.approx(15.77 * per_second, abs=0.5)
    assert [width for _, width in silent[:3]] == pytest.approx([5 * per_second] * 3, abs=0.5)
    assert all(left + width <= layout.width for row in bars.values() for left, width in row)


def test_only_the_part_past_a_deadline_is_marked() -> None:
    root = ET.fromstring(ladder(plan(), WIDE))
    marked = [rect for rect in root.iter("rect") if rect.get("class") == "overrun"]
    assert len(marked) == 1
    assert root.get("aria-label", "").count("path goes silent, one direction: at worst 25.77 s") == 1


def test_names_stay_text() -> None:
    evil = "<script>alert(1)</script>\"'&]]>{{ 7 * 7 }}\x1b\u202e"
    sheet = Sheet("assessment", "findings", evil, evil, asked=(Asked(evil, evil),),
                  rungs=(Rung(evil, evil, plan().rungs[0].budget, binds=True),),
                  deadlines=(Deadline(evil, S, evil, "goal"),),
                  settings=(Setting(evil, evil, evil, evil, evil, evil),), findings=(Finding("error", evil, evil),),
                  conflict=(evil,), ways_out=(evil,))
    html = render_plan(sheet)
    outline = Outline(html)
    assert "script" not in outline.tags
    assert "{{ 7 * 7 }}" in outline.text
    assert not set(html) & {"\x1b", "\u202e"}
    for text in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        ET.fromstring(text)


def test_json_says_which_scenario_passes_which_deadline() -> None:
    shape = json.loads(json.dumps(plan().as_json()))
    assert shape["version"] == 1
    past = {item["scenario"]: item["past"] for item in shape["scenarios"]}
    assert past["one_way_loss"] == ["max-stall"]
    assert not any(past[name] for name in ("silent_loss", "idle_noticed", "lun_hang", "all_down"))
    assert shape["scenarios"][4]["worst_ns"] is None
    assert shape["checks"][1]["slack_ns"] == -6 * S
