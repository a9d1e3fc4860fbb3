"""multipath.conf: read by the rules of multipathd's parser, written without loss."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.config.document import Section
from mpio.config.multipath import LINE_BYTES_MAX, MultipathConf, parse

DEFAULTS: Section = ("defaults",)

# Bytes that the parser gives a meaning, and words that make real structure likely.
PIECES = st.sampled_from(
    [
        *(bytes([byte]) for byte in b' \t\n\r\0"{}#!a0'),
        b'""',
        b"\xe4",
        b"\n}\n",
        b" {\n",
        *(b"\n%s {\n" % word for word in (b"defaults", b"devices", b"device", b"overrides", b"protocol", b"blacklist")),
        b"\npolling_interval 5\n",
        b'\nvendor "A B"\n',
        b"x" * LINE_BYTES_MAX,
    ]
)
FILES = st.lists(PIECES, max_size=40).map(b"".join)
VALUES = st.text(st.characters(exclude_characters="\0\r\n", exclude_categories=["Cs"]), max_size=20)
SECTIONS = st.sampled_from([DEFAULTS, ("overrides",), ("blacklist",), ("devices", "device[0]")])


def settings(document: MultipathConf) -> list[tuple[Section, str, str]]:
    return [(entry.section, entry.key, entry.value) for entry in document.entries()]


@given(st.one_of(st.binary(max_size=200), FILES))
def test_rendering_gives_back_every_byte(data: bytes) -> None:
    assert parse("multipath.conf", data).render() == data


@given(FILES, SECTIONS, VALUES)
def test_what_set_wrote_is_found_and_nothing_else_changes(data: bytes, section: Section, value: str) -> None:
    before = parse("multipath.conf", data)
    after = before.set(section, "key", value, "a reason")
    entry = after.get(section, "key")
    assert entry is not None
    assert entry.value == value
    assert [setting for setting in settings(after) if setting[1] != "key"] == settings(before)
    again = after.set(section, "key", "other")
    assert [line for line in again.render().split(b"\n") if line not in after.render().split(b"\n")] != []
    assert len(again.render().split(b"\n")) == len(after.render().split(b"\n"))
    assert settings(again.remove(section, "key")) == settings(before)


@given(FILES, SECTIONS, SECTIONS, VALUES, VALUES)
def test_edits_of_different_keys_commute(data: bytes, one: Section, other: Section, first: str, second: str) -> None:
    both = parse("multipath.conf", data).set(one, "one", "").set(other, "other", "")
    forth = both.set(one, "one", first).set(other, "other", second)
    back = both.set(other, "other", second).set(one, "one", first)
    assert forth.render() == back.render()


@given(FILES)
def test_a_set_changes_one_line_of_an_existing_key(data: bytes) -> None:
    document = parse("multipath.conf", b"defaults {\n  key old # why\n}\n" + data)
    if document.get(DEFAULTS, "key") is None or data.count(b"key"):
        return
    old, new = document.render().split(b"\n"), document.set(DEFAULTS, "key", "new").render().split(b"\n")
    assert [line for line, other in zip(old, new, strict=True) if line != other] == [b"  key old # why"]
    assert b"  key new # why" in new


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("key 5", "5"),
        ('key "a b" # comment', "a b"),
        ("key a!b", "a"),
        ('key "a!b#c"', "a!b#c"),
        ('key "say ""yes"""', 'say "yes"'),
        ('key ""', ""),
        ('key "', ""),
        ('key "open', "open"),
        ('key"tight"', "tight"),
        ("key 5 6", "5"),
        ("key a\rb", "a"),
        ("key a\0b", "a"),
        ("key a{b", "a"),
        ("\xa0key\xa05\xa0", "5"),
        ('key "\xe4"', "\udce4"),
        ("key }", "}"),
    ],
)
def test_a_value_is_what_multipathd_reads(text: str, expected: str) -> None:
    document = parse("multipath.conf", b"defaults {\n" + text.encode("latin-1") + b"\n}\n")
    entry = document.get(DEFAULTS, "key")
    assert entry is not None
    assert entry.value == expected


def test_the_last_of_several_blocks_wins() -> None:
    document = parse("m", b"defaults {\n key 1\n}\ndevices {\n}\ndefaults {\n key 2\n}\n")
    entry = document.get(DEFAULTS, "key")
    assert entry is not None
    assert (entry.value, entry.line) == ("2", 7)


def test_repeated_sections_are_numbered_through_the_file() -> None:
    text = b'devices {\n device {\n  vendor A\n }\n device {\n }\n}\ndevices {\n device {\n  vendor "B"\n }\n}\n'
    document = parse("m", text)
    assert settings(document) == [
        (("devices", "device[0]"), "vendor", "A"),
        (("devices", "device[2]"), "vendor", "B"),
    ]
    assert [line for section, line in document.sections() if len(section) == 2] == [2, 5, 9]


