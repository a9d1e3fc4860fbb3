"""The laws of `Document`, for any bytes and every line-oriented format."""

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.unit.config.soup import KEYS, VALUES, files

from mpio.config.document import Document, Section
from mpio.config.files import Kind, parse

KINDS = sorted(KEYS)
kinds = pytest.mark.parametrize("kind", KINDS)
laws = hypothesis_settings(max_examples=50)  # fuzz/fuzz_config.py looks deeper


def settings_in(document: Document) -> list[tuple[Section, str, str]]:
    return [(entry.section, entry.key, entry.value) for entry in document.entries()]


def changed(document: Document | None, section: Section, key: str, value: str) -> Document | None:
    """With a value set; None where that is refused (tidy files never do, see the end)."""
    try:
        return document.set(section, key, value) if document else None
    except ValueError:
        return None


def lines_of(content: bytes, like: bytes) -> list[bytes]:
    """Lines as they are; a last one that is not ended gets the ending that further lines of `like` would give it."""
    *lines, last = content.split(b"\n")
    ending = b"\r\n" if like.count(b"\n") == like.count(b"\r\n") > 0 else b"\n"
    return [line + b"\n" for line in lines] + [last + ending] * bool(last)


def same_at_start(one: list[bytes], two: list[bytes]) -> int:
    """How many lines are the same at the start of both."""
    pairs = enumerate(zip(one, two, strict=False))
    return next((index for index, (mine, other) in pairs if mine != other), min(len(one), len(two)))


@kinds
@laws
@given(data=st.data())
def test_parsing_loses_nothing(kind: Kind, data: st.DataObject) -> None:
    content = data.draw(files(kind))
    document = parse("f", content, kind)
    assert document.render() == content
    lines = content.count(b"\n") + 1
    assert all(0 <= problem.line <= lines and "\n" not in str(problem) for problem in document.problems)
    assert all(1 <= entry.line <= lines for entry in document.entries())
    for entry in document.entries():
        assert document.get(entry.section, entry.key) is not None


@kinds
@laws
@given(data=st.data())
def test_what_is_set_is_found_and_is_all_that_changed(kind: Kind, data: st.DataObject) -> None:
    document = parse("f", data.draw(files(kind)), kind)
    section, key = data.draw(st.sampled_from(KEYS[kind]))
    value = data.draw(VALUES)
    edited = changed(document, section, key, value)
    if edited is None:
        return
    entry = edited.get(section, key)
    assert entry is not None
    assert entry.value == value
    again = parse("f", edited.render(), kind)
    assert settings_in(again) == settings_in(edited)
    others = [item for item in settings_in(document) if item[:2] != (section, entry.key)]
    assert [item for item in settings_in(edited) if item[:2] != (section, entry.key)] == others
    assert edited.set(section, key, value).render() == edited.render()


@kinds
@laws
@given(data=st.data())
def test_an_edit_touches_only_the_lines_it_must(kind: Kind, data: st.DataObject) -> None:
    document = parse("f", data.draw(files(kind)), kind)
    section, key = data.draw(st.sampled_from(KEYS[kind]))
    before = document.get(section, key)
    edited = changed(document, section, key, data.draw(VALUES))
    if edited is None:
        return
    content = document.render()
    old, new = lines_of(content, content), lines_of(edited.render(), content)
    above = same_at_start(old, new)
    below = same_at_start(old[above:][::-1], new[above:][::-1])
    gone = old[above : len(old) - below]
    if before is None or gone == []:
        assert gone == []
    else:
        assert above == before.line - 1
        assert len(gone) == 1 or b"\\\n" in content or "\n" in before.value


@kinds
@laws
@given(data=st.data())
def test_edits_of_different_keys_commute(kind: Kind, data: st.DataObject) -> None:
    document = parse("f", data.draw(files(kind)), kind)
    one = (*data.draw(st.sampled_from(KEYS[kind])), data.draw(VALUES))
    two = (*data.draw(st.sampled_from(KEYS[kind])), data.draw(VALUES))
    if one[:2] == two[:2]:
        return
    there = changed(changed(document, *one), *two)
    back = changed(changed(document, *two), *one)
    if there and back:
        assert there.render() == back.render()


@kinds
@laws
@given(data=st.data())
def test_what_is_removed_is_gone_and_nothing_else_is(kind: Kind, data: st.DataObject) -> None:
    document = parse("f", data.draw(files(kind)), kind)
    if not document.entries():
        return
    entry = data.draw(st.sampled_from(document.entries()))
    try:
        edited = document.remove(entry.section, entry.key)
    except ValueError:
        return
    assert edited.get(entry.section, entry.key) is None
    others = [item for item in settings_in(document) if item[:2] != (entry.section, entry.key)]
    assert settings_in(edited) == others
    assert edited.render().count(b"\n") <= document.render().count(b"\n")


@kinds
@laws
@given(data=st.data())
def test_a_comment_is_written_once(kind: Kind, data: st.DataObject) -> None:
    document = parse("f", data.draw(files(kind)), kind)
    section, key = data.draw(st.sampled_from(KEYS[kind]))
    plain = changed(document, section, key, "7")
    if plain is None:
        return
    noted = plain.set(section, key, "7", "outlasts a path failure of 15 s")
    assert settings_in(noted) == settings_in(plain)
    assert noted.render().count(b"outlasts a path") == 1
    assert noted.set(section, key, "7", "outlasts a path failure of 15 s").render() == noted.render()
    old, new = plain.render().splitlines(), noted.render().splitlines()
    assert len(new) == len(old) + 1


@kinds
@laws
@given(data=st.data())
def test_a_file_written_from_nothing_is_the_same_in_any_order_of_writing(kind: Kind, data: st.DataObject) -> None:
    made = [place for place in KEYS[kind] if not str(place[0]).startswith(("('record", "('Target"))]
    made = [place for place in made if place[0] or kind is not Kind.COROSYNC]  # its settings stand in sections
    order = data.draw(st.permutations(made))
    order.sort(key=lambda place: place[0][-1:] == ("node[1]",))  # numbers are given in turn
    one, other = parse("f", b"", kind), parse("f", b"", kind)
    for section, key in order:
        one = one.set(section, key, "31", "a reason")
    for section, key in sorted(made):
        other = other.set(section, key, "31", "a reason")
    assert one.render() == other.render()
    assert not one.problems
    assert len(one.entries()) == len(made)
