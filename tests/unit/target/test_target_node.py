"""The node behind real protocol engines: admission, sessions, reinstatement, task management, discovery."""

import dataclasses

import pytest

from mpio.errors import LoginRejected
from mpio.model.address import Portal
from mpio.model.identity import AluaState
from mpio.model.settings import Settings
from mpio.model.task import Buffer, Outcome, Status, Task, lun_bytes
from mpio.proto.iscsi import ConnectionState, InitiatorConnection, LoginParams, TaskFunction
from mpio.proto.iscsi import initiator_events as ev
from mpio.proto.iscsi.chap import ChapConfig
from mpio.proto.iscsi.negotiation import SessionParams
from mpio.proto.iscsi.pdu import TaskResponse
from mpio.proto.iscsi.target import TargetConnection
from mpio.proto.iscsi.target_login import TargetParams
from mpio.proto.iscsi.target_state import State
from mpio.proto.scsi import cdb, reservation, sense
from mpio.proto.scsi.sense import Sense
from mpio.target.limits import Limits
from mpio.target.node import Access, TargetNode
from mpio.target.store import RamStore

NAME = "iqn.2026-01.example:t"
HOST = "iqn.2026-01.example:host"
PORTALS = (Portal("192.0.2.1"), Portal("198.51.100.1", 3261))
LUN = lun_bytes(1)
CONFIGURED = Settings(initial_r2t=True, immediate_data=False)


def make(access: Access | None = None, *, explicit_alua: bool = False) -> TargetNode:
    node = TargetNode(NAME, alias="disks", access=access, explicit_alua=explicit_alua)
    for tpgt, portal in enumerate(PORTALS, start=1):
        node.add_portal(tpgt, portal)
    node.add_lun(1, RamStore(1 << 20))
    return node


class Peer:
    """An initiator joined to a target connection of the node; nothing moves but by `run`."""

    def __init__(self, node: TargetNode, *, tpgt: int = 1, isid: int = 1, name: str = HOST, target: str | None = NAME,
                 settings: Settings = CONFIGURED) -> None:
        params = LoginParams(name, target, b"\x80\0\0\0\0" + bytes((isid,)), settings, 1, bytes(32))
        self.one = InitiatorConnection(params)
        self.other = TargetConnection(
            TargetParams(PORTALS[tpgt - 1], tpgt=tpgt, challenge_seed=bytes(range(32))), node, 0)
        self.one.start(0)
        self.held: list[Buffer] = []  # on their way to the initiator

    def run(self) -> list[ev.ConnectionEvent]:
        """Carry bytes both ways until there are none; returns what the initiator says."""
        while True:
            there, back = self.one.data_to_send(), self.held + self.other.data_to_send()
            self.held = []
            if not there and not back:
                break
            for piece in there:
                self.other.receive(piece, 0)
            for piece in back:
                self.one.receive(piece, 0)
        if self.other.state is State.CLOSED and self.one.state is not ConnectionState.ENDED:
            self.one.receive_eof(0)
        events = []
        while (event := self.one.next_event()) is not None:
            events.append(event)
        return events

    def up(self) -> "Peer":
        assert isinstance(self.run()[0], ev.LoginCompleted)
        return self

    def task(self, request: bytes, data: bytes | None = None, read: int = 0, lun: bytes = LUN) -> Task:
        """A task that was submitted and not yet carried over."""
        buffer = memoryview(bytearray(read)) if read else None
        task = Task(lun, request, lambda _task: None, data_out=data, read_buffer=buffer)
        self.one.submit(task, 0)
        return task

    def do(self, request: bytes, data: bytes | None = None, read: int = 0, lun: bytes = LUN) -> Task:
        task = self.task(request, data, read, lun)
        self.run()
        assert task.outcome is Outcome.COMPLETED
        return task

    def sense(self, request: bytes = bytes(6)) -> Sense | None:
        task = self.do(request)
        return Sense.parse(task.sense) if task.status == Status.CHECK_CONDITION else None

    def settled(self) -> "Peer":
        self.up()
        assert self.sense() == sense.POWER_ON_OR_RESET
        return self

    def half_written(self) -> Task:
        """A write whose data the target is still waiting for: its R2T is on the way."""
        task = self.task(cdb.write(0, 1), b"x" * 512)
        for piece in self.one.data_to_send():
            self.other.receive(piece, 0)
        self.held = self.other.data_to_send()
        assert self.other.in_flight == 1
        return task

    def manage(self, function: TaskFunction, lun: bytes = LUN) -> int | None:
        answers: list[int | None] = []
        self.one.manage(function, lun, answers.append, 0)
        self.run()
        (answer,) = answers
        return answer


