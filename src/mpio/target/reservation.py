"""Persistent reservations of one logical unit: registrations, the reservation, and what they forbid (SPC-4 §5.13).

Registrations survive sessions and resets. Knows nothing of CDBs, sessions or unit attentions: an `Outcome` says who is
to be told and whose tasks end.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from mpio.proto.scsi.reservation import MoveParameters, OutAction, OutParameters, Registration, ReservationType
from mpio.proto.scsi.sense import (
    INSUFFICIENT_REGISTRATION_RESOURCES,
    INVALID_FIELD_IN_CDB,
    INVALID_FIELD_IN_LIST,
    INVALID_RELEASE,
    REGISTRATIONS_PREEMPTED,
    RESERVATIONS_PREEMPTED,
    RESERVATIONS_RELEASED,
    Sense,
)
from mpio.target.nexus import NexusKey

REGISTRATIONS_MAX = 1024  # an initiator that registers under ever new ISIDs must not fill the memory


class Access(Enum):
    """What a command does, as reservations see it (SPC-4 table 66, SBC-3 table 13)."""

    FREE = auto()
    """Always allowed."""
    READ = auto()
    WRITE = auto()


_T = ReservationType
REGISTRANTS_ONLY = frozenset((_T.WRITE_EXCLUSIVE_REGISTRANTS_ONLY, _T.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY))
ALL_REGISTRANTS = frozenset((_T.WRITE_EXCLUSIVE_ALL_REGISTRANTS, _T.EXCLUSIVE_ACCESS_ALL_REGISTRANTS))
_EXCLUSIVE_ACCESS = frozenset((
    _T.EXCLUSIVE_ACCESS, _T.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY, _T.EXCLUSIVE_ACCESS_ALL_REGISTRANTS,
))


@dataclass(slots=True)
class Outcome:
    """Result of PERSISTENT RESERVE OUT.

    Attributes:
        conflict: RESERVATION CONFLICT; nothing was changed. sense: an error; nothing was changed.
        tell: unit attentions for nexuses. abort: nexuses whose tasks end.
    """

    conflict: bool = False
    sense: Sense | None = None
    tell: list[tuple[NexusKey, Sense]] = field(default_factory=list)
    abort: list[NexusKey] = field(default_factory=list)


_CONFLICT = Outcome(conflict=True)


class PersistentReservations:
    """The persistent reservation state of one logical unit.

    Attributes:
        generation: counts changes of registrations (PRGENERATION).
        keys: key by registered nexus.
        type: of the reservation; None without one. holder: its nexus; None also for the all-registrants types.
        aptpl: registrations and reservation are kept while the target does not run. can_persist: that is offered.
    """

    def __init__(self) -> None:
        self.generation = 0
        self.keys: dict[NexusKey, int] = {}
        self.type: ReservationType | None = None
        self.holder: NexusKey | None = None
        self.aptpl = False
        self.can_persist = False

    def copy(self) -> "PersistentReservations":
        """The same state, apart from this one."""
        twin = copy.copy(self)
        twin.keys = dict(self.keys)
        return twin

    @property
    def holds_jointly(self) -> bool:
        """Whether all registrants hold the reservation."""
        return self.type in ALL_REGISTRANTS

    def holds(self, nexus: NexusKey) -> bool:
        """Whether the nexus holds the reservation; every registrant does with the all-registrants types."""
        if self.type in ALL_REGISTRANTS:
            return nexus in self.keys
        return self.type is not None and nexus == self.holder

    def forbids(self, nexus: NexusKey, access: Access) -> bool:
        """Whether a command with this access ends in RESERVATION CONFLICT on the nexus (SPC-4 table 66)."""
        if self.type is None or access is Access.FREE or self.holds(nexus):
            return False
        if self.type in REGISTRANTS_ONLY and nexus in self.keys:
            return False
        return access is Access.WRITE or self.type in _EXCLUSIVE_ACCESS

    def reservation_key(self) -> int | None:
        """The key that READ RESERVATION shows: 0 for all registrants, None without a reservation."""
        if self.type is None:
            return None
        return 0 if self.holder is None else self.keys[self.holder]

    def registrations(self, relative_port: Callable[[int], int]) -> list[Registration]:
        """Every registrant, for READ FULL STATUS; `relative_port` maps a portal group tag."""
        return [
            Registration(key, nexus.initiator_port, relative_port(nexus.tpgt), self.holds(nexus))
            for nexus, key in self.keys.items()
        ]

    def out(
        self, nexus: NexusKey, action: int, scope_and_type: int, parameters: OutParameters,
        others: Sequence[NexusKey] = (),
    ) -> Outcome:
        """PERSISTENT RESERVE OUT but for REGISTER AND MOVE; `others` are registered and unregistered with the nexus."""
        if action in (OutAction.REGISTER, OutAction.REGISTER_AND_IGNORE):
            return self._register(nexus, parameters, others, ignore=action == OutAction.REGISTER_AND_IGNORE)
        if action not in _ACTIONS:
            return Outcome(sense=INVALID_FIELD_IN_CDB)
        if self.keys.get(nexus) != parameters.key:
            return _CONFLICT
        return _ACTIONS[action](self, nexus, scope_and_type, parameters)

    def _register(
        self, nexus: NexusKey, parameters: OutParameters, others: Sequence[NexusKey], *, ignore: bool
    ) -> Outcome:
        if not ignore and self.keys.get(nexus, 0) != parameters.key:
            return _CONFLICT
        # Other initiator ports can be brought along by REGISTER only, and only by who is not registered yet
        if (parameters.aptpl and not self.can_persist) or (parameters.spec_i_pt and (ignore or nexus in self.keys)):
            return Outcome(sense=INVALID_FIELD_IN_LIST)
        new_key = parameters.service_action_key
        everybody = dict.fromkeys((nexus, *others))
        outcome = Outcome()
        if new_key:
            if len(self.keys | everybody) > REGISTRATIONS_MAX:
                return Outcome(sense=INSUFFICIENT_REGISTRATION_RESOURCES)
            self.keys.update(dict.fromkeys(everybody, new_key))
        else:
            for one in everybody:
                if one in self.keys:
                    self._unregister(one, outcome)
            outcome.tell = [(other, sense) for other, sense in outcome.tell if other not in everybody]
        self.aptpl = parameters.aptpl
        self.generation = self.generation + 1 & 0xFFFF_FFFF
        return outcome

    def move(self, nexus: NexusKey, parameters: MoveParameters, destination: NexusKey) -> Outcome:
        """REGISTER AND MOVE: the reservation passes from its holder to another nexus (SPC-4 §5.13.8)."""
        if self.keys.get(nexus) != parameters.key or self.holds_jointly:
            return _CONFLICT
        if self.type is None or self.holder != nexus:
            return Outcome(sense=INVALID_FIELD_IN_CDB)
        if not parameters.service_action_key or destination == nexus or (parameters.aptpl and not self.can_persist):
            return Outcome(sense=INVALID_FIELD_IN_LIST)
        if destination not in self.keys and len(self.keys) >= REGISTRATIONS_MAX:
            return Outcome(sense=INSUFFICIENT_REGISTRATION_RESOURCES)
        self.keys[destination] = parameters.service_action_key
        self.holder = destination
        if parameters.unregister:
            del self.keys[nexus]
        self.aptpl = parameters.aptpl
        self.generation = self.generation + 1 & 0xFFFF_FFFF
        return Outcome()

    def _unregister(self, nexus: NexusKey, outcome: Outcome) -> None:
        """Drop a registration by its own nexus's wish; the reservation goes with its holder (SPC-4 §5.13.11.2)."""
        del self.keys[nexus]
        if self.type in ALL_REGISTRANTS:
            if not self.keys:
                self.type = None
        elif nexus == self.holder:
            if self.type in REGISTRANTS_ONLY:
                outcome.tell += [(other, RESERVATIONS_RELEASED) for other in self.keys]
            self.type = self.holder = None

    def _take(self, nexus: NexusKey, type_: ReservationType) -> None:
        self.type = type_
        self.holder = None if type_ in ALL_REGISTRANTS else nexus

    def _reserve(self, nexus: NexusKey, scope_and_type: int, _parameters: OutParameters) -> Outcome:
        type_ = _type(scope_and_type)
        if type_ is None:
            return Outcome(sense=INVALID_FIELD_IN_CDB)
        if self.type is not None:
            return Outcome() if self.holds(nexus) and self.type is type_ else _CONFLICT
        self._take(nexus, type_)
        return Outcome()

    def _release(self, nexus: NexusKey, scope_and_type: int, _parameters: OutParameters) -> Outcome:
        if not self.holds(nexus):
            return Outcome()
        if _type(scope_and_type) is not self.type:
            return Outcome(sense=INVALID_RELEASE)
        outcome = Outcome()
        if self.type in REGISTRANTS_ONLY or self.type in ALL_REGISTRANTS:
            outcome.tell = [(other, RESERVATIONS_RELEASED) for other in self.keys if other != nexus]
        self.type = self.holder = None
        return outcome

    def _clear(self, nexus: NexusKey, _scope_and_type: int, _parameters: OutParameters) -> Outcome:
        outcome = Outcome(tell=[(other, RESERVATIONS_PREEMPTED) for other in self.keys if other != nexus])
        self.keys.clear()
        self.type = self.holder = None
        self.generation = self.generation + 1 & 0xFFFF_FFFF
        return outcome

    def _preempt(self, nexus: NexusKey, scope_and_type: int, parameters: OutParameters) -> Outcome:
        """Remove the registrations with the given key, and the reservation if they hold it (SPC-4 §5.13.11.2.4)."""
        victim_key = parameters.service_action_key
        all_registrants = self.type in ALL_REGISTRANTS
        if victim_key == 0 and not all_registrants:
            return Outcome(sense=INVALID_FIELD_IN_LIST)
        takes = self.type is not None and (
            victim_key == 0 if self.holder is None else self.keys[self.holder] == victim_key
        )
        type_ = _type(scope_and_type)
        if takes and type_ is None:
            return Outcome(sense=INVALID_FIELD_IN_CDB)
        victims = [
            other for other, key in self.keys.items()
            if (key == victim_key and not (takes and other == nexus)) or (victim_key == 0 and other != nexus)
        ]
        if not victims and not takes:
            return _CONFLICT  # nobody is registered with that key
        for other in victims:
            del self.keys[other]
        outcome = Outcome(
            tell=[(other, REGISTRATIONS_PREEMPTED) for other in victims if other != nexus],
            abort=[other for other in victims if other != nexus],
        )
        if takes and type_ is not None:
            if self.type is not type_:
                outcome.tell += [(other, RESERVATIONS_RELEASED) for other in self.keys if other != nexus]
            self._take(nexus, type_)
        elif all_registrants and not self.keys:
            self.type = None
        self.generation = self.generation + 1 & 0xFFFF_FFFF
        return outcome


_ACTIONS: dict[int, Callable[[PersistentReservations, NexusKey, int, OutParameters], Outcome]] = {
    OutAction.RESERVE: PersistentReservations._reserve,  # noqa: SLF001
    OutAction.RELEASE: PersistentReservations._release,  # noqa: SLF001
    OutAction.CLEAR: PersistentReservations._clear,  # noqa: SLF001
    OutAction.PREEMPT: PersistentReservations._preempt,  # noqa: SLF001
    OutAction.PREEMPT_AND_ABORT: PersistentReservations._preempt,  # noqa: SLF001 - the caller ends the tasks
}


def _type(scope_and_type: int) -> ReservationType | None:
    """The type if scope is LU and type one of SPC-4, else None."""
    try:
        return ReservationType(scope_and_type)  # scope LU is 0 in the upper half
    except ValueError:
        return None
