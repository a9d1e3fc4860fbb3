"""Who goes on when the cluster network falls apart: pure decisions, the same on every node that sees the same.

`choose` is mpio's own rule. Every node's heartbeat says whom it hears and how well clients reach it, so the disk shows
the whole picture even to nodes that cannot talk. Storage comes first: a node whose heartbeat is late gives its side no
weight, however well it is reached. Then the side that clients reach better wins, then the one with more nodes, then the
one with the lowest number. Only one node decides, the lowest that heartbeats, and the others hear of it on disk.

`o2cb_survives` is the kernel's rule (fs/ocfs2/cluster/quorum.c), by which each node judges itself.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class View:
    """One heartbeating node: whom it hears, its reachability score, and whether its own heartbeat is in time."""

    node: int
    connected: tuple[int, ...]
    score: int = 0
    safe: bool = True


def hears_all(views: Sequence[View]) -> bool:
    """Whether every pair hears each other: no split."""
    return all(_joined(one, other) for index, one in enumerate(views) for other in views[index + 1:])


def choose(views: Sequence[View]) -> tuple[int, ...]:
    """The nodes that go on, ascending: the best of the groups in which everybody hears everybody.

    Groups are grown from each node in turn, lowest first, so they are maximal; that no larger one was missed is not
    promised, and not needed. Empty only for no views.
    """
    ordered = sorted(views, key=lambda view: view.node)
    groups = [_grown(view, ordered) for view in ordered]
    return tuple(view.node for view in max(groups, key=_rank)) if groups else ()


def o2cb_survives(node: int, heartbeating: Collection[int], connected: Collection[int]) -> bool:
    """Whether o2cb lets this node live. Both collections include the node itself, or may; order plays no part."""
    beating = sorted({node, *heartbeating})
    reached = [other for other in beating if other == node or other in connected]
    if len(beating) == 1:
        return True
    if len(beating) % 2:
        return 2 * len(reached) >= len(beating) + 1
    return 2 * len(reached) > len(beating) or (2 * len(reached) == len(beating) and beating[0] in reached)


def _joined(one: View, other: View) -> bool:
    return other.node in one.connected and one.node in other.connected


def _grown(seed: View, ordered: Sequence[View]) -> tuple[View, ...]:
    group = [seed]
    for view in ordered:
        if view is not seed and all(_joined(view, member) for member in group):
            group.append(view)
    return tuple(sorted(group, key=lambda view: view.node))


def _rank(group: Sequence[View]) -> tuple[bool, int, int, int, int]:
    safe = [view for view in group if view.safe]
    return bool(safe), max((view.score for view in safe), default=0), len(safe), len(group), -group[0].node
