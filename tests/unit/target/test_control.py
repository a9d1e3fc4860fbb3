"""Orders to a running target: what there is, what can be changed, and what is refused."""

import json
import mmap
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.target.filter_kit import BLOCK, HOST, PORTALS, Bench

from mpio.model.address import Portal
from mpio.model.task import Outcome
from mpio.proto.iscsi import initiator_events as ev
from mpio.proto.scsi import cdb
from mpio.proto.scsi.sense import ALUA_STATE_CHANGED, CAPACITY_CHANGED
from mpio.target.allocation import BlockStatus
from mpio.target.control import Control
from mpio.target.store import RamStore, StoreError


class FakePortals:
    """Listeners that are only written down."""

    def __init__(self) -> None:
        self.online = dict.fromkeys(PORTALS, True)

    def portals(self) -> Mapping[Portal, bool]:
        return self.online

    def set_offline(self, portal: Portal) -> None:
        self._set(portal, online=False)

    def set_online(self, portal: Portal) -> None:
        self._set(portal, online=True)

    def _set(self, portal: Portal, *, online: bool) -> None:
        if portal not in self.online:
            raise ValueError(f"there is no portal {portal}")
        self.online[portal] = online


class Desk:
    """A target and its control."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.control = Control(self.bench.node, FakePortals())

    def ask(self, do: str, **arguments: object) -> Any:
        answer = self.control.handle({"do": do, **arguments})
        assert answer["ok"], answer
        return json.loads(json.dumps(answer["result"]))

    def refused(self, request: object) -> str:
        answer = self.control.handle(request)
        assert not answer["ok"]
        return str(answer["error"])


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_sessions_and_tasks(desk: Desk) -> None:
    assert desk.ask("sessions") == []
    line = desk.bench.line(2)
    desk.ask("add", name="hang", opcode="write")
    line.write(7, bytes(3 * BLOCK))
    (session,) = desk.ask("sessions")
    assert session == {
        "tsih": 1, "initiator": HOST, "isid": "800000000001", "group": 2, "portal": str(PORTALS[1]), "tasks": 1,
        "header_digest": False, "data_digest": False,
    }  # fmt: skip
    (task,) = desk.ask("tasks")
    assert {key: task[key] for key in ("tsih", "lun", "command", "ranges", "length_bytes", "has_its_data")} == {
        "tsih": 1, "lun": 1, "command": "WRITE_10", "ranges": [[7, 3]], "length_bytes": 3 * BLOCK, "has_its_data": True,
    }  # fmt: skip


def test_a_session_is_kicked_or_asked_to_log_out(desk: Desk) -> None:
    one, two = desk.bench.line(), desk.bench.line(2)
    desk.ask("kick", tsih=1)
    desk.ask("logout", tsih=2, within="3s")
    desk.bench.run()
    assert not one.is_up()
    (asked,) = [event for event in two.events if isinstance(event, ev.AsyncMessage)]
    assert asked.event == 1
    assert desk.ask("sessions") == []


def test_filters_are_added_listed_and_removed(desk: Desk) -> None:
    line = desk.bench.line()
    assert desk.ask("add", name="delay", time="50ms", opcode=["read", "UNMAP"], lba="0-9") == "delay-1"
    assert desk.ask("add", name="delay", id="mine", rate=0.5) == "mine"
    assert desk.ask("add", name="alua-flap", states="standby", after="9s") == "alua-flap-1"
    line.do(cdb.read(0, 1), read=BLOCK)
    first, second, third = desk.ask("filters")
    assert first == {
        "id": "delay-1", "name": "delay", "on": True, "time_ns": 50_000_000,
        "opcode": ["READ_6", "READ_10", "READ_12", "READ_16", "UNMAP"], "lba": [0, 9], "seen": 1, "struck": 1,
    }  # fmt: skip
    assert (second["id"], second["rate"]) == ("mine", 0.5)
    assert third == {"id": "alua-flap-1", "name": "alua-flap", "on": False, "states": ["standby"],
                     "after_ns": 9_000_000_000, "seen": 0, "struck": 0}
    for key in ("mine", "delay-1", "alua-flap-1"):
        desk.ask("remove", id=key)
    assert desk.ask("filters") == []
    desk.bench.wait(20)
    assert line.read() == bytes(BLOCK)


def test_alua_states(desk: Desk) -> None:
    line = desk.bench.line(2)
    desk.ask("alua", group=2, state="active/non-optimized", preferred=True)
    assert [(row["state"], row["preferred"]) for row in desk.ask("groups")] == [
        ("optimized", False), ("non-optimized", True)]
    assert line.sense() == ALUA_STATE_CHANGED


def test_a_lun_grows(desk: Desk) -> None:
    line = desk.bench.line()
    line.write(2047, b"e" * BLOCK)
    desk.ask("grow", lun=1, size="3MiB")
    assert line.sense() == CAPACITY_CHANGED
    capacity = line.good(cdb.read_capacity_10(), read=8)
    assert int.from_bytes(capacity[:4], "big") == (3 << 20) // BLOCK - 1
    assert line.read(2047, 2) == b"e" * BLOCK + bytes(BLOCK)
    line.write(6143, b"n" * BLOCK)
    assert line.read(6143) == b"n" * BLOCK
    assert desk.ask("luns")[0]["size_bytes"] == 3 << 20


def test_a_ram_store_that_grew_knows_what_is_in_use() -> None:
    store = RamStore(mmap.PAGESIZE)
    store.write(0, b"x" * 512)
    store.grow(1 << 30)
    store.write((1 << 30) - 512, b"y" * 512)
    assert store.read(0, 1024) == b"x" * 512 + bytes(512)
    assert store.allocation(0, 1 << 30) == (BlockStatus.MAPPED, 512)
    assert store.allocation((1 << 30) - 1024, 1024) == (BlockStatus.DEALLOCATED, 512)
    store.discard(0, 512)
    assert store.allocation(0, 1024) == (BlockStatus.DEALLOCATED, 1024)
    with pytest.raises(ValueError, match="no address space"):
        store.grow(1 << 62)
    assert store.read((1 << 30) - 512, 512) == b"y" * 512
    store.close()


def test_portals(desk: Desk) -> None:
    desk.ask("offline", portal=str(PORTALS[0]))
    assert [row["online"] for row in desk.ask("portals")] == [False, True]
    desk.ask("online", portal=str(PORTALS[0]))
    assert [row["online"] for row in desk.ask("portals")] == [True, True]


def test_logins_are_sent_elsewhere(desk: Desk) -> None:
    one, other = map(str, PORTALS)
    desk.ask("redirect", portal=one, to=other, permanently=True)
    assert desk.ask("portals") == [{"portal": one, "online": True, "redirect": other, "permanently": True},
                                   {"portal": other, "online": True}]
    assert desk.bench.node.redirects == {PORTALS[0]: (PORTALS[1], True)}
    desk.ask("redirect", portal=one)
    desk.ask("redirect", portal=one)  # harmless
    assert desk.bench.node.redirects == {}


def test_the_log_is_kept(desk: Desk) -> None:
    line = desk.bench.line()
    desk.ask("add", name="log")
    line.write(3, bytes(BLOCK))
    assert [record["command"] for record in desk.ask("log")] == ["WRITE_10"]


class FullStore(RamStore):
    def grow(self, size_bytes: int) -> None:
        raise StoreError("no space left", ALUA_STATE_CHANGED)


@pytest.mark.parametrize(("request_", "words"), [
    (None, "expected a JSON object"),
    ([1], "expected a JSON object"),
    ({}, "do: expected one of sessions, tasks"),
    ({"do": ["sessions"]}, "do: expected one of"),
    ({"do": "sessions", "x": 1}, "there is no argument 'x'; expected none"),
    ({"do": "remove"}, "id is missing: expected text"),
    ({"do": "remove", "id": "gone"}, "there is no filter 'gone'"),
    ({"do": "add"}, "expected a filter: delay"),
    ({"do": "add", "name": "delay", "id": ""}, "expected text"),
    ({"do": "add", "name": "alua-flap", "target-group": 9}, "target-group: there is no portal group 9"),
    ({"do": "add", "name": "alua-flap", "target-group": 9, "after": "1s"}, "there is no portal group 9"),
    ({"do": "alua", "group": 9, "state": "standby"}, "there is no portal group 9"),
    ({"do": "alua", "group": 1, "state": "up"}, "state: expected optimized"),
    ({"do": "grow", "lun": 7, "size": "1GiB"}, "there is no LUN 7"),
    ({"do": "grow", "lun": 1, "size": "1MiB"}, "expected more than 1048576 bytes"),
    ({"do": "grow", "lun": 1, "size": 1048577}, "in whole blocks of 512"),
    ({"do": "grow", "lun": 1, "size": 1 << 62}, "no address space"),
    ({"do": "grow", "lun": 3, "size": "2MiB"}, "no space left"),
    ({"do": "offline", "portal": "192.0.2.200"}, "there is no portal 192.0.2.200:3260"),
    ({"do": "online", "portal": "x:y"}, "portal: expected a port"),
    ({"do": "redirect", "portal": "192.0.2.200", "to": "192.0.2.201"}, "there is no portal 192.0.2.200:3260"),
    ({"do": "redirect", "portal": str(PORTALS[0]), "to": str(PORTALS[0])}, "to: expected another portal than"),
    ({"do": "redirect", "portal": str(PORTALS[0]), "to": 7}, "to: expected text"),
    ({"do": "kick", "tsih": 5}, "there is no session 5"),
])
def test_what_is_refused_changes_nothing(desk: Desk, request_: object, words: str) -> None:
    desk.bench.node.add_lun(3, FullStore(1 << 20))
    before = [desk.ask(what) for what in ("luns", "groups", "portals", "filters", "sessions")]
    assert words in desk.refused(request_)
    assert [desk.ask(what) for what in ("luns", "groups", "portals", "filters", "sessions")] == before


def test_ids_are_not_given_twice(desk: Desk) -> None:
    desk.ask("add", name="log", id="a")
    assert "there is a filter 'a' already" in desk.refused({"do": "add", "name": "log", "id": "a"})


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3), max_leaves=6,
)
_orders = sorted(Control(Bench().node, FakePortals()).orders)
_words = st.sampled_from(["id", "name", "lun", "size", "portal", "tsih", "group", "state", "within", "time"])


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(request_=_json | st.builds(
    lambda do, rest: {"do": do, **rest}, st.sampled_from(_orders), st.dictionaries(_words, _json, max_size=3)))
def test_anything_gets_an_answer_and_the_target_goes_on(request_: object) -> None:
    desk = Desk()
    answer = desk.control.handle(request_)
    assert isinstance(answer["ok"], bool)
    assert desk.bench.line().do(bytes(6)).outcome is Outcome.COMPLETED
