"""Limits on what initiators can take up."""

import pytest

from mpio.errors import InputError
from mpio.model.address import Portal
from mpio.target.configuration import parse_configuration
from mpio.target.limits import Limits, parse_limits


def test_words_come_on_top_of_what_the_file_says() -> None:
    told = parse_configuration("[limits]\nsessions = 4\nlogin-time = '2s'\npdu = '64KiB'\n", "t.toml").limits
    limits = parse_limits(["sessions=5", "tasks=8"], told)
    assert (limits.sessions, limits.tasks, limits.pdu_bytes, limits.login_time_ns) == (5, 8, 65536, 2_000_000_000)
    params = limits.params(Portal("127.0.0.1"))
    assert (params.queue_depth, params.max_recv_data_segment_length, params.login_timeout) == (8, 65536, 2.0)
    assert parse_limits([]) == Limits()


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("tasks=0", "tasks: expected 1 to 4096, found 0"),
        ("tasks", "expected NAME=VALUE, found 'tasks'"),
        ("frobs=1", "there is no 'frobs'; expected one of connections, sessions"),
        ("pdu=16MiB", "pdu: expected 512 to 16777215, found 16777216"),
        ("login-time=soon", "login-time: "),
    ],
)
def test_what_can_not_be_a_limit(word: str, found: str) -> None:
    with pytest.raises(ValueError, match="^" + found.replace("[", "\\[")):
        parse_limits([word])


def test_a_file_says_where() -> None:
    with pytest.raises(InputError, match=r"t.toml:2: .*tasks: expected 1 to 4096, found 9999"):
        parse_configuration("[limits]\ntasks = 9999\n", "t.toml")
