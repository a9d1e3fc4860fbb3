"""Reading bytes, and where edits go: what all line-oriented codecs share."""

import pytest

from mpio.config import line_document
from mpio.config.document import Document, Section
from mpio.config.files import Kind, parse


def problems(document: Document) -> list[str]:
    return [str(problem) for problem in document.problems]


def test_a_flat_file_gets_a_new_line_behind_its_last_setting() -> None:
    data = b"node.a = 1\n\n# last words\nnode.m = 2\n# the end\n"
    edited = parse("iscsid.conf", data, Kind.ISCSID).set((), "node.z", "3")
    assert edited.render() == b"node.a = 1\n\n# last words\nnode.m = 2\nnode.z = 3\n# the end\n"


def test_lines_that_are_added_stand_in_order_whatever_the_order_of_adding() -> None:
    document = parse("f", b"b = 1\n", Kind.ISCSID)
    texts = {
        document.set((), first, "2").set((), second, "2").set((), third, "2").render()
        for first, second, third in (("a", "c", "d"), ("d", "c", "a"), ("c", "a", "d"))
    }
    assert texts == {b"a = 2\nb = 1\nc = 2\nd = 2\n"}


def test_a_file_of_comments_keeps_them_above_what_is_added() -> None:
    edited = parse("f", b"# ours\n", Kind.SYSCTL).set((), "vm.x", "1").set((), "kernel.panic", "30")
    assert edited.render() == b"# ours\n\nkernel.panic = 30\nvm.x = 1\n"


def test_a_last_line_without_an_ending_gets_one_only_if_a_line_follows() -> None:
    document = parse("f", b"deadtime 30", Kind.HA_CF)
    assert document.set((), "deadtime", "60").render() == b"deadtime 60"
    assert document.set((), "keepalive", "2").render() == b"deadtime 30\nkeepalive 2\n"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a = 1\r\nb = 1\r\n", b"a = 1\r\nb = 1\r\nc = 1\r\n"),
        (b"a = 1\r\nb = 1\n", b"a = 1\r\nb = 1\nc = 1\n"),
        (b"a = 1\nb = 1\n", b"a = 1\nb = 1\nc = 1\n"),
        (b"", b"c = 1\n"),
    ],
)
def test_line_endings_are_those_of_the_file(data: bytes, expected: bytes) -> None:
    assert parse("f", data, Kind.SYSCTL).set((), "c", "1").render() == expected


def test_a_comment_goes_above_the_line_once_and_long_ones_are_wrapped() -> None:
    document = parse("f", b"totem {\n  token: 3000\n}\n", Kind.COROSYNC)
    reason = "longer than the 15 s that a silent path failure can take, " * 3
    edited = document.set(("totem",), "token", "20000", reason.strip())
    lines = edited.render().decode().splitlines()
    assert lines[0] == "totem {"
    assert all(line.startswith("  # ") and len(line) <= 104 for line in lines[1:-2])
    assert " ".join(line[4:] for line in lines[1:-2]) == reason.strip()
    assert lines[-2] == "  token: 20000"
    assert edited.set(("totem",), "token", "20000", reason.strip()).render() == edited.render()


def test_nothing_is_written_where_the_value_is_the_same() -> None:
    data = b"A='31' # x\n"
    assert parse("f", data, Kind.O2CB).set((), "A", "31").render() == data


