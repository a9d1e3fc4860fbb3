"""Which commands a filter strikes, what it can be told, and what a chain of them does."""

import contextlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.target.filter_kit import BLOCK, HOST, PORTALS, Bench

from mpio.model.task import Outcome, Status
from mpio.proto.scsi import cdb
from mpio.target.filters import FILTERS, build, limits_of
from mpio.target.filters.opcodes import TO_THE_END, ranges_of
from mpio.target.filters.parameters import key_of, parameters_of
from mpio.target.filters.plant import plant

OTHER = "iqn.2026-01.example:other"


@pytest.fixture
def bench() -> Bench:
    return Bench()


def struck_by(bench: Bench, limits: Mapping[str, object]) -> list[str]:
    """Which of four lines have a read of LBA 10 of LUN 1 struck, and which other commands of the first line."""
    lines = {
        "1": bench.line(1), "2": bench.line(2), "other 1": bench.line(1, name=OTHER),
    }
    key = bench.add("error", **limits)
    found = [name for name, line in lines.items() if line.do(cdb.read(10, 1), read=BLOCK).status != Status.GOOD]
    one = lines["1"]
    for name, request, data, lun in (
        ("read 0", cdb.read(0, 10), None, 1), ("write", cdb.write(10, 1), bytes(BLOCK), 1),
        ("LUN 2", bytes(6), None, 2),
        ("UNMAP", cdb.unmap(24), cdb.unmap_list([(10, 5)]), 1), ("SYNC", cdb.synchronize_cache(), None, 1),
    ):
        read = 10 * BLOCK if name == "read 0" else 0
        if one.do(request, data, read, lun).status != Status.GOOD:
            found.append(name)
    bench.node.filters.remove(key)
    return found


@pytest.mark.parametrize(("limits", "found"), [
    ({}, ["1", "2", "other 1", "read 0", "write", "LUN 2", "UNMAP", "SYNC"]),
    ({"opcode": "read"}, ["1", "2", "other 1", "read 0"]),
    ({"opcode": ["READ_10", "0x42"]}, ["1", "2", "other 1", "read 0", "UNMAP"]),
    ({"opcode": 0x35}, ["SYNC"]),
    ({"opcode": "write"}, ["write", "UNMAP"]),
    ({"lba": 10}, ["1", "2", "other 1", "write", "UNMAP", "SYNC"]),
    ({"lba": "0-9"}, ["read 0", "SYNC"]),
    ({"lba": "14-2000"}, ["UNMAP", "SYNC"]),
    ({"lun": 2}, ["LUN 2"]),
    ({"portal": str(PORTALS[1])}, ["2"]),
    ({"portal": f"{PORTALS[1]},192.0.2.77", "opcode": "read"}, ["2"]),
    ({"group": [2]}, ["2"]),
    ({"initiator": OTHER}, ["other 1"]),
    ({"initiator": "*:oth*"}, ["other 1"]),
    ({"initiator": HOST.upper(), "group": 1, "opcode": "read"}, ["1", "read 0"]),
    ({"count": 2}, ["1", "2"]),
    ({"skip": 6, "opcode": "any"}, ["UNMAP", "SYNC"]),
    ({"skip": 1, "count": 1, "opcode": "read"}, ["2"]),
    ({"rate": 0}, []),
    ({"after": "1s"}, []),
])
def test_limits(bench: Bench, limits: Mapping[str, object], found: list[str]) -> None:
    assert struck_by(bench, limits) == found


def test_a_window_of_time(bench: Bench) -> None:
    line = bench.line()
    bench.add("error", after="2s", lasts="3s")
    seen = []
    for _ in range(7):
        seen.append(line.sense() is not None)
        bench.wait(1.0)
    assert seen == [False, False, True, True, True, False, False]


@settings(deadline=None)
@given(rate=st.floats(0.05, 0.95), seed=st.integers(0, 2**63 - 1))
def test_chance_keeps_its_share_and_its_sequence(rate: float, seed: int) -> None:
    sequences = []
    for _ in range(2):
        limits = build("error", {"rate": rate, "seed": seed}).limits
        sequences.append([limits.strike() for _ in range(1000)])
    assert sequences[0] == sequences[1]
    assert abs(sum(sequences[0]) / 1000 - rate) < 0.1


