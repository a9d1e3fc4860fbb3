"""A TCP relay with faults on demand: one listening portal per path, run as a child process without privileges.

Started as `python -m mpio.io.relay` by `drill/relay_fabric.py`. It takes one JSON object per line on standard input and
answers each with one line on standard output, `{"id": …, "ok": true, …}` or `{"id": …, "ok": false, "error": "…"}`:

    {"id": 1, "op": "open", "host": "127.0.0.1", "port": 3260}               → "path", "host", "port"
    {"id": 2, "op": "inject", "path": 0, "kind": "delay", "params": {…}}
    {"id": 3, "op": "heal", "path": 0}                                       → "late_bytes", "late_connections"
    {"id": 4, "op": "stats"}                                                 → "connections", "kept_bytes"

The end of standard input ends the process, and with it every cut: no fault outlives the process that asked for it.
What each fault does, and how far it is from the real thing: docs/cuts.md.
"""

import asyncio
import json
import os
import random
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any, cast

from mpio.errors import InputError, MpioError
from mpio.io.net import LISTEN_BACKLOG, listen, local_portal, tune
from mpio.io.relay_wire import (
    TCP_ESTABLISHED,
    Connection,
    Direction,
    End,
    LaneRules,
    reset,
    tcp_state,
)
from mpio.model.address import Portal

CONNECTIONS_MAX = 256  # per path; further ones are reset
PATHS_MAX = 64
CONTROL_LINE_MAX = 64 * 1024
_FILLERS_MAX = 4  # one fills a backlog of 0 on Linux; the rest is for connections that slip in between

Params = Mapping[str, Any]


