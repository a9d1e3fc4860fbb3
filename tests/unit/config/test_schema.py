"""The settings tables: complete, in themselves consistent, and in agreement with the model's defaults."""

import contextlib
import dataclasses
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.config.files import Kind
from mpio.config.schema import SCHEMAS, Key, Schema, Type, default, feeding, find, named, nearest, section_path
from mpio.model.cluster import Corosync, LinuxHa, O2cb, Sanlock, Sbd
from mpio.model.stack import LinuxStack

CLUSTERS = {"o2cb": O2cb, "sbd": Sbd, "corosync": Corosync, "sanlock": Sanlock, "heartbeat": LinuxHa}
KEYS = [(schema, key) for schema in SCHEMAS.values() for key in schema.keys]
EVERY_SCHEMA = pytest.mark.parametrize("schema", SCHEMAS.values(), ids=list(SCHEMAS))


def test_every_kind_of_file_has_a_table() -> None:
    assert list(SCHEMAS) == list(Kind)


@EVERY_SCHEMA
def test_rows_are_whole(schema: Schema) -> None:
    for key in schema.keys:
        assert key.meaning.endswith("."), key.name
        assert key.source, key.name
        assert key.sections, key.name
        assert bool(key.choices) == (key.type in (Type.BOOLEAN, Type.CHOICE)), key.name
        assert not key.note or key.note.endswith("."), key.name
        assert not (key.deprecated + key.ignored).endswith("."), key.name  # they end messages
        assert find(schema.kind, tuple(key.sections[0].split("/")) if key.sections[0] else (), key.name) == key


@EVERY_SCHEMA
def test_defaults_and_words_are_values(schema: Schema) -> None:
    for key in schema.keys:
        values = [key.default, *(other.value for other in key.others)]
        words = [] if key.type is Type.TEXT else [word for word, _ in key.words]
        for text in (*(value for value in values if value is not None), *words):
            value = key.read(text, fold_case=schema.fold_values)
            if isinstance(value, int | float) and not isinstance(value, bool) and text not in (*words, "-1"):
                assert key.low is None or value >= key.low, key.name
                assert key.high is None or value <= key.high, key.name


@EVERY_SCHEMA
def test_no_key_stands_twice_in_one_place(schema: Schema) -> None:
    for key in schema.keys:
        for section in key.sections:
            assert [other for other in named(schema.kind, key.name) if section in other.sections] == [key]


def _fields(kind: type) -> Iterator[str]:
    assert dataclasses.is_dataclass(kind)
    yield from (field.name for field in dataclasses.fields(kind))


@pytest.mark.parametrize("feeds", sorted({key.feeds for _, key in KEYS if key.feeds}))
def test_what_a_key_decides_exists(feeds: str) -> None:
    prefix, _, name = feeds.rpartition(".")
    assert name in _fields(CLUSTERS[prefix] if prefix else LinuxStack)


def test_every_setting_of_the_stack_is_decided_by_a_key() -> None:
    elsewhere = {"multipath", "timeout", "hz", "kernel", "multipath_tools"}  # sysfs, and what the host runs
    assert {name for name in _fields(LinuxStack) if not list(feeding(name))} == elsewhere


@pytest.mark.parametrize("name", ["o2cb", "sanlock", "heartbeat"])
def test_every_setting_of_a_cluster_is_decided_by_a_key(name: str) -> None:
    undecided = {field for field in _fields(CLUSTERS[name]) if not list(feeding(f"{name}.{field}"))}
    assert undecided == ({"negotiate"} if name == "o2cb" else set())  # the kernel's version decides that


def _as_model(kind: Kind, key: Key) -> object:
    text = default(kind, key.name, shipped=True)
    if text is None or (key.type is Type.TEXT and key.name == "SBD_DEVICE"):
        return text
    value = key.read(text, fold_case=SCHEMAS[kind].fold_values)
    return int(value) if isinstance(value, float) else value


