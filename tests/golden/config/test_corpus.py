"""Files as people have them: recognised, read without loss, and what is wrong with each is named with its line."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from mpio.config.document import Document
from mpio.config.files import Kind, codec_for, parse

HERE = Path(__file__).parent
EXPECTED: dict[str, dict[str, Any]] = tomllib.loads((HERE / "expected.toml").read_text("utf-8"))
FILES = sorted(str(path.relative_to(HERE)) for path in HERE.glob("*/*") if path.parent.name in set(Kind))


def read(name: str) -> tuple[bytes, Document]:
    data = (HERE / name).read_bytes()
    kind = codec_for(f"host1/{Path(name).name}", data[:4096])
    assert kind == Path(name).parent.name
    assert kind is not None
    return data, parse(name, data, kind)


def test_every_file_is_expected() -> None:
    assert sorted(EXPECTED) == FILES
    assert len(FILES) > 35
    assert {Path(name).parent.name for name in FILES} == set(Kind)


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_as_expected(name: str) -> None:
    data, document = read(name)
    assert document.render() == data
    assert len(document.entries()) == EXPECTED[name]["settings"]
    problems = [f"{problem.line} {problem.severity}: {problem.message}" for problem in document.problems]
    expected = EXPECTED[name].get("problems", [])
    assert [found[: len(words)] for found, words in zip(problems, expected, strict=True)] == expected
    assert all(str(problem).startswith(f"{name}:{problem.line}: ") for problem in document.problems)
    for path, value in EXPECTED[name].get("values", {}).items():
        *section, key = [path] if name.startswith("sysctl/") else path.split("/")
        entry = document.get(tuple(section), key)
        assert entry is not None, path
        assert entry.value == value, path


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("sbd_dump/")])
def test_each_setting_of_a_file_can_be_changed_and_changed_back(name: str) -> None:
    data, document = read(name)
    for entry in document.entries()[::5]:
        if document.get(entry.section, entry.key) != entry:
            continue  # a later one overrules it
        changed = document.set(entry.section, entry.key, "12345")
        old, new = data.split(b"\n"), changed.render().split(b"\n")
        if "\n" not in entry.value:
            assert [index for index, line in enumerate(new, 1) if line != old[index - 1]] == [entry.line]
            assert changed.set(entry.section, entry.key, entry.value).render() == data
