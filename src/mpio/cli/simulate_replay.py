"""The worst run of a campaign once more: the command that repeats it, and its run directory."""

import shlex
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mpio.cli.simulate_subjects import HOST
from mpio.errors import MpioError
from mpio.report.account import Account
from mpio.sim.campaign import Campaign, replay
from mpio.sim.run import SHAKE_NS
from mpio.units import NS_PER_S

_OF_A_HOST = ("device", "map_name", "distribution")


class NotRepeatable(MpioError):
    """A run came out differently when it was repeated. A bug: a run is a function of its seed."""

    code = "not-repeatable"


@contextmanager
def worst_run(campaign: Campaign, found: Account, command: str, out: Path | None) -> Iterator[Path | None]:
    """The run directory of the worst run, in `out` or until the end of the block; None if there was no run.

    Raises:
        InputError: `out` can't be used. NotRepeatable: see there.
    """
    if found.worst is None:
        yield None
        return
    subject, outcome = found.worst
    with tempfile.TemporaryDirectory(prefix="mpio-") as temporary:
        directory = Path(temporary) / found.scenario if out is None else out
        again = replay(campaign, subject, outcome.seed, directory)
        if again.digest != outcome.digest:
            raise NotRepeatable(f"the run of seed {outcome.seed} came out differently when it was repeated: "
                                f"digest {again.digest[:16]} instead of {outcome.digest[:16]}")
        (directory / "repro.txt").write_text(command + "\n", encoding="utf-8")
        yield directory


def replay_command(campaign: Campaign, found: Account, options: Mapping[str, Any]) -> str:
    """What repeats the worst run alone, and keeps its run directory; "" without runs."""
    if found.worst is None:
        return ""
    index, worst = found.worst
    words = ["mpio", "simulate"]
    if options["scenario"] is not None:
        words.append(options["scenario"])
    for name in ("fault", "on", "paths", "nodes", "heartbeat", "portal_groups"):
        if options[name] is not None:
            words += [f"--{name.replace('_', '-')}", str(options[name])]
    if options["lasts"] is not None:
        words += ["--lasts", _exact(options["lasts"])]
    for text in options["workload"]:
        words += ["--workload", text]
    words += _settings(campaign.subjects[index].name, options)
    if options["shake"] != SHAKE_NS:
        words += ["--shake", _exact(options["shake"])]
    return shlex.join([*words, "--runs", "1", "--seed", str(worst.seed), "--out", f"seed-{worst.seed}"])


def _settings(name: str, options: Mapping[str, Any]) -> list[str]:
    """The options that give the settings of this name, and no others."""
    words: list[str] = []
    if name == HOST:
        for place in options["places"]:
            words += ["--from", str(place)]
        for option in _OF_A_HOST:
            if options[option] is not None:
                words += [f"--{option.partition('_')[0]}", options[option]]
    elif options["profiles"] or options["compare"] or options["places"]:
        words += ["--profile", name]
        for option in ("max_stall", "ride_out") if name == "plan" else ():
            if options[option] is not None:
                words += [f"--{option.replace('_', '-')}", _exact(options[option])]
    for setting, value in options["overrides"]:
        words += ["--set", f"{setting}={'…' if 'password' in setting else _value(value)}"]
    return words


def _value(value: object) -> str:
    if value is None:
        return "off"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _exact(duration_ns: int) -> str:
    return f"{duration_ns // NS_PER_S}s" if duration_ns % NS_PER_S == 0 else f"{duration_ns}ns"
