"""Which modules run compiled: none by default, and all that setup.py names where the compiled tree is asked for."""

import ast
import importlib
import os
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[2] / "setup.py"


def hot_path() -> list[str]:
    """The modules that setup.py compiles, by name; it is read without being run, which would be a build."""
    for statement in ast.parse(SETUP.read_text()).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "HOT_PATH":
            return [f"mpio.{name.replace('/', '.')}" for name in ast.literal_eval(statement.value)]
    raise AssertionError("setup.py has no HOT_PATH")


@pytest.mark.parametrize("name", hot_path())
def test_what_is_compiled(name: str) -> None:
    file = importlib.import_module(name).__file__
    assert file is not None
    assert file.endswith(".so") == bool(os.environ.get("MPIO_TEST_COMPILED"))
