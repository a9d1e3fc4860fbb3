"""The end of a drill: the same faults with other settings, simulated."""

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mpio.drill.scenario import WorkloadSpec
from mpio.errors import MpioError
from mpio.model.settings import PROFILES

if TYPE_CHECKING:
    from mpio.drill.scenario import Scenario
    from mpio.sim.campaign import Subject

FILE = "compare.json"
OTHERS = ("sles10", "linux", "fast")
_OF_THE_PLACE = ("fence", "reservation_key", "exclusive")
"""Settings that say what can be fenced here, and how; with other timers that stays."""
RUNS = 2
"""Of each settings: they differ by the moment of the fault, and two tell as much as one waits for gladly."""


def write_comparison(scenario: "Scenario", directory: Path) -> None:
    """Write into a run directory what other settings would have made of its faults.

    A drill stands without it: what goes wrong here is said on standard error, and no more.
    """
    from mpio.report.account import account
    from mpio.sim.campaign import Campaign, run_campaign
    from mpio.sim.pools import in_process, processes

    subjects = _subjects(scenario)
    # The simulation has a workload of its own: at full speed every simulated second would take a real one
    campaign = Campaign(dataclasses.replace(scenario, workload=WorkloadSpec()), subjects, RUNS)
    cores = len(os.sched_getaffinity(0))
    try:
        result = run_campaign(campaign, in_process if cores == 1 else processes(min(cores, len(subjects))))
        found = {"version": 1, "own": subjects[0].name} | account(result).as_json()
        (directory / FILE).write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    except (MpioError, OSError, KeyboardInterrupt) as error:
        print(f"mpio: no comparison with other settings: {error or type(error).__name__}", file=sys.stderr)


def _subjects(scenario: "Scenario") -> "tuple[Subject, ...]":
    """The drill's own settings first, so that the simulation can be held against what was measured."""
    from mpio.sim.campaign import Subject

    # Who the initiator is and how it proves it is the drill's business with its target
    own = scenario.settings.replace(username=None, password=None, username_in=None, password_in=None)
    name = scenario.profile if own == PROFILES.get(scenario.profile) else f"{scenario.profile}, changed"
    others = [(other, PROFILES[other].replace(**{setting: getattr(own, setting) for setting in _OF_THE_PLACE}))
              for other in OTHERS]
    return (Subject(name, own), *(Subject(other, settings) for other, settings in others if settings != own))
