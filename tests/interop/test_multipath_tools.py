"""multipath.conf as Debian's multipath-tools reads it, and as we do: the same words, the same values in force."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.multipath_tools import Dump, Settings, dump, version

from mpio.config import hwtable
from mpio.config.effective import Device, Host, effective
from mpio.config.files import Kind
from mpio.config.multipath import LINE_BYTES_MAX, parse
from mpio.config.multipath_values import DEV_LOSS_TMO_MAX

pytestmark = pytest.mark.interop

SLOW = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# --- words

PIECES = st.sampled_from(
    [
        *(bytes([byte]) for byte in b' \t\r\0"{}#!a'),
        b'""',
        b"\xe4",
        b"\nprio_args ",
        b"\nprio_args b",
        b'\nprio_args "',
        b'prio_args"c d"',
        b"\n}\n",
        b" {\n",
        b"\ndefaults {\n",
        b"\noverrides {\n",
        b"\ndefaults",
        b"\ndevices {\ndevice {\n",
        b"\nprotocol {\n",
        b"\nunknown {\n",
        b"x" * (LINE_BYTES_MAX - 20),
    ]
)


@SLOW
@given(st.lists(PIECES, max_size=25).map(b"".join))
def test_the_same_value_is_read_from_any_bytes(data: bytes) -> None:
    for head in (b"", b"defaults {\n", b"overrides {\n prio_args first\n"):
        document = parse("multipath.conf", head + data)
        theirs = dump({"multipath.conf": head + data})
        for section, unset in (("defaults", ""), ("overrides", None)):
            entry = document.get((section,), "prio_args")
            assert theirs.sections.get(section, {}).get("prio_args", unset) == (entry.value if entry else unset)


@SLOW
@given(st.text(st.characters(exclude_characters="\0\r\n", exclude_categories=["Cs"]), max_size=30), st.booleans())
def test_what_we_write_is_read_as_meant(value: str, quoted: bool) -> None:
    before = b'defaults {\n  prio_args "old" # why\n}\n' if quoted else b"# nothing yet\n"
    document = parse("multipath.conf", before).set(("defaults",), "prio_args", value, "because")
    assert dump({"multipath.conf": document.render()}).sections["defaults"]["prio_args"] == value


def test_lists_are_read_in_the_same_order() -> None:
    text = (
        b'blacklist {\n wwid one\n wwid "two" # no\n device {\n  vendor A\n  product "B C"\n }\n}\n'
        b"blacklist {\n wwid three\n}\n"
    )
    ours = [entry.value for entry in parse("m", text).entries() if entry.key == "wwid"]
    theirs = [value for place, value in dump({"multipath.conf": text}).blacklist if place == "blacklist/wwid"]
    assert theirs == ours == ["one", "two", "three"]


# --- values

DEVICES = [
    Device("LIO-ORG", "disk01"),
    Device("NETAPP", "LUN C-Mode"),
    Device("3PARdata", "VV"),
    Device("NFINIDAT", "InfiniBox"),
    Device("COMPELNT", "Compellent Vol"),
    Device("DGC", "VRAID"),
    Device("EQLOGIC", "100E-00"),
    Device("PURE", "FlashArray"),
    Device("HITACHI", "DF600F"),
    Device("IET", "VIRTUAL-DISK"),
]
WWID = "360000000000000000e00000000010001"
MAP_KEYS = ("no_path_retry", "failback", "path_grouping_policy", "path_selector")
PATH_KEYS = ("fast_io_fail_tmo", "dev_loss_tmo")
DEFAULTS_ONLY = ("polling_interval", "max_polling_interval", "checker_timeout", "max_retries")
UNSET = {"no_path_retry": "fail", "max_retries": 5, "checker_timeout": None, "dev_loss_tmo": None}


def in_force(theirs: Dump, device: Device | None, key: str) -> object:
    """The manual's precedence (multipath.conf(5)) over the sections that multipath itself has read and joined."""
    layers: list[Settings] = []
    if key in MAP_KEYS:
        layers += [section for section in theirs.multipaths if section.get("wwid") == WWID]
    if key in PATH_KEYS:
        layers += [section for section in reversed(theirs.protocols) if section.get("type") == "scsi:iscsi"]
    if key not in DEFAULTS_ONLY:
        layers.append(theirs.sections.get("overrides", {}))
        layers += [section for section in reversed(theirs.devices) if device and matches(section, device)]
    layers.append(theirs.sections["defaults"])
    return typed(next((layer[key] for layer in layers if key in layer), None), key)


