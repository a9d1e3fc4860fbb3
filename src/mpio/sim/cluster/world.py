"""The parts of a run joined: target, cables, networks, nodes, and everything that watches them."""

import random
from collections import Counter
from dataclasses import dataclass, field

from mpio.check.breach import Breaches
from mpio.check.fencing import Life, Takeovers
from mpio.events import Kind, Value
from mpio.heartbeat.machine import Cause, Fence, Happened
from mpio.model.task import Buffer
from mpio.sim.cluster.manager import Manager
from mpio.sim.cluster.network import ClusterNetwork
from mpio.sim.cluster.node import Node, NodeSpec
from mpio.sim.cluster.personality import Rules, rules_of
from mpio.sim.cluster.plan import CABLE, STORAGE, ClusterPlan, Fault
from mpio.sim.cluster.work import Register, Work, parse_unit
from mpio.sim.swarm.disk import SwarmDisk
from mpio.sim.swarm.faults import Parts
from mpio.sim.swarm.faults import inject as inject_storage
from mpio.sim.swarm.judge import Judge
from mpio.sim.swarm.link import Cable, LaneSpec
from mpio.sim.swarm.plan import Fault as StorageFault
from mpio.sim.swarm.schedule import Schedule
from mpio.sim.swarm.target import SwarmTarget

TARGET_NAME = "iqn.2026-01.dev.mpio:cluster"
_NAA = bytes.fromhex("602006d0000000000000000000000001")
_OVER = (Kind.PEER_DEAD, Kind.PEER_LEFT, Kind.PEER_RESTARTED)


