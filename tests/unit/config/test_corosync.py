"""corosync.conf: nested sections."""

import pytest

from mpio.config.document import Section
from mpio.config.files import Kind, parse

TEXT = b"""\
# two nodes
totem {
    version: 2
    interface {
        ringnumber: 0
    }
    interface {
        ringnumber: 1
    }
    token : 5000
}
nodelist {
\tnode {
\t\tname: a
\t}
\tnode {
\t\tname: b
\t}
}
totem {
    token: 10000
}
"""


def test_repeated_sections_are_numbered_and_others_are_one() -> None:
    document = parse("f", TEXT, Kind.COROSYNC)
    assert not document.problems
    assert [(entry.section, entry.key, entry.value) for entry in document.entries()] == [
        (("totem",), "version", "2"),
        (("totem", "interface[0]"), "ringnumber", "0"),
        (("totem", "interface[1]"), "ringnumber", "1"),
        (("totem",), "token", "5000"),
        (("nodelist", "node[0]"), "name", "a"),
        (("nodelist", "node[1]"), "name", "b"),
        (("totem",), "token", "10000"),
    ]
    entry = document.get(("totem",), "token")
    assert entry is not None
    assert (entry.value, entry.line) == ("10000", 21)


@pytest.mark.parametrize(
    ("section", "key", "added", "behind"),
    [
        (("totem",), "transport", "    transport: x", "    token: 10000"),
        (("totem", "interface[1]"), "z", "        z: x", "        ringnumber: 1"),
        (("nodelist", "node[1]"), "nodeid", "\t\tnodeid: x", "\t\tname: b"),
    ],
)
def test_a_setting_is_added_to_its_section_in_its_indent(section: Section, key: str, added: str, behind: str) -> None:
    old = TEXT.decode().splitlines()
    new = parse("f", TEXT, Kind.COROSYNC).set(section, key, "x").render().decode().splitlines()
    assert new == [*old[: old.index(behind) + 1], added, *old[old.index(behind) + 1 :]]


def test_a_section_is_made_where_there_is_none() -> None:
    document = parse("f", b"# mine\ntotem {\n\tversion: 2\n}\n", Kind.COROSYNC)
    edited = document.set(("quorum", "device"), "sync_timeout", "30000").set(("quorum",), "provider", "x")
    edited = edited.set(("nodelist", "node[0]"), "name", "a").set(("nodelist", "node[1]"), "name", "b")
    assert edited.render().decode() == (
        "# mine\nnodelist {\n\tnode {\n\t\tname: a\n\t}\n\tnode {\n\t\tname: b\n\t}\n}\n\n"
        "quorum {\n\tprovider: x\n\tdevice {\n\t\tsync_timeout: 30000\n\t}\n}\n\ntotem {\n\tversion: 2\n}\n"
    )
    assert not edited.problems


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("totem {\n  token = 5\n}\n", 2, "expected key: value, name { or }, found 'token = 5'"),
        ("totem { token: 5 }\n", 1, "nothing may stand behind '{'"),
        ("{\n}\n", 1, "a section needs a name before '{'"),
        ("totem {\n : 5\n}\n", 2, "a setting needs a name before ':'"),
        ("}\n", 1, "this closing brace has no opening one"),
        ("\ntotem {\n", 2, "section 'totem' is never closed"),
    ],
)
def test_an_error_that_makes_corosync_refuse_the_file(text: str, line: int, message: str) -> None:
    problem = parse("f", text.encode(), Kind.COROSYNC).problems[0]
    assert (problem.line, problem.severity) == (line, "error")
    assert str(problem) == f"f:{line}: {message}; corosync refuses the file"


def test_a_number_sign_within_a_line_is_data() -> None:
    entry = parse("f", b"logging {\n  logfile: /a#b # c\n}\n", Kind.COROSYNC).get(("logging",), "logfile")
    assert entry is not None
    assert entry.value == "/a#b # c"
