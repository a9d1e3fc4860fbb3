"""What can be asked of a running target, and changed in it: one JSON object in, one out.

A request names what to do in `do`, and the rest of it are arguments. The answer has `"ok": true` and a `result`, or
`"ok": false` and an `error` in words for people; a wrong request changes nothing. Knows nothing of sockets.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mpio.errors import MpioError
from mpio.model.address import Portal
from mpio.proto.iscsi.target_task import TargetTask
from mpio.target.filters import build
from mpio.target.filters.alua_flap import STATES, parse_state
from mpio.target.filters.base import Filter
from mpio.target.filters.opcodes import name_of, ranges_of
from mpio.target.filters.parameters import DURATION, FLAG, INTEGER, SIZE, TEXT, Kind, parameters_of
from mpio.target.growth import grow
from mpio.target.nexus import PortGroup
from mpio.target.node import Session, TargetNode
from mpio.units import NS_PER_S

VERSION = 1
"""Of the answers."""

_STATE_WORDS = {state: word for word, state in STATES.items()}
_LOGOUT_WITHIN_S = 5


class Portals(Protocol):
    """Where the target listens."""

    def portals(self) -> Mapping[Portal, bool]:
        """Each portal, and whether it takes connections."""

    def set_offline(self, portal: Portal) -> None:
        """Listen no more, and drop the connections that came in there. Raises ValueError for one that is not there."""

    def set_online(self, portal: Portal) -> None:
        """Listen again. Raises ValueError, or InputError where the address can't be had any more."""


@dataclass(frozen=True, slots=True)
class Order:
    """Something that can be asked for.

    Attributes:
        run: does it; takes the arguments by name.
        meaning: in words. arguments: how they are read. optional: those that may be left out.
    """

    run: Callable[..., Any]
    meaning: str
    arguments: Mapping[str, Kind]
    optional: frozenset[str] = frozenset()


