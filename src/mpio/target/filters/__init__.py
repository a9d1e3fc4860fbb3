"""Filters of the target: one file for each thing that can go wrong. `FILTERS` lists them; `build` makes one.

To add one, write its file (a dataclass, see `base.Filter`), name it in `FILTERS`, and run tools/generate-docs.
"""

from collections.abc import Mapping

from mpio.target.filters.alua_flap import AluaFlap
from mpio.target.filters.base import Filter
from mpio.target.filters.busy import Busy
from mpio.target.filters.corrupt import Corrupt
from mpio.target.filters.delay import Delay
from mpio.target.filters.delayed_execution import DelayedExecution
from mpio.target.filters.drop_nop import DropNop
from mpio.target.filters.drop_response import DropResponse
from mpio.target.filters.duplicate_wwid import DuplicateWwid
from mpio.target.filters.error import Error
from mpio.target.filters.hang import Hang
from mpio.target.filters.kick import Kick
from mpio.target.filters.limits import Limits
from mpio.target.filters.log import Log
from mpio.target.filters.lost_write import LostWrite
from mpio.target.filters.parameters import key_of, parameters_of, read_parameters
from mpio.target.filters.read_only import ReadOnly
from mpio.target.filters.short_read import ShortRead
from mpio.target.filters.stale_read import StaleRead
from mpio.target.filters.throttle import Throttle
from mpio.target.filters.torn_write import TornWrite
from mpio.target.filters.unit_attention import UnitAttention
from mpio.target.filters.wrong_digest import WrongDigest

FILTERS: Mapping[str, type[Filter]] = {
    kind.name: kind for kind in (
        Delay, Hang, Error, Busy, DropResponse, DropNop, WrongDigest, Corrupt, StaleRead, TornWrite, LostWrite,
        DelayedExecution, ReadOnly, Throttle, AluaFlap, UnitAttention, Kick, DuplicateWwid, ShortRead, Log,
    )
}
"""Every filter by name."""


def limits_of(kind: type[Filter]) -> list[str]:
    """Names of the limits that a filter takes."""
    return [key_of(item) for item in parameters_of(Limits)
            if kind.limited_by is None or key_of(item) in kind.limited_by]


def build(name: object, given: Mapping[str, object]) -> Filter:
    """A filter of a name, from its parameters and limits in one table. Raises ValueError."""
    kind = FILTERS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError(f"expected a filter: {', '.join(FILTERS)}; found {str(name)[:40]!r}")
    limits = limits_of(kind)
    own = [key_of(item) for item in parameters_of(kind)]
    for key in given:
        if key.replace("_", "-") not in limits + own:
            raise ValueError(f"{name} has no {key[:40]!r}; expected one of {', '.join(own + limits)}")
    chosen = {key: value for key, value in given.items() if key.replace("_", "-") in limits}
    rest = {key: value for key, value in given.items() if key not in chosen}
    filter_ = kind(limits=Limits(**read_parameters(Limits, chosen)), **read_parameters(kind, rest))
    filter_.check()
    return filter_
