"""Three-valued judging: a crash or missing data never passes; and the history's text form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.check.history import IoRecord, runs
from mpio.check.verdict import Claim, MissingData, Result, judge, overall

PASS, FAIL, UNKNOWN = Result


@pytest.mark.parametrize(("results", "expected"), [
    ([], UNKNOWN), ([PASS], PASS), ([PASS, UNKNOWN], UNKNOWN), ([PASS, FAIL, UNKNOWN], FAIL), ([FAIL], FAIL),
])
def test_the_verdict_is_the_worst_claim(results: list[Result], expected: Result) -> None:
    assert overall([Claim("x", result, "") for result in results]) is expected


def test_missing_data_and_crashes_are_unknown() -> None:
    def missing() -> Claim:
        raise MissingData("no history")

    def crash() -> Claim:
        raise KeyError("x")

    assert judge("a", missing) == Claim("a", UNKNOWN, "no history")
    assert judge("a", crash) == Claim("a", UNKNOWN, "the check itself failed: KeyError: 'x'")
    assert judge("a", lambda: Claim("a", PASS, "fine")).as_json() == {
        "name": "a", "result": "pass", "detail": "fine", "evidence": []}


@given(st.lists(st.integers(-5, 5)))
def test_runs_keep_everything(values: list[int]) -> None:
    assert [value for value, count in runs(values) for _ in range(count)] == values


@given(st.builds(
    IoRecord, id=st.integers(1), op=st.sampled_from(("read", "write", "flush", "discard")), offset=st.integers(0),
    length=st.integers(0), start_ns=st.integers(), end_ns=st.none() | st.integers(),
    outcome=st.sampled_from(("ok", "fail", "unknown")), error=st.none() | st.text(), seq=st.none() | st.integers(),
    worker=st.integers(-1, 99), seen=st.none() | st.lists(st.tuples(st.integers(), st.integers(1))).map(tuple),
    path=st.none() | st.text()))
def test_history_lines_read_as_written(record: IoRecord) -> None:
    line = record.to_json()
    assert "\n" not in line
    assert IoRecord.from_json(line) == record


@pytest.mark.parametrize("line", ["", "[]", "{}", '{"op": "trim"}', "nonsense",
                                  '{"op": "read", "outcome": "ok", "x": 1}'])
def test_other_lines_are_refused(line: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        IoRecord.from_json(line)
