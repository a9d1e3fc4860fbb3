"""Lanes, series, scales and bars: from plain data to marks of bounded number."""

from array import array
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from mpio.events import Event, Kind
from mpio.report.bars import stall_bar
from mpio.report.lanes import SPANS_MAX, lane_state, path_lanes
from mpio.report.run import History, PathFigures, Stall, Step, Term
from mpio.report.series import latency_columns, longest_ios, odd_ios, path_throughput_columns, throughput_columns
from mpio.report.svg import Linear, Logarithmic, element, round_down, round_up

MS = 1_000_000


def event(t_ns: int, kind: Kind, source: str = "map:m/path:1", **fields: str | int | None) -> Event:
    return Event(t_ns, t_ns, source, kind, dict(fields))


def history(*ios: tuple[int, int, int, int]) -> History:
    """I/Os as (start, end, length, outcome)."""
    return History(
        array("q", [io[0] for io in ios]),
        array("q", [io[1] for io in ios]),
        array("q", [io[2] for io in ios]),
        bytearray(len(ios)),
        bytearray(io[3] for io in ios),
    )


def test_a_lane_follows_its_path() -> None:
    (lane,) = path_lanes(
        [
            event(0, Kind.PATH_ADDED, portal="p:1"),
            event(1, Kind.CONNECT_STARTED),
            event(10, Kind.LOGIN_COMPLETED),
            event(11, Kind.PATH_STATE_CHANGED, old="down", new="up"),
            event(50, Kind.CONNECTION_LOST, cause="silence"),
            event(51, Kind.PATH_STATE_CHANGED, old="up", new="blocked"),
            event(55, Kind.CONNECT_STARTED),
            event(60, Kind.PATH_STATE_CHANGED, old="blocked", new="failed"),
            event(61, Kind.CONNECT_FAILED, cause="refused"),
            event(70, Kind.CONNECT_STARTED),
            event(80, Kind.PATH_STATE_CHANGED, old="failed", new="up"),
            event(80, Kind.PATH_REINSTATED),
            event(81, Kind.PATH_STATE_CHANGED, source="map:m/path:2", old="down", new="up"),
        ],
        0,
        100,
    )[:1]
    assert [(span.start_ns, span.end_ns, span.label) for span in lane.spans] == [
        (0, 1, "down"),
        (1, 11, "connecting"),
        (11, 51, "up"),
        (51, 60, "blocked"),
        (60, 70, "failed"),
        (70, 80, "reconnecting"),
        (80, 100, "up"),
    ]
    assert [(mark.t_ns, mark.kind) for mark in lane.marks] == [(50, "lost"), (80, "reinstated")]
    assert lane.name == "p:1"


KINDS = st.sampled_from(
    [
        Kind.PATH_STATE_CHANGED,
        Kind.CONNECT_STARTED,
        Kind.CONNECT_FAILED,
        Kind.CONNECTION_LOST,
        Kind.LOGIN_COMPLETED,
        Kind.FENCE_COMPLETED,
        Kind.PATH_REINSTATED,
    ]
)


@given(
    st.lists(
        st.tuples(st.integers(-5, 120), KINDS, st.sampled_from(["up", "blocked", "failed", "melted"])), max_size=60
    )
)
def test_spans_cover_the_run_without_gap_or_overlap(steps: list[tuple[int, Kind, str]]) -> None:
    events = [event(t_ns, kind, new=new) for t_ns, kind, new in sorted(steps)]
    for lane in path_lanes(events, 0, 100, [(1, "")]):
        assert lane.spans[0].start_ns == 0
        assert lane.spans[-1].end_ns >= 100
        assert all(
            a.end_ns == b.start_ns and a.start_ns < a.end_ns for a, b in zip(lane.spans, lane.spans[1:], strict=False)
        )


def test_a_flapping_path_is_cut_short_and_says_so() -> None:
    events = [event(t_ns, Kind.PATH_STATE_CHANGED, new="up" if t_ns % 2 else "failed") for t_ns in range(3 * SPANS_MAX)]
    (lane,) = path_lanes(events, 0, 10**6)
    assert len(lane.spans) == SPANS_MAX
    assert lane.is_cut_short


def test_unknown_states_are_kept_by_name() -> None:
    assert lane_state("melted") == "other"
    assert lane_state("Ghost") == "standby"


