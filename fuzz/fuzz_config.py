"""Coverage-guided fuzzing of the configuration codecs: `python fuzz/fuzz_config.py [-runs=N] [CORPUS]`.

The first byte chooses the kind of file, the second one of its settings to change or remove. Parsing never raises, and
rendering gives the same bytes. An edit is refused with ValueError, or it is what is read afterwards and is all that
changed; anything else is a finding.
"""

import sys

import atheris

with atheris.instrument_imports(include=["mpio"]):
    from mpio.config.document import Document, Entry
    from mpio.config.files import Kind, codec_for, parse
    from mpio.config.validate import validate

KINDS = tuple(Kind)


def others(document: Document, edited: Entry) -> list[tuple[object, ...]]:
    """All settings but one, by place and value."""
    entries = ((entry.section, entry.key.lower(), entry.value) for entry in document.entries())
    return [entry for entry in entries if entry[:2] != (edited.section, edited.key.lower())]


def check_edit(document: Document, entry: Entry, kind: Kind) -> None:
    """Change one setting, then remove it."""
    try:
        changed = document.set(entry.section, entry.key, "31", "a reason")
    except ValueError:
        return
    found = changed.get(entry.section, entry.key)
    assert found is not None
    assert found.value == "31"
    assert others(parse("f", changed.render(), kind), entry) == others(document, entry)
    try:
        removed = changed.remove(entry.section, entry.key)
    except ValueError:
        return
    assert removed.get(entry.section, entry.key) is None
    assert others(removed, entry) == others(document, entry)


def test_one_input(data: bytes) -> None:
    if len(data) < 2:
        return
    kind, choice, content = KINDS[data[0] % len(KINDS)], data[1], data[2:]
    codec_for("some.txt", content)
    document = parse("f", content, kind)
    assert document.render() == content
    assert all("\n" not in str(problem) for problem in (*document.problems, *validate(document, kind)))
    entries = document.entries()
    if entries:
        check_edit(document, entries[choice % len(entries)], kind)


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
