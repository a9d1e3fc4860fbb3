"""The paths of a map: their changes of state, their groups, and which group is in use."""

from collections.abc import Mapping
from typing import Protocol

from mpio.engine.failback import Failback
from mpio.engine.grouping import PathGroup, group_paths
from mpio.engine.path import Path, PathInput, PathState
from mpio.engine.status import GroupStatus
from mpio.events import Kind, Value
from mpio.model.settings import Settings

_BAD = (PathState.FAULTY, PathState.FAILED)


class Record(Protocol):
    """Writes to the journal, about a path or about the map."""

    def __call__(self, path: Path | None, kind: Kind, now: int, **fields: Value) -> None:
        """One record."""


class Roster:
    """Of one map.

    Attributes:
        groups: all groups, best first. usable: the paths that requests are sent by now, those of one group.
    """

    def __init__(self, settings: Settings, paths: Mapping[int, Path], record: Record) -> None:
        self._settings = settings
        self._paths = paths
        self._record = record
        self._failback = Failback(settings)
        self._current: str | None = None
        self.groups: list[PathGroup] = []
        self.usable: list[Path] = []

    @property
    def interrupted(self) -> bool:
        """Whether a path in use may be back in a moment: its session is waited for, or its identity is being asked."""
        return any(_is_interrupted(path) for path in self._paths.values())

    @property
    def deadline(self) -> int | None:
        """When `handle_timer` has something to do."""
        return self._failback.deadline

    def handle_timer(self, now: int) -> None:
        """Do a deferred failback that is due."""
        if self.deadline is not None and now >= self.deadline:
            self._choose("failback", now)

    def move(self, path: Path, events: tuple[PathInput, ...], cause: str, now: int) -> None:
        """Give inputs to a path's state machine that are one change for everybody else. Damping has its say."""
        old = path.state
        for event in events:
            path.take(event, cause, now)
        held = None
        if path.state is PathState.UP and old in (*_BAD, PathState.GHOST):
            held = path.damping.returned(now)
            if held is not None:
                path.take(PathInput.HOLD, held, now)
        new = path.state
        if new is old:
            return
        self._record(path, Kind.PATH_STATE_CHANGED, now, old=old.value, new=new.value, cause=path.cause)
        if held is not None:
            self._record(path, Kind.PATH_MARGINAL, now, cause=held, until_ns=path.damping.until_ns)
        elif old is PathState.DELAYED:
            self._record(path, Kind.PATH_MARGINAL_ENDED, now, cause=cause)
        if new is PathState.GHOST and old is PathState.DELAYED:
            path.damping.suspend()
        if new is PathState.UP and old not in (PathState.DOWN, PathState.GHOST):
            self._record(path, Kind.PATH_REINSTATED, now)
        if new in _BAD:
            self._failback.cancel()
            if old not in _BAD:
                path.damping.failed(now)
        self.regroup(cause, now, path if path.usable else None, is_new=old is PathState.DOWN)

    def release_held(self, now: int) -> None:
        """Let paths go that damping holds: they are the last."""
        for path in self._paths.values():
            if path.state is PathState.DELAYED:
                path.damping.release()
                self.move(path, (PathInput.RELEASE,), "no other path is left", now)

    def regroup(self, cause: str, now: int, returned: Path | None = None, *, is_new: bool = False) -> None:
        """Form the groups anew and choose the one in use.

        `returned`: the path that has just become usable. `is_new`: for the first time, so that the map is still being
        put together, and `failback` has no say.
        """
        self.groups = group_paths(
            self._settings.path_grouping_policy, list(self._paths.values()),
            marginal_pathgroups=self._settings.marginal_pathgroups,
        )
        self._choose(cause, now, returned, is_new=is_new)

    def _choose(self, cause: str, now: int, returned: Path | None = None, *, is_new: bool = False) -> None:
        best = next((group for group in self.groups if group.usable), None)  # the groups are sorted
        if best is None:
            self._failback.cancel()
            self.usable = []
            return
        current = next((group for group in self.groups if group.key == self._current), None)
        if current is not None and not current.usable and any(map(_is_interrupted, current.paths)):
            self._failback.cancel()
            self.usable = best.usable  # stands in until the path is back, or has failed
            return
        if current is None or not current.usable or (is_new and best is not current):
            self._switch(best, cause, now)
        elif best is current:
            self._failback.cancel()
        else:
            deferred_to = self.deadline
            if self._failback.better_group(best, returned, now):
                self._switch(best, cause, now)
            elif self.deadline is not None and self.deadline != deferred_to:
                self._record(None, Kind.FAILBACK_DEFERRED, now, until_ns=self.deadline)
        self.usable = next(group.usable for group in self.groups if group.key == self._current)

    def _switch(self, group: PathGroup, cause: str, now: int) -> None:
        self._failback.cancel()
        old, self._current = self._current, group.key
        if old is not None and any(path not in self.usable for path in group.usable):  # else it only has a new priority
            self._record(None, Kind.GROUP_SWITCHED, now, old=old, new=group.key, cause=cause)

    def status(self) -> tuple[GroupStatus, ...]:
        """The groups, best first."""
        return tuple(
            GroupStatus(
                key=group.key, priority=group.priority, active=bool(self.usable) and group.usable is self.usable,
                marginal=group.marginal, path_ids=tuple(path.path_id for path in group.paths),
            )
            for group in self.groups
        )


def _is_interrupted(path: Path) -> bool:
    return path.state is PathState.BLOCKED or (path.state is PathState.UP and path.proof is not None)
