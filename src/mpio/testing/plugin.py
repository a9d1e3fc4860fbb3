"""The pytest plugin: the fixtures `iscsi_target`, and `iscsi_target_factory` for tests that want several.

@pytest.mark.iscsi_target("1=ram:1GiB", "2=ram:64MiB,bs=4096", portals=2)
def test_something(iscsi_target):
with iscsi_target.misbehaving("error", opcode="write", sense="03/0c/00", count=1):
...
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mpio.testing.target import Target


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest of the marker."""
    config.addinivalue_line(
        "markers",
        "iscsi_target(*luns, portals=1, separate_groups=False, options=(), name=…): what the fixture iscsi_target "
        "serves; see mpio.testing.Target",
    )


@pytest.fixture
def iscsi_target_factory() -> Iterator[Callable[..., "Target"]]:
    """Makes running targets; takes the arguments of `mpio.testing.Target`. They end with the test."""
    from mpio.testing.target import Target  # noqa: PLC0415 - when it is used

    with contextlib.ExitStack() as stack:

        def make(*luns: str, **options: Any) -> Target:
            return stack.enter_context(Target(*luns, **options))

        yield make


@pytest.fixture
def iscsi_target(request: pytest.FixtureRequest, iscsi_target_factory: "Callable[..., Target]") -> "Target":
    """A running target: LUN 1 with 64 MiB in RAM, or what the marker `iscsi_target` says."""
    marker = request.node.get_closest_marker("iscsi_target")
    return iscsi_target_factory(*marker.args, **marker.kwargs) if marker is not None else iscsi_target_factory()
