"""Multipath I/O over software iSCSI: plan it, run it, break it on purpose, and prove that nothing was lost.

Names are imported when they are first used, so that importing the package is cheap.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpio.errors import (
        InputError,
        MapIoError,
        MpioError,
        NexusError,
        NoUsablePath,
        OutcomeUnknown,
        ReservationConflict,
        TargetError,
    )
    from mpio.events import Event, Journal
    from mpio.io.disk import Disk, open_map
    from mpio.model.address import Portal, TargetAddress
    from mpio.model.settings import PROFILES, Settings, profile

__version__ = "0.1.0"

_HOMES = {
    "Disk": "mpio.io.disk",
    "Event": "mpio.events",
    "InputError": "mpio.errors",
    "Journal": "mpio.events",
    "MapIoError": "mpio.errors",
    "MpioError": "mpio.errors",
    "NexusError": "mpio.errors",
    "NoUsablePath": "mpio.errors",
    "OutcomeUnknown": "mpio.errors",
    "PROFILES": "mpio.model.settings",
    "Portal": "mpio.model.address",
    "ReservationConflict": "mpio.errors",
    "Settings": "mpio.model.settings",
    "TargetAddress": "mpio.model.address",
    "TargetError": "mpio.errors",
    "open_map": "mpio.io.disk",
    "profile": "mpio.model.settings",
}

__all__ = [
    "PROFILES",
    "Disk",
    "Event",
    "InputError",
    "Journal",
    "MapIoError",
    "MpioError",
    "NexusError",
    "NoUsablePath",
    "OutcomeUnknown",
    "Portal",
    "ReservationConflict",
    "Settings",
    "TargetAddress",
    "TargetError",
    "open_map",
    "profile",
]


def __getattr__(name: str) -> object:
    """Import a public name from its home (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'mpio' has no attribute {name!r}")
    import importlib  # noqa: PLC0415 - only needed here

    return getattr(importlib.import_module(_HOMES[name]), name)
