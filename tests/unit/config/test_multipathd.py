"""multipathd's precedence, how it reads values, and what it makes of polling intervals; by release where that differs.

What Debian's release does with any sections is compared with the program itself in tests/interop.
"""

import pytest

from mpio.config.files import Kind, parse
from mpio.config.multipath_values import DEV_LOSS_TMO_MAX, READERS, Refused
from mpio.config.multipathd import in_force
from mpio.config.origin import Device, Effective, Host
from mpio.config.posix_regex import found
from mpio.model.stack import Version

NETAPP = Device("NETAPP", "LUN C-Mode")
IET = Device("IET", "VIRTUAL-DISK")
DEBIAN_12, RHEL_8, RHEL_7 = (0, 9, 4), (0, 8, 4), (0, 4, 9)


def host(*texts: str, **known: object) -> Host:
    documents = [parse(f"m{number}", text.encode(), Kind.MULTIPATH) for number, text in enumerate(texts)]
    return Host({Kind.MULTIPATH: documents}, **known)  # type: ignore[arg-type]


def values(*texts: str, **known: object) -> dict[str, Effective]:
    return in_force(host(*texts, **known))[0]


def section(path: str, *lines: str) -> str:
    """A section with one setting a line; `a/b` is b within a."""
    names = path.split("/")
    return "\n".join([*(f"{name} {{" for name in names), *lines, *("}" for _ in names)]) + "\n"


LAYERS = [
    (1, section("multipaths/multipath", "wwid 1", "no_path_retry 1"), "multipaths multipath"),
    (2, section("overrides", "no_path_retry 2"), "overrides"),
    (3, section("devices/device", "vendor NET", "product .*", "no_path_retry 3"), "devices device"),
    ("queue", "", "NETAPP LUN C-Mode, multipath-tools 0.9.4"),
    (4, section("defaults", "no_path_retry 4"), "defaults"),
]


@pytest.mark.parametrize("first", range(4))
def test_a_section_beats_those_below_it(first: int) -> None:
    found = values(*(text for _, text, _ in LAYERS[first:]), device=NETAPP, wwid="1")["no_path_retry"]
    chain = [(found.value, found.origin.words), *((lost[0], lost[1].words) for lost in found.overruled)]
    assert chain[:-1] == [(value, words) for value, _, words in LAYERS[first:]]
    assert found.overruled[-1][1].kind == "built-in default"
    assert all(why for _, _, why in found.overruled)


def test_the_protocol_beats_overrides_for_a_path_from_0_9_0_on() -> None:
    text = section("overrides", "fast_io_fail_tmo 3", "protocol {", "type scsi:iscsi", "fast_io_fail_tmo 4", "}")
    assert values(text)["fast_io_fail_tmo"].value == 4
    before, problems = in_force(host(text, multipath_tools=(0, 8, 9)))
    assert before["fast_io_fail_tmo"].value == 3
    assert "0.9.0" in problems[0].message


def test_a_map_is_found_by_its_alias() -> None:
    text = section("multipaths/multipath", "wwid 1", "alias data", "failback 7")
    assert values(text, alias="data")["failback"].value == 7
    assert values(text, alias="other")["failback"].value == "manual"
    assert values(text, wwid="data", alias="data")["failback"].value == 7
    text += section("multipaths/multipath", "wwid 2", "failback 8")
    assert values(text, wwid="2", alias="data")["failback"].value == 8


@pytest.mark.parametrize(
    ("text", "severity", "words"),
    [
        (section("multipaths/multipath", "alias data"), "error", "without wwid"),
        (section("multipaths/multipath", "wwid 1"), "warning", "which map"),
        (section("devices/device", "vendor X"), "error", "needs vendor and product"),
        (section("devices/device", "vendor X", "product Y"), "warning", "which array"),
        (section("defaults", "polling_interval 5s"), "error", "4294967294"),
    ],
)
def test_what_does_not_count_is_named(text: str, severity: str, words: str) -> None:
    problem = in_force(host(text))[1][0]
    assert (problem.file, problem.severity) == ("m0", severity)
    assert words in problem.message


