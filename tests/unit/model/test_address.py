import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.model.address import Portal, TargetAddress, check_iscsi_name


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("192.0.2.1", "192.0.2.1", 3260),
        ("192.0.2.1:3261", "192.0.2.1", 3261),
        ("storage.example:1", "storage.example", 1),
        ("[2001:db8::1]", "2001:db8::1", 3260),
        ("[2001:db8::1]:65535", "2001:db8::1", 65535),
    ],
)
def test_portal_forms(text: str, host: str, port: int) -> None:
    assert Portal.parse(text) == Portal(host, port)
    assert Portal.parse(str(Portal(host, port))) == Portal(host, port)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "host"),
        (":3260", "host"),
        ("a b", "host"),
        ("host:", "missing"),
        ("host:0", "65535"),
        ("host:65536", "65535"),
        ("host:٣", "65535"),
        ("2001:db8::1", "brackets"),
        ("[2001:db8::1", "[ipv6]"),
        ("[::1]x", "[ipv6]"),
        ("[::1]:", "missing"),
    ],
)
def test_portal_errors_say_what_was_expected(text: str, word: str) -> None:
    with pytest.raises(ValueError, match=word.replace("[", r"\[")):
        Portal.parse(text)


def test_url_with_user_and_secret() -> None:
    address = TargetAddress.parse("iscsi://me%25x%se%2Fcret@192.0.2.1:3261/IQN.2024-01.example:Disk/12")
    assert (address.username, address.password) == ("me", "25x%se/cret")
    assert (address.target_name, address.lun) == ("iqn.2024-01.example:disk", 12)
    assert address.portal == Portal("192.0.2.1", 3261)
    assert "cret" not in str(address)
    assert "cret" not in repr(address)


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://h/iqn.x:y/1", "iscsi://"),
        ("iscsi://h", "/target-name/lun"),
        ("iscsi://h/iqn.x:y", "/target-name/lun"),
        ("iscsi://h/disk/1", "iqn."),
        ("iscsi://h/iqn.x:y/one", "LUN"),
        ("iscsi://h/iqn.x:y/-1", "LUN"),
        ("iscsi://h/iqn.x:y/16384", "LUN"),
        ("iscsi://@h/iqn.x:y/1", "user"),
        ("iscsi://h/iqn." + "x" * 300 + "/1", "223"),
    ],
)
def test_url_errors_say_what_was_expected(url: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        TargetAddress.parse(url)


def test_url_errors_never_show_the_secret() -> None:
    with pytest.raises(ValueError, match="expected iscsi") as caught:
        TargetAddress.parse("http://user%hunter2@host/iqn.x:y/1")
    assert "hunter2" not in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_parses_or_raises_value_error(text: str) -> None:
    for parse in (TargetAddress.parse, Portal.parse, check_iscsi_name):
        try:
            parse(text)
        except ValueError:
            continue


@given(
    st.from_regex(r"[a-z0-9.-]{1,20}", fullmatch=True).filter(lambda h: h),
    st.integers(1, 65535),
    st.integers(0, 0x3FFF),
)
def test_url_round_trip(host: str, port: int, lun: int) -> None:
    address = TargetAddress(Portal(host, port), "iqn.2024-01.example:disk", lun)
    assert TargetAddress.parse(str(address)) == address
