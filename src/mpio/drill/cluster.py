"""The nodes as a cluster: heartbeats on the LUN, networks between them and to clients, and fences that come true.

A fence is reported, as `mpio heartbeat run` does it by default, and the drill does what a reset of the machine would
do: the node's I/O ends at once, and what its wires still hold is gone.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mpio.check.heartbeats import Margins
from mpio.drill.fabric import Fault
from mpio.drill.layout import HEARTBEAT_BYTES, layout_of
from mpio.drill.node import Node
from mpio.drill.personality import SHOT_STAGGER_NS, Personality, personality
from mpio.drill.scenario import Scenario, Wire
from mpio.drill.service import Service, ServiceLog, check_counter
from mpio.drill.switch import Pinger, Switch, echo
from mpio.drill.workload import WorkDisk
from mpio.drill.world import World
from mpio.errors import MpioError
from mpio.events import Journal, Kind
from mpio.heartbeat.machine import Fence, Leave, NodeState, PeerState, Poison, Status
from mpio.heartbeat.reachability import Reachability
from mpio.io.heartbeat_agent import Agent
from mpio.io.heartbeat_network import ClusterNetwork, PeerLinks
from mpio.io.heartbeat_region import make, write
from mpio.io.heartbeat_store import Region
from mpio.units import NS_PER_S

SOURCE = "heartbeat"
CLIENTS = {"client": 0}
"""Who is pinged on the client network, and at which port of its switch: 0 is no node's."""
CLIENT_SCORE = 100
PING_NS = NS_PER_S // 2
PINGS = 2  # in a row without an answer: then a client does not count any more
SAMPLES_MAX = 36_000
_POLL_S = 0.05
_LEAVE_S = 10.0


class _Guard:
    """Of one node: carries out its fence."""

    def __init__(self, halt: Callable[[], Awaitable[None]]) -> None:
        self._halt = halt

    def extend(self, until_ns: int) -> None:
        """See Guard: nobody but the node itself looks after its lease here."""

    async def fence(self, fence: Fence) -> bool:
        """See Guard. Its I/O has ended when this returns."""
        del fence
        await self._halt()
        return True

    def release(self) -> None:
        """See Guard."""


@dataclass(slots=True)
class _Member:
    """A node with its heartbeat."""

    node: Node
    agent: Agent
    pinging: "asyncio.Task[None]"
    life: "asyncio.Task[Status]"
    service: Service | None = None
    serving: "asyncio.Task[None] | None" = None
    margins_ns: list[int | None] = field(default_factory=list)
    unheard_ns: dict[int, int] = field(default_factory=dict)  # since when, by peer
    shot: dict[int, None] = field(default_factory=dict)  # peers that were sent a pill


