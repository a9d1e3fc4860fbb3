"""A test whose outside program is not installed is skipped, and says which."""

from collections.abc import Generator

import pytest
from tests.peers import Missing


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup() -> Generator[None, object, object]:
    try:
        return (yield)
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, object, object]:
    try:
        return (yield)
    except Missing as missing:
        pytest.skip(str(missing))