@pytest.mark.parametrize(
    ("kind", "key"), [(schema.kind, key) for schema, key in KEYS if key.feeds and "." not in key.feeds],
    ids=lambda part: getattr(part, "name", ""),
)
def test_the_stack_starts_from_the_packages_defaults(kind: Kind, key: Key) -> None:
    unset = {"no_path_retry": None, "max_retries": None}  # the model has what unset behaves as: fail, the kernel's 5
    expected = getattr(LinuxStack(), key.feeds)
    assert _as_model(kind, key) == unset.get(key.feeds, expected)


@pytest.mark.parametrize(
    ("kind", "key"), [(schema.kind, key) for schema, key in KEYS if "." in key.feeds and key.name != "SBD_DEVICE"],
    ids=lambda part: getattr(part, "name", ""),
)
def test_a_cluster_starts_from_its_packages_defaults(kind: Kind, key: Key) -> None:
    prefix, _, name = key.feeds.partition(".")
    assert _as_model(kind, key) == getattr(CLUSTERS[prefix](), name)


@pytest.mark.parametrize(
    ("kind", "name", "version", "value"),
    [
        (Kind.NODE_RECORD, "node.conn[0].timeo.noop_out_interval", (), "5"),
        (Kind.NODE_RECORD, "node.conn[0].timeo.noop_out_interval", (2, 0, 865), "10"),
        (Kind.NODE_RECORD, "node.conn[0].timeo.noop_out_timeout", (2, 0, 865), "15"),
        (Kind.NODE_RECORD, "node.conn[0].timeo.login_timeout", (2, 1, 8), "30"),
        (Kind.NODE_RECORD, "node.session.initial_login_retry_max", (2, 1, 8), "4"),
        (Kind.NODE_RECORD, "node.session.xmit_thread_priority", (2, 1, 8), "-20"),
        (Kind.NODE_RECORD, "node.session.xmit_thread_priority", (2, 1, 10), "0"),
        (Kind.MULTIPATH, "fast_io_fail_tmo", (0, 4, 9), None),
        (Kind.MULTIPATH, "fast_io_fail_tmo", (0, 5, 0), "5"),
        (Kind.MULTIPATH, "path_selector", (0, 4, 9), "round-robin 0"),
        (Kind.MULTIPATH, "path_selector", (0, 9, 4), "service-time 0"),
        (Kind.MULTIPATH, "queue_without_daemon", (0, 4, 9), "yes"),
        (Kind.MULTIPATH, "detect_prio", (0, 6, 1), "no"),
        (Kind.MULTIPATH, "find_multipaths", (0, 6, 0), "no"),
        (Kind.MULTIPATH, "find_multipaths", (), "strict"),
        (Kind.MULTIPATH, "no_path_retry", (), None),
        (Kind.O2CB, "O2CB_HEARTBEAT_THRESHOLD", (), "31"),
        (Kind.O2CB, "O2CB_HEARTBEAT_THRESHOLD", (1, 2, 1), "7"),
        (Kind.O2CB, "O2CB_IDLE_TIMEOUT_MS", (1, 2, 1), "10000"),
        (Kind.COROSYNC, "token", (), "3000"),
        (Kind.COROSYNC, "token", (2, 4, 4), "1000"),
        (Kind.SANLOCK, "io_timeout", (), "10"),
    ],
)
def test_defaults_by_version(kind: Kind, name: str, version: tuple[int, ...], value: str | None) -> None:
    assert default(kind, name, version=version) == value


def test_defaults_by_distribution_and_packaged_file() -> None:
    login = "node.conn[0].timeo.login_timeout"
    assert (default(Kind.ISCSID, login), default(Kind.ISCSID, login, shipped=True)) == ("30", "15")
    assert default(Kind.ISCSID, "node.startup", shipped=True, distribution="rhel") == "automatic"
    assert default(Kind.ISCSID, "node.startup", shipped=True, distribution="debian") == "manual"
    assert default(Kind.SBD, "SBD_WATCHDOG_TIMEOUT", distribution="s390x") == "15"
    with pytest.raises(KeyError):
        default(Kind.SBD, "SBD_NOTHING")


