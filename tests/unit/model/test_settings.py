import dataclasses

import pytest

from mpio.model.settings import PROFILES, Settings, parse_setting, profile


def test_profiles_have_the_timers_they_are_named_for() -> None:
    def timers(name: str) -> tuple[float, float, float]:
        settings = profile(name)
        return settings.noop_out_interval, settings.noop_out_timeout, settings.recovery_timeout

    assert timers("linux") == (5, 5, 5)  # fast_io_fail_tmo 5 takes the place of replacement_timeout 120
    assert profile("linux").replacement_timeout == 120
    assert timers("sles10") == (10, 15, 120)
    assert timers("aggressive") == (1, 1, 1)
    assert sum(timers("fast")) < 1


def test_unknown_profile_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="fast, linux, sles10, aggressive"):
        profile("quick")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("noop_out_interval", -1.0),
        ("noop_out_interval", float("nan")),
        ("noop_out_interval", 1e12),
        ("polling_interval", 0.0),
        ("no_path_retry", 0),
        ("no_path_retry", "sometimes"),
        ("failback", "later"),
        ("failback", -1.0),
        ("path_selector", "historical-service-time"),
        ("max_recv_data_segment_length", 511),
        ("max_recv_data_segment_length", 2**24),
        ("fence", "sometimes"),
        ("queue_depth", 0),
        ("first_burst_length", 2**24 - 1),
        ("max_polling_interval", 1.0),
        ("noop_out_timeout", 0.0),
        ("noop_out_timeout", "soon"),
        ("noop_out_timeout", None),
        ("noop_out_timeout", True),
        ("noop_out_interval", 10**400),
        ("queue_bytes_max", 10**400),
        ("replacement_timeout", float("-inf")),
        ("queue_depth", 1.5),
        ("initial_r2t", 1),
        ("username", 7),
        ("chap_algs", "MD5"),
        ("chap_algs", ("MD4",)),
        ("chap_algs", ()),
    ],
)
def test_values_out_of_range_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        profile("linux").replace(**{name: value})


def test_unknown_setting_is_refused() -> None:
    with pytest.raises(ValueError, match="noop_interval"):
        Settings().replace(noop_interval=5)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("noop_out_interval", "2.5", 2.5),
        ("noop_out_interval", "300ms", 0.3),
        ("replacement_timeout", "-1", -1),
        ("fast_io_fail_tmo", "off", None),
        ("queue_depth", "64", 64),
        ("reservation_key", "0x1f", 31),
        ("immediate_data", "No", False),
        ("no_path_retry", "queue", "queue"),
        ("no_path_retry", "12", 12),
        ("failback", "immediate", "immediate"),
        ("failback", "30", 30),
        ("alias", "12", "12"),
        ("password", "off", None),
        ("chap_algs", "SHA1,MD5", ("SHA1", "MD5")),
    ],
)
def test_settings_from_text(name: str, text: str, value: object) -> None:
    assert parse_setting(name, text) == value
    assert getattr(Settings().replace(**{name: value}), name) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [("noop_out_interval", "soon"), ("noop_out_interval", "3 parsecs"), ("noop_interval", "5"), ("timeout", "")],
)
def test_text_that_is_no_setting(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=name):
        parse_setting(name, text)


def test_secrets_are_not_in_the_repr() -> None:
    settings = Settings().replace(username="me", password="hunter2-hunter2", password_in="hunter3-hunter3")
    assert "hunter" not in repr(settings)
    with pytest.raises(ValueError, match=r"^password: expected text or off$"):
        settings.replace(password=b"hunter2-hunter2")


def test_derived_values() -> None:
    settings = Settings(replacement_timeout=120.0, fast_io_fail_tmo=None)
    assert settings.recovery_timeout == 120
    assert settings.polling_interval_max == 20
    assert dataclasses.replace(settings, max_polling_interval=7.0).polling_interval_max == 7


def test_all_profiles_are_valid_and_immutable() -> None:
    for settings in PROFILES.values():
        with pytest.raises(dataclasses.FrozenInstanceError):
            settings.timeout = 1.0  # type: ignore[misc]
