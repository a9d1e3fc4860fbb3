"""The numbers of docs/stall.md are the model's."""

import math
import re
from pathlib import Path

import pytest

from mpio.model.stack import LinuxStack, TargetTimers
from mpio.planner.linux import Scenario, predict
from mpio.planner.timers import lateness_ns
from mpio.units import to_seconds

PAGE = (Path(__file__).parents[3] / "docs" / "stall.md").read_text()
COLUMNS = (
    LinuxStack(),
    LinuxStack(noop_out_interval=1, noop_out_timeout=1, fast_io_fail_tmo=1, polling_interval=1, login_timeout=5,
               no_path_retry=12),
    LinuxStack(noop_out_interval=10, noop_out_timeout=15, fast_io_fail_tmo=None),
)
SCENARIOS = re.findall(r"^\| `(\w+)` \| (.+) \|$", PAGE, re.MULTILINE)
LATENESS = re.findall(r"^\| (\d+) s \| (.+) \|$", PAGE, re.MULTILINE)


def shown(scenario: str, stack: LinuxStack) -> str:
    """Best and worst; the worst rounded up, so that the page never promises too much."""
    budget = predict(stack, TargetTimers(), Scenario(scenario))
    assert budget.worst_ns is not None
    return f"{to_seconds(budget.best_ns):.1f} … {math.ceil(budget.worst_ns / 1e8) / 10:.1f}"


def test_the_tables_are_there() -> None:
    assert len(SCENARIOS) >= 10
    assert len(LATENESS) >= 5


@pytest.mark.parametrize(("scenario", "cells"), SCENARIOS)
def test_numbers_of_three_sets(scenario: str, cells: str) -> None:
    assert cells.split(" | ") == [shown(scenario, stack) for stack in COLUMNS]


@pytest.mark.parametrize(("delay_s", "cells"), LATENESS)
def test_lateness(delay_s: str, cells: str) -> None:
    assert cells.split(" | ") == [f"{to_seconds(lateness_ns(int(delay_s), hz)):.3f}" for hz in (100, 250, 300, 1000)]
