"""A Linux host's settings, as the engine takes them."""

import pytest

from mpio.model.settings import Settings
from mpio.model.stack import LinuxStack
from mpio.sim.stack import engine_settings


def test_what_is_shipped_is_the_linux_profile_s_timing() -> None:
    found, linux = engine_settings(LinuxStack()), Settings()
    for name in ("noop_out_interval", "noop_out_timeout", "replacement_timeout", "login_timeout", "logout_timeout",
                 "abort_timeout", "lu_reset_timeout", "fast_io_fail_tmo", "polling_interval", "no_path_retry",
                 "failback", "path_grouping_policy", "path_selector", "timeout", "max_retries", "polling_interval_max",
                 "fence"):
        assert getattr(found, name) == getattr(linux, name), name


@pytest.mark.parametrize(("changes", "name", "expected"), [
    ({"fast_io_fail_tmo": 0, "replacement_timeout": 60}, "recovery_timeout", 60),  # not applied to iSCSI
    ({"fast_io_fail_tmo": None}, "recovery_timeout", 120),
    ({"fast_io_fail_tmo": 3}, "recovery_timeout", 3),
    ({"multipath": False, "fast_io_fail_tmo": 3}, "recovery_timeout", 120),
    ({"replacement_timeout": -1, "fast_io_fail_tmo": None}, "recovery_timeout", -1),
    ({"noop_out_interval": 0, "noop_out_timeout": 3}, "noop_out_interval", 5),  # 0 alone is not taken
    ({"noop_out_interval": 0, "noop_out_timeout": 0}, "noop_out_timeout", 0),
    ({"no_path_retry": 0}, "no_path_retry", "fail"),
    ({"no_path_retry": 12}, "no_path_retry", 12),
    ({"no_path_retry": "queue"}, "no_path_retry", "queue"),
    ({"path_grouping_policy": "group_by_tpg"}, "path_grouping_policy", "group_by_prio"),
    ({"path_selector": "queue-length 0"}, "path_selector", "queue-length"),
    ({"path_selector": "historical-service-time 0"}, "path_selector", "service-time"),
    ({"failback": 30}, "failback", 30),
    ({"checker_timeout": None, "timeout": 45}, "checker_timeout", 45),
    ({"max_polling_interval": 2, "polling_interval": 5}, "polling_interval_max", 5),
    ({"max_retries": -1}, "max_retries", 0),
])  # fmt: skip
def test_what_linux_does_with_a_value(changes: dict[str, object], name: str, expected: object) -> None:
    assert getattr(engine_settings(LinuxStack().replace(**changes)), name) == expected


def test_what_the_engine_does_not_take_is_named() -> None:
    with pytest.raises(ValueError, match="failback"):
        engine_settings(LinuxStack(failback="sometimes"))  # type: ignore[arg-type]