class Control:
    """Answers requests about a target.

    Attributes:
        orders: everything that can be asked for, by name.
    """

    def __init__(self, node: TargetNode, portals: Portals) -> None:
        self._node = node
        self._portals = portals
        number = INTEGER
        portal: Kind = (lambda value: Portal.parse(TEXT[0](value)), "HOST:PORT")
        state: Kind = (parse_state, "one of " + ", ".join(STATES))
        self.orders: dict[str, Order] = {
            "sessions": Order(self._sessions, "the sessions there are", {}),
            "tasks": Order(self._tasks, "the commands that wait for their answers", {}),
            "luns": Order(self._luns, "the logical units", {}),
            "groups": Order(self._groups, "the portal groups and their ALUA states", {}),
            "portals": Order(self._list_portals, "the portals, and whether they are online", {}),
            "filters": Order(self._filters, "the filters in their order, and what they have struck", {}),
            "log": Order(self._log, "what the filter `log` wrote last", {}),
            "add": Order(self._add, "put a filter behind those there are; see `build` for its arguments", {}),
            "remove": Order(self._remove, "take a filter away", {"id": TEXT}),
            "alua": Order(self._alua, "set the ALUA state of a portal group",
                          {"group": number, "state": state, "preferred": FLAG}, frozenset(("preferred",))),
            "grow": Order(self._grow, "make a LUN larger", {"lun": number, "size": SIZE}),
            "offline": Order(self._portals.set_offline,
                             "close a portal and the connections that came in there", {"portal": portal}),
            "online": Order(self._portals.set_online, "open it again", {"portal": portal}),
            "redirect": Order(self._redirect, "send logins at a portal elsewhere; without `to`, no longer",
                              {"portal": portal, "to": portal, "permanently": FLAG},
                              frozenset(("to", "permanently"))),
            "kick": Order(self._kick, "drop the connection of a session", {"tsih": number}),
            "logout": Order(self._logout, "ask the initiator of a session to log out",
                            {"tsih": number, "within": DURATION}, frozenset(("within",))),
        }

    def handle(self, request: object) -> dict[str, Any]:
        """Answer a request; any value is one, most of them wrong."""
        try:
            return {"version": VERSION, "ok": True, "result": self._run(request)}
        except (ValueError, MpioError) as error:
            return {"version": VERSION, "ok": False, "error": str(error)}

    def _run(self, request: object) -> Any:
        if not isinstance(request, dict) or not all(isinstance(key, str) for key in request):
            raise ValueError("expected a JSON object")
        given = dict(request)
        order = self.orders.get(str(given.pop("do", None)))
        if order is None:
            raise ValueError(f"do: expected one of {', '.join(self.orders)}")
        if order.run == self._add:
            return self._add(given)
        arguments: dict[str, Any] = {}
        for key, kind in order.arguments.items():
            if key in given:
                try:
                    arguments[key] = kind[0](given.pop(key))
                except ValueError as error:
                    raise ValueError(f"{key}: {error}") from None
            elif key not in order.optional:
                raise ValueError(f"{key} is missing: expected {kind[1]}")
        if given:
            known = ", ".join(order.arguments) or "none"
            raise ValueError(f"there is no argument {min(given)[:40]!r}; expected {known}")
        return order.run(**arguments)

    # --- what there is

    def _sessions(self) -> list[dict[str, Any]]:
        return [_session(session) for session in self._node.sessions.values()]

    def _tasks(self) -> list[dict[str, Any]]:
        return [
            _task(session, task, self._node) for session in self._node.sessions.values()
            for task in session.connection.tasks()
        ]

    def _luns(self) -> list[dict[str, Any]]:
        return [
            {"lun": number, "size_bytes": unit.blocks * unit.block_size, "block_bytes": unit.block_size,
             "wwid": "3" + unit.naa.hex(), "write_protected": unit.is_write_protected}
            for number, unit in sorted(self._node.device.units.items())
        ]  # fmt: skip

    def _groups(self) -> list[dict[str, Any]]:
        return [_group(group) for group in self._node.device.groups.values()]

    def _list_portals(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for portal, online in self._portals.portals().items():
            to, permanently = self._node.redirects.get(portal, (None, False))
            elsewhere = {"redirect": str(to), "permanently": permanently} if to is not None else {}
            found.append({"portal": str(portal), "online": online, **elsewhere})
        return found

    def _filters(self) -> list[dict[str, Any]]:
        return [describe(key, filter_) for key, filter_ in self._node.filters.filters.items()]

    def _log(self) -> list[Mapping[str, Any]]:
        return list(self._node.filters.records)

    # --- changes

    def _add(self, given: Mapping[str, object]) -> str:
        return add_filter(self._node, given)

    def _remove(self, id: str) -> None:  # noqa: A002 - as the request calls it
        self._node.filters.remove(id)

    def _alua(self, group: int, state: Any, preferred: bool | None = None) -> None:
        self._node.set_group_state(group, state, preferred=preferred)

    def _grow(self, lun: int, size: int) -> None:
        unit = self._node.device.units.get(lun)
        if unit is None:
            raise ValueError(f"there is no LUN {lun}")
        grow(unit, size)

    def _redirect(self, portal: Portal, to: Portal | None = None, permanently: bool = False) -> None:
        if portal not in self._portals.portals():
            raise ValueError(f"there is no portal {portal}")
        if to is None:
            self._node.redirects.pop(portal, None)
        elif to == portal:
            raise ValueError(f"to: expected another portal than {portal}")
        else:
            self._node.redirects[portal] = to, permanently

    def _session(self, tsih: int) -> Session:
        for session in self._node.sessions.values():
            if session.tsih == tsih:
                return session
        raise ValueError(f"there is no session {tsih}")

    def _kick(self, tsih: int) -> None:
        self._session(tsih).connection.close("dropped by mpio target ctl")

    def _logout(self, tsih: int, within: int = _LOGOUT_WITHIN_S * NS_PER_S) -> None:
        self._session(tsih).connection.request_logout(min(within // NS_PER_S, 0xFFFF))


def add_filter(node: TargetNode, given: Mapping[str, object]) -> str:
    """Add a filter from a table: `name`, `id` if it shall have one, and its parameters. Returns its id.

    Raises ValueError.
    """
    rest = dict(given)
    name = rest.pop("name", None)
    key = TEXT[0](rest.pop("id")) if "id" in rest else ""
    return node.filters.add(build(name, rest), key)


def describe(key: str, filter_: Filter) -> dict[str, Any]:
    """A filter as people see it: what it was told beyond the defaults, and what it has done."""
    told: dict[str, Any] = {}
    for source in (filter_, filter_.limits):
        for item in parameters_of(type(source)):
            value = getattr(source, item.name)
            if value != item.default:
                told[item.name] = _plain(item.name, value)
    return {"id": key, "name": filter_.name, "on": filter_.is_on, **told, "seen": filter_.limits.seen,
            "struck": filter_.limits.struck}


def _plain(name: str, value: Any) -> Any:
    """A parameter in JSON: as text unless it is a number."""
    if isinstance(value, tuple):
        return [name_of(item) if name == "opcode" else _plain("", item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, int | float | str) and type(value) in (bool, int, float, str):
        return value
    return _STATE_WORDS.get(value) or str(value)


def _session(session: Session) -> dict[str, Any]:
    key, connection = session.nexus.key, session.connection
    negotiated = connection.negotiated
    return {
        "tsih": session.tsih, "initiator": key.initiator, "isid": key.isid.hex(), "group": key.tpgt,
        "portal": str(connection.params.portal), "tasks": connection.in_flight,
        "header_digest": bool(negotiated and negotiated.header_digest),
        "data_digest": bool(negotiated and negotiated.data_digest),
    }  # fmt: skip


def _task(session: Session, task: TargetTask, node: TargetNode) -> dict[str, Any]:
    unit = node.device.by_lun.get(task.lun)
    return {
        "tsih": session.tsih, "itt": task.itt, "lun": None if unit is None else unit.number,
        "command": name_of(task.cdb[0]), "ranges": [list(item) for item in ranges_of(task.cdb, task.data)],
        "length_bytes": task.expected_length, "has_its_data": task.dispatched,
    }  # fmt: skip


def _group(group: PortGroup) -> dict[str, Any]:
    return {"group": group.tpgt, "state": _STATE_WORDS.get(group.state, group.state.name.lower()),
            "preferred": group.preferred, "portals": [str(portal) for portal in group.portals]}
