"""cluster.conf: stanzas, numbered by kind."""

import pytest

from mpio.config.files import Kind, parse

TEXT = b"""\
cluster:
\tnode_count = 2
\tname = web

node:
\tnumber = 0
\tname = a

node:
\tnumber = 1
\tname = b
"""


def test_stanzas_are_numbered_by_kind() -> None:
    document = parse("f", TEXT, Kind.OCFS2)
    assert not document.problems
    places = [(entry.section[0], entry.key, entry.value) for entry in document.entries()]
    assert places[:2] == [("cluster[0]", "node_count", "2"), ("cluster[0]", "name", "web")]
    assert places[4:] == [("node[1]", "number", "1"), ("node[1]", "name", "b")]


def test_an_attribute_is_added_within_its_stanza_and_comments_stand_in_column_0() -> None:
    edited = parse("f", TEXT, Kind.OCFS2).set(("node[0]",), "ip_port", "7777", "as the others")
    assert edited.render() == TEXT.replace(b"\tnumber = 0\n", b"# as the others\n\tip_port = 7777\n\tnumber = 0\n")
    assert not edited.problems


def test_a_stanza_is_made_where_there_is_none() -> None:
    edited = parse("f", TEXT, Kind.OCFS2).set(("node[2]",), "number", "2").set(("heartbeat[0]",), "cluster", "web")
    assert edited.render().decode() == (
        "cluster:\n\tnode_count = 2\n\tname = web\n\nheartbeat:\n\tcluster = web\n\n"
        "node:\n\tnumber = 0\n\tname = a\n\nnode:\n\tnumber = 1\n\tname = b\n\nnode:\n\tnumber = 2\n"
    )
    assert not edited.problems
    assert parse("f", b"", Kind.OCFS2).set(("node[0]",), "number", "0").render() == b"node:\n\tnumber = 0\n"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("node:\n\tname = a\n\n\tnumber = 0\n", 4, "attribute 'number' stands outside a stanza"),
        ("node:\n \n\tnumber = 0\n", 3, "attribute 'number' stands outside a stanza"),
        ("node:\nname = a\n", 2, "expected a stanza such as 'node:', found 'name = a'"),
        ("node: x\n", 1, "expected a stanza such as 'node:', found 'node: x'"),
        ("node:\n\t# x\n", 2, "expected an attribute 'key = value', found '# x'"),
        ("node:\n\tname\n", 2, "expected an attribute 'key = value', found 'name'"),
        ("node:\n\tname = a \n", 2, "blanks at the end become part of name"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, line: int, message: str) -> None:
    problem = parse("f", text.encode(), Kind.OCFS2).problems[0]
    assert (problem.line, problem.message) == (line, message)


def test_a_backslash_carries_a_value_on_with_its_newline() -> None:
    document = parse("f", b"heartbeat:\n\tregion = A\\\nB\n\tcluster = web\n", Kind.OCFS2)
    entry = document.get(("heartbeat[0]",), "region")
    assert entry is not None
    assert entry.value == "A\nB"
    assert document.set(("heartbeat[0]",), "region", "AB").render() == b"heartbeat:\n\tregion = AB\n\tcluster = web\n"


def test_a_comment_does_not_end_a_stanza() -> None:
    assert len(parse("f", b"node:\n\tname = a\n# x\n\tnumber = 0\n", Kind.OCFS2).entries()) == 2