def test_data_go_there_and_back() -> None:
    peer = Peer(make()).settled()
    assert peer.do(cdb.write(3, 40), b"d" * 512 * 40).status == Status.GOOD
    task = peer.do(cdb.read(3, 40), read=512 * 40)
    assert task.read_buffer is not None
    assert (task.status, task.residual, bytes(task.read_buffer)) == (Status.GOOD, 0, b"d" * 512 * 40)
    inquiry = peer.do(cdb.inquiry(255), read=255, lun=bytes(8))
    assert inquiry.read_buffer is not None
    assert (inquiry.read_buffer[0], inquiry.residual) == (0x7F, 255 - 96)


def test_residuals_are_of_the_cdb() -> None:
    peer = Peer(make()).settled()
    assert peer.do(cdb.write(0, 2), b"d" * 512).residual == -512
    assert peer.do(cdb.write(0, 1), b"d" * 1024).residual == 512
    assert peer.do(cdb.read(0, 2), read=512).residual == -512


# --- sessions


def test_every_session_is_a_nexus_of_its_own() -> None:
    node = make()
    peers = [Peer(node).settled(), Peer(node, isid=2).settled(), Peer(node, tpgt=2).settled(),
             Peer(node, name="iqn.2026-01.example:other").settled()]
    assert len(node.sessions) == 4
    assert len({session.tsih for session in node.sessions.values()}) == 4
    for peer in peers:
        assert peer.sense() is None
    peers[0].one.logout(0)
    peers[0].run()
    peers[1].other.receive_eof(0)
    assert len(node.sessions) == 2
    assert len(node.device.units[1].attentions) == 2


def test_reinstatement_ends_the_old_session_before_the_new_one_is_answered() -> None:
    node = make()
    old = Peer(node).settled()
    bystander = Peer(node, isid=2).settled()
    old.half_written()
    for piece in old.held:
        old.one.receive(piece, 0)
    late = b"".join(bytes(piece) for piece in old.one.data_to_send())
    assert late.endswith(b"x" * 512)
    new = Peer(node)
    for piece in new.one.data_to_send():
        new.other.receive(piece, 0)
    for piece in new.other.data_to_send():  # the security stage; the next request is the last
        new.one.receive(piece, 0)
    before = old.other.state
    assert before is not State.CLOSED
    for piece in new.one.data_to_send():
        new.other.receive(piece, 0)
    assert old.other.state is State.CLOSED
    assert new.one.state is not ConnectionState.FULL_FEATURE, "not yet answered"
    new.up()
    assert new.sense() == sense.NEXUS_LOSS
    assert new.do(cdb.write(0, 1), b"n" * 512).status == Status.GOOD
    old.other.receive(late, 0)
    assert node.device.units[1].store.read(0, 512) == b"n" * 512, "no write of the old session lands any more"
    assert bystander.sense() is None
    assert len(node.sessions) == 2
    assert node.sessions[next(iter(node.sessions))].connection in (new.other, bystander.other)


def test_reinstatement_takes_authentication() -> None:
    chap = ChapConfig("user", "a secret of 16 b")
    node = make(Access(chap=chap))
    good = CONFIGURED.replace(username="user", password="a secret of 16 b")
    old = Peer(node, settings=good).settled()
    for wrong in (CONFIGURED, CONFIGURED.replace(username="user", password="another secret!!")):
        (event,) = Peer(node, settings=wrong).run()
        assert isinstance(event, ev.LoginFailed)
        assert event.status == 0x0201
    assert old.sense() is None
    Peer(node, settings=good).up()
    assert old.other.state is State.CLOSED


def test_reserve_6_ends_with_its_session_and_registrations_do_not() -> None:
    node = make()
    peer, other = Peer(node).settled(), Peer(node, isid=2).settled()
    assert peer.do(cdb.reserve_6()).status == Status.GOOD
    assert other.do(bytes(6)).status == Status.RESERVATION_CONFLICT
    peer.other.receive_eof(0)
    assert other.do(bytes(6)).status == Status.GOOD
    parameters = reservation.parameters(key=0, service_action_key=5)
    assert other.do(cdb.persistent_reserve_out(0), parameters).status == Status.GOOD
    again = Peer(node, isid=2).up()
    assert again.sense() == sense.NEXUS_LOSS
    task = again.do(cdb.persistent_reserve_in(0), read=64)
    assert task.read_buffer is not None
    assert reservation.parse_keys(task.read_buffer[: 64 - task.residual]) == (1, [5])


