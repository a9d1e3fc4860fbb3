"""The HTML report: structure, escaping, limits, and that it needs nothing but itself."""

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from tests.unit.report.synthetic import Fault, Plan, write_run

from mpio.report import read_run, render_html, write_report
from mpio.report.html import BLOCK_ROWS_MAX, JOURNAL_ROWS_MAX

VOID = {"meta", "br", "hr", "link", "img", "input"}
OVER_BOUND = Fault(1, 5.0, 11.0, 1_480)
PLANS = {
    "pass": Plan(ios=3_000),
    "fail": Plan(
        ios=3_000,
        verdict="fail",
        faults=[OVER_BOUND],
        failed=40,
        unknown=12,
        blocks=[{"lba": 7, "blocks": 2, "kind": "lost", "expected": "write 9", "found": "write 8", "path": "1"}],
    ),
    "unknown": Plan(ios=3_000, verdict="unknown"),
    "no I/O": Plan(ios=0, faults=[], seconds=2.0),
    "one I/O": Plan(ios=1, faults=[], seconds=2.0),
    "sixteen paths": Plan(ios=3_000, paths=16, faults=[Fault(p, 2 + p, 4 + p, 700) for p in range(1, 17)]),
    "no faults healed": Plan(ios=500, faults=[Fault(1, 5, 9, 800, healed=False)]),
    "nothing claimed": Plan(ios=500, claims=[]),
    "no figures of paths": Plan(ios=500, path_throughput=False),
}


class Outline(HTMLParser):
    """Checks that tags nest, and collects attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


@pytest.fixture(params=PLANS, ids=str)
def html(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return render_html(read_run(write_run(tmp_path / "run", PLANS[request.param])))


def test_tags_nest_and_ids_are_unique(html: str) -> None:
    ids = [value for name, value in Outline(html).attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_references_inside_the_page_lead_somewhere(html: str) -> None:
    attributes = Outline(html).attributes
    ids = {value for name, value in attributes if name == "id"}
    named = {value for name, value in attributes if name == "aria-labelledby"} | set(
        re.findall(r"url\(#([\w-]+)\)", html)
    )
    assert named
    assert named <= ids


def test_every_drawing_is_well_formed_and_described(html: str) -> None:
    drawings = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(drawings) >= 2
    for text in drawings:
        root = ET.fromstring(text)
        if root.get("aria-hidden") != "true":
            assert root.get("role") == "img"
            assert root.get("aria-label")
            assert root.findtext("title")


def test_no_coordinate_is_nonsense(html: str) -> None:
    for text in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        for node in ET.fromstring(text).iter():
            for name, value in node.attrib.items():
                if name in ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height", "d", "transform"):
                    assert "nan" not in value
                    assert "inf" not in value
                if name in ("width", "height"):
                    assert float(value) >= 0


def test_the_page_needs_nothing_but_itself(html: str) -> None:
    outline = Outline(html)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base"} & set(outline.tags)
    assert not any(
        name in ("src", "href", "srcset", "action", "style") or name.startswith("on") for name, _ in outline.attributes
    )
    assert not re.search(r"https?://|@import|url\((?!#)", html)


def test_tables_name_their_columns(html: str) -> None:
    for table in re.findall(r"<table.*?</table>", html, re.DOTALL):
        assert 'scope="col"' in table or 'scope="row"' in table


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (
            "pass",
            [
                "PASS",
                "2 faults, worst stall 812 ms of at most 1.1 s",
                "61 MiB verified through each path, nothing lost",
            ],
        ),
        (
            "fail",
            [
                "FAIL",
                "2 of 5 claims broken (no data lost; no I/O errors)",
                "1 bad block",
                "over its bound",
                "7 \u2013 8",
                "write 9",
                "broken",
            ],
        ),
        ("unknown", ["CANNOT TELL", "1 of 5 claims undecided (paths reinstated)", "cannot tell"]),
        ("no I/O", ["no I/O in the history of this run", "0 faults"]),
        ("nothing claimed", ["This run made no claims"]),
    ],
)
def test_the_verdict_is_said_in_words(name: str, wanted: list[str], tmp_path: Path) -> None:
    text = Outline(render_html(read_run(write_run(tmp_path / "run", PLANS[name])))).text.replace("\n", " ")
    for words in wanted:
        assert words in text
    if name == "fail":
        assert "nothing lost" not in text


def test_nothing_lost_is_said_only_of_runs_with_io_and_a_claim_about_it(tmp_path: Path) -> None:
    for name in ("no I/O", "nothing claimed"):
        html = render_html(read_run(write_run(tmp_path / name.replace("/", ""), PLANS[name])))
        assert "nothing lost" not in html


def test_names_stay_text(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\"'&]]>\x00\x1b[31m\u202e"
    plan = Plan(
        ios=100,
        names=[evil, "{{ 7 * 7 }}"],
        target=evil,
        faults=[Fault(1, 5, 9, 800, kind=evil)],
        claims=[{"name": evil, "result": "pass", "detail": evil, "evidence": [evil]}],
        blocks=[{"lba": 1, "kind": evil, "expected": evil, "found": evil, "path": evil}],
    )
    html = render_html(read_run(write_run(tmp_path / evil.replace("/", "_").replace("\x00", ""), plan)))
    outline = Outline(html)
    assert "script" not in outline.tags
    assert "alert(1)" in outline.text
    assert "{{ 7 * 7 }}" in outline.text
    assert not set(html) & {"\x00", "\x1b", "\u202e"}


def test_size_is_bounded_and_said(tmp_path: Path) -> None:
    block = {"lba": 1, "kind": "lost", "expected": "a", "found": "b", "path": None}
    plan = Plan(
        ios=20_000,
        failed=5_000,
        extra_events=20_000,
        blocks=[block] * (BLOCK_ROWS_MAX + 50),
        faults=[Fault(1 + index % 2, 1 + index / 10, 1 + index / 10 + 0.05, 10) for index in range(150)],
    )
    html = render_html(read_run(write_run(tmp_path / "run", plan)))
    text = " ".join(Outline(html).text.split())
    assert len(html) < 1_500_000
    assert html.count("<tr") < JOURNAL_ROWS_MAX + BLOCK_ROWS_MAX + 100 * 16 + 500
    assert f"of which the first and last {JOURNAL_ROWS_MAX // 2} are shown" in text
    assert "events left out; all are in journal.jsonl" in text
    assert f"The first {BLOCK_ROWS_MAX} of 250 findings" in text
    assert "The first 100 of 150 faults" in text
    assert "Only the first 60 of 150 faults are marked" in text
    assert "the first 300 are marked" in text


def test_settings_that_differ_from_the_profile_come_first(tmp_path: Path) -> None:
    text = " ".join(Outline(render_html(read_run(write_run(tmp_path / "run", Plan(ios=10))))).text.split())
    assert "Profile fast , with 1 change:" in text.replace("fast,", "fast ,")
    assert "queue_depth 16 32" in re.sub(r"(queue_depth)(16)(32)", r"\1 \2 \3", text)
    assert "never shown" not in text


def test_the_report_is_written_beside_the_run(tmp_path: Path) -> None:
    path = write_report(write_run(tmp_path / "run", Plan(ios=10)))
    assert path == tmp_path / "run" / "report.html"
    assert path.read_text().startswith("<!DOCTYPE html>")
