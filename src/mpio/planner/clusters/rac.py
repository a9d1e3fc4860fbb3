"""Oracle Clusterware's voting files and ASM's disk groups.

Sources: Oracle support notes 294430.1 (CSS timeouts) and 1581684.1 (ASM's PST heartbeat) as quoted, ocssd.log.
"""

from dataclasses import replace

from mpio.model.cluster import Rac
from mpio.planner.clusters.deadline import Act, Deadline, Since
from mpio.planner.clusters.inequality import Inequality, Stake, condition, term
from mpio.planner.clusters.stack import Stack, survives, tolerated, whole_seconds
from mpio.planner.clusters.storage import Case, Storage
from mpio.units import NS_PER_S

_CSS = "Oracle note 294430.1"
_SHORT = "ocssd.log: diskShortTimeout"
_ASM = "Oracle note 1581684.1"


def short_disk_timeout_ns(cluster: Rac) -> int:
    """The disk timeout while the cluster reconfigures: misscount less reboottime."""
    return (cluster.misscount - cluster.reboottime) * NS_PER_S


def deadlines(cluster: Rac, storage: Storage) -> tuple[Deadline, ...]:
    """In the order in which they pass with the defaults; disk heartbeats come each second, so there is no phase."""
    short_ns, long_ns = short_disk_timeout_ns(cluster), cluster.disktimeout * NS_PER_S
    asm_ns, miss_ns = cluster.asm_hbeatiowait * NS_PER_S, cluster.misscount * NS_PER_S
    return (
        tolerated("rac", min(short_ns, long_ns, asm_ns) - storage.noise_ns,
                  "not even a reconfiguration of the cluster evicts the node", f"misscount - reboottime: {_SHORT}"),
        Deadline("rac.reconfiguring", "evicted while reconfiguring", Act.FENCED, Since.STALL, short_ns, short_ns,
                 "if the stall meets a reconfiguration of the cluster", _SHORT),
        Deadline("rac.asm", "ASM dismounts", Act.FAILS, Since.STALL, asm_ns, asm_ns,
                 "disk groups of normal or high redundancy", _ASM),
        Deadline("rac.disktimeout", "voting file offline", Act.FENCED, Since.STALL, long_ns, long_ns,
                 "a node that has lost most of its voting files is evicted", _CSS),
        Deadline("rac.dead", "node dead", Act.DEAD, Since.FAILURE, miss_ns, miss_ns,
                 "the others reconfigure without it", _CSS),
    )


def inequalities(cluster: Rac, storage: Storage) -> tuple[Inequality, ...]:
    """OR-01, OR-02 and OR-03 for each kind of stall, and misscount below disktimeout."""
    return (*(item for case in storage.cases for item in _of_case(cluster, storage, case)), condition(
        "OR-04", "rac", Stake.ADVICE, "the network's limit is shorter than the disk's",
        [term("misscount", cluster.misscount * NS_PER_S, "rac.misscount")],
        [term("disktimeout", cluster.disktimeout * NS_PER_S, "rac.disktimeout")], _CSS, strict=True,
    ))


def _of_case(cluster: Rac, storage: Storage, case: Case) -> tuple[Inequality, ...]:
    suffix = "" if case.code == "N1" else f" {case.code}"
    short = term("misscount - reboottime", short_disk_timeout_ns(cluster), "rac.misscount")
    disk = term("disktimeout", cluster.disktimeout * NS_PER_S, "rac.disktimeout")
    asm = term("_asm_hbeatiowait", cluster.asm_hbeatiowait * NS_PER_S, "rac.asm_hbeatiowait")
    return (
        survives("rac", case, storage, short, _SHORT, code=f"OR-01{suffix}", strict=True,
                 claim="nobody is evicted in a reconfiguration by"),
        survives("rac", case, storage, disk, _CSS, code=f"OR-02{suffix}", strict=True,
                 claim="no voting file is taken offline by"),
        survives("rac", case, storage, asm, _ASM, code=f"OR-03{suffix}", stake=Stake.SERVICE, strict=True,
                 claim="no disk group is dismounted by"),
    )


def required(cluster: Rac, storage: Storage) -> Rac:
    """Every limit raised above the stall."""
    over = (storage.finite_ns("rac.disktimeout") + storage.noise_ns) // NS_PER_S + 1
    misscount = max(cluster.misscount, over + cluster.reboottime)
    return replace(cluster, misscount=misscount, disktimeout=max(cluster.disktimeout, misscount + 1),
                   asm_hbeatiowait=max(cluster.asm_hbeatiowait, over))


def recommended(storage: Storage) -> Rac:
    """Misscount at least S + 4 s, disktimeout at least 1.5 S, neither below its default."""
    needed = required(Rac(), storage)
    stall_ns = storage.finite_ns("rac.disktimeout") + storage.noise_ns
    misscount = max(needed.misscount, whole_seconds(stall_ns) + 4)
    return replace(needed, misscount=misscount,
                   disktimeout=max(needed.disktimeout, whole_seconds(stall_ns * 3 // 2), misscount + 1))


STACK: Stack[Rac] = Stack(
    "rac", deadlines, inequalities, required,
    shortest=lambda cluster: replace(cluster, misscount=cluster.reboottime + 1, disktimeout=1, asm_hbeatiowait=1),
    heartbeat_name="CSS disktimeout",
    heartbeat_ns=lambda cluster, _: cluster.disktimeout * NS_PER_S,
)
