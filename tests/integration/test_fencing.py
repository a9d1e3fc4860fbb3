"""Fences over real loopback sockets: what each keeps out, what it leaves at the target, and what can't be fenced."""

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from tests.integration.test_map import NAME, SIZE, Served, make_node, run, served, until

import mpio
from mpio.check.blocks import BlockFault
from mpio.check.verdict import Result
from mpio.drill.parse import parse_scenario
from mpio.drill.request import DrillRequest
from mpio.drill.runner import run_drill
from mpio.errors import InputError, OutcomeUnknown
from mpio.events import Journal, Kind
from mpio.model.address import TargetAddress
from mpio.model.settings import FAST
from mpio.proto.scsi.reservation import ReservationType
from mpio.proto.scsi.sense import Sense
from mpio.target.reservation import PersistentReservations
from mpio.target.store import RamStore

HOLD = """
[scenario]
name = "held"
description = "two portal groups; what was sent before the cut arrives after the failover"
[target]
portals = 2
portal_groups = "separate"
[workload]
workers = 16
readers = 0
region = "1MiB"
read_fraction = 0.0
[settings]
path_selector = "round-robin"  # all workers get stuck on the path; by others one does
reconnect_delay = 4.0
reconnect_delay_max = 4.0
no_path_retry = "queue"
[[step]]
action = "inject"
fault = "hold"
path = 1
at = "0.3s"
[[step]]
action = "heal"
path = 1
after = "failed"
delay = "0.7s"
[[step]]
action = "wait"
after = "reinstated"
duration = "0.3s"
"""


@pytest.mark.parametrize(("settings", "method"), [
    ({"fence": "preempt", "reservation_key": 0xABC}, "preempt"),
    ({"exclusive": True}, "preempt"),
    ({"fence": "lun_reset", "exclusive": True}, "lun_reset"),
    ({"fence": "none"}, None),
])
def test_what_is_on_its_way_is_kept_out_where_portal_groups_differ(
    tmp_path: Path, settings: dict[str, object], method: str | None,
) -> None:
    """Ending the tasks that the target has is not enough: the old connection carries more, and is still open there."""
    scenario = parse_scenario(HOLD, "held.toml")
    scenario = dataclasses.replace(scenario, settings=scenario.settings.replace(**settings))
    result = asyncio.run(run_drill(DrillRequest(scenario, tmp_path / "run", seed=7)))
    journal = [json.loads(line) for line in (result.directory / "journal.jsonl").read_text().splitlines()]
    fences = [event["method"] for event in journal if event["kind"] == Kind.FENCE_COMPLETED]
    if method is None:
        assert fences == []
        assert result.metrics["paths"][0]["fence"] == "none"
        assert {finding.kind for finding in result.findings} <= {BlockFault.GHOST, BlockFault.LOST}
        assert result.findings
    else:
        assert result.verdict is Result.PASS, [str(claim) for claim in result.claims]
        assert fences[0] == method
        assert result.metrics["fences"][method] >= 1
        assert method in result.metrics["paths"][0]["fence"]


SLOW = FAST.replace(
    path_grouping_policy="failover", reconnect_delay=1.0, reconnect_delay_max=1.0, no_path_retry="queue")


def reservations(target: Served) -> PersistentReservations:
    return target.node.device.units[1].reservations


def reserved(target: Served) -> ReservationType | None:
    return reservations(target).type


def lose_a_write(target: Served) -> None:
    """Path 1 is lost when the next write to LBA 0 has been done, before its answer."""
    store = target.node.device.units[1].store
    assert isinstance(store, RamStore)
    original = store.write

    def write_and_kick(offset: int, data: Any) -> None:
        original(offset, data)
        if offset == 0:
            store.write = original  # type: ignore[method-assign]
            target.kick(1)

    store.write = write_and_kick  # type: ignore[method-assign]


def test_alone_the_reservation_lasts_until_the_path_is_back_and_the_keys_until_the_end() -> None:
    async def main() -> None:
        async with served(make_node(), (1, 2)) as target:
            state = reservations(target)
            settings = SLOW.replace(reservation_key=0xABC0, exclusive=True)
            async with mpio.open_map(target.addresses(), settings) as disk:
                assert sorted(state.keys.values()) == [0xABC1, 0xABC2]
                assert reserved(target) is None
                assert [path.fence_methods for path in disk.status().paths] == [("preempt", "lun_reset")] * 2
                lose_a_write(target)
                await disk.write(0, b"x" * 512)
                assert reserved(target) is ReservationType.WRITE_EXCLUSIVE_ALL_REGISTRANTS
                assert list(state.keys.values()) == [0xABC2]
                assert disk.status().fences == {"relogin": 0, "reinstate": 0, "preempt": 1, "lun_reset": 0}
                await until(lambda: disk.status().paths[0].state == "up" and reserved(target) is None)
                assert sorted(state.keys.values()) == [0xABC1, 0xABC2]
                await disk.write(0, b"y" * 512)
            assert state.keys == {}
            assert reserved(target) is None

    run(main())


