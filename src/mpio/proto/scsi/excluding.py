"""How a host shuts one of its own I_T nexuses out of a logical unit by persistent reservations, as scripts without I/O.

PREEMPT AND ABORT ends the tasks that the unit has of a nexus and takes its registration. It does not stop commands
that are still on their way: those that reach the target later are carried out, for an unregistered nexus may write
as long as there is no reservation. So a reservation for registrants has to be there first (SPC-4 §5.13.11.2.6,
table 66); from then on a late write ends in RESERVATION CONFLICT. It bars unregistered hosts as well, which is why it
is taken only when it is needed.

All registrants hold it. One with a single holder would end with that holder's release or registration, and open the
unit to the late writes of every other host that had come to rely on it. For the same reason only a host that has the
unit to itself may release it; where hosts share the unit it ends with the last registration.

The scripts are generators: they yield a `Question`, are sent (status, sense, data), and raise TargetError.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

from mpio.errors import RemoteProtocolError, TargetError
from mpio.model.task import Status
from mpio.proto.scsi import cdb
from mpio.proto.scsi.reservation import InAction, OutAction, ReservationType, parameters, parse_keys, parse_reservation
from mpio.proto.scsi.sense import Sense, SenseKey

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Question:
    """A command: its CDB, how many bytes it may bring, and what goes out with it."""

    cdb: bytes
    allocation: int = 0
    data_out: bytes | None = None


Reply = tuple[int, bytes, bytes]
"""SCSI status, sense, and the data that came."""

Script = Generator[Question, Reply, None]
_Step = Generator[Question, Reply, Reply]

ATTENTIONS_MAX = 8  # unit attentions eaten before one command, as in `probe`
_RESERVATION_BYTES = 24
_KEYS_BYTES = 8192
_KIND = ReservationType.WRITE_EXCLUSIVE_ALL_REGISTRANTS
_SHUTS_OUT = (ReservationType.WRITE_EXCLUSIVE_ALL_REGISTRANTS, ReservationType.EXCLUSIVE_ACCESS_ALL_REGISTRANTS)


def register(key: int) -> Generator[Question, Reply, bool]:
    """Register this nexus with a key, whatever it had before. False if the target has no persistent reservations."""
    reply = yield from _out(OutAction.REGISTER_AND_IGNORE, key=0, service_action_key=key)
    status, sense_bytes, _ = reply
    sense = Sense.parse(sense_bytes) if status == Status.CHECK_CONDITION else None
    if sense is not None and sense.key == SenseKey.ILLEGAL_REQUEST:
        return False
    _must(reply, "to register a key")
    return True


def unregister(key: int) -> Script:
    """Take this nexus's registration back; the reservation goes with the last one."""
    _must((yield from _out(OutAction.REGISTER, key=key, service_action_key=0)), "to take a registration back")


def exclude(key: int, victim: int) -> Script:
    """From a nexus registered with `key`: end all tasks of those registered with `victim`, and let them write no more.

    Both keys belong to this host. What the unit carries out for the victim after this was sent before by nobody.
    """
    yield from _reserve(key)
    _must((yield from _out(OutAction.PREEMPT_AND_ABORT, _KIND, key=key, service_action_key=victim)),
          "PREEMPT AND ABORT")


def shut_out(key: int, victim: int) -> Script:
    """From a nexus registered with `key`: let those registered with `victim` write no more; their tasks go on."""
    yield from _reserve(key)
    reply = yield from _out(OutAction.PREEMPT, _KIND, key=key, service_action_key=victim)
    if reply[0] == Status.RESERVATION_CONFLICT:
        question = Question(cdb.persistent_reserve_in(InAction.READ_KEYS, _KEYS_BYTES), _KEYS_BYTES)
        reply = yield from _ask(question)
        _must(reply, "READ KEYS")
        _, keys = _read(parse_keys, reply[2], "keys")
        if key not in keys or victim in keys:
            raise TargetError("the target refused PREEMPT: reservation conflict", status=Status.RESERVATION_CONFLICT)
        return  # nobody is registered with it any more
    _must(reply, "PREEMPT")


def release(key: int) -> Script:
    """Give back the reservation of `exclude`. Only for a host that has the unit to itself."""
    _must((yield from _out(OutAction.RELEASE, _KIND, key=key, service_action_key=0)), "to release the reservation")


def _reserve(key: int) -> Script:
    """A reservation that shuts out those who are not registered, and lasts as long as anybody is."""
    reply = yield from _out(OutAction.RESERVE, _KIND, key=key, service_action_key=0)
    if reply[0] != Status.RESERVATION_CONFLICT:
        _must(reply, "a reservation that all registrants hold")
        return
    question = Question(cdb.persistent_reserve_in(InAction.READ_RESERVATION, _RESERVATION_BYTES), _RESERVATION_BYTES)
    status, sense, data = yield from _ask(question)
    _must((status, sense, data), "READ RESERVATION")
    found = _read(parse_reservation, data, "reservation")
    if found is None or found[2] not in _SHUTS_OUT:
        kind = "none" if found is None else found[2].name.lower().replace("_", " ")
        raise TargetError(f"another host's reservation ({kind}) may end at any time: not all registrants hold it",
                          status=Status.RESERVATION_CONFLICT)


def _read(parse: Callable[[bytes], T], data: bytes, what: str) -> T:
    try:
        return parse(data)
    except RemoteProtocolError as error:
        raise TargetError(f"its {what} can't be read: {error}", status=Status.GOOD) from None


def _out(action: OutAction, kind: int = 0, *, key: int, service_action_key: int) -> _Step:
    list_ = parameters(key=key, service_action_key=service_action_key)
    return (yield from _ask(Question(cdb.persistent_reserve_out(action, kind), data_out=list_)))


def _ask(question: Question) -> _Step:
    """One command; unit attentions, which only say that something happened earlier, are eaten."""
    for _ in range(ATTENTIONS_MAX):
        status, sense_bytes, data = yield question
        sense = Sense.parse(sense_bytes) if status == Status.CHECK_CONDITION else None
        if sense is None or sense.key != SenseKey.UNIT_ATTENTION:
            break
    return status, sense_bytes, data


def _must(reply: Reply, name: str) -> None:
    status, sense_bytes, _ = reply
    if status != Status.GOOD:
        sense = Sense.parse(sense_bytes) if status == Status.CHECK_CONDITION else None
        cause = str(sense) if sense else f"status {status:02X}h"
        raise TargetError(f"the target refused {name}: {cause}", status=status, sense=sense_bytes)
