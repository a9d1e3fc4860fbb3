"""A setting is explained by any of its names, in every file that has it."""

import pytest

from mpio.config.explain import explain
from mpio.config.schema import SCHEMAS, Key, Schema
from mpio.errors import InputError

KEYS = [(schema, key) for schema in SCHEMAS.values() for key in schema.keys]


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=list(SCHEMAS))
def test_every_setting_is_explained_by_its_name(schema: Schema) -> None:
    for key in schema.keys:
        words = " ".join(explain(key.name).split())
        assert key.name in words
        assert " ".join(key.meaning.split()) in words
        assert schema.title in words


def test_every_setting_of_the_planner_is_explained_by_its_name() -> None:
    for key in {key for _, key in KEYS if key.feeds}:
        assert key.name in explain(key.feeds)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_path_retry", ["multipath.conf", "defaults, devices / device, overrides, multipaths / multipath", "queue"]),
        ("replacement_timeout", ["iscsid.conf", "node record", "-1: waits for ever", "fast_io_fail_tmo"]),
        ("noop_out_interval", ["default 5; 10 before open-iscsi 2.0.868"]),
        ("NOOP_OUT_INTERVAL", ["node.conn[0].timeo.noop_out_interval"]),
        ("totem.token", ["corosync.conf", "default 3000; 1000 before corosync 3.1"]),
        ("quorum.device.sync_timeout", ["30000"]),
        ("max_polling_interval", ["unset, which is four times polling_interval"]),
        ("O2CB_HEARTBEAT_THRESHOLD", ["2 (T - 1)", "31; 7 before ocfs2-tools 1.2.5"]),
        ("sbd.msgwait", ["Timeout (msgwait)", "default 10"]),
        ("getuid_callout", ["out of date not supported since 0.5.0"]),
        ("eh_deadline", ["no effect iscsi_tcp has no host reset", "since multipath-tools 0.8.6"]),
    ],
)
def test_what_is_said(name: str, said: list[str]) -> None:
    words = " ".join(explain(name).split())
    for part in said:
        assert part in words


def test_one_setting_of_two_files_is_explained_once() -> None:
    assert explain("replacement_timeout").count("node.session.timeo.replacement_timeout") == 1


def test_lines_are_not_longer_than_a_terminal_bears() -> None:
    for key in {key for _, key in KEYS}:
        assert max(len(line) for line in explain(key.name).splitlines()) <= 120


@pytest.mark.parametrize(
    ("name", "hint"), [("polling_intervl", "polling_interval"), ("O2CB_TRESHOLD", None), ("", None), ("x" * 9999, None)]
)
def test_an_unknown_setting_gets_the_nearest_name(name: str, hint: str | None) -> None:
    with pytest.raises(InputError) as caught:
        explain(name)
    message = str(caught.value)
    assert "there is no setting" in message
    assert len(message) < 200
    assert message.endswith(f"did you mean {hint}?") == (hint is not None)


def test_a_key_is_told_from_the_like_named_one_of_another_section() -> None:
    found = explain("timeout")
    assert "How often the device must answer." in found
    assert "How long commands may take." in found
    assert isinstance(KEYS[0][1], Key)
