"""For tests of software that uses iSCSI: a target of one's own, that misbehaves on demand.

`Target` is a context manager; `mpio.testing.plugin`, which pytest finds by itself, makes it the fixture `iscsi_target`.
"""

from mpio.testing.target import Target, TargetError

__all__ = ["Target", "TargetError"]
