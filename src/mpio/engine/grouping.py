"""Path groups: which paths share the load, and which stand by. As `path_grouping_policy` in multipath.conf(5).

A group is named by its key, so that it is the same group after its members or their order have changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mpio.engine.path import Path, PathState
from mpio.model.settings import GroupingPolicy


@dataclass(slots=True)
class PathGroup:
    """Paths that share the load.

    Attributes:
        key: names the group within its map. marginal: whether it holds paths that are held by damping.
        paths: in the map's order. usable: those that may carry requests now.
        priority: the mean of the priorities of its usable paths (multipath-tools pgpolicies.c), 0 without any.
    """

    key: str
    marginal: bool
    paths: list[Path]
    usable: list[Path]
    priority: float

    @property
    def rank(self) -> tuple[bool, float, int]:
        """Larger is better: sound before marginal, then priority, then the number of usable paths."""
        return (not self.marginal, self.priority, len(self.usable))


def group_paths(policy: GroupingPolicy, paths: Sequence[Path], *, marginal_pathgroups: bool = False) -> list[PathGroup]:
    """All paths in groups, best group first; among equals the one with the first path.

    With `marginal_pathgroups`, DELAYED paths may carry requests, in groups of their own that rank last.
    """
    members: dict[tuple[bool, str], list[Path]] = {}
    for path in paths:
        marginal = marginal_pathgroups and path.state is PathState.DELAYED
        members.setdefault((marginal, _key(policy, path)), []).append(path)
    groups = []
    for (marginal, key), group in members.items():
        usable = [path for path in group if path.usable or (marginal and path.connected and path.proof is None)]
        priority = sum(path.priority for path in usable) / len(usable) if usable else 0.0
        groups.append(PathGroup(f"{key}, marginal" if marginal else key, marginal, group, usable, priority))
    groups.sort(key=lambda group: group.rank, reverse=True)  # stable: equals stay in the order of their first path
    return groups


def _key(policy: GroupingPolicy, path: Path) -> str:
    if policy == "multibus":
        return "all"
    if policy == "group_by_prio":
        return f"prio {path.priority}"
    if policy == "group_by_serial":
        return f"serial {path.identity.serial if path.identity else ''}"
    if policy == "group_by_node_name":
        return f"node {path.identity.target_name if path.identity else ''}"
    return f"path {path.name}"
