"""For tests of software that uses iSCSI: a target of one's own, that misbehaves on demand.

`Target` is a context manager; `mpio.testing.plugin`, which pytest finds by itself, makes it the fixture `iscsi_target`.
Names are imported when they are first used: pytest loads the plugin for every run.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpio.testing.target import Target, TargetError

__all__ = ["Target", "TargetError"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mpio.testing import target  # noqa: PLC0415 - when it is used

    return getattr(target, name)
