"""The numbers of docs/clusters/*.md are the model's, and its commands are commands of `mpio plan`."""

import math
import re
import shlex
from pathlib import Path

import pytest

from mpio.cli.plan import command
from mpio.model.cluster import Cluster, Corosync, LinuxHa, Ncs, O2cb, Sanlock, Sbd
from mpio.model.stack import LinuxStack, TargetTimers
from mpio.planner.cluster import Storage, deadlines, defaults, recommended, smallest, takeover_ns
from mpio.planner.linux import Scenario, predict
from mpio.units import to_seconds

FOLDER = Path(__file__).parents[3] / "docs" / "clusters"
PAGES = {path.stem: path.read_text() for path in sorted(FOLDER.glob("*.md"))}
STACKS = re.compile(r"^\| (\d+)/(\d+)/(\d+) \| (.+) \|$", re.MULTILINE)
MOMENTS = re.compile(r"^\| `(\w+\.\w+)` \|.*\| ([^|]+) \|$", re.MULTILINE)
COMMANDS = re.compile(r"^ {4}mpio plan (.+)$", re.MULTILINE)

TABLES = [(kind, *found) for kind, page in PAGES.items() for found in STACKS.findall(page)]
DEADLINES = [(kind, *found) for kind, page in PAGES.items() for found in MOMENTS.findall(page)]


def up(ns: int | None) -> str:
    """Seconds with one place where it is needed, rounded up, so that the page never promises too much."""
    assert ns is not None
    return f"{math.ceil(ns / 1e8) / 10:g} s"


def storage(noop_interval: int, noop_timeout: int, recovery: int, *, holds_host: bool = False) -> Storage:
    stack = LinuxStack(noop_out_interval=noop_interval, noop_out_timeout=noop_timeout, fast_io_fail_tmo=recovery)
    return Storage(stall_ns=predict(stack, TargetTimers(), Scenario.ONE_WAY_LOSS).worst_ns, holds_host=holds_host)


def cells(least: tuple[Cluster, ...], roomy: tuple[Cluster, ...], found: Storage) -> list[str]:
    match roomy:
        case (O2cb() as it,):
            assert isinstance(least[0], O2cb)
            return [str(least[0].heartbeat_threshold), str(it.heartbeat_threshold), up(takeover_ns(roomy, found))]
        case (Sbd() as it, Corosync() as ring):
            assert isinstance(least[0], Sbd)
            return [str(least[0].watchdog), str(it.watchdog), str(it.msgwait), str(ring.stonith_timeout),
                    str(it.delay_start)]
        case (Sanlock() as it,):
            assert isinstance(least[0], Sanlock)
            return [str(least[0].io_timeout), str(it.io_timeout), up(takeover_ns(roomy, found))]
        case (Corosync() as it,):
            assert isinstance(least[0], Corosync)
            return [f"{least[0].monitor_timeout}, {least[0].stop_timeout}", f"{it.monitor_timeout}, {it.stop_timeout}"]
        case (Ncs() as it,):
            assert isinstance(least[0], Ncs)
            return [str(least[0].tolerance), str(it.tolerance)]
        case (LinuxHa() as it,):
            return [f"{it.warntime:g}", f"{it.deadtime:g}", f"{it.initdead:g}"]
    raise AssertionError(roomy)


def test_there_is_a_page_for_every_kind_with_tables() -> None:
    assert set(PAGES) == {"ocfs2", "sbd", "sanlock", "pacemaker", "ncs", "heartbeat"}
    for kind in PAGES:
        assert sum(1 for item in TABLES if item[0] == kind) >= 3
        assert sum(1 for item in DEADLINES if item[0] == kind) >= 2


@pytest.mark.parametrize(("kind", "interval", "timeout", "recovery", "shown"), TABLES)
def test_settings_for_stacks(kind: str, interval: str, timeout: str, recovery: str, shown: str) -> None:
    found = storage(int(interval), int(timeout), int(recovery))
    expected = cells(smallest(kind, found), recommended(kind, found), found)
    assert shown.split(" | ") == [up(found.stall_ns), *expected]


@pytest.mark.parametrize(("kind", "moment", "shown"), DEADLINES)
def test_moments_with_defaults(kind: str, moment: str, shown: str) -> None:
    host = Storage(stall_ns=0, holds_host=moment in {"corosync.frozen", "heartbeat.frozen"})
    found = next(item for item in deadlines(defaults(kind), host) if item.id == moment)
    earliest, latest = (f"{to_seconds(ns):.4g}" for ns in (found.earliest_ns, found.latest_ns))
    assert shown == (f"{earliest} s" if earliest == latest else f"{earliest} … {latest} s")


@pytest.mark.parametrize("line", [found for page in PAGES.values() for found in COMMANDS.findall(page)])
def test_commands_exist(line: str) -> None:
    arguments = shlex.split(line.partition("  #")[0])
    context = command.make_context("plan", arguments)
    assert context.params["cluster"] in {*PAGES, None}
