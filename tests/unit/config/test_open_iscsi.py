"""iscsid obeys the node record; iscsid.conf only goes into records that are made later."""

import pytest

from mpio.config.files import Kind, parse
from mpio.config.open_iscsi import in_force, integer
from mpio.config.origin import Host

INTERVAL = "node.conn[0].timeo.noop_out_interval"
TIMEOUT = "node.conn[0].timeo.noop_out_timeout"
WAIT = "node.session.timeo.replacement_timeout"
LOGIN = "node.conn[0].timeo.login_timeout"


def record(target: str, **settings: int) -> str:
    names = {"interval": INTERVAL, "timeout": TIMEOUT, "wait": WAIT, "login": LOGIN}
    lines = [f"{names[name]} = {value}" for name, value in settings.items()]
    return "\n".join(["# BEGIN RECORD 2.1.8", f"node.name = {target}", *lines, "# END RECORD\n"])


def host(conf: str | None, *records: str, target: str = "") -> Host:
    kind = Kind.NODE_RECORD
    documents = {kind: [parse(f"path{number}", text.encode(), kind) for number, text in enumerate(records)]}
    if conf is not None:
        documents[Kind.ISCSID] = [parse("iscsid.conf", conf.encode(), Kind.ISCSID)]
    return Host(documents, target=target)


@pytest.mark.parametrize(
    ("conf", "records", "value", "origin", "overruled"),
    [
        (None, [], 15, "built-in default (iscsid.conf as it is shipped)", []),
        ("# nothing\n", [], 30, "built-in default (iscsid)", []),
        (f"{LOGIN} = 20\n", [], 20, "iscsid.conf:1", ["built-in default (iscsid)"]),
        (f"{LOGIN} = 20\n{LOGIN} = 21\n", [], 21, "iscsid.conf:2", ["iscsid.conf:1", "built-in default (iscsid)"]),
        (f"{LOGIN} = 20\n", [record("t", login=9)], 9, "path0:3",
         ["built-in default (iscsid, for a node record without the key)", "iscsid.conf:1"]),
        (f"{LOGIN} = 20\n", [record("t")], 30, "built-in default (iscsid, for a node record without the key)",
         ["iscsid.conf:1"]),
        (None, [record("t")], 30, "built-in default (iscsid, for a node record without the key)",
         ["built-in default (iscsid.conf as it is shipped)"]),
    ],
)  # fmt: skip
def test_a_record_beats_iscsid_conf(
    conf: str | None, records: list[str], value: int, origin: str, overruled: list[str]
) -> None:
    found = in_force(host(conf, *records))[0]["login_timeout"]
    assert (found.value, str(found.origin)) == (value, origin)
    assert [str(lost[1]) for lost in found.overruled] == overruled


@pytest.mark.parametrize(
    ("interval", "timeout", "in_force_now"),
    [(0, 0, (0, 0)), (0, 7, (5, 7)), (7, 0, (7, 5)), (1, 2, (1, 2))],
)
def test_pings_are_off_only_with_two_zeros(interval: int, timeout: int, in_force_now: tuple[int, int]) -> None:
    found = in_force(host(f"{INTERVAL} = {interval}\n{TIMEOUT} = {timeout}\n"))[0]
    assert (found["noop_out_interval"].value, found["noop_out_timeout"].value) == in_force_now


def test_a_zero_that_is_not_possible_is_overruled_and_says_why() -> None:
    found = in_force(host(f"{LOGIN} = 0\n"))[0]["login_timeout"]
    assert (found.value, found.origin.kind) == (30, "derived")
    assert (found.overruled[0][0], str(found.overruled[0][1])) == (0, "iscsid.conf:1")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5), ("5s", 5), (" 5", 5), ("+5", 5), ("-1", -1), ("off", 0), ("", 0), ("0x10", 0), ("5000", 5000),
        ("2147483648", -(2**31)), ("4294967295", -1), ("99999999999999999999999", -1), ("-3", -3),
    ],
)  # fmt: skip
def test_numbers_are_those_of_strtoul_in_an_int(text: str, value: int) -> None:
    assert integer(text) == value


@pytest.mark.parametrize("swapped", [False, True])
def test_of_different_records_the_slowest_path_counts(swapped: bool) -> None:
    fast, slow = record("t", interval=5, timeout=5, wait=5), record("t", interval=10, timeout=15, wait=5)
    found, problems = in_force(host(None, *((slow, fast) if swapped else (fast, slow))))
    assert (found["noop_out_interval"].value, found["noop_out_timeout"].value) == (10, 15)
    assert [problem.line for problem in problems] == [3, 4]
    assert {problem.file for problem in problems} == {"path1" if swapped else "path0"}


@pytest.mark.parametrize("slower", [{"interval": 0, "timeout": 0}, {"wait": -1}, {"login": 60}])
def test_slow_is_what_waits_longer_for_a_silent_path(slower: dict[str, int]) -> None:
    timers = {"interval": 30, "timeout": 30, "wait": 30, "login": 30}
    found, _ = in_force(host(None, record("t", **timers), record("t", **timers | slower)))
    assert found["login_timeout"].origin.file == "path1"


def test_records_of_other_targets_do_not_count_where_the_target_is_known() -> None:
    ours, other = record("iqn.a", interval=3), record("iqn.b", interval=9)
    assert in_force(host(None, ours, other, target="iqn.a"))[0]["noop_out_interval"].value == 3
    found, problems = in_force(host(None, ours, other))
    assert found["noop_out_interval"].value == 9
    assert "2 targets" in problems[0].message