@dataclass(frozen=True, slots=True)
class Fenced:
    """A fence that a machine has ordered. `beats`: when the newest heartbeat of every life had landed by then."""

    life: Life
    t_ns: int
    cause: Cause
    reason: str
    beats: tuple[tuple[Life, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """Something that a machine has told, for the journal."""

    t_ns: int
    node: int
    kind: str
    fields: dict[str, Value]


@dataclass(slots=True)
class Record:
    """What happened, in order.

    Attributes:
        gone: when lives ended, and why. served: when they became members. bitten: lives that the watchdog ended.
        leaving: when members began to leave. negotiated: when a life's deadline was last negotiated.
        poisoned: when lives were sent pills, and the senders of their first ones.
        noticed: by observer, the lives that it said are over.
        acks: the longest time that a heartbeat of a life was on the medium before the life heard of it.
        is_well: in the end all nodes were.
    """

    told: list[Told] = field(default_factory=list)
    fenced: list[Fenced] = field(default_factory=list)
    gone: dict[Life, tuple[int, str]] = field(default_factory=dict)
    served: dict[Life, int] = field(default_factory=dict)
    bitten: dict[Life, int] = field(default_factory=dict)
    leaving: dict[Life, int] = field(default_factory=dict)
    negotiated: dict[Life, int] = field(default_factory=dict)
    poisoned: dict[Life, list[int]] = field(default_factory=dict)
    senders: dict[Life, Life] = field(default_factory=dict)
    noticed: dict[Life, list[Life]] = field(default_factory=dict)
    acks: dict[Life, int] = field(default_factory=dict)
    is_well: bool = False
    counts: Counter[str] = field(default_factory=Counter)


class ClusterJudge(Judge):
    """Told of every effect on the medium; passes on what is shared data and what is a heartbeat."""

    def __init__(self, world: "World") -> None:
        super().__init__(0, world.plan.block_size, 1, bytes(2 * world.plan.block_size))
        self._world = world

    def landed(self, lba: int, data: Buffer, now: int, connection: int) -> None:  # noqa: ARG002 - as in Judge
        """Blocks were written to the disk."""
        if data:  # a write that fails at once has no effect
            self._world.landed(lba, bytes(data), now)

    def fenced(self, connection: int) -> None:
        """Of a map's own paths; other checks look after it."""


class ClusterDisk(SwarmDisk):
    """A disk that may also acknowledge writes and forget them, as long as `lying` reasons last."""

    lying = 0

    def write(self, offset: int, data: Buffer) -> None:
        """As in SwarmDisk."""
        if not self.lying:
            super().write(offset, data)


class World:
    """All of a run.

    Attributes:
        rules: of the heartbeat's personality. first_unit: the block where shared data begins.
        record: what happened. takeovers: the check of shared data.
        breaches: what else was found at once.
    """

    def __init__(self, plan: ClusterPlan) -> None:
        self.plan = plan
        self.schedule = Schedule()
        self.record = Record()
        self.takeovers = Takeovers()
        self.breaches = Breaches()
        self.rules: Rules = rules_of(plan)
        self.register = Register(plan.nodes, self.takeovers)
        self._meant: dict[tuple[Life, int], Life] = {}  # by who sent a pill to which node: the life that it met
        self._lives: dict[tuple[int, int], Life] = {}  # by node and generation
        self._sent: dict[bytes, tuple[Life, int]] = {}  # heartbeat blocks: whose, and when issued, local time
        self._landed_at: dict[Life, int] = {}
        self._landed: dict[bytes, int] = {}  # heartbeat blocks: since when they are on the medium
        self._landed_issue: dict[Life, int] = {}  # newest issue of a heartbeat that has landed, local time
        self.first_unit = -(-self.rules.region_bytes // plan.block_size)
        blocks = self.first_unit + plan.nodes
        self.disk = ClusterDisk(blocks, plan.block_size, volatile=False, rng=self._rng("disk"))
        self.rules.prepare(self.disk.write)
        judge = ClusterJudge(self)
        self.target = SwarmTarget(
            self.schedule, self.disk, self._rng("target"), judge, name="target", iqn=TARGET_NAME, tpgts=plan.tpgts,
            block_size=plan.block_size, latency_ns=plan.latency_ns, params={}, naa=_NAA, ppm=0)
        self.target.start()
        self.disk.on_landed = self.target.landed
        spec = LaneSpec(plan.delay_ns, plan.jitter_ns, 0)
        self.cables = [[Cable(self.schedule, spec, self._rng(f"cable {node} {portal}"), portal, self.target)
                        for portal in range(len(plan.tpgts))] for node in range(plan.nodes)]
        self.network = ClusterNetwork(self.schedule, plan.network, plan.nodes, self._rng("network"))
        self._parts = Parts([], self.cables, self.target, self.target, plan.tpgts)
        self.nodes = [self._node(number, judge) for number in range(plan.nodes)]

    def _rng(self, stream: str) -> random.Random:
        return random.Random(f"{self.plan.seed} {stream}")

    def _node(self, number: int, judge: Judge) -> Node:
        plan = self.plan
        spec = NodeSpec(
            number=number, peers=tuple(peer for peer in range(plan.nodes) if peer != number),
            settings=plan.settings_of(number), target_name=TARGET_NAME, ppm=plan.node_ppm[number],
            cables=self.cables[number], make=self.rules.make, region_at=0, fence_late_ns=plan.fence_late_ns,
            hold_ns=max(self.rules.terms.fence_ns - plan.fence_late_ns, 0), holds=plan.holds,
            reboot_ns=plan.reboot_ns, manager=None if self.rules.has_beats else self._manager)
        return Node(spec, self.schedule, self.network, judge, self, self._work, self._rng(f"node {number}"))

    def _manager(self, node: Node) -> Manager:
        return Manager(node.process, node.number, self.plan.nodes, lambda peer: self.nodes[peer].left, node.poison)

    def _work(self, node: Node, rng: random.Random) -> Work:
        plan = self.plan
        return Work(node, self.register, rng, first_block=self.first_unit, block_size=plan.block_size,
                    think_ns=plan.think_ns)

    # --- faults

    def inject(self, fault: Fault, step: int) -> None:
        """Begin (`step` 1) or end (-1) a fault."""
        node = self.nodes[fault.node]
        if fault.kind == "disk_lies":
            self.disk.lying += step
        elif fault.kind in CABLE or fault.kind in STORAGE:
            self._inject_storage(fault, step)
        elif fault.kind == "node_pause":
            node.pause(step)
        elif fault.kind in ("split", "mute"):
            for sender, receiver in self._cut_by(fault):
                self.network.cut(sender, receiver, step)
        elif fault.kind == "net_loss":
            self.network.loss += step * fault.amount
        elif fault.kind == "net_slow":
            self.network.extra_ns += step * fault.amount
        elif fault.kind == "clients_lost":
            self.network.lose_clients(fault.node, step)
        elif step > 0:
            if fault.kind == "node_crash":
                node.crash()
            elif fault.kind == "leave":
                node.leave()
            else:
                self.nodes[fault.amount].poison(fault.node)

    def _inject_storage(self, fault: Fault, step: int) -> None:
        plan = self.plan
        inject_storage(self._parts, StorageFault(
            fault.kind, fault.at_ns, fault.for_ns, fault.node, fault.portal, fault.amount), step)  # type: ignore[arg-type]
        if plan.shared and fault.kind in CABLE and fault.portal == 0 and fault.kind not in ("loss", "slow", "forget"):
            for peer in range(plan.nodes):
                if not fault.kind.endswith("_back"):
                    self.network.cut(fault.node, peer, step)
                if not fault.kind.endswith("_out"):
                    self.network.cut(peer, fault.node, step)

    def _cut_by(self, fault: Fault) -> list[tuple[int, int]]:
        """Who does not reach whom: two sides of a split, or a node that is not heard."""
        pairs = [(one, other) for one in range(self.plan.nodes) for other in range(self.plan.nodes) if one != other]
        if fault.kind == "mute":
            return [pair for pair in pairs if pair[0] == fault.node]
        return [(one, other) for one, other in pairs if (fault.amount >> one ^ fault.amount >> other) & 1]

    # --- what nodes do (node.Observer)

    def booted(self, node: Node) -> None:
        """A life has begun."""
        self._lives[node.number, node.generation] = (node.number, node.life)

    def gone(self, node: Node, cause: str) -> None:
        """The life can send nothing new any more."""
        life = (node.number, node.life)
        if life not in self.record.gone:
            self.record.gone[life] = (self.schedule.now, cause)
            self.record.counts[f"end {cause}"] += 1
        self.takeovers.ended(life)

    def happened(self, node: Node, event: Happened) -> None:
        """A machine says so."""
        now = self.schedule.now
        life = (node.number, node.life)
        self.record.told.append(Told(now, node.number, str(event.kind), event.fields))
        self.record.counts[f"told {event.kind}"] += 1
        if event.kind is Kind.HEARTBEAT_STATE_CHANGED and event.fields.get("new") == "running":
            if life not in self.record.served:
                self.record.served[life] = now
                self.takeovers.began(life, now)
        elif event.kind is Kind.HEARTBEAT_STATE_CHANGED and event.fields.get("new") == "leaving":
            self.record.leaving[life] = now
        elif event.kind is Kind.HEARTBEAT_STATE_CHANGED and event.fields.get("new") == "left":
            self.record.leaving.setdefault(life, now)
            self.takeovers.ended(life)  # its application has stopped, whether others find the goodbye or not
            if not self.rules.has_beats:
                self.register.call_over(life)  # nothing on disk tells of it; the cluster manager does
        elif event.kind is Kind.HEARTBEAT_NEGOTIATED:
            self.record.negotiated[life] = now
        elif event.kind is Kind.POISON_SENT:
            self._poison_sent(life, event, now)
        elif event.kind in _OVER:
            self._called_over(life, event, now)

    def _poison_sent(self, sender: Life, event: Happened, now: int) -> None:
        node, generation = event.fields["node"], event.fields["generation"]
        assert isinstance(node, int)
        assert isinstance(generation, int)
        victim = self._lives.get((node, generation)) if generation else (node, self.nodes[node].life)
        if victim is not None:
            self._meant[sender, node] = victim
            self.record.poisoned.setdefault(victim, []).append(now)
            self.record.senders.setdefault(victim, sender)

    def _called_over(self, observer: Life, event: Happened, now: int) -> None:
        """A machine says that a life of another node is over."""
        peer = event.fields["node"]
        assert isinstance(peer, int)
        if event.fields.get("cause") == "a new generation":
            return  # o2cb; that it restarted has been told
        name = "old" if event.kind is Kind.PEER_RESTARTED else "generation"
        generation = event.fields.get(name)
        victim = self._lives.get((peer, generation)) if isinstance(generation, int) else None
        if not generation and event.kind is Kind.PEER_DEAD:  # SBD's pills name a node only
            victim = self._meant.get((observer, peer))
        if victim is None:  # a clean goodbye has no generation: it is that of the newest life that has left
            victim = (peer, self.nodes[peer].life)
        if event.kind is not Kind.PEER_LEFT:
            self.takeovers.called_dead(observer, victim, now)
        self.record.noticed.setdefault(observer, []).append(victim)
        for number in range(1, victim[1] + 1):
            self.register.call_over((peer, number))

    def fenced(self, node: Node, fence: Fence) -> None:
        """A machine has ordered its node's fence."""
        self.record.fenced.append(Fenced(
            (node.number, node.life), self.schedule.now, fence.cause, fence.reason, tuple(self._landed_at.items())))
        self.record.counts[f"fence {fence.cause}"] += 1

    def watchdog_bit(self, node: Node) -> None:
        """The watchdog ends a life."""
        self.record.bitten[node.number, node.life] = self.schedule.now
        self.record.counts["watchdog"] += 1

    def extended(self, node: Node, until_ns: int) -> None:
        """A lease is longer now. It must rest on a heartbeat that is on the medium, counted from its issue."""
        life = (node.number, node.life)
        if not self.rules.counts_from_issue or self.record.negotiated.get(life) == self.schedule.now or (
                node.lease_until_ns is not None and until_ns <= node.lease_until_ns):
            return
        issue_ns = self._landed_issue.get(life)
        if issue_ns is None or until_ns > issue_ns + self.rules.terms.deadline_ns:
            rests = "on none that has landed" if issue_ns is None else (
                f"on a heartbeat issued at {issue_ns / 1e9:.3f} s")
            self.breaches.add("lease", self.schedule.now, f"node {life[0]} (life {life[1]}) takes a lease until "
                                                          f"{until_ns / 1e9:.3f} s of its clock; it rests {rests}")

    def heartbeat_sent(self, node: Node, offset: int, data: bytes) -> None:
        """A heartbeat is issued."""
        if self.rules.is_slot_of(node.number, offset):
            self._sent[data] = ((node.number, node.life), node.process.clock())

    def heartbeat_done(self, node: Node, data: bytes) -> None:
        """A heartbeat was acknowledged: note how long others could see it before."""
        landed_ns = self._landed.get(data)
        if landed_ns is not None:
            life = (node.number, node.life)
            self.record.acks[life] = max(self.record.acks.get(life, 0), self.schedule.now - landed_ns)

    def landed(self, lba: int, data: bytes, now: int) -> None:
        """Blocks are on the medium."""
        if lba < self.first_unit:
            sent = self._sent.get(data)
            if sent is not None:
                life, issue_ns = sent
                self._landed_at[life] = now
                self._landed.setdefault(data, now)
                self._landed_issue[life] = max(self._landed_issue.get(life, 0), issue_ns)
            return
        unit, writer, _ = parse_unit(data)
        self.takeovers.landed(unit, writer, now)
