"""A setting on a command line: every name works, every wrong value is told in one line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.config.option import parse_option, setting_names


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("noop_out_interval=5", "noop_out_interval", 5),
        (" noop_out_interval = 5s ", "noop_out_interval", 5),
        ("node.conn[0].timeo.noop_out_interval=2m", "noop_out_interval", 120),
        ("node.session.timeo.replacement_timeout=-1", "replacement_timeout", -1),
        ("fast_io_fail_tmo=off", "fast_io_fail_tmo", None),
        ("no_path_retry=queue", "no_path_retry", "queue"),
        ("no_path_retry=12", "no_path_retry", 12),
        ("failback=immediate", "failback", "immediate"),
        ("path_selector=round-robin 0", "path_selector", "round-robin 0"),
        ("multipath=no", "multipath", False),
        ("timeout=60", "timeout", 60),
        ("O2CB_HEARTBEAT_THRESHOLD=61", "o2cb.heartbeat_threshold", 61),
        ("o2cb.heartbeat_threshold=61", "o2cb.heartbeat_threshold", 61),
        ("corosync.token_ms=5s", "corosync.token_ms", 5000),
        ("corosync.stop_timeout=90", "corosync.stop_timeout", 90),
        ("heartbeat.warntime=1500ms", "heartbeat.warntime", 1.5),
        ("ncs.tolerance=17", "ncs.tolerance", 17),
    ],
)
def test_what_people_write(text: str, name: str, value: object) -> None:
    found = parse_option(text)
    assert found == (name, value)
    assert type(found[1]) is type(value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("noop_out_intervall=5", "noop_out_intervall: no such setting, did you mean noop_out_interval?"),
        ("kernel=6.1", "kernel: no such setting"),
        ("hz=100", "hz: no such setting"),
        ("noop_out_interval", "expected KEY=VALUE"),
        ("=5", "expected KEY=VALUE"),
        ("noop_out_interval=", "expected a value, found nothing"),
        ("noop_out_interval=-1", "noop_out_interval: expected a whole number of seconds from 0"),
        ("noop_out_interval=1500ms", "expected a whole number of s, found '1500ms'"),
        ("noop_out_interval=soon", "found 'soon'"),
        ("noop_out_interval=" + "9" * 50, "found '999"),
        ("no_path_retry=never", "expected a whole number of polls, found 'never'"),
        ("o2cb.heartbeat_threshold=60s", "expected a whole number of iterations of 2 s, found '60s'"),
        ("multipath=perhaps", "expected yes or no, found 'perhaps'"),
        ("polling_interval=0", "a whole number of seconds from 1, found 0"),
    ],
)
def test_what_is_wrong_is_said(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=r".*") as caught:
        parse_option(text)
    assert words in str(caught.value)


@pytest.mark.parametrize("name", setting_names())
def test_every_setting_takes_some_value(name: str) -> None:
    values = ("5", "yes", "5000", "off", "failover", "immediate")
    for value in values:
        try:
            assert parse_option(f"{name}={value}")[0] == name
        except ValueError:
            continue
        return
    pytest.fail(f"{name} takes none of {values}")


@given(st.text(max_size=80))
def test_any_text_parses_or_is_one_line(text: str) -> None:
    said = ""
    try:
        parse_option(text)
    except ValueError as error:
        said = str(error)
    assert len(said) < 300
