"""What a run is made of, as plain data: topology, settings, workload, faults. JSON goes in and out.

A plan and nothing else decides a run. Instants are nanoseconds from its start.
"""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal, get_args

from mpio.errors import InputError
from mpio.model.settings import FAST, Settings
from mpio.sim.swarm.workload import WorkSpec

Value = int | float | bool | str | None

FaultKind = Literal[
    # of a cable: between `host` and `portal`
    "blackhole", "blackhole_out", "blackhole_back", "hold", "hold_out", "hold_back", "reset", "refuse", "forget",
    "loss", "slow", "throttle",
    # of a portal
    "mute", "delay", "hang", "busy", "sense", "drop_response", "short", "alua", "end_session", "ask_logout", "reject",
    "swap",
    # of the target
    "restart", "power_loss", "target_pause",
    # of the disk
    "disk_slow", "disk_hang", "disk_error",
    # of a host
    "host_pause", "host_crash",
]
KINDS: tuple[str, ...] = get_args(FaultKind)
WHOLE = frozenset(("restart", "power_loss", "target_pause", "disk_slow", "disk_hang", "disk_error", "host_pause",
                   "host_crash"))
"""Those that are about every path, or every one of a host."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        kind: see FaultKind. at_ns, for_ns: when, and for how long, where it lasts.
        host, portal: which, where it is of one.
        amount: permille, a delay or a time per byte in ns, an ALUA state, seconds, or an index of target.SENSES.
    """

    kind: FaultKind
    at_ns: int
    for_ns: int
    host: int = 0
    portal: int = 0
    amount: int = 0

    @property
    def ends_ns(self) -> int:
        """When it is over."""
        return self.at_ns + self.for_ns


@dataclass(frozen=True, slots=True)
class Plan:
    """One run.

    Attributes:
        seed: of everything random in it.
        hosts: how many. tpgts: the portal group of each portal; each host has one path to each portal.
        settings: of every host, as differences from the `fast` profile. target: TargetParams by name.
        work: what the hosts do. block_size: of the LU. volatile: whether its disk has a write-back cache.
        delay_ns, jitter_ns, pieces: of each lane; see LaneSpec. latency_ns: of a command, up to.
        host_ppm, target_ppm: how fast the clocks run.
        faults: in any order. heal_ns: when the last of them is over and the hosts are given time to recover.
    """

    seed: int
    hosts: int
    tpgts: tuple[int, ...]
    settings: dict[str, Any]
    target: dict[str, Any]
    work: WorkSpec
    block_size: int
    volatile: bool
    delay_ns: int
    jitter_ns: int
    pieces: int
    latency_ns: int
    host_ppm: tuple[int, ...]
    target_ppm: int
    faults: tuple[Fault, ...]
    heal_ns: int

    @property
    def blocks(self) -> int:
        """Size of the LU: every worker's blocks."""
        return self.hosts * self.work.workers * self.work.blocks

    def settings_of(self, host: int) -> Settings:
        """The settings of one host."""
        return settings_of_one(self.settings, host, "host")

    def to_json(self) -> str:
        """Readable, one fault a line, and stable."""
        return plan_text(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str, where: str = "plan") -> "Plan":
        """Read what `to_json` wrote. Raises InputError."""
        try:
            record = json.loads(text)
            faults = tuple(Fault(**fault) for fault in record.pop("faults"))
            for fault in faults:
                if fault.kind not in KINDS:
                    raise ValueError(f"there is no fault {fault.kind!r}")
            for name in ("tpgts", "host_ppm"):
                record[name] = tuple(record[name])
            return cls(work=WorkSpec(**record.pop("work")), faults=faults, **record)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(where, f"is no plan of a run: {error}") from None


def plan_text(record: dict[str, Any]) -> str:
    """A plan as JSON: readable, one fault a line, and stable."""
    faults = record.pop("faults")
    head = json.dumps(record, indent=1)[:-2]
    lines = ",\n".join("  " + json.dumps(fault) for fault in faults)
    return f"{head},\n \"faults\": [\n{lines}\n ]\n}}\n" if faults else f'{head},\n "faults": []\n}}\n'


def settings_of_one(settings: dict[str, Any], number: int, name: str) -> Settings:
    """The settings of one of several initiators: each has a name and a reservation key of its own."""
    changes = dict(settings)
    if changes.get("reservation_key") is not None:
        changes["reservation_key"] += 256 * number
    return FAST.replace(initiator_name=f"iqn.2026-01.dev.mpio:{name}{number}", **changes)