def test_chance_is_the_same_in_every_process() -> None:
    script = ("from mpio.target.filters import build; l = build('error', {'rate': 0.5, 'seed': 7}).limits;"
              "print(''.join('01'[l.strike()] for _ in range(200)))")
    runs = {
        subprocess.run([sys.executable, "-c", script], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True,
                       check=True).stdout for seed in ("1", "2")
    }
    assert len(runs) == 1
    assert "0" in min(runs)
    assert "1" in min(runs)


def test_filters_stack_in_the_order_in_which_they_were_added(bench: Bench) -> None:
    line = bench.line()
    bench.add("error", sense="03/11/00", opcode="read")
    bench.add("error", sense="04/44/00")
    assert str(line.sense(cdb.read(0, 1))).endswith("(03/11/00)")
    assert str(line.sense()).endswith("(04/44/00)")


def test_without_filters_commands_go_straight_and_sessions_in_between_follow(bench: Bench) -> None:
    line = bench.line()
    straight = line.other.on_command
    key = bench.add("log")
    assert line.other.on_command is not straight
    late = bench.line(2)
    late.read()
    assert {record["portal"] for record in bench.node.filters.records} == {str(PORTALS[1])}
    bench.node.filters.remove(key)
    assert line.other.on_command is straight
    late.read()
    assert bench.node.filters.next_deadline() is None


def test_a_filter_that_waits_for_its_time_costs_nothing(bench: Bench) -> None:
    line = bench.line()
    straight = line.other.on_command
    bench.add("error", after="5s", lasts="1s")
    assert line.other.on_command is straight
    bench.wait(5.5)
    assert line.other.on_command is not straight
    bench.wait(1)
    assert line.other.on_command is straight


def test_a_command_that_is_late_when_its_filter_goes_still_gets_its_answer(bench: Bench) -> None:
    line = bench.line()
    keys = [bench.add("delay", time="1s"), bench.add("delay", time="1s")]
    task = line.write(0, b"x" * BLOCK)
    for key in keys:
        bench.node.filters.remove(key)
    bench.wait(1.5)
    assert task.outcome is Outcome.PENDING
    bench.wait(1)
    assert task.status == Status.GOOD


def test_a_session_that_ends_takes_its_commands_out_of_every_filter(bench: Bench) -> None:
    line = bench.line()
    for name, more in (("hang", {}), ("delay", {"time": "1s"}), ("throttle", {"iops": 1}),
                       ("delayed-execution", {"time": "1s"})):
        key = bench.add(name, **more)
        task = line.write(0, b"x" * BLOCK)
        line.other.close()
        bench.run()
        assert task.outcome is not Outcome.PENDING or name == "throttle"
        bench.node.filters.remove(key)
        bench.wait(5)
        line = bench.line()
    assert line.is_up()


# --- what can be told


@pytest.mark.parametrize(("name", "given", "words"), [
    ("delai", {}, "expected a filter: delay, hang"),
    (7, {}, "expected a filter"),
    ("delay", {"tme": "1s"}, "delay has no 'tme'; expected one of time, opcode"),
    ("delay", {"time": "soon"}, "time: expected a duration"),
    ("delay", {"time": -1}, "time: expected a number"),
    ("delay", {"time": float("nan")}, "time: expected a number"),
    ("error", {"sense": "03/11"}, "sense: expected key/asc/ascq in hex"),
    ("error", {"sense": "13/11/00"}, "sense: expected a sense key"),
    ("error", {"opcode": "REED"}, "opcode: expected a command such as READ_10"),
    ("error", {"opcode": 256}, "opcode: expected a command"),
    ("error", {"lba": "9-3"}, "lba: expected a range from a lower"),
    ("error", {"lba": "1-2-3"}, "lba: expected an LBA or a range"),
    ("error", {"lun": "one"}, "lun: expected a whole number"),
    ("error", {"portal": "a:b"}, "portal: expected a port"),
    ("error", {"rate": 1.5}, "rate: expected a share from 0 to 1"),
    ("error", {"count": True}, "count: expected a whole number"),
    ("busy", {"status": "tired"}, "status: expected busy or task-set-full"),
    ("drop-nop", {"opcode": "read"}, "drop-nop has no 'opcode'"),
    ("alua-flap", {"portal": "192.0.2.1"}, "alua-flap has no 'portal'"),
    ("alua-flap", {"states": "up,down"}, "states: expected optimized"),
    ("alua-flap", {"every": 0}, "every: expected a duration above 0"),
    ("kick", {"every": 0}, "every: expected a duration above 0"),
    ("throttle", {}, "expected iops or bytes-per-second"),
    ("duplicate-wwid", {}, "expected either as-lun or wwid"),
    ("duplicate-wwid", {"wwid": "50"}, "wwid: expected 32 hexadecimal digits"),
])
def test_what_is_wrong_is_named(name: object, given: Mapping[str, object], words: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(words)):
        build(name, given)