def matches(section: Settings, device: Device) -> bool:
    pairs = (("vendor", device.vendor), ("product", device.product), ("revision", device.revision))
    return all(re.search(section[key], text) for key, text in pairs if key in section)


def typed(text: str | None, key: str) -> object:
    if text is None:
        return UNSET.get(key)
    if key == "path_selector":
        return text
    if text in ("off", "infinity"):
        return {"off": None, "infinity": DEV_LOSS_TMO_MAX}[text]
    return int(text) if re.fullmatch("-?[0-9]+", text) else text


def assert_same(files: dict[str, bytes]) -> None:
    theirs = dump(files)
    documents = [parse(name, files[name]) for name in sorted(files, key=lambda name: (name.count("/"), name))]
    for device in (*DEVICES, None):
        ours = effective(
            Host({Kind.MULTIPATH: documents}, device, multipath_tools=version(), wwid=WWID)
        ).values
        for key in (*MAP_KEYS, *PATH_KEYS, "path_checker", *DEFAULTS_ONLY):
            assert ours[key].value == in_force(theirs, device, key), f"{key} of {device}: {ours[key]}"


SECTIONS = """
defaults { no_path_retry 4; failback immediate; fast_io_fail_tmo 7 }
defaults { polling_interval 5s }
defaults { polling_interval -4 }
defaults { polling_interval 4; polling_interval five }
defaults { max_polling_interval 10 }
defaults { max_polling_interval 3 }
defaults { polling_interval 9; max_polling_interval 3 }
defaults { polling_interval 2000000000 }
defaults { no_path_retry 0 }
defaults { no_path_retry -5; failback -1; fast_io_fail_tmo -1 }
defaults { no_path_retry 4; no_path_retry 5s }
defaults { no_path_retry 99999999999999999999999999999999 }
defaults { failback 0 }
defaults { failback 10; failback 0 }
defaults { fast_io_fail_tmo off; dev_loss_tmo infinity }
defaults { fast_io_fail_tmo 0; dev_loss_tmo 30x }
defaults { checker_timeout 0 }
defaults { checker_timeout 12 }
defaults { max_retries 2 }
defaults { path_selector "round-robin 0"; path_selector "service-time" }
defaults { path_selector "round-robin 1" }
defaults { path_grouping_policy nonsense; path_checker directio }
defaults { path_checker "" }
defaults { checker readsector0 }
overrides { no_path_retry queue; fast_io_fail_tmo 8 }
overrides { fast_io_fail_tmo 8; protocol { type scsi:iscsi; fast_io_fail_tmo 9 } }
overrides { protocol { type scsi:fcp; fast_io_fail_tmo 9 } }
overrides { protocol { type scsi:iscsi; fast_io_fail_tmo 9; dev_loss_tmo 60 } \
protocol { type scsi:iscsi; dev_loss_tmo 7 } }
devices { device { vendor "NETAPP"; product "LUN"; no_path_retry 7 } }
devices { device { vendor "LIO-ORG"; product ".*"; failback 20; fast_io_fail_tmo 3 } }
devices { device { vendor .*; product .*; no_path_retry 6 } \
device { vendor COMPELNT; product V; path_checker directio } }
devices { device { vendor IET; product V; no_path_retry 2; failback 9 } \
device { vendor I; product V; no_path_retry 3 } device { vendor IET; product V; fast_io_fail_tmo 4 } }
devices { device { vendor .*; product .*; failback immediate; checker_timeout 9 } \
device { vendor .*; product .*; failback 0; checker_timeout 0 } }
devices { device { vendor IET; product V; failback 9 } device { vendor IET; product V; failback 4; failback 0 } }
devices { device { vendor IET; product V; failback 0 } device { vendor IET; product V; failback 4 } }
devices { device { vendor IET; no_path_retry 2 } }
multipaths { multipath { wwid WWID; no_path_retry 11; failback manual } }
multipaths { multipath { wwid WWID; no_path_retry 11; failback 5 } multipath { wwid WWID; no_path_retry 12 } \
multipath { wwid 1; failback 7 } }
""".replace("\\\n", "").replace("WWID", WWID)