@pytest.mark.parametrize("limits", [Limits(sessions=2), Limits(sessions_per_initiator=2)])
def test_sessions_are_bounded(limits: Limits) -> None:
    node = make()
    node.limits = limits
    Peer(node).up()
    Peer(node, isid=2).up()
    (event,) = Peer(node, isid=3).run()
    assert isinstance(event, ev.LoginFailed)
    assert event.status == 0x0302
    Peer(node, isid=2).up()  # reinstatement takes no more room


def test_group_tags_number_sessions_without_collision() -> None:
    node = make()
    node._last_tsih = 0xFFFE
    peers = [Peer(node, isid=number).up() for number in (1, 2, 3)]
    assert [peer.one.negotiated.tsih for peer in peers] == [0xFFFF, 1, 2]


def test_joining_a_session() -> None:
    node = make()
    peer = Peer(node).up()
    params = peer.one.negotiated
    connection = TargetConnection(TargetParams(PORTALS[0], challenge_seed=bytes(32)), node, 0)
    for tsih, status in ((params.tsih, 0x0206), (params.tsih + 1, 0x020A)):
        with pytest.raises(LoginRejected) as caught:
            node.open_session(connection, replaced(peer, tsih))
        assert caught.value.status == status
    assert peer.sense() == sense.POWER_ON_OR_RESET, "the session is still there"


def replaced(peer: Peer, tsih: int) -> SessionParams:
    assert peer.other.negotiated is not None
    return dataclasses.replace(peer.other.negotiated, tsih=tsih)


def test_no_portal_group() -> None:
    node = make()
    peer = Peer(node)
    peer.other = TargetConnection(TargetParams(PORTALS[0], tpgt=9), node, 0)
    (event,) = peer.run()
    assert isinstance(event, ev.LoginFailed)
    assert event.status == 0x0300


# --- who may come in


def test_admission() -> None:
    node = make(Access(initiators=frozenset((HOST,))))
    Peer(node).up()
    for peer, status in ((Peer(node, name="iqn.2026-01.example:evil"), 0x0202),
                         (Peer(node, target="iqn.2026-01.example:other"), 0x0203)):
        (event,) = peer.run()
        assert isinstance(event, ev.LoginFailed)
        assert event.status == status


def test_secrets_by_initiator() -> None:
    own = ChapConfig("host", "the host's secret")
    access = Access(chap=ChapConfig("user", "a secret of 16 b"), chap_by_initiator={HOST: own})
    assert access.is_guarded
    assert not Access().is_guarded
    assert access.chap_for(HOST.upper()) is own
    assert access.chap_for("iqn.x:y") is access.chap
    Peer(make(access), settings=CONFIGURED.replace(username="host", password="the host's secret")).up()


@pytest.mark.parametrize("permanently", [False, True])
def test_redirection(permanently: bool) -> None:
    node = make()
    node.redirects[PORTALS[0]] = (PORTALS[1], permanently)
    (event,) = Peer(node).run()
    assert isinstance(event, ev.Redirected)
    assert (event.portal, event.permanent) == (PORTALS[1], permanently)
    Peer(node, tpgt=2).up()
    node.redirects = {None: (PORTALS[1], False)}
    assert isinstance(Peer(node).run()[0], ev.Redirected)
    Peer(node, tpgt=2, isid=2).up()  # who is there already is not sent there


# --- discovery


def test_discovery_lists_every_portal_that_can_be_reached() -> None:
    node = make()
    node.add_portal(2, Portal("0.0.0.0", 3299))
    node.add_portal(2, Portal("fe80::1%eth0"))
    node.add_portal(1, PORTALS[0])  # again
    peer = Peer(node, target=None, tpgt=1).up()
    peer.one.send_targets("All", 0)
    (event,) = peer.run()
    assert isinstance(event, ev.DiscoveryAnswered)
    assert [(name, list(portals)) for name, portals in event.targets] == [
        (NAME, [(PORTALS[0], 1), (PORTALS[1], 2), (Portal("192.0.2.1", 3299), 2)])]


def test_discovery_by_name_and_by_strangers() -> None:
    node = make(Access(initiators=frozenset((HOST,))))
    assert node.send_targets(HOST, NAME.upper(), PORTALS[0])
    assert node.send_targets(HOST, "iqn.x:y", PORTALS[0]) == []
    assert node.send_targets("iqn.x:y", None, PORTALS[0]) == []


def test_discovery_may_ask_for_a_secret() -> None:
    node = make(Access(discovery_chap=ChapConfig("user", "a secret of 16 b")))
    (event,) = Peer(node, target=None).run()
    assert isinstance(event, ev.LoginFailed)
    Peer(node).up()