@pytest.mark.parametrize(
    ("kind", "section", "name", "found"),
    [
        (Kind.ISCSID, (), "node.conn[7].timeo.noop_out_timeout", "node.conn[0].timeo.noop_out_timeout"),
        (Kind.NODE_RECORD, ("record[3]",), "iface.hwaddress", "iface.hwaddress"),
        (Kind.ISCSID, (), "iface.hwaddress", None),
        (Kind.MULTIPATH, ("devices", "device[12]"), "no_path_retry", "no_path_retry"),
        (Kind.MULTIPATH, ("devices", "device[12]"), "polling_interval", None),
        (Kind.MULTIPATH, ("overrides", "protocol[0]"), "fast_io_fail_tmo", "fast_io_fail_tmo"),
        (Kind.MULTIPATH, ("multipaths", "multipath[0]"), "fast_io_fail_tmo", None),
        (Kind.COROSYNC, ("nodelist", "node[1]"), "ring1_addr", "ring*_addr"),
        (Kind.COROSYNC, ("quorum", "device", "heuristics"), "exec_ping", "exec_*"),
        (Kind.COROSYNC, ("quorum", "device"), "timeout", "timeout"),
        (Kind.SYSCTL, (), "kernel/panic", "kernel.panic"),
        (Kind.SYSCTL, (), "net.ipv4.conf.eth0.rp_filter", "net.ipv4.conf.*.rp_filter"),
        (Kind.SBD_DUMP, ("disk[1]",), "Timeout (msgwait)", "Timeout (msgwait)"),
        (Kind.IETD, ("Target[0]",), "maxconnections", "MaxConnections"),
        (Kind.O2CB, (), "o2cb_enabled", None),
    ],
)
def test_keys_are_found_by_their_written_name(
    kind: Kind, section: tuple[str, ...], name: str, found: str | None
) -> None:
    key = find(kind, section, name)
    assert (key.name if key else None) == found


def test_sections_lose_their_numbers_only() -> None:
    assert section_path(("devices", "device[10]")) == "devices/device"
    assert section_path(()) == ""


@pytest.mark.parametrize(
    ("kind", "wrong", "right"),
    [
        (Kind.ISCSID, "node.session.timeo.replacment_timeout", "node.session.timeo.replacement_timeout"),
        (Kind.ISCSID, "replacement_timeout", "node.session.timeo.replacement_timeout"),
        (Kind.ISCSID, "node.session.timeo.noop_out_interval", "node.conn[0].timeo.noop_out_interval"),
        (Kind.MULTIPATH, "Polling_Interval", "polling_interval"),
        (Kind.MULTIPATH, "fast_io_fail_timeout", "fast_io_fail_tmo"),
        (Kind.O2CB, "O2CB_HEARTBEAT_TRESHOLD", "O2CB_HEARTBEAT_THRESHOLD"),
        (Kind.COROSYNC, "tokem", "token"),
        (Kind.HA_CF, "quite_something_else", None),
    ],
)
def test_the_nearest_name(kind: Kind, wrong: str, right: str | None) -> None:
    assert nearest(wrong, tuple(key.name for key in SCHEMAS[kind].keys)) == right


@given(st.sampled_from(KEYS), st.text(max_size=40))
def test_any_text_is_read_or_refused(row: tuple[Schema, Key], text: str) -> None:
    schema, key = row
    with contextlib.suppress(ValueError):
        assert isinstance(key.read(text, fold_case=schema.fold_values), bool) == (key.type is Type.BOOLEAN)


@given(st.sampled_from([row for row in KEYS if row[1].type is Type.INTEGER]), st.integers(-(10**20), 10**20))
def test_numbers_read_as_they_are_written(row: tuple[Schema, Key], number: int) -> None:
    assert row[1].read(str(number)) == number


@pytest.mark.parametrize(("text", "seconds"), [("30", 30), ("1500ms", 1.5), ("0.5", 0.5), ("2 s", 2), ("1m", 60)])
def test_times_may_have_units(text: str, seconds: float) -> None:
    key = find(Kind.HA_CF, (), "deadtime")
    assert key is not None
    assert key.read(text) == pytest.approx(seconds)
