"""Fences as they are planned, shown and counted; and sessions that are ended because they lead elsewhere."""

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.engine.engine_kit import IDENTITY, LUN, Bench, FakeTransport, S

from mpio.engine.fencing import Drop, Fence
from mpio.errors import OutcomeUnknown
from mpio.events import Kind
from mpio.model.settings import FAST
from mpio.proto.scsi.sense import Sense

OTHER_GROUP = replace(IDENTITY, tpgt=2)


def two_groups(*, registered: tuple[int, ...] = (), **changes: Any) -> Bench:
    """Path 1 leads to portal group 1, path 2 to portal group 2; these paths have registered a key."""
    bench = Bench(2, up=False, path_grouping_policy="failover", **changes)
    for path_id, identity in ((1, IDENTITY), (2, OTHER_GROUP)):
        transport = bench.transports[path_id] = FakeTransport(bench.check)
        bench.map.path_up(path_id, identity, transport, LUN, 0, registered=path_id in registered)
        bench.step()
    return bench


def planned(bench: Bench) -> list[tuple[str, ...]]:
    return [path.fence_methods for path in bench.map.status(bench.now).paths]


def obstacles(bench: Bench) -> dict[str, str]:
    return bench.map.status(bench.now).paths[0].fence_obstacles


# --- plans

def test_paths_of_one_portal_group_can_reinstate_each_other() -> None:
    assert planned(Bench(3)) == [("reinstate",)] * 3


def test_a_path_can_not_fence_itself() -> None:
    bench = Bench(1)
    assert planned(bench) == [()]
    assert obstacles(bench) == {"reinstate": "there is no other path"}


def test_other_portal_groups_need_reservations() -> None:
    bench = two_groups()
    assert planned(bench) == [(), ()]
    assert obstacles(bench) == {"reinstate": f"no other path leads to portal group 1 of {IDENTITY.target_name}"}
    with_key = two_groups(reservation_key=7, registered=(1, 2))
    assert planned(with_key) == [("preempt",)] * 2
    exclusive = two_groups(exclusive=True, registered=(1, 2))
    assert planned(exclusive) == [("preempt", "lun_reset")] * 2


@pytest.mark.parametrize("registered", [(), (1,), (2,)])
def test_both_sides_must_be_registered(registered: tuple[int, ...]) -> None:
    bench = two_groups(exclusive=True, registered=registered)
    assert planned(bench) == [(), ()]
    assert obstacles(bench)["lun_reset"].startswith("no reservation key is registered through p")


def test_what_is_planned_before_the_first_login() -> None:
    bench = Bench(2, up=False)
    assert obstacles(bench) == {"reinstate": "the path has not logged in yet"}
    bench.up(1)
    assert obstacles(bench) == {"reinstate": "p2 has not logged in yet"}


def test_without_fences_there_is_no_plan() -> None:
    bench = Bench(2, fence="none")
    status = bench.map.status(0)
    assert status.fence == "none"
    assert (planned(bench), obstacles(bench)) == ([(), ()], {})
    assert status.fences == {"relogin": 0}


# --- the plan is what is asked for

def test_only_what_can_work_is_asked_for() -> None:
    bench = two_groups(reservation_key=7, registered=(1, 2))
    bench.write()
    bench.lose(1)
    assert bench.fence() == Fence(1, ("preempt",), (2,))


def test_without_any_method_writes_wait_for_their_own_path() -> None:
    bench = two_groups(no_path_retry=5, polling_interval=1.0)
    bench.write()
    bench.read()
    bench.lose(1)
    assert bench.fence() is None
    assert bench.in_flight(2) == 1, "the read needs no fence"
    bench.run(4 * S)
    assert bench.fence() is None
    bench.up(1)
    bench.good()
    assert bench.errors() == ["ok", "ok"]
    assert bench.map.status(bench.now).fences == {"relogin": 1, "reinstate": 0}


def test_without_any_method_writes_end_as_unknown_in_the_end() -> None:
    bench = two_groups(no_path_retry=5, polling_interval=1.0)
    bench.write()
    bench.lose(1)
    bench.run(5 * S + 1)
    assert bench.errors() == ["OutcomeUnknown"]
    error = bench.done[0].error
    assert isinstance(error, OutcomeUnknown)
    assert "portal group 1" in str(error)
    status = bench.map.status(bench.now)
    assert (status.outcome_unknown, status.in_doubt, status.fences_failed) == (1, 0, 0)


def test_a_path_that_comes_up_may_make_a_fence_possible() -> None:
    bench = Bench(3, up=False, path_grouping_policy="failover", no_path_retry="queue")
    bench.up(1)
    bench.up(2, OTHER_GROUP)
    bench.write()
    bench.lose(1)
    assert bench.fence() is None
    bench.up(3)
    assert bench.fence() == Fence(1, ("reinstate",), (2, 3))


def test_fences_are_counted_by_method() -> None:
    bench = Bench(2, path_grouping_policy="failover", no_path_retry="queue", reconnect_delay=1.0)
    bench.write()
    bench.lose(1)
    bench.fence()
    bench.map.fence_failed(1, "no answer", bench.now)
    bench.run(S)
    assert bench.fence() == Fence(1, ("reinstate",), (2,))
    bench.map.fence_done(1, "reinstate", bench.now)
    bench.good()
    status = bench.map.status(bench.now)
    assert status.fences == {"relogin": 0, "reinstate": 1}
    assert status.fences_failed == 1
    assert bench.errors() == ["ok"]


# --- sessions that lead elsewhere

@pytest.mark.parametrize("fast_io_fail_tmo", [0.0, 5.0])
def test_a_session_that_leads_to_another_lu_is_to_be_ended(
    monkeypatch: pytest.MonkeyPatch, fast_io_fail_tmo: float,
) -> None:
    bench = Bench(2, path_grouping_policy="failover", settings=FAST, fast_io_fail_tmo=fast_io_fail_tmo)
    found = replace(IDENTITY, wwid="36001405bb")

    def script(**_: object):  # type: ignore[no-untyped-def]
        yield bytes(6), 0
        return found

    monkeypatch.setattr("mpio.engine.watch.probe", script)
    bench.write()
    bench.write(8192)
    bench.transports[1].refuse(Sense(0x6, 0x3F, 0x03).code)  # INQUIRY data have changed
    bench.step()
    assert bench.events(Kind.IDENTITY_REFUSED)
    assert not bench.path(1).usable
    action = bench.map.next_action()
    assert action == Drop(1, "it leads to the LU 36001405bb, the map is 36001405aa")
    assert bench.map.next_action() is None
    bench.lose(1)
    assert bench.state(1) == ("failed" if fast_io_fail_tmo == 0 else "blocked")
    found = IDENTITY
    bench.up(1)
    assert bench.state(1) == "up"
    bench.good()
    assert bench.errors() == ["ok", "ok"]
