"""Any filters, added and removed at any time, under any commands and ends of sessions.

Nothing is left behind, and the target works as before once they are gone.
"""

import contextlib
import tomllib
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.target.filter_kit import BLOCK, Bench, Line

from mpio.model.task import Outcome, Task
from mpio.proto.scsi import cdb
from mpio.target.control import add_filter
from mpio.target.filters import FILTERS

SPARE = ("portal", "initiator", "rate", "skip", "after", "lba")  # limits of the examples, here in the way

_extra = st.fixed_dictionaries({}, optional={
    "rate": st.sampled_from([0.3, 1.0]), "count": st.integers(1, 3), "after": st.sampled_from(["0s", "500ms"]),
    "lasts": st.sampled_from(["200ms", "3s"]),
})
_steps = st.lists(st.one_of(
    st.tuples(st.just("add"), st.sampled_from(sorted(FILTERS)), _extra),
    st.tuples(st.just("remove"), st.integers(0, 9)),
    st.tuples(st.just("write"), st.integers(0, 1), st.integers(0, 3)),
    st.tuples(st.just("read"), st.integers(0, 1), st.integers(0, 3)),
    st.tuples(st.just("wait"), st.sampled_from([0.01, 0.3, 2.0])),
    st.tuples(st.just("again"), st.integers(0, 1)),
), max_size=40)


def table(name: str, extra: dict[str, Any]) -> dict[str, Any]:
    given_ = {key: value for key, value in tomllib.loads(FILTERS[name].example).items() if key not in SPARE}
    limits = FILTERS[name].limited_by
    more = {key: value for key, value in extra.items() if limits is None or key in limits}
    return {"name": name, **given_, **more}


class Run:
    """A target, two places for initiators, and all their commands."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.places = [self.bench.line(1), self.bench.line(2)]
        self.tasks: list[tuple[Line, Task]] = []

    def do(self, step: tuple[Any, ...]) -> None:
        node = self.bench.node
        keys = list(node.filters.filters)
        if step[0] == "add":
            with contextlib.suppress(ValueError):  # a second one that moves the same group
                add_filter(node, table(step[1], step[2]))
        elif step[0] == "remove" and keys:
            node.filters.remove(keys[step[1] % len(keys)])
        elif step[0] == "wait":
            self.bench.wait(step[1])
        elif step[0] == "again":
            self.places[step[1]].other.close()
            self.bench.run()
            self.places[step[1]] = self.bench.plain_line(step[1] + 1)
        elif step[0] in ("write", "read") and self.places[step[1]].is_up():
            line = self.places[step[1]]
            lba = step[2]
            task = line.write(lba, bytes((lba + 1,)) * BLOCK) if step[0] == "write" else line.do(
                cdb.read(lba, 1), read=BLOCK)
            self.tasks.append((line, task))
        self.bench.run()


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(steps=_steps)
def test_whatever_the_filters_were_the_target_is_as_before(steps: list[tuple[Any, ...]]) -> None:
    run = Run()
    node = run.bench.node
    for step in steps:
        run.do(step)
    for key in list(node.filters.filters):
        node.filters.remove(key)
    run.bench.wait(60)
    dropped = any(step[:2] == ("add", "drop-response") for step in steps)
    for line, task in run.tasks:
        if line.is_up() and not dropped:
            # Held back, it lets a later one meet the unit attention of a reset, and the initiator then aborts it
            assert task.outcome in (Outcome.COMPLETED, Outcome.CLEARED), task
        if not line.is_up():
            assert task.outcome is not Outcome.PENDING, task
    assert node.filters.next_deadline() is None
    line = run.bench.line(1, isid=9)
    line.write(9, b"z" * BLOCK)
    assert line.read(9) == b"z" * BLOCK
    assert [group.state.name for group in node.device.groups.values()] == ["ACTIVE_OPTIMIZED"] * 2
    assert [len(each.other.tasks()) for each in run.places if each.is_up() and not dropped] in ([0, 0], [0], [])