def test_among_several_hosts_the_reservation_lasts_until_the_last_map_ends() -> None:
    """Another host may have come to rely on it: its old writes would land when this one has no use for it any more."""
    async def main() -> None:
        async with served(make_node(), (1, 2)) as target:
            state = reservations(target)
            async with mpio.open_map(target.addresses(), SLOW.replace(reservation_key=0xF00)) as other:
                async with mpio.open_map(target.addresses(), SLOW.replace(reservation_key=0xABC0)) as disk:
                    lose_a_write(target)
                    await disk.write(0, b"x" * 512)
                    await until(lambda: sorted(state.keys.values()) == [0xF01, 0xF02, 0xABC1, 0xABC2])
                    await until(lambda: disk.status().usable_paths == other.status().usable_paths == 2)
                    await disk.write(0, b"y" * 512)
                    assert reserved(target) is ReservationType.WRITE_EXCLUSIVE_ALL_REGISTRANTS
                assert sorted(state.keys.values()) == [0xF01, 0xF02]
                assert reserved(target) is ReservationType.WRITE_EXCLUSIVE_ALL_REGISTRANTS
                await other.write(0, b"z" * 512)
            assert state.keys == {}
            assert reserved(target) is None

    run(main())


def test_a_map_that_ends_while_a_path_is_shut_out_leaves_no_reservation() -> None:
    async def main() -> None:
        async with served(make_node(), (1, 2)) as target:
            settings = SLOW.replace(exclusive=True, reconnect_delay=9.0, reconnect_delay_max=9.0)
            async with mpio.open_map(target.addresses(), settings) as disk:
                lose_a_write(target)
                await disk.write(0, b"x" * 512)
                assert reserved(target) is not None
            assert reservations(target).keys == {}
            assert reserved(target) is None

    run(main())


@pytest.mark.parametrize("fence", ["auto", "preempt"])
def test_a_target_without_reservations(monkeypatch: pytest.MonkeyPatch, fence: str) -> None:
    """The fence is not planned; the write waits for its own path. If no other fence is allowed, nothing is opened."""
    from mpio.proto.scsi import excluding

    def register(_key: int):  # type: ignore[no-untyped-def]
        yield excluding.Question(bytes(6))
        return False

    monkeypatch.setattr(excluding, "register", register)

    async def main() -> None:
        async with served(make_node(), (1, 2)) as target:
            opening = mpio.open_map(target.addresses(), SLOW.replace(fence=fence, reservation_key=5))
            if fence == "preempt":
                with pytest.raises(mpio.MpioError, match="persistent reservations"):
                    async with opening:
                        pass
                return
            async with opening as disk:
                (path, _) = disk.status().paths
                assert path.fence_methods == ()
                assert sorted(path.fence_obstacles) == ["preempt", "reinstate"]
                lose_a_write(target)
                await disk.write(0, b"x" * 512)
                assert disk.status().fences["relogin"] == 1

    run(main())


def test_a_write_that_nothing_can_fence_ends_as_unknown() -> None:
    async def main() -> None:
        async with served(make_node(), (1, 2)) as target:
            settings = SLOW.replace(no_path_retry=2, polling_interval=0.2, reconnect_delay=9.0, reconnect_delay_max=9.0)
            async with mpio.open_map(target.addresses(), settings) as disk:
                lose_a_write(target)
                with pytest.raises(OutcomeUnknown, match="no other path leads to portal group 1"):
                    await disk.write(0, b"x" * 512)
                assert disk.status().outcome_unknown == 1
                assert await disk.read(0, 512) == b"x" * 512

    run(main())


def test_a_session_whose_lu_has_changed_is_logged_out_of() -> None:
    async def main() -> None:
        journal = Journal()
        node = make_node()
        node.add_lun(2, RamStore(SIZE))
        async with served(node) as target, mpio.open_map(target.addresses(), SLOW, journal=journal) as disk:
            right, wrong = node.device.units[1], node.device.units[2]
            forms = [form for form, unit in node.device.by_lun.items() if unit is right]
            node.device.by_lun.update(dict.fromkeys(forms, wrong))
            wrong.attention(Sense(0x6, 0x3F, 0x03))
            reading = asyncio.create_task(disk.read(0, 512))
            await until(lambda: sum(event.kind is Kind.CONNECTION_LOST for event in journal) == 2)
            assert {str(event.fields["cause"]) for event in journal if event.kind is Kind.IDENTITY_REFUSED}
            assert not target.node.sessions
            node.device.by_lun.update(dict.fromkeys(forms, right))
            assert len(await reading) == 512
            await until(lambda: disk.status().usable_paths == 1)

    run(main())


@pytest.mark.parametrize("settings", [
    {"password_in": "other secret 1"}, {"username_in": "target", "password_in": "other secret 1"},
    {"username_in": "target"},
])
def test_a_proof_of_the_target_needs_a_user_of_our_own(settings: dict[str, str]) -> None:
    """The target proves who it is in the same exchange in which we do (RFC 7143 §12.1.3): alone it is not asked."""
    address = TargetAddress.parse(f"iscsi://192.0.2.1/{NAME}/1")
    with pytest.raises(InputError, match="username"):
        mpio.open_map([address], FAST.replace(**settings))
    with_user = dataclasses.replace(address, username="host", password="a secret of ours")
    if "password_in" in settings:
        mpio.open_map([with_user], FAST.replace(**settings))