# --- task management


@pytest.mark.parametrize(
    ("function", "own", "others", "told", "teller"),
    [
        (TaskFunction.ABORT_TASK_SET, 0, 1, None, None),
        (TaskFunction.CLEAR_TASK_SET, 0, 0, sense.CLEARED_BY_OTHER_INITIATOR, None),
        (TaskFunction.LOGICAL_UNIT_RESET, 0, 0, sense.LU_RESET, sense.LU_RESET),
        (TaskFunction.TARGET_WARM_RESET, 0, 0, sense.LU_RESET, sense.LU_RESET),
    ],
)
def test_functions_end_tasks_and_tell(function: TaskFunction, own: int, others: int, told: Sense | None,
                                      teller: Sense | None) -> None:
    node = make()
    peer, other = Peer(node).settled(), Peer(node, isid=2).settled()
    other.half_written()
    mine = peer.half_written()
    assert peer.manage(function) == TaskResponse.FUNCTION_COMPLETE
    assert (peer.other.in_flight, other.other.in_flight) == (own, others)
    assert peer.sense() == teller
    assert other.sense(cdb.read_capacity_10()) == told
    peer.run()
    other.run()
    assert node.device.units[1].store.read(0, 512) == (b"x" * 512 if others else bytes(512))
    assert mine.outcome in (Outcome.PENDING, Outcome.ABORTED)


def test_functions_that_fail() -> None:
    peer = Peer(make()).settled()
    assert peer.manage(TaskFunction.LOGICAL_UNIT_RESET, lun_bytes(9)) == TaskResponse.LUN_DOES_NOT_EXIST
    assert peer.manage(TaskFunction.CLEAR_ACA) == TaskResponse.NOT_SUPPORTED
    assert peer.sense() is None


def test_abort_of_one_task() -> None:
    peer = Peer(make()).settled()
    task = peer.half_written()
    answers: list[int | None] = []
    peer.one.manage(TaskFunction.ABORT_TASK, LUN, answers.append, 0, task)
    peer.run()
    assert answers == [TaskResponse.FUNCTION_COMPLETE]
    assert peer.other.in_flight == 0
    assert peer.sense() is None


def test_cold_reset_ends_every_session() -> None:
    node = make()
    peer, other = Peer(node).settled(), Peer(node, isid=2).settled()
    assert peer.manage(TaskFunction.TARGET_COLD_RESET) == TaskResponse.FUNCTION_COMPLETE
    other.run()
    assert node.sessions == {}
    assert peer.other.state is other.other.state is State.CLOSING, "the shell closes once all is sent"


def test_preempt_and_abort_ends_the_tasks_of_the_preempted() -> None:
    node = make()
    peer, other = Peer(node).settled(), Peer(node, tpgt=2).settled()
    for key, one in ((1, peer), (2, other)):
        one.do(cdb.persistent_reserve_out(6), reservation.parameters(key=0, service_action_key=key))
    other.half_written()
    parameters = reservation.parameters(key=1, service_action_key=2)
    assert peer.do(cdb.persistent_reserve_out(5), parameters).status == Status.GOOD
    assert other.other.in_flight == 0
    other.run()
    assert node.device.units[1].store.read(0, 512) == bytes(512)
    assert other.sense() == sense.REGISTRATIONS_PREEMPTED


def test_a_lun_that_goes_takes_its_tasks_along() -> None:
    node = make()
    node.add_lun(2, RamStore(1 << 20))
    peer = Peer(node).settled()
    peer.half_written()
    node.remove_lun(1)
    assert peer.other.in_flight == 0
    assert peer.do(bytes(6)).status == Status.CHECK_CONDITION


def test_states_of_groups_reach_the_nexuses() -> None:
    node = make()
    peer, other = Peer(node).settled(), Peer(node, tpgt=2).settled()
    node.set_group_state(2, AluaState.STANDBY, preferred=False)
    assert peer.sense() == other.sense() == sense.ALUA_STATE_CHANGED
    assert peer.sense() is None
    assert other.sense() == sense.PORT_STANDBY


@pytest.mark.parametrize("name", ["disk", "iqn.a b", ""])
def test_bad_names(name: str) -> None:
    with pytest.raises(ValueError, match="iSCSI name"):
        TargetNode(name)


@pytest.mark.parametrize("tpgt", [0, -1, 65536])
def test_bad_group_tags(tpgt: int) -> None:
    with pytest.raises(ValueError, match="portal group tag"):
        TargetNode(NAME).add_group(tpgt)