class RelayPath:
    """One listening portal, the target portal behind it, and the fault in force, if any."""

    def __init__(self, target: Portal) -> None:
        """Listen on a free port of 127.0.0.1. Raises InputError if the target's host can't be resolved."""
        self._loop = asyncio.get_running_loop()
        try:
            found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise InputError("portal", f"can't resolve {target}: {error.strerror}") from None
        self._target = found[0]
        self._listener = listen(Portal("127.0.0.1", 0))
        self.portal = local_portal(self._listener)
        self.fault: str | None = None
        self._rules = {direction: LaneRules() for direction in Direction}
        self._connecting: dict[socket.socket, socket.socket] = {}  # to the target: from the initiator
        self._connections: set[Connection] = set()
        self._half_open: set[Connection] = set()
        self._fillers: list[socket.socket] = []
        self._accept_more()

    @property
    def connections(self) -> int:
        """How many connections there are, half-open and unfinished ones included."""
        return len(self._connections) + len(self._half_open) + len(self._connecting)

    @property
    def kept_bytes(self) -> int:
        """How many bytes are kept in all lanes."""
        return sum(connection.kept_bytes for connection in self._connections)

    def inject(self, kind: str, params: Params) -> None:
        """Put a fault in force. Raises InputError for an unknown kind, or while another one is in force."""
        if kind == "reset":  # an event, not a state: nothing to heal
            self._abort_all()
            return
        if self.fault is not None:
            raise InputError("fault", f"this path already has the fault {self.fault!r}; heal it first")
        if kind not in _INJECT:
            raise InputError("fault", f"unknown kind {kind!r}; known: {', '.join(sorted((*_INJECT, 'reset')))}")
        _INJECT[kind](self, params)
        self.fault = kind

    def heal(self) -> dict[str, int]:
        """Lift the fault. Returns what it delivers late: bytes held for the target, connections they came by."""
        held = [connection.lanes[Direction.TO_TARGET] for connection in self._connections]
        late = [lane.kept_bytes for lane in held if lane.rules.collects and lane.kept_bytes]
        fault, self.fault = self.fault, None
        if fault == "refuse":
            self._listener.listen(LISTEN_BACKLOG)
        for connection in tuple(self._half_open):
            connection.abort()
        self._set_rules(LaneRules(), LaneRules())
        self._close_fillers()
        return {"late_bytes": sum(late), "late_connections": len(late)}

    def cut(self, params: Params) -> None:
        """Neither read nor deliver, and let the kernel drop the SYNs of new connections."""
        self._each_way(params, lambda: LaneRules(cut=True))

    def hold(self, params: Params) -> None:
        """Like a cut, but collect what the initiator sends, to deliver it later come what may."""
        del params
        self._set_rules(LaneRules(cut=True, collects=True), LaneRules(cut=True))

    def delay(self, params: Params) -> None:
        """Deliver everything so much later, in order."""
        self._each_way(params, lambda: LaneRules(delay_s=float(params["ms"]) / 1000))

    def stall(self, params: Params) -> None:
        """Pause now and then, as TCP does while it waits to send a lost segment again."""
        rate, pause_s, seed = float(params["rate"]), float(params["pause_ms"]) / 1000, int(params["seed"])
        self._each_way(params, lambda: LaneRules(pause_rate=rate, pause_s=pause_s, chance=random.Random(seed)))

    def throttle(self, params: Params) -> None:
        """Share so many bytes per second among all connections of the path, each way."""
        self._each_way(params, lambda: LaneRules(bytes_per_s=float(params["bytes_per_s"])))

    def half_open(self, params: Params) -> None:
        """Reset one end of every connection; the other end hears nothing of it until healed."""
        gone = End(params["side"])
        self._abort_connecting()
        for connection in tuple(self._connections):
            self._connections.discard(connection)
            self._half_open.add(connection)
            connection.drop_end(gone)

    def refuse(self, params: Params) -> None:
        """Reset every connection and listen no more, but keep the port."""
        del params
        self._abort_all()
        self._loop.remove_reader(self._listener)
        self._listener.close()
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listener.setblocking(False)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((self.portal.host, self.portal.port))

    def _each_way(self, params: Params, make: Callable[[], LaneRules]) -> None:
        ways = [direction for direction in Direction if params["direction"] in ("both", direction)]
        if not ways:
            raise InputError("direction", f"expected both, {' or '.join(Direction)}; found {params['direction']!r}")
        to_target, to_initiator = (make() if direction in ways else LaneRules() for direction in Direction)
        self._set_rules(to_target, to_initiator)

    def _set_rules(self, to_target: LaneRules, to_initiator: LaneRules) -> None:
        self._rules = {Direction.TO_TARGET: to_target, Direction.TO_INITIATOR: to_initiator}
        if to_target.cut or to_initiator.cut:  # a handshake needs both ways
            self._drop_syns()
        else:
            self._accept_more()
        for connection in tuple(self._connections):
            connection.follow(self._rules)

    def _accept_more(self) -> None:
        self._listener.listen(LISTEN_BACKLOG)
        self._loop.add_reader(self._listener, self._acceptable)

    def _drop_syns(self) -> None:
        """Fill the backlog: a Linux kernel then drops SYNs silently, and they are repeated until healed."""
        self._loop.remove_reader(self._listener)
        self._listener.listen(0)
        for _ in range(_FILLERS_MAX):
            filler = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            filler.setblocking(False)
            self._fillers.append(filler)
            filler.connect_ex((self.portal.host, self.portal.port))
            if tcp_state(filler) != TCP_ESTABLISHED:
                return

    def _close_fillers(self) -> None:
        for filler in self._fillers:
            reset(filler)  # what the backlog still holds of them is found closed when it is accepted
        self._fillers.clear()

    def _acceptable(self) -> None:
        try:
            from_initiator, _ = self._listener.accept()
        except OSError:  # nothing there after all, or no file descriptor free: the backlog keeps it
            return
        if self.connections >= CONNECTIONS_MAX or tcp_state(from_initiator) != TCP_ESTABLISHED:
            reset(from_initiator)
            return
        family, _, _, _, address = self._target
        to_target = socket.socket(family, socket.SOCK_STREAM)
        tune(from_initiator)
        tune(to_target)
        self._connecting[to_target] = from_initiator
        to_target.connect_ex(address)  # also a refusal at once is told by SO_ERROR
        self._loop.add_writer(to_target, self._connected, to_target)

    def _connected(self, to_target: socket.socket) -> None:
        self._loop.remove_writer(to_target)
        from_initiator = self._connecting.pop(to_target)
        if tcp_state(to_target) != TCP_ESTABLISHED:
            reset(from_initiator)
            to_target.close()
            return
        connection = Connection(from_initiator, to_target, self._ended)
        self._connections.add(connection)
        connection.follow(self._rules)

    def _ended(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._half_open.discard(connection)

    def _abort_connecting(self) -> None:
        for to_target, from_initiator in self._connecting.items():
            self._loop.remove_writer(to_target)
            to_target.close()
            reset(from_initiator)
        self._connecting.clear()

    def _abort_all(self) -> None:
        self._abort_connecting()
        for connection in (*self._connections, *self._half_open):
            connection.abort()


_INJECT: Mapping[str, Callable[[RelayPath, Params], None]] = {
    "blackhole": RelayPath.cut,
    "hold": RelayPath.hold,
    "delay": RelayPath.delay,
    "stall": RelayPath.stall,
    "throttle": RelayPath.throttle,
    "half_open": RelayPath.half_open,
    "refuse": RelayPath.refuse,
}


class Control:
    """Carries out the orders that come line by line."""

    def __init__(self) -> None:
        self._paths: list[RelayPath] = []

    def answer(self, line: bytes) -> dict[str, Any]:
        """Carry out one order. A bad one is answered with an error and changes nothing."""
        number: object = None
        try:
            order = json.loads(line)
            if not isinstance(order, dict):
                raise InputError("order", "expected a JSON object")
            number = order.get("id")
            return {"id": number, "ok": True} | self._carry_out(order)
        except (MpioError, OSError) as error:
            return {"id": number, "ok": False, "error": str(error)}
        except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
            return {"id": number, "ok": False, "error": f"bad order: {error!r}"}

    def _carry_out(self, order: dict[str, Any]) -> dict[str, Any]:
        match order["op"]:
            case "open":
                if len(self._paths) >= PATHS_MAX:
                    raise InputError("open", f"at most {PATHS_MAX} paths")
                path = RelayPath(Portal(str(order["host"]), int(order["port"])))
                self._paths.append(path)
                return {"path": len(self._paths) - 1, "host": path.portal.host, "port": path.portal.port}
            case "inject":
                self._paths[order["path"]].inject(str(order["kind"]), order["params"])
                return {}
            case "heal":
                return cast("dict[str, Any]", self._paths[order["path"]].heal())
            case "stats":
                return {
                    "connections": sum(path.connections for path in self._paths),
                    "kept_bytes": sum(path.kept_bytes for path in self._paths),
                }
            case op:
                raise InputError("op", f"expected open, inject, heal or stats, found {op!r}")


async def serve() -> None:
    """Obey standard input until it ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=CONTROL_LINE_MAX)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    control = Control()
    while line := await reader.readline():
        sys.stdout.write(json.dumps(control.answer(line)) + "\n")
        sys.stdout.flush()


def main() -> None:
    """Run as a child process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer; its end is ours
    try:
        asyncio.run(serve())
    except (ValueError, BrokenPipeError):  # a control line past the bound, or nobody left to answer
        sys.exit(1)
    finally:
        os.close(sys.stdout.fileno())


if __name__ == "__main__":
    main()
