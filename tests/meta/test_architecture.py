"""The house rules that a reader can't see in one file: import layers, size of files, docs that stay true."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src" / "mpio").rglob("*.py"))
LINES_MAX = 800  # a smell to look at: past this a file is about more than one thing
FUNCTION_LINES_MAX = 80

IMPURE = {"asyncio", "time", "random", "os", "socket", "subprocess", "threading", "logging", "secrets", "uuid"}
PURE_PARTS = (
    "units.py", "errors.py", "events.py", "table.py", "model", "proto", "engine", "target", "config", "planner",
    "check",
)


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def test_import_contracts_hold() -> None:
    result = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT / "src")))
def test_pure_layers_read_no_clock_and_open_no_socket(path: Path) -> None:
    part = path.relative_to(ROOT / "src" / "mpio").parts[0]
    if part in PURE_PARTS:
        impure = {name.split(".")[0] for name in _imports(path)} & IMPURE
        assert not impure, f"{path} imports {impure}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT / "src")))
def test_files_and_functions_stay_readable(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= LINES_MAX, f"{path} has {text.count(chr(10))} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno
            assert length <= FUNCTION_LINES_MAX, f"{path}:{node.lineno} {node.name} has {length} lines"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT / "src")))
def test_modules_say_what_they_are_about(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no docstring"


def test_readme_names_only_make_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"(?:`|^ {4})make ([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert {"drill", "test"} <= set(named) <= targets


def test_every_verb_is_listed_and_loads() -> None:
    from mpio.cli.main import VERBS, cli

    for verb in VERBS:
        command = cli.get_command(None, verb)  # type: ignore[arg-type]
        assert command is not None
        assert command.help, f"{verb} has no help text"