def test_before_0_7_8_the_last_device_section_that_matches_counts_alone() -> None:
    texts = (section("devices/device", "vendor IET", "product V", "no_path_retry 3", "failback 4"),
             section("devices/device", "vendor I", "product V", "no_path_retry 5"))  # fmt: skip
    new, old = values(*texts, device=IET), values(*texts, device=IET, multipath_tools=(0, 7, 7))
    assert (new["no_path_retry"].value, new["failback"].value) == (5, 4)
    assert (old["no_path_retry"].value, old["failback"].value) == (5, "manual")


def test_the_old_feature_means_queue_where_nothing_else_is_said() -> None:
    feature = 'features "1 queue_if_no_path"'
    found = values(section("defaults", feature), device=IET)["no_path_retry"]
    assert (found.value, found.origin.kind, found.origin.line) == ("queue", "derived", 2)
    assert values(section("defaults", feature, "no_path_retry 5"), device=IET)["no_path_retry"].value == 5
    assert values(section("defaults", feature, "no_path_retry fail"), device=IET)["no_path_retry"].value == "fail"
    lio = Device("LIO-ORG", "disk")
    assert values(section("overrides", feature), device=lio)["no_path_retry"].value == 12


@pytest.mark.parametrize(
    ("lines", "version", "least", "most"),
    [
        ([], DEBIAN_12, 5, 20),
        (["polling_interval 10"], DEBIAN_12, 10, 40),
        (["max_polling_interval 10"], DEBIAN_12, 2, 10),
        (["max_polling_interval 3"], DEBIAN_12, 1, 3),
        (["max_polling_interval 10"], (0, 8, 3), 5, 10),
        (["polling_interval 9", "max_polling_interval 3"], DEBIAN_12, 3, 3),
        (["polling_interval 9", "max_polling_interval 3"], (0, 8, 3), 9, 3),
        (["max_polling_interval 0"], DEBIAN_12, 5, 20),
        (["polling_interval 0"], DEBIAN_12, 1, 4),
        (["polling_interval 5s"], DEBIAN_12, 2**32 - 2, 2**32 - 1),
        (["polling_interval 5s"], (0, 8, 7), 5, 20),
        (["polling_interval 4", "polling_interval 5s"], DEBIAN_12, 4, 16),
    ],
)
def test_polling_intervals_are_fitted_to_each_other(lines: list[str], version: Version, least: int, most: int) -> None:
    found = values(section("defaults", *lines), multipath_tools=version)
    assert (found["polling_interval"].value, found["max_polling_interval"].value) == (least, most)


def test_a_polling_interval_of_0_ends_later_daemons() -> None:
    text = section("defaults", "polling_interval 0")
    assert in_force(host(text))[1] == []
    problems = in_force(host(text, multipath_tools=(0, 11, 1)))[1]
    assert [(problem.line, problem.severity) for problem in problems] == [(2, "error")]


def test_keys_count_from_the_release_that_knows_them() -> None:
    text = section("defaults", "max_retries 0")
    assert values(text)["max_retries"].value == 5
    assert values(text, multipath_tools=(0, 9, 7))["max_retries"].value == 0


@pytest.mark.parametrize(
    ("version", "selector", "fast"), [(RHEL_7, "round-robin 0", None), ((0, 5, 0), "service-time 0", 5)],
)
def test_defaults_by_release(version: Version, selector: str, fast: int | None) -> None:
    found = values(multipath_tools=version)
    assert (found["path_selector"].value, found["fast_io_fail_tmo"].value) == (selector, fast)


IGNORED, UNSET = Refused.IGNORED, Refused.UNSET