_junk = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
    st.lists(st.text(max_size=5), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2), st.sampled_from(["1s", "0-5", "read", "03/11/00"]),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(sorted(FILTERS)), data=st.data())
def test_any_value_is_taken_or_refused_in_words(name: str, data: st.DataObject) -> None:
    kind = FILTERS[name]
    keys = [key_of(item) for item in parameters_of(kind)] + limits_of(kind)
    given_ = data.draw(st.dictionaries(st.sampled_from(keys), _junk, max_size=4))
    with contextlib.suppress(ValueError):
        assert build(name, given_).name == name


@pytest.mark.parametrize("name", FILTERS)
def test_the_example_of_each_filter_can_be_used(bench: Bench, name: str) -> None:
    key = bench.add(name, **tomllib.loads(FILTERS[name].example))
    bench.line().read(lun=2)
    bench.wait(60)
    bench.node.filters.remove(key)


def test_no_parameter_has_the_name_of_a_limit() -> None:
    for kind in FILTERS.values():
        own = [key_of(item) for item in parameters_of(kind)]
        assert not [key for key in own if key in limits_of(kind) or key in ("name", "id", "do")], kind.name


@pytest.mark.parametrize("text", ["lost", "gone:3", "lost:0", "lost:x", "stale:", "torn:-1"])
def test_plants_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="expected one of lost, stale, torn and the number of a write"):
        plant(text, 1)


@pytest.mark.parametrize("kind", ["lost", "stale", "torn"])
def test_a_plant_strikes_the_nth_write_that_changes_anything_and_no_other(bench: Bench, kind: str) -> None:
    line = bench.line()
    bench.node.filters.add(plant(f"{kind}:2", 1))
    line.write(0, b"1" * BLOCK)
    line.write(0, b"1" * BLOCK)  # changes nothing, so it does not count
    line.write(1, b"2" * BLOCK)
    line.write(2, b"3" * BLOCK)
    assert line.read(0) == b"1" * BLOCK
    assert line.read(1) != b"2" * BLOCK
    assert line.read(2) == b"3" * BLOCK


# --- which blocks a command touches


@pytest.mark.parametrize(("request_", "ranges"), [
    (cdb.read(5, 3), [(5, 3)]),
    (cdb.read(1 << 40, 3), [(1 << 40, 3)]),
    (bytes((0x08, 0x1F, 0xFF, 0xFF, 0, 0)), [(0x1FFFFF, 256)]),
    (cdb.synchronize_cache(7), [(7, TO_THE_END)]),
    (cdb.compare_and_write(9, 2), [(9, 2)]),
    (bytes((0x9C, 0)) + (11).to_bytes(8, "big") + bytes((0, 0, 0, 4, 0, 0)), [(11, 4)]),
    (cdb.read_capacity_16(), []),
    (cdb.inquiry(36), []),
])
def test_ranges(request_: bytes, ranges: list[tuple[int, int]]) -> None:
    assert ranges_of(request_.ljust(16, b"\0"), b"") == ranges


def test_ranges_of_unmap() -> None:
    listed = [(1, 2), (30, 40)]
    assert ranges_of(cdb.unmap(40).ljust(16, b"\0"), cdb.unmap_list(listed)) == listed
    assert ranges_of(cdb.unmap(40).ljust(16, b"\0"), b"short") == []