@pytest.mark.parametrize(
    ("kind", "section", "key", "value"),
    [
        (Kind.ISCSID, (), "node.a", "one\ntwo"),
        (Kind.ISCSID, (), "node.a", "\0"),
        (Kind.ISCSID, (), "node.a", ""),
        (Kind.ISCSID, (), "node a", "1"),
        (Kind.ISCSID, (), "#node", "1"),
        (Kind.ISCSID, (), "", "1"),
        (Kind.ISCSID, (), "node.a", " 1"),
        (Kind.ISCSID, ("section",), "node.a", "1"),
        (Kind.ISCSID, (), "node.a", "\udce9"),
        (Kind.ISCSID, (), "node.a", "x" * 2048),
        (Kind.SANLOCK, (), "io_timeout", "10 20"),
        (Kind.HA_CF, (), "deadtime", "30 # s"),
        (Kind.SYSCTL, (), "-kernel.panic", "30"),
        (Kind.O2CB, (), "NOT A NAME", "1"),
        (Kind.IETD, ("Target[0]",), "Lun", "0"),
        (Kind.OCFS2, ("node[1]",), "name", "a"),
        (Kind.OCFS2, (), "name", "a"),
        (Kind.OCFS2, ("node[0]",), "na-me", "a"),
        (Kind.COROSYNC, (), "token", "1"),
        (Kind.COROSYNC, ("totem",), "to:ken", "1"),
        (Kind.COROSYNC, ("totem",), "token", "{1}"),
        (Kind.COROSYNC, ("nodelist", "node[1]"), "name", "a"),
        (Kind.SBD_DUMP, ("disk[0]",), "Timeout (watchdog)", "15"),
    ],
)
def test_what_a_syntax_cannot_carry_is_refused(kind: Kind, section: Section, key: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse("f", b"", kind).set(section, key, value)


def test_a_comment_cannot_smuggle_in_a_line() -> None:
    document = parse("f", b"", Kind.ISCSID)
    assert document.set((), "a", "1", "why\nb = 2").entries() == parse("f", b"#\n#\na = 1\n", Kind.ISCSID).entries()
    with pytest.raises(ValueError, match="one line"):
        document.set((), "a", "1", "why\rb = 2")


def test_removing_takes_every_entry_of_the_key_and_leaves_comments() -> None:
    data = b"# a\na = 1\nb = 2\na = 3\n"
    assert parse("f", data, Kind.ISCSID).remove((), "a").render() == b"# a\nb = 2\n"
    assert parse("f", data, Kind.ISCSID).remove((), "c").render() == data


def test_what_is_odd_about_the_bytes_is_reported_with_its_line() -> None:
    nul = parse("f", b"a = 1\nb = 2\0\n", Kind.ISCSID)
    assert problems(nul) == ["f:2: the line has NUL bytes; nothing of it is used"]
    assert problems(parse("f", b"a = 1\n# \xe9\n", Kind.ISCSID)) == ["f:2: byte 0xe9 in column 3 is not UTF-8"]
    assert problems(parse("f", b"\xef\xbb\xbf# x\na = 1\n", Kind.SYSCTL))[0].startswith("f:1: a byte order mark")
    wide = parse("f", "a = 1\n".encode("utf-16"), Kind.ISCSID)
    assert problems(wide)[0].startswith("f:1: the file looks like UTF-16")


def test_a_value_that_is_not_utf_8_is_kept_and_can_be_replaced() -> None:
    document = parse("f", b"node.name = caf\xe9\n", Kind.ISCSID)
    entry = document.get((), "node.name")
    assert entry is not None
    assert entry.value == "caf\udce9"
    assert document.set((), "node.name", "caf\u00e9").render() == b"node.name = caf\xc3\xa9\n"


def test_carriage_returns_are_reported_where_they_change_the_meaning() -> None:
    words = "f:1: lines end in CR LF: the shell takes the carriage return as part of the value; "
    assert problems(parse("f", b"A=1\r\n", Kind.O2CB)) == [words + "convert the file with dos2unix"]
    assert problems(parse("f", b"node:\r\n", Kind.OCFS2))[0].startswith("f:1: lines end in CR LF: o2cb refuses")
    assert not problems(parse("f", b"a = 1\r\n", Kind.ISCSID))


def test_a_file_too_large_is_kept_and_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_document, "SIZE_BYTES_MAX", 8)
    document = parse("f", b"a = 1\nb = 2\n", Kind.ISCSID)
    assert document.render() == b"a = 1\nb = 2\n"
    assert not document.entries()
    assert problems(document) == ["f: expected at most 8 bytes, found 12; nothing of it is used"]
    with pytest.raises(ValueError, match="too large"):
        document.set((), "a", "1")


def test_problems_do_not_flood() -> None:
    found = parse("f", b"junk\n" * 1000, Kind.ISCSID).problems
    assert len(found) == line_document.PROBLEMS_MAX + 1
    assert str(found[-1]) == "f: 900 more problems are not shown"


@pytest.mark.parametrize(("kind", "bytes_max"), [(Kind.ISCSID, 2047), (Kind.SANLOCK, 127), (Kind.COROSYNC, 511)])
def test_a_line_longer_than_the_program_reads_is_reported(kind: Kind, bytes_max: int) -> None:
    fits = b"#" + b"x" * (bytes_max - 2) + b"\n"
    assert not problems(parse("f", fits, kind))
    assert problems(parse("f", b"#" + fits, kind)) == [
        f"f:1: the line is longer than the {bytes_max} bytes that are read at a time"
    ]
    umlauts = ("#" + "\u00fc" * (bytes_max // 2) + "\n").encode()
    assert len(problems(parse("f", umlauts, kind))) == 1