@pytest.mark.parametrize(
    ("text", "line", "severity", "words"),
    [
        ("defaults { polling_interval 5 }\n}\n", 1, "warning", "'polling_interval' on is not read"),
        ("defaults\nkey 1\n}\n", 1, "warning", "expected '{' after 'defaults'"),
        ("overrides\n", 1, "error", "expected '{' after 'overrides'"),
        ("defaults {\n key\n}\n", 2, "error", "'key' has no value"),
        ("defaults {\n key 1\n", 2, "warning", "the file ends inside defaults"),
        ("}\n", 1, "error", "'}' without a section to close"),
        ("key 1\n", 1, "error", "'key' stands outside every section"),
        ("default {\n", 1, "error", "no section 'default' here"),
        ("devices {\n vendor x\n}\n", 2, "error", "'vendor' stands directly in devices"),
        ('defaults {\n "key" 1\n}\n', 2, "error", "a line begins with a keyword"),
        ("{\n", 1, "error", "a line begins with a keyword"),
        ('defaults {\n key "x\n}\n', 2, "warning", "lacks its closing quotation mark"),
        ("defaults {\n key 1 2\n}\n", 2, "warning", "'2' on is not read"),
        ("#" * 1100 + "\n", 1, "warning", "more than 1023 bytes"),
        ("# a\0b\n", 1, "warning", "NUL"),
    ],
)
def test_what_is_not_read_is_named_with_its_line(text: str, line: int, severity: str, words: str) -> None:
    problem = parse("multipath.conf", text.encode()).problems[0]
    assert (problem.line, problem.severity) == (line, severity)
    assert words in problem.message


def test_the_brace_of_an_unknown_section_closes_the_one_around_it() -> None:
    document = parse("m", b"overrides {\n protocols {\n  type x\n }\n no_path_retry 5\n}\n")
    assert settings(document) == [(("overrides",), "protocols", "{"), (("overrides",), "type", "x")]
    assert [problem.line for problem in document.problems] == [2, 5, 6]


def test_new_settings_go_to_the_end_of_their_section_with_its_indentation() -> None:
    document = parse("m", b"defaults {\n    polling_interval 5\n}\n")
    document = document.set(DEFAULTS, "no_path_retry", "queue", "the array needs 60 s to fail over")
    assert document.render() == (
        b"defaults {\n    polling_interval 5\n    # the array needs 60 s to fail over\n    no_path_retry queue\n}\n"
    )
    again = document.set(DEFAULTS, "no_path_retry", "5", "the array needs 60 s to fail over")
    assert again.render().count(b"60 s") == 1


def test_a_section_is_made_where_none_is() -> None:
    document = parse("m", b"# mine\r\n")
    document = document.set(("overrides", "protocol[0]"), "type", "scsi:iscsi", "iSCSI only")
    document = document.set(("overrides", "protocol[0]"), "fast_io_fail_tmo", "25")
    expected = b"# mine|overrides {|\tprotocol {|\t\t# iSCSI only|\t\ttype scsi:iscsi|\t\tfast_io_fail_tmo 25|\t}|}|"
    assert document.render() == expected.replace(b"|", b"\r\n")


def test_an_unclosed_section_is_closed_before_a_new_one() -> None:
    document = parse("m", b"devices {\n\tdevice {\n\t\tvendor A").set(DEFAULTS, "polling_interval", "5")
    assert document.render() == b"devices {\n\tdevice {\n\t\tvendor A\n\t}\n}\ndefaults {\n\tpolling_interval 5\n}\n"


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        (DEFAULTS, "key", "a\nb"),
        (DEFAULTS, "key", "a\0"),
        (DEFAULTS, "key", "x" * LINE_BYTES_MAX),
        (DEFAULTS, "two words", "1"),
        (DEFAULTS, "", "1"),
        (DEFAULTS, "devices", "1"),
        (("overrides",), "protocol", "1"),
        ((), "key", "1"),
        (("devices",), "key", "1"),
        (("devices", "device"), "key", "1"),
        (("devices", "device[1]"), "key", "1"),
        (("nonsense",), "key", "1"),
    ],
)
def test_what_the_syntax_cannot_carry_is_refused(section: Section, key: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"multipath|section|setting"):
        parse("m", b"").set(section, key, value)


def test_a_word_does_not_grow_into_the_key_where_a_brace_stood_right_behind_it() -> None:
    edited = parse("f", b"defaults {\nalias}\n}\n").set(("defaults",), "alias", "31")
    assert edited.render() == b"defaults {\nalias 31\n}\n"