@pytest.mark.parametrize("text", ["", *SECTIONS.strip().splitlines()])
def test_the_same_values_are_in_force(text: str) -> None:
    lines = re.sub(r" *; *| (?=\})", "\n", text).replace("{ ", "{\n").replace("} ", "}\n")
    assert_same({"multipath.conf": lines.encode() + b"\n"})


def test_drop_ins_are_read_after_the_file_by_name() -> None:
    assert_same(
        {
            "multipath.conf": b"defaults {\n no_path_retry 1\n polling_interval 1\n failback 1\n}\n",
            "multipath/conf.d/10.conf": b"defaults {\n no_path_retry 2\n failback 2\n}\noverrides {\n failback 20\n}\n",
            "multipath/conf.d/20.conf": b"defaults {\n no_path_retry 3\n}\noverrides {\n failback 30\n}\n",
        }
    )


VALUES = {
    "no_path_retry": ["fail", "queue", "0", "3", "12", "-1", "x", "5s"],
    "failback": ["immediate", "manual", "followover", "0", "15", "later"],
    "fast_io_fail_tmo": ["off", "0", "5", "25", "-2", "soon"],
    "dev_loss_tmo": ["infinity", "30", "x"],
    "path_grouping_policy": ["failover", "multibus", "group_by_prio", "round"],
    "path_selector": ['"queue-length 0"', '"round-robin 0"', "nothing"],
    "path_checker": ["tur", "directio"],
    "polling_interval": ["1", "5", "10", "-3", "x"],
    "max_polling_interval": ["4", "20", "x", "0"],
    "checker_timeout": ["0", "5", "x"],
}
NAMES = {
    "device": ["vendor NETAPP|product LUN", "vendor .*|product .*", "vendor LIO|product disk", "vendor IET"],
    "multipath": [f"wwid {WWID}", "wwid 1"],
    "protocol": ["type scsi:iscsi", "type scsi:fcp"],
}


@st.composite
def blocks(draw: st.DrawFn) -> str:
    """One section with a few settings."""

    def lines() -> list[str]:
        keys = draw(st.lists(st.sampled_from(sorted(VALUES)), max_size=4))
        return [f"{key} {draw(st.sampled_from(VALUES[key]))}" for key in keys]

    word = draw(st.sampled_from(["defaults", "overrides", "devices", "multipaths", "overrides protocol"]))
    inner = {"devices": "device", "multipaths": "multipath", "overrides protocol": "protocol"}.get(word)
    body = lines()
    if inner:
        named = draw(st.sampled_from(NAMES[inner])).split("|")
        body = [f"{inner} {{", *named, *body, "}"]
    return "\n".join([f"{word.split()[0]} {{", *body, "}"]) + "\n"


@SLOW
@given(st.lists(blocks(), max_size=5), st.lists(blocks(), max_size=3))
def test_the_same_values_are_in_force_of_any_sections(main: list[str], drop_in: list[str]) -> None:
    assert_same({"multipath.conf": "".join(main).encode(), "multipath/conf.d/a.conf": "".join(drop_in).encode()})


# --- the built-in table


def test_the_hardware_table_is_that_of_the_release() -> None:
    table = dump({"multipath.conf": b""}).devices
    keys = ("no_path_retry", "fast_io_fail_tmo", "dev_loss_tmo", "failback", "path_grouping_policy", "path_checker")
    for array in hwtable.ARRAYS:
        device = Device(sample(array.vendor), sample(array.product))
        theirs: Settings = {}
        for section in table:
            if "revision" not in section and matches(section, device):
                theirs |= {key: section[key] for key in keys if key in section}
        ours = hwtable.lookup(device.vendor, device.product, version())
        assert {key: ours[key] for key in keys if key in ours} == theirs, device


def sample(pattern: str) -> str:
    """A text that a pattern of the table finds: the first of alternatives, the first of a character set."""
    while match := re.search(r"\(([^()]*)\)", pattern):
        pattern = pattern[: match.start()] + match[1].split("|")[0] + pattern[match.end() :]
    text = re.sub(r"\[(.)[^]]*\]", r"\1", pattern).replace(".*", "disk").strip("^$")
    return "disk" if text == "." else text
