"""What theory expects of a plan: when a node's heartbeats may fail, when they must, and what else may fence it.

Everything here follows from the plan and the planner's bounds alone, never from what the engines did. Where faults
pile up the expectation is wide: from the first fault until the last one's traces must be gone. A single fault of one
path out of several takes no longer than the planner's bound of its stall, and that is what matters.
"""

from collections.abc import Iterable, Iterator

from mpio.check.fencing import Trouble
from mpio.planner.stall import Failure, reinstate_bound, stall_bound
from mpio.sim.cluster.plan import CABLE, NETWORK, STORAGE, WHOLE_NODE, ClusterPlan, Fault
from mpio.units import seconds

_DEAF = frozenset(("blackhole", "blackhole_out", "blackhole_back", "hold", "hold_out", "hold_back"))
"""With these nothing comes back, or comes back as long as they last."""
_SILENCING = frozenset(("node_pause", "node_crash", "leave", "poison"))
_LIMPING = frozenset(("loss", "slow"))
_SLOWEST_TCP = 8  # a limping cable can cost so many times its delay: connect, login and the questions about identity


class StorageTheory:
    """The storage's part of a plan.

    Attributes:
        stall_ns: the longest stall that a fault of one path can cause while another one is whole.
        outage_ns: how long after an outage's end all is well again.
        back_ns: how long after a fault's end its path is.
    """

    def __init__(self, plan: ClusterPlan, faults: list[Fault]) -> None:
        self._plan = plan
        self._faults = faults
        settings = plan.settings_of(0)
        failures: tuple[Failure, ...] = ("blackhole", "reset")
        self.stall_ns = max(stall_bound(settings, failure).worst_ns or 0 for failure in failures)
        hang_ns = stall_bound(settings, "hang").worst_ns or 0
        self.back_ns = reinstate_bound(settings).worst_ns or 0
        self.outage_ns = (stall_bound(settings, "outage").worst_ns or 0) + self.stall_ns + hang_ns + self.back_ns + (
            2 * seconds(settings.polling_interval_max) + seconds(settings.checker_timeout))

    def troubles(self, node: int) -> list[Trouble]:
        """When a node's heartbeats may fail for storage's sake, or because the node stands still."""
        found = [self._whole(fault) for fault in self._faults if self._is_whole(fault, node)]
        found += self._by_cables(list(_cable_faults(self._faults, node)))
        return found

    def deaf_times(self, node: int) -> list[Trouble]:
        """When nothing of a node's storage answers at all: every cable is cut, or the node stands still."""
        plan = self._plan
        per_cable: list[list[Trouble]] = [[] for _ in plan.tpgts]
        for fault in _cable_faults(self._faults, node):
            if fault.kind in _DEAF:
                per_cable[fault.portal].append(Trouble(fault.at_ns, fault.ends_ns, total=True))
        common = per_cable[0]
        for others in per_cable[1:]:
            common = [Trouble(max(one.begin_ns, other.begin_ns), min(one.end_ns, other.end_ns), total=True)
                      for one in common for other in others
                      if max(one.begin_ns, other.begin_ns) < min(one.end_ns, other.end_ns)]
        paused = [Trouble(fault.at_ns, fault.ends_ns, total=True) for fault in self._faults
                  if fault.kind == "node_pause" and fault.node == node]
        return common + paused

    def _is_whole(self, fault: Fault, node: int) -> bool:
        return fault.kind in STORAGE or (fault.kind == "node_pause" and fault.node == node)

    def _whole(self, fault: Fault) -> Trouble:
        extra_ns = fault.amount if fault.kind == "disk_slow" else 0
        return Trouble(fault.at_ns, fault.ends_ns + self.outage_ns + 4 * extra_ns)

    def _by_cables(self, faults: list[Fault]) -> Iterator[Trouble]:
        """Clusters of faults whose paths are not all back when the next one comes."""
        cluster: list[Fault] = []
        until_ns = 0
        for fault in sorted(faults, key=lambda fault: fault.at_ns):
            if cluster and fault.at_ns > until_ns:
                yield self._cluster(cluster)
                cluster = []
            cluster.append(fault)
            until_ns = max(until_ns, self._traces_ns(fault))
        if cluster:
            yield self._cluster(cluster)

    def _can_be_fenced(self, portal: int) -> bool:
        """Whether a write in doubt on this path can be fenced by another one; else it waits until the path is back."""
        groups = self._plan.tpgts
        return self._plan.settings.get("reservation_key") is not None or groups.count(groups[portal]) > 1

    def _traces_ns(self, fault: Fault) -> int:
        """When its path is well again at the latest, whatever the fault did to it."""
        limp_ns = _SLOWEST_TCP * max(fault.amount, 1_000_000_000) if fault.kind in _LIMPING else 0
        return fault.ends_ns + self.back_ns + self.stall_ns + limp_ns

    def _cluster(self, faults: list[Fault]) -> Trouble:
        begin_ns = faults[0].at_ns
        touched = dict.fromkeys(fault.portal for fault in faults)
        if len(touched) == len(self._plan.tpgts) or any(fault.kind in _LIMPING for fault in faults) or (
                not all(self._can_be_fenced(portal) for portal in touched)):
            return Trouble(begin_ns, max(self._traces_ns(fault) for fault in faults) + self.outage_ns)
        return Trouble(begin_ns, faults[-1].at_ns + len(faults) * self.stall_ns)


def _cable_faults(faults: Iterable[Fault], node: int) -> Iterator[Fault]:
    """Those of one node's cables."""
    return (fault for fault in faults if fault.kind in CABLE and fault.node == node)


def network_times(plan: ClusterPlan, faults: list[Fault], trace_ns: int) -> list[Trouble]:
    """When nodes may not have heard each other: a fault of the network, of a node, or of what carries both.

    `trace_ns`: how long after its end a fault may still lead to a decision.
    """
    return [Trouble(fault.at_ns, fault.ends_ns + trace_ns) for fault in faults
            if fault.kind in NETWORK or fault.kind in _SILENCING or (
                plan.shared and fault.kind in CABLE and fault.portal == 0)]


def expanded(faults: Iterable[Fault], portals: int) -> list[Fault]:
    """Faults of all cables of a node, cable by cable; all others as they are."""
    found = []
    for fault in faults:
        if fault.kind not in WHOLE_NODE:
            found.append(fault)
            continue
        found += [Fault(kind, fault.at_ns, fault.for_ns, fault.node, portal)  # type: ignore[arg-type]
                  for portal in range(portals) for kind in WHOLE_NODE[fault.kind]]
    return found
