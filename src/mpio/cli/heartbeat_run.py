"""`mpio heartbeat run`: one node of a cluster, in the foreground until it leaves or must stop."""

import asyncio
import contextlib
import json
import secrets
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from mpio.cli.heartbeat_machines import KEEPALIVE_MAX_NS, Wishes, machine_for
from mpio.cli.heartbeat_nodes import Numbers, Wire, numbers_from, wire_from
from mpio.cli.heartbeat_place import Place, place_options
from mpio.cli.heartbeat_words import sentence
from mpio.cli.options import DURATION
from mpio.errors import InputError
from mpio.events import Event, Journal
from mpio.heartbeat.machine import Leave, NodeState, Status
from mpio.heartbeat.reachability import Reachability
from mpio.io.heartbeat_agent import Agent, Guard
from mpio.io.heartbeat_clock import boottime_ns
from mpio.io.heartbeat_guard import Say
from mpio.io.line_writer import LineWriter
from mpio.model.address import Portal
from mpio.units import NS_PER_S, format_duration

WATCHDOG = "/dev/watchdog"


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for, apart from the machine."""

    place: Place
    numbers: Numbers
    wire: Wire | None
    idle_ns: int | None
    fence: str
    ping: tuple[Portal, ...]
    dampen_ns: int
    realtime: bool
    journal: Path | None
    as_json: bool


@click.command(short_help="Be a node.")
@place_options
@click.option("--node", type=click.IntRange(0, 254), required=True, help="This node's number; every node has its own.")
@click.option("--nodes", metavar="N,N-N…", help="All nodes, if no --peer says so: '0,1' or '0-3'.")
@click.option("--peer", "peers", multiple=True, metavar="N=HOST:PORT",
              help="Another node, and where it listens on the cluster network (UDP). May be repeated.")
@click.option("--listen", metavar="HOST:PORT", help="Where this node listens on the cluster network; goes with --peer.")
@click.option("--key-file", type=click.Path(path_type=Path), metavar="FILE",
              help="What all nodes know and nobody else: 16 bytes or more. Needed unless all of them are on loopback.")
@click.option("--idle-timeout", "idle_ns", type=DURATION, metavar="TIME",
              help="A peer silent for so long is disconnected; five periods if not given, for o2cb 30s.")
@click.option("--personality", type=click.Choice(["own", "o2cb", "sbd"]),
              help="What the region must be; else what it is.")
@click.option("--threshold", type=click.IntRange(3), metavar="N", help="o2cb: the dead threshold T; 31 if not given.")
@click.option("--name", metavar="NAME", help="For people, and for SBD whose slot it is; the host's if not given.")
@click.option("--fence", default="report", show_default=True, metavar="report|exec:CMD|watchdog[:DEV]",
              help="What stops this node when it must stop: nothing but words, a command, or the machine's watchdog.")
@click.option("--fence-latency", "fence_ns", type=DURATION, metavar="TIME",
              help="How long that takes; 1s if not given.")
@click.option("--drain", "drain_ns", type=DURATION, metavar="TIME",
              help="How long what was sent to the storage before can still land there; 2s if not given.")
@click.option("--ping", "ping", multiple=True, metavar="HOST[:PORT]",
              help="A host near to the clients; port 7 if not given. It answers by accepting or refusing a TCP "
              "connection; no ICMP is sent. Who reaches more of them goes on after a network split. May be repeated.")
@click.option("--dampen", "dampen_ns", type=DURATION, default="5s", show_default=True, metavar="TIME",
              help="A change of how many answer counts once it has lasted so long.")
@click.option("--realtime/--no-realtime", default=True, show_default=True,
              help="Lock the memory and take a real-time priority, as far as that is allowed.")
@click.option("--journal", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Append every event, a JSON object a line.")
@click.option("--json", "as_json", is_flag=True, help="Print events as in the journal, and a status at the end.")
def command(
    place: Place, node: int, nodes: str | None, peers: tuple[str, ...], listen: str | None, key_file: Path | None,
    idle_ns: int | None, personality: str | None, threshold: int | None, name: str | None, fence: str,
    fence_ns: int | None, drain_ns: int | None, ping: tuple[str, ...], dampen_ns: int, realtime: bool,
    journal: Path | None, as_json: bool,
) -> int:
    """Heartbeat in slot NODE of the region on DEVICE, watch the others, and stop this node when it must be stopped.

    SIGTERM or SIGINT leaves cleanly; end everything that writes to the shared storage before. Exit code 0 means that
    it left, 1 that this node had to be stopped, 2 that it was not let in.
    """
    numbers = numbers_from(node, nodes, peers)
    wire = wire_from(numbers, listen, key_file)
    wishes = Wishes(
        numbers.node, numbers.nodes, personality, threshold, name or socket.gethostname().partition(".")[0], fence_ns,
        drain_ns, network=wire is not None,
    )
    order = Order(place, numbers, wire, idle_ns, fence, tuple(map(_host, ping)), dampen_ns, realtime, journal, as_json)
    with _speaking() as say, _journal(order, say) as events:
        status = asyncio.run(_run(order, wishes, events, say))
    if as_json:
        print(json.dumps(record(status)), flush=True)
    if status.state is NodeState.REFUSED:
        raise InputError(place.name, f"node {node} was not let in: {status.reason}")
    return 1 if status.state is NodeState.FENCED else 0


def _host(text: str) -> Portal:
    from dataclasses import replace

    from mpio.io.heartbeat_ping import ECHO_PORT

    try:
        portal = Portal.parse(text)
    except ValueError as error:
        raise InputError("--ping", str(error)) from None
    has_port = ":" in text.rpartition("]")[2]
    return portal if has_port else replace(portal, port=ECHO_PORT)


@contextlib.contextmanager
def _journal(order: Order, say: Say) -> Iterator[Journal]:
    """A journal that goes to the file and to standard output as it grows, without keeping the node waiting."""
    journal = Journal()
    with contextlib.ExitStack() as stack:
        if order.journal is not None:
            try:
                file = stack.enter_context(order.journal.open("ab"))
            except OSError as error:
                raise InputError("--journal", f"{order.journal}: {error.strerror}") from None
            journal.sinks.append(_sink(stack, say, file.fileno(), Event.to_json))
        journal.sinks.append(_sink(stack, say, sys.stdout.fileno(), Event.to_json if order.as_json else _for_people))
        yield journal


def _sink(
    stack: contextlib.ExitStack, say: Say, fd: int, render: Callable[[Event], str],
) -> Callable[[Event], None]:
    lines = LineWriter(fd)

    def close() -> None:
        if not lines.close():
            say(f"{lines.left_out or 'the last'} lines could not be written")  # standard error may be full as well

    stack.callback(close)
    return lambda event: lines.write(render(event))


@contextlib.contextmanager
def _speaking() -> Iterator[Say]:
    """Words on standard error: a fence must not wait for somebody to read of it."""
    lines = LineWriter(sys.stderr.fileno())
    try:
        yield lambda message: lines.write(f"mpio: {message}")
    finally:
        lines.close()


def _for_people(event: Event) -> str:
    return f"{time.strftime('%H:%M:%S')} {sentence(event)}"


async def _run(order: Order, wishes: Wishes, journal: Journal, say: Say) -> Status:
    from mpio.io.heartbeat_network import ClusterNetwork, PeerLinks, UdpDatagrams
    from mpio.io.heartbeat_region import find

    score = _reachability(order)
    async with contextlib.AsyncExitStack() as stack:
        blocks = await stack.enter_async_context(order.place.open())
        made = await machine_for(wishes, await find(blocks), blocks, order.place.name)
        network = None
        if order.wire is not None:
            idle_ns = order.idle_ns or made.idle_ns
            links = PeerLinks(
                order.numbers.node, list(order.numbers.peers), order.wire.key, secrets.randbits(63) + 1, idle_ns)
            datagrams = UdpDatagrams(order.wire.listen, order.numbers.peers)
            keepalive_ns = min(idle_ns // 4, KEEPALIVE_MAX_NS)
            network = ClusterNetwork(links, datagrams, keepalive_ns, boottime_ns)
        guard = _guard(order, made.budget_ns, say)
        if order.realtime:
            from mpio.io.heartbeat_priority import raise_priority

            for missing in raise_priority():
                say(missing)
        agent = Agent(
            made.machine, blocks=blocks, guard=guard, journal=journal, source=f"node:{order.numbers.node}/heartbeat",
            network=network, clock=boottime_ns, wake_ns=NS_PER_S,
        )
        agent.start()
        _leave_on_signals(agent, say)
        async with _pinging(order, score, agent, made.period_ns):
            return await agent.ended()


def _leave_on_signals(agent: Agent, say: Say) -> None:
    """The first one leaves cleanly; one more ends it where it stands, if storage hangs and nobody wants to wait."""
    stopping: list[asyncio.Task[None]] = []

    def leave() -> None:
        if agent.status().state is NodeState.LEAVING:
            say("ended without a goodbye: the others will take this node for dead")
            stopping.append(asyncio.create_task(agent.stop()))
        agent.tell(Leave())

    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, leave)


def _reachability(order: Order) -> Reachability | None:
    """The score of the ping list, if there is one. Raises InputError."""
    if not order.ping:
        return None
    try:
        return Reachability([str(host) for host in order.ping], dampen_ns=order.dampen_ns)
    except ValueError as error:
        raise InputError("--ping", str(error)) from None


@contextlib.asynccontextmanager
async def _pinging(order: Order, score: Reachability | None, agent: Agent, period_ns: int) -> AsyncIterator[None]:
    if score is None:
        yield
        return
    from mpio.io.heartbeat_ping import Pinger

    def tell(host: Portal, answered: bool) -> None:
        for news in score.heard(str(host), answered, boottime_ns()):
            agent.tell(news)

    pinger = asyncio.create_task(Pinger(order.ping, period_ns, period_ns, tell).run())
    try:
        yield
    finally:
        pinger.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await pinger


def _guard(order: Order, budget_ns: int, say: Say) -> Guard:
    """What stops the node. Raises InputError."""
    from mpio.io.heartbeat_guard import CommandGuard, LinuxWatchdog, ReportingGuard, WatchdogGuard

    kind, _, rest = order.fence.partition(":")
    if order.fence == "report":
        return ReportingGuard(say)
    if kind == "exec" and rest:
        environment = {"MPIO_NODE": str(order.numbers.node), "MPIO_DEVICE": order.place.name}
        return CommandGuard(rest, say, environment)
    if kind == "watchdog" and (rest or order.fence == "watchdog"):
        path = Path(rest or WATCHDOG)
        wanted_s = max(budget_ns // (3 * NS_PER_S), 1)
        if budget_ns < 3 * NS_PER_S:
            found = format_duration(budget_ns)
            raise InputError("--fence watchdog", f"expected a deadline of 3 s or more, found {found}")
        watchdog = LinuxWatchdog(path, wanted_s)
        if watchdog.timeout_s * NS_PER_S > budget_ns // 2:
            watchdog.disarm()
            raise InputError(str(path), (
                f"takes no timeout below {watchdog.timeout_s} s, and a deadline of {format_duration(budget_ns)} "
                "needs one of at most its half; raise the deadline or take another watchdog"
            ))
        say(f"{path} is armed with {watchdog.timeout_s} s: without heartbeats it resets this machine")
        return WatchdogGuard(watchdog, say, boottime_ns)
    raise InputError("--fence", f"expected report, exec:CMD or watchdog[:DEVICE], found {order.fence!r}")


def record(status: Status) -> dict[str, object]:
    """A machine's status for JSON."""
    return {
        "version": 1,
        "node": status.node,
        "state": status.state.value,
        "generation": f"{status.generation:016x}",
        "margin_ns": status.margin_ns,
        "budget_ns": status.budget_ns,
        "quorum": status.quorum,
        "score": status.score,
        "cause": status.cause.value if status.cause is not None else None,
        "reason": status.reason,
        "peers": [
            {
                "node": peer.node, "state": peer.state.value, "age_ns": peer.age_ns, "dead_in_ns": peer.dead_in_ns,
                "generation": f"{peer.generation:016x}", "connected": peer.connected, "score": peer.score,
            }
            for peer in status.peers
        ],
    }
