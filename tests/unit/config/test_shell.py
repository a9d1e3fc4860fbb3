"""Sysconfig files: assignments as a shell makes them."""

import pytest

from mpio.config.files import Kind, parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=31", "31"),
        ("A=", ""),
        ("  A=31  # comment", "31"),
        ("A=a#b", "a#b"),
        ('A="a b"', "a b"),
        ("A='a \"b\" $c'", 'a "b" $c'),
        (r'A="say \"x\" for \$5\n"', r'say "x" for $5\n'),
        ("A=a'b c'\"d e\"f", "ab cd ef"),
        (r"A=a\ b", "a b"),
        ("A=1\\\n2", "12"),
        ("A='1\n2'", "1\n2"),
        ("export A=31", "31"),
        ("A=1;A=2", "2"),
        ("export B A=2", "2"),
    ],
)
def test_an_assignment(text: str, value: str) -> None:
    document = parse("f", f"{text}\n".encode(), Kind.O2CB)
    entry = document.get((), "A")
    assert entry is not None
    assert entry.value == value
    assert not document.problems


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A=$B", "the value depends on what the shell makes of '$'; what it does is not known here"),
        ('A="`id`"', "the value depends on what the shell makes of '`'; what it does is not known here"),
        ("A=(1 2)", "the value depends on what the shell makes of '('; what it does is not known here"),
        ("A = 31", "expected NAME=value, found 'A = 31'; no blanks may stand around '='"),
        ("A =31", "expected NAME=value, found 'A =31'; no blanks may stand around '='"),
        (". /etc/x", "expected NAME=value, found '. /etc/x'; what it does is not known here"),
        ("A=1 modprobe x", "expected NAME=value, found 'modprobe x'; what it does is not known here"),
    ],
)
def test_a_line_that_would_have_to_be_run_is_reported_and_left_alone(text: str, message: str) -> None:
    document = parse("f", f"B=1\n{text}\nC=2\n".encode(), Kind.O2CB)
    assert [entry.key for entry in document.entries()] == ["B", "C"]
    assert [str(problem) for problem in document.problems] == [f"f:2: {message}"]


def test_nothing_behind_an_open_quote_is_read_and_additions_stand_before_it() -> None:
    document = parse("f", b'A=1\nB="2\nC=3\n', Kind.O2CB)
    assert [entry.key for entry in document.entries()] == ["A"]
    assert str(document.problems[0]).startswith("f:2: a quote or backslash is never closed")
    assert document.set((), "C", "4").render() == b'A=1\nC=4\nB="2\nC=3\n'


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ('A="31" # x', "61", 'A="61" # x'),
        ("A='31'", "61", "A='61'"),
        ("A='31'", "it's", 'A="it\'s"'),
        ("A=31", "a b", 'A="a b"'),
        ("A=31", '$5 "x"', 'A="\\$5 \\"x\\""'),
        ("export B=1 A=31 C=2", "61", "export B=1 A=61 C=2"),
        ("A=1; A=31", "61", "A=1; A=61"),
        ("A=3\\\n1", "61", "A=61"),
    ],
)
def test_a_change_keeps_the_quotes_and_the_rest_of_the_line(text: str, value: str, expected: str) -> None:
    assert parse("f", f"{text}\n".encode(), Kind.O2CB).set((), "A", value).render() == f"{expected}\n".encode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("A=1 B=2\n", "B=2\n"), ("B=2 A=1 # x\n", "B=2 # x\n"), ("A=1\nB=2\nA=3\n", "B=2\n"), ("A=1 A=2\n", "")],
)
def test_one_of_several_assignments_on_a_line_is_removed_alone(text: str, expected: str) -> None:
    assert parse("f", text.encode(), Kind.O2CB).remove((), "A").render() == expected.encode()


def test_lines_that_systemd_reads_otherwise_are_reported_for_sbd() -> None:
    data = b'SBD_PACEMAKER=yes\nSBD_DELAY_START=no # or 30\nexport SBD_STARTMODE=always\nSBD_DEVICE="/dev/a;/dev/b"\n'
    assert [problem.line for problem in parse("f", data, Kind.SBD).problems] == [2, 3]
    assert not parse("f", data, Kind.O2CB).problems