@pytest.mark.parametrize(
    ("key", "text", "debian_12", "rhel_8"),
    [
        ("no_path_retry", "fail", "fail", "fail"),
        ("no_path_retry", "0", "fail", "fail"),
        ("no_path_retry", " 12 ", 12, 12),
        ("no_path_retry", "-5", 1, UNSET),
        ("no_path_retry", "5s", IGNORED, 5),
        ("no_path_retry", "many", IGNORED, UNSET),
        ("no_path_retry", "9" * 40, 2**31 - 1, UNSET),
        ("fast_io_fail_tmo", "off", None, None),
        ("fast_io_fail_tmo", "0", 0, 0),
        ("fast_io_fail_tmo", "00", 1, UNSET),
        ("dev_loss_tmo", "infinity", DEV_LOSS_TMO_MAX, DEV_LOSS_TMO_MAX),
        ("dev_loss_tmo", "-1", DEV_LOSS_TMO_MAX, DEV_LOSS_TMO_MAX),
        ("dev_loss_tmo", "30 s", 30, 30),
        ("dev_loss_tmo", "never", IGNORED, UNSET),
        ("failback", "immediate", "immediate", "immediate"),
        ("failback", "0", UNSET, UNSET),
        ("failback", "Immediate", IGNORED, UNSET),
        ("path_grouping_policy", "multibus", "multibus", "multibus"),
        ("path_grouping_policy", "group_by_tpg", IGNORED, UNSET),
        ("path_selector", "round-robin 0", "round-robin 0", "round-robin 0"),
        ("path_selector", "round-robin", IGNORED, "round-robin"),
        ("path_selector", "round-robin 1", IGNORED, "round-robin 1"),
        ("features", "1 queue_if_no_path", "1 queue_if_no_path", "1 queue_if_no_path"),
        ("features", "queue_if_no_path", IGNORED, "queue_if_no_path"),
        ("polling_interval", "-4", IGNORED, IGNORED),
        ("polling_interval", "4294967296", IGNORED, IGNORED),
        ("checker_timeout", "0", UNSET, UNSET),
        ("max_retries", "off", -1, -1),
        ("max_retries", "9", 5, UNSET),
    ],
)  # fmt: skip
def test_values_are_read_as_the_release_reads_them(key: str, text: str, debian_12: object, rhel_8: object) -> None:
    assert READERS[key](text, DEBIAN_12) == debian_12
    assert READERS[key](text, RHEL_8) == rhel_8


@pytest.mark.parametrize(
    ("texts", "known", "line"),
    [
        ([section("blacklist", "devnode .*")], {}, 2),
        ([section("blacklist", 'devnode "^sd[a-z]"')], {}, 2),
        ([section("blacklist", "devnode *")], {}, 2),
        ([section("blacklist", "devnode ^sda$")], {}, None),
        ([section("blacklist", 'devnode "!^sd[a-z]"')], {}, None),
        ([section("blacklist", 'devnode "!^dasd"')], {}, 2),
        ([section("blacklist", 'devnode "!^dasd"')], {"multipath_tools": (0, 8, 4)}, None),
        ([section("blacklist", "devnode .*"), section("blacklist_exceptions", "devnode ^sd")], {}, None),
        ([section("blacklist", "devnode .*"), section("blacklist_exceptions", "wwid 1")], {"wwid": "1"}, 2),
        ([section("blacklist", "wwid .*"), section("blacklist_exceptions", "wwid 1")], {"wwid": "1"}, None),
        ([section("blacklist", "wwid .*"), section("blacklist_exceptions", "wwid 2")], {"wwid": "1"}, 2),
        ([section("blacklist", "wwid .*")], {}, None),
        ([section("blacklist", "protocol scsi:iscsi")], {}, 2),
        ([section("blacklist/device", "vendor IET", "product .*")], {"device": IET}, 3),
        ([section("blacklist/device", "vendor IET", "product X")], {"device": IET}, None),
        ([section("blacklist/device", "vendor IET")], {}, None),
        ([section("blacklist", "devnode (")], {}, None),
    ],
)
def test_a_blacklisted_disk_is_not_multipathds(texts: list[str], known: dict[str, object], line: int | None) -> None:
    managed = values(*texts, **known)["multipath"]
    assert managed.value is (line is None)
    assert managed.origin.line == (line or 0)


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("LUN", "LUN C-Mode", True), ("^LUN$", "LUN C-Mode", False), ("*", "x", True), ("", "x", True),
        ("[[:digit:]]+", "a1", True), ("^[[:space:][:upper:]]$", "b", False), ("(", "(", False), ("(*a)", "a", True),
        ("NETAPP|IET", "IET", True),
    ],
)  # fmt: skip
def test_patterns_are_posix_ones(pattern: str, text: str, matches: bool) -> None:
    assert found(pattern, text) is matches