class HeartbeatCluster:
    """The cluster of one run.

    Args:
        scenario, nodes: open nodes. sever: resets every connection that a node's paths carry.
        journal: where it is told. rng: an independent stream for each purpose.

    Attributes:
        personality: the kind of heartbeats. log: what the service did.
        start_ns, end_ns: from the first heartbeat to the time at which the nodes were to leave.
    """

    def __init__(self, scenario: Scenario, nodes: Sequence[Node], world: World, journal: Journal,
                 sever: Callable[[int], Awaitable[None]], rng: Callable[[str], random.Random]) -> None:
        self._scenario = scenario
        self._nodes = nodes
        self._world = world
        self._journal = journal
        self._sever = sever
        self._rng = rng
        self._switches = {"cluster": Switch("cluster"), "client": Switch("client")}
        self._members: dict[int, _Member] = {}
        self._sampling: asyncio.Task[None] | None = None
        self.start_ns = 0
        self.end_ns = 0
        self.log = ServiceLog()
        disk = nodes[0].disk
        assert disk is not None
        self.personality: Personality = personality(scenario.cluster, disk.block_size, rng("region"))

    # --- beginning and end

    async def start(self) -> None:
        """Make the region, and have all nodes join. Raises MpioError if they do not."""
        region = self._region(self._nodes[0])
        await make(region, self.personality.layout, self.personality.header)
        for offset, data in self.personality.slots:
            await write(region, offset, data)
        for number in CLIENTS.values():
            echo(self._switches["client"], number)
        key = self._rng("cluster key").randbytes(32)
        self.start_ns = self._world.clock()
        for node in self._nodes:
            self._members[node.number] = self._join(node, key)
        self._sampling = asyncio.create_task(self._sample(), name="margins")
        await self._all_joined()
        if self._scenario.cluster.service:
            for member in self._members.values():
                self._serve(member)

    def _serve(self, member: _Member) -> None:
        node = member.node
        assert node.disk is not None
        member.service = Service(node.number, node.disk, layout_of(self._scenario).service_offset,
                                 self._scenario.cluster.period, member.agent.status, self.log, node.journal,
                                 self._world.clock)
        member.serving = asyncio.create_task(member.service.run(), name=f"service on node {node.number}")

    def _region(self, node: Node) -> Region:
        assert node.disk is not None
        return Region(self._world.blocks(node.disk), layout_of(self._scenario).heartbeat_offset, HEARTBEAT_BYTES)

    def _join(self, node: Node, key: bytes) -> _Member:
        kind, clock, rng = self.personality, self._world.clock, node.rng("heartbeat")
        peers = [other.number for other in self._nodes if other is not node]
        links = PeerLinks(node.number, peers, key, rng.getrandbits(64) | 1, kind.idle_ns)
        network = ClusterNetwork(links, self._switches["cluster"].port(node.number), kind.keepalive_ns, clock)
        agent = Agent(self.personality.make(node.number, rng), blocks=self._region(node),
                      guard=_Guard(lambda: self._halt(node, "fenced")), journal=node.journal, source=SOURCE,
                      network=network, clock=clock)
        agent.start()
        reachability = Reachability(list(CLIENTS), CLIENT_SCORE, self._scenario.cluster.dampen, PINGS)
        pinger = Pinger(self._switches["client"].port(node.number), CLIENTS, PING_NS, reachability, agent.tell, clock)
        life = asyncio.create_task(agent.ended(), name=f"heartbeat of node {node.number}")
        return _Member(node, agent, asyncio.create_task(pinger.run(), name=f"pings of node {node.number}"), life)

    async def _all_joined(self) -> None:
        deadline_ns = self._world.clock() + 2 * self.personality.join_ns
        while waiting := [number for number, member in self._members.items() if not _has_joined(member.agent.status())]:
            status = self._members[waiting[0]].agent.status()
            if self._world.clock() > deadline_ns or status.state in (NodeState.REFUSED, NodeState.FENCED):
                raise MpioError(f"node {waiting[0]} did not become a member of the cluster: it is {status.state}"
                                + (f", {status.reason}" if status.reason else ""))
            await asyncio.sleep(_POLL_S)

    async def leave(self) -> None:
        """The service is given back, and all nodes that are left say goodbye; their workloads have ended."""
        self.end_ns = self._world.clock()
        serving = [member.serving for member in self._members.values() if member.serving is not None]
        for member in self._members.values():
            if member.service is not None:
                member.service.stop()
        if serving:
            await asyncio.wait(serving, timeout=_LEAVE_S)
        for member in self._running():
            member.agent.tell(Leave())
        lives = [member.life for member in self._members.values()]
        ended, _ = await asyncio.wait(lives, timeout=_LEAVE_S)
        for life in ended:
            life.result()  # raises what went wrong with a fence

    async def check_service(self, disk: WorkDisk) -> None:
        """Whether the service's counter is at the end what was counted. Raises MpioError if it can't be read."""
        await check_counter(disk, layout_of(self._scenario).service_offset, self.log)

    async def close(self) -> None:
        """End it all, wherever it stands."""
        tasks: list[asyncio.Task[Any]] = [
            task for member in self._members.values() for task in (member.pinging, member.life, member.serving)
            if task is not None]
        if self._sampling is not None:
            tasks.append(self._sampling)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for member in self._members.values():
            await member.agent.stop()
        for switch in self._switches.values():
            switch.close()

    # --- what steps do

    async def inject(self, wire: Wire, fault: Fault) -> str:
        """See steps.Cluster."""
        return self._switches[wire.link].inject(wire.node, fault)

    async def heal(self, wire: Wire) -> str:
        """See steps.Cluster."""
        return self._switches[wire.link].heal(wire.node)

    async def crash(self, node: int) -> None:
        """See steps.Cluster."""
        member = self._members[node]
        if member.node.is_running:
            self._journal.record(self._world.clock(), f"node:{node}", Kind.NODE_CRASHED, node=node)
            member.pinging.cancel()
            halting = asyncio.ensure_future(self._halt(member.node, "crashed"))
            await member.agent.stop()
            await halting

    async def poison(self, node: int) -> None:
        """See steps.Cluster."""
        others = [member for member in self._running() if member.node.number != node]
        well = [member for member in others if member.agent.status().state is NodeState.RUNNING]
        for sender in (well or others)[:1]:  # one whose storage hangs could not write it
            sender.agent.tell(Poison(node))

    async def _halt(self, node: Node, how: str) -> None:
        serving = self._members[node.number].serving
        if serving is not None:
            serving.cancel()
        if node.is_running:
            await node.halt(how, lambda: self._sever(node.number))
            self._journal.record(self._world.clock(), f"node:{node.number}", Kind.NODE_HALTED, node=node.number,
                                 how=how)

    def _running(self) -> list[_Member]:
        return [member for member in self._members.values() if member.node.is_running]

    # --- what is seen

    async def _sample(self) -> None:
        interval_ns = self._world.sample_interval_ns
        for number in range(1, SAMPLES_MAX + 1):
            for member in self._members.values():
                margin_ns = member.agent.status().margin_ns if member.node.is_running else None
                member.margins_ns.append(margin_ns)
            if self.personality.shoots:
                for member in self._running():
                    self._shoot(member)
            await asyncio.sleep(max(0, self.start_ns + number * interval_ns - self._world.clock()) / NS_PER_S)

    def _shoot(self, member: _Member) -> None:
        """What the cluster above SBD does: who is not heard is sent a pill, and only then taken for dead."""
        status, now, number = member.agent.status(), self._world.clock(), member.node.number
        if status.state is not NodeState.RUNNING or self.end_ns:
            return
        for peer in status.peers:
            if peer.connected or peer.state is PeerState.DEAD:
                member.unheard_ns.pop(peer.node, None)
                continue
            since_ns = member.unheard_ns.setdefault(peer.node, now)
            if peer.node not in member.shot and now - since_ns >= (number - 1) * SHOT_STAGGER_NS:
                member.shot[peer.node] = None
                member.agent.tell(Poison(peer.node))

    def margins(self) -> dict[int, Margins]:
        """Of each node."""
        return {number: Margins(self.start_ns, self._world.sample_interval_ns, member.margins_ns)
                for number, member in self._members.items()}

    def as_json(self) -> dict[str, object]:
        """What metrics.json has of it."""
        return {
            "kind": self._scenario.cluster.heartbeat, "deadline_ns": self.personality.deadline_ns,
            "dead_ns": self.personality.dead_ns, "start_ns": self.start_ns,
            "interval_ns": self._world.sample_interval_ns,
            "nodes": [{"node": number, "state": str(member.agent.status().state), "halted": member.node.halted,
                       "margins_ns": member.margins_ns} for number, member in self._members.items()],
        }


def _has_joined(status: Status) -> bool:
    """Whether the node is a member, and knows that all others are."""
    return status.state is NodeState.RUNNING and all(
        peer.state is PeerState.LIVE and peer.connected for peer in status.peers)
