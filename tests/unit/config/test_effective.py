"""Which values are in force, by the precedence of iscsid and multipathd, and where each comes from."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.config.effective import Device, EffectiveHost, Host, effective
from mpio.config.files import Kind, parse
from mpio.model.stack import LinuxStack, Version

ISCSID = b"node.session.timeo.replacement_timeout = 120\nnode.conn[0].timeo.login_timeout = 15\n"
LIO = Device("LIO-ORG", "disk01")


def host(files: dict[Kind, str | list[str]], **known: object) -> EffectiveHost:
    """What is in force with files of these texts, named KIND or KIND0, KIND1, …"""
    documents = {}
    for kind, texts in files.items():
        listed = [texts] if isinstance(texts, str) else texts
        names = [str(kind)] if isinstance(texts, str) else [f"{kind}{number}" for number in range(len(listed))]
        documents[kind] = [parse(name, text.encode(), kind) for name, text in zip(names, listed, strict=True)]
    return effective(Host(documents, **known))  # type: ignore[arg-type]


def defaults(lines: str) -> str:
    return f"defaults {{\n{lines}\n}}\n"


# --- without files


def test_without_files_everything_is_as_shipped() -> None:
    found = host({})
    assert found.stack == LinuxStack(max_polling_interval=20)
    assert found.clusters == ()
    assert found.problems == ()
    assert {value.origin.kind for value in found.values.values()} == {"built-in default", "derived"}
    assert {name for name in dir(LinuxStack()) if name in found.values} >= {
        field.name for field in dataclasses.fields(LinuxStack)
    } - {"hz", "kernel", "multipath_tools"}


def test_what_the_host_runs_goes_into_the_stack() -> None:
    found = host({}, hz=1000, kernel=(4, 18), multipath_tools=(0, 8, 4))
    assert (found.stack.hz, found.stack.kernel, found.stack.multipath_tools) == (1000, (4, 18), (0, 8, 4))


def test_a_given_value_beats_all_files() -> None:
    found = host({Kind.MULTIPATH: defaults("no_path_retry 5")}, options={"no_path_retry": "queue", "timeout": 60})
    assert (found.stack.no_path_retry, found.stack.timeout) == ("queue", 60)
    assert str(found.values["no_path_retry"].origin) == "option"
    assert [lost[0] for lost in found.values["no_path_retry"].overruled] == [5, "fail"]


# --- recovery_tmo


@pytest.mark.parametrize(
    ("lines", "version", "value", "origin", "lost"),
    [
        ("fast_io_fail_tmo 7", (0, 9, 4), 7, "multipath:2 (defaults)", "iscsid:1"),
        ("fast_io_fail_tmo off", (0, 9, 4), 120, "iscsid:1", "multipath:2 (defaults)"),
        ("fast_io_fail_tmo 0", (0, 9, 4), 120, "iscsid:1", "multipath:2 (defaults)"),
        ("dev_loss_tmo 5", (0, 9, 4), 120, "iscsid:1", "built-in default (multipath-tools 0.9.4)"),
        ("fast_io_fail_tmo 25\nno_path_retry 4", (0, 14, 3), 120, "iscsid:1", "multipath:2 (defaults)"),
        ("fast_io_fail_tmo 24\nno_path_retry 4", (0, 14, 3), 24, "multipath:2 (defaults)", "iscsid:1"),
    ],
)
def test_multipathd_writes_over_the_recovery_time_or_does_not(
    lines: str, version: Version, value: int, origin: str, lost: str
) -> None:
    text = "node.session.timeo.replacement_timeout = 120\n"
    found = host({Kind.ISCSID: text, Kind.MULTIPATH: defaults(lines)}, multipath_tools=version)
    recovery = found.values["recovery_tmo"]
    assert (recovery.value, str(recovery.origin), str(recovery.overruled[0][1])) == (value, origin, lost)
    assert recovery.overruled[0][2]


def test_the_recovery_time_is_iscsids_without_multipathd() -> None:
    found = host({Kind.ISCSID: "node.session.timeo.replacement_timeout = -1\n"}, multipath=False)
    assert found.values["recovery_tmo"].value is None
    assert found.stack.multipath is False


def test_old_kernels_take_replacement_timeout_again_at_each_login() -> None:
    found = host({Kind.ISCSID: "node.session.timeo.replacement_timeout = 90\n"}, kernel=(3, 10))
    assert found.values["recovery_tmo"].value == 90


# --- what the answer hangs on


def test_an_unknown_array_is_named_where_its_entry_could_count() -> None:
    weak = host({Kind.MULTIPATH: defaults("failback immediate\nno_path_retry 5")}).problems
    assert [problem.severity for problem in weak] == ["warning"]
    assert "no_path_retry, fast_io_fail_tmo, failback" in weak[0].message
    strong = "overrides {\n no_path_retry 5\n failback manual\n fast_io_fail_tmo 5\n}\n"
    assert host({Kind.MULTIPATH: strong}).problems == ()
    assert host({Kind.MULTIPATH: defaults("no_path_retry 5")}, device=LIO).problems == ()


ANY = st.one_of(st.binary(max_size=120), st.sampled_from([
    b"defaults {\n polling_interval 0\n}\n", b"devices {\n device {\n vendor (\n product [\n}\n}\n",
    b"node.conn[0].timeo.noop_out_interval = 99999999999999999999999999\n", b"SBD_DEVICE=;;\nSBD_OPTS='-I'\n",
    b"totem {\n token: -1\n}\n", b"io_timeout = x\n", b"deadtime 1e9\n", b"O2CB_HEARTBEAT_THRESHOLD=2\n",
    b"multipaths {\n multipath {\n alias a\n}\n}\n", b"# BEGIN RECORD 2.1\nnode.name = x\n# END RECORD\n",
]))  # fmt: skip


@given(st.dictionaries(st.sampled_from(Kind), st.lists(ANY, max_size=2)), st.sampled_from([None, LIO]),
       st.sampled_from([(0, 4, 9), (0, 8, 4), (0, 9, 4), (0, 14, 3)]))
def test_no_file_is_too_bad_and_every_origin_is_a_line_of_one(
    files: dict[Kind, list[bytes]], device: Device | None, version: Version
) -> None:
    documents = {kind: [parse(f"{kind}{at}", data, kind) for at, data in enumerate(listed)]
                 for kind, listed in files.items()}
    found = effective(Host(documents, device, multipath_tools=version, wwid="1"))
    lines = {document.file: {entry.line for entry in document.entries()}
             for listed in documents.values() for document in listed}
    for name, value in found.values.items():
        assert value.key == name
        for origin in (value.origin, *(lost[1] for lost in value.overruled)):
            assert not origin.line or origin.line in lines[origin.file]
            assert str(origin)