def test_latency_columns() -> None:
    columns = latency_columns(
        history((0, 10, 1, 0), (1, 31, 1, 0), (1, 21, 1, 1), (99, 100, 1, 0), (50, -1, 1, 2)), 0, 100, 10
    )
    assert columns[0] is not None
    assert (columns[0].median_ns, columns[0].worst_ns) == (20, 30)
    assert [index for index, column in enumerate(columns) if column] == [0, 9]


def test_throughput_counts_only_what_ended_well() -> None:
    second = 1_000 * MS
    values = throughput_columns(
        history((0, second // 2, 4096, 0), (0, second // 2, 4096, 1), (0, -1, 4096, 2), (0, second * 2, 4096, 0)),
        0,
        2 * second,
        2,
    )
    assert values == [4096, 4096]


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=20), st.integers(1, 50), st.integers(-100, 100))
def test_resampling_keeps_every_byte(samples: list[int], interval_ns: int, start_ns: int) -> None:
    figures = PathFigures(1, "x", {}, start_ns, interval_ns, tuple(samples))
    end_ns = start_ns + interval_ns * len(samples)
    columns = path_throughput_columns(figures, start_ns, end_ns, 7)
    moved = sum(columns) * (end_ns - start_ns) / 7 / 1e9
    assert abs(moved - sum(samples)) <= 1e-6 * max(sum(samples), 1)


def test_odd_ios_are_capped_but_counted() -> None:
    odd, total = odd_ios(history(*[(i, i + 1, 1, 1) for i in range(9)], (9, -1, 1, 2), (10, 11, 1, 0)), 4)
    assert (len(odd), total) == (4, 10)


def stall(worst_ns: int = 30, bound_ns: int | None = 50, best_ns: int | None = 10) -> Stall:
    return Stall("cut", 1, 100, worst_ns, bound_ns, best_ns, (Step("cut", 100), Step("healed", 200)))


def test_the_longest_wait_counts_from_the_cut() -> None:
    ios = history((0, 99, 1, 0), (90, 130, 1, 0), (105, 125, 1, 0), (150, -1, 1, 2), (300, 900, 1, 0))
    assert longest_ios(ios, [stall()]) == [(100, 130)]


def test_bars_are_drawings_with_and_without_a_bound() -> None:
    terms = [Term("detect", 30, "a"), Term("fence", 20, "b")]
    for item in (stall(), stall(worst_ns=80), stall(bound_ns=None), stall(worst_ns=0, bound_ns=0, best_ns=0)):
        root = ET.fromstring(str(stall_bar(item, terms)))
        assert root.findtext("title")
        widths = [float(node.get("width", "0")) for node in root.iter("rect")]
        assert all(0 <= width <= 400 for width in widths)
    assert "over" in str(stall_bar(stall(worst_ns=80), terms))


@given(st.floats(1e-9, 1e15))
def test_round_numbers(value: float) -> None:
    assert value * (1 - 1e-6) <= round_up(value) <= value * 2.6
    assert value / 2.6 <= round_down(value) <= value * (1 + 1e-6)


@given(st.floats(-1e9, 1e9), st.floats(1e-3, 1e9), st.integers(1, 20))
def test_ticks_lie_in_the_scale_and_are_few(low: float, span: float, count_max: int) -> None:
    scale = Linear(low, low + span, 0, 100)
    ticks = scale.ticks(count_max)
    assert len(ticks) <= count_max + 1
    assert all(0 <= scale(tick) <= 100 for tick in ticks)


@given(st.floats(-10, 1e30))
def test_logarithmic_scale_clamps(value: float) -> None:
    scale = Logarithmic(1e3, 1e9, 100, 0)
    assert 0 <= scale(value) <= 100
    assert scale.ticks() == [1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9]


@given(
    st.text(
        alphabet=st.characters(min_codepoint=0x20, exclude_categories=["Cs"], exclude_characters="\ufffe\uffff"),
        max_size=50,
    )
)
def test_elements_escape_themselves(text: str) -> None:
    root = ET.fromstring(element("g", element("title", text=text), data_name=text, class_=text, skipped=None))
    assert root.get("data-name") == text
    assert (root.findtext("title") or "") == text
    assert "skipped" not in root.attrib
