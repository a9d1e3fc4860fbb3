"""What a run of a cluster is made of, as plain data. JSON goes in and out.

A plan and nothing else decides a run. Instants are nanoseconds from its start, durations nanoseconds.
"""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal, get_args

from mpio.errors import InputError
from mpio.model.settings import Settings
from mpio.sim.cluster.network import NetworkSpec
from mpio.sim.swarm.plan import plan_text, settings_of_one

Personality = Literal["own", "o2cb", "sbd"]

FaultKind = Literal[
    # of one cable of a node
    "blackhole", "blackhole_out", "blackhole_back", "hold", "hold_out", "hold_back", "reset", "refuse", "forget",
    "loss", "slow",
    # of all cables of a node
    "all_blackhole", "all_hold", "all_reset",
    # of the storage
    "disk_slow", "disk_hang", "disk_error", "disk_lies", "target_pause", "restart",
    # of a node
    "node_pause", "node_crash",
    # of the nodes' network, of the clients'
    "split", "mute", "net_loss", "net_slow", "clients_lost",
    # wishes of an operator
    "poison", "leave",
]
KINDS: tuple[str, ...] = get_args(FaultKind)
CABLE = frozenset(("blackhole", "blackhole_out", "blackhole_back", "hold", "hold_out", "hold_back", "reset", "refuse",
                   "forget", "loss", "slow"))
WHOLE_NODE = {"all_blackhole": ("blackhole",), "all_hold": ("hold",), "all_reset": ("reset", "refuse")}
"""What a fault of all cables is made of."""
STORAGE = frozenset(("disk_slow", "disk_hang", "disk_error", "disk_lies", "target_pause", "restart"))
NETWORK = frozenset(("split", "mute", "net_loss", "net_slow"))
INSTANT = frozenset(("forget", "node_crash", "poison", "leave"))


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        kind: see FaultKind. at_ns, for_ns: when, and for how long, where it lasts.
        node, portal: which, where it is of one.
        amount: permille or a delay; of `split` the nodes on one side, a bit each; of `poison` the node that is told.
    """

    kind: FaultKind
    at_ns: int
    for_ns: int
    node: int = 0
    portal: int = 0
    amount: int = 0

    @property
    def ends_ns(self) -> int:
        """When it is over."""
        return self.at_ns + self.for_ns


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """One run.

    Attributes:
        seed: of everything random in it.
        nodes: how many. tpgts: the portal group of each portal; each node has one path to each portal.
        personality: of the heartbeat. heartbeat: its settings; see `personality.Rules`.
        settings: of every node's map, as differences from the `fast` profile.
        block_size: of the LU. delay_ns, jitter_ns: of each storage cable. latency_ns: of a command, up to.
        node_ppm: how fast the clocks run.
        network: the nodes' own network. shared: it takes the same cables as the storage: faults of a node's first
            cable are also its own.
        fence_late_ns: from a fence to when it holds. holds: a fenced node's I/O is stopped, and proven to be, where
            that is possible; else the node is reset.
        reboot_ns: until a node that was reset is back. think_ns: pause between writes to shared data, up to.
        faults: in any order. heal_ns: when the last of them is over.
    """

    seed: int
    nodes: int
    tpgts: tuple[int, ...]
    personality: Personality
    heartbeat: dict[str, Any]
    settings: dict[str, Any]
    block_size: int
    delay_ns: int
    jitter_ns: int
    latency_ns: int
    node_ppm: tuple[int, ...]
    network: NetworkSpec
    shared: bool
    fence_late_ns: int
    holds: bool
    reboot_ns: int
    think_ns: int
    faults: tuple[Fault, ...]
    heal_ns: int

    def settings_of(self, node: int) -> Settings:
        """The settings of one node's map."""
        return settings_of_one(self.settings, node, "node")

    def to_json(self) -> str:
        """Readable, one fault a line, and stable."""
        return plan_text(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str, where: str = "plan") -> "ClusterPlan":
        """Read what `to_json` wrote. Raises InputError."""
        try:
            record = json.loads(text)
            faults = tuple(Fault(**fault) for fault in record.pop("faults"))
            for fault in faults:
                if fault.kind not in KINDS:
                    raise ValueError(f"fault kind {fault.kind!r}: there is no such kind")
            for name in ("tpgts", "node_ppm"):
                record[name] = tuple(record[name])
            record["network"] = NetworkSpec(**record["network"])
            plan = cls(faults=faults, **record)
            plan.check()
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(where, f"not a plan of a cluster run: {error}") from None
        return plan

    def check(self) -> None:
        """Raises ValueError if its parts do not go together."""
        if self.nodes < 1 or len(self.node_ppm) != self.nodes or not self.tpgts:
            raise ValueError("expected nodes, portals, and one clock for each node")
        if self.personality not in get_args(Personality):
            raise ValueError(f"personality: expected one of {', '.join(get_args(Personality))}; "
                             f"found {self.personality!r}")
        for fault in self.faults:
            if not (0 <= fault.node < self.nodes and 0 <= fault.portal < len(self.tpgts)):
                raise ValueError(f"{fault.kind}: node {fault.node} or portal {fault.portal} is not there")
            if fault.kind == "poison" and not 0 <= fault.amount < self.nodes:
                raise ValueError(f"poison: node {fault.amount} is not there")
        self.settings_of(0)
