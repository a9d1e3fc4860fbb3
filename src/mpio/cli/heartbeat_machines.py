"""The machine that fits a region and what a person asked for."""

import dataclasses
import secrets
from dataclasses import dataclass

from mpio.errors import InputError
from mpio.heartbeat.formats import own as own_format
from mpio.heartbeat.machine import Heartbeat
from mpio.heartbeat.region import Found, Holds, layout_of
from mpio.io.heartbeat_store import Blocks


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was asked for; None where nothing was."""

    node: int
    nodes: tuple[int, ...]
    personality: str | None
    threshold: int | None
    name: str
    fence_ns: int | None
    drain_ns: int | None
    network: bool


def machine_for(wishes: Wishes, found: Found, blocks: Blocks, where: str) -> tuple[Heartbeat, int, int]:
    """(machine, its period, its deadline), both in ns. Raises InputError if they do not go together."""
    kind = Holds(wishes.personality) if wishes.personality is not None else found.holds
    if kind in (Holds.EMPTY, Holds.FOREIGN):
        raise InputError(where, (
            f"expected a heartbeat region, found {found.words}; look at the device and the offset (--region), or "
            "create a region with 'mpio heartbeat create'"
        ))
    found.must_be(kind, where)
    if wishes.threshold is not None and kind is not Holds.O2CB:
        raise InputError("--threshold", f"goes with o2cb; a region of {kind.value} says its times itself")
    return _own(wishes, found, blocks, where)


def _own(wishes: Wishes, found: Found, blocks: Blocks, where: str) -> tuple[Heartbeat, int, int]:
    from mpio.heartbeat.own import Own, Settings
    from mpio.heartbeat.timing import Timing

    header = found.header
    assert isinstance(header, own_format.Header)
    layout = layout_of(header)
    if layout.sector != blocks.block_size:
        raise InputError(where, f"the region has sectors of {layout.sector} bytes, the device of {blocks.block_size}")
    layout.must_fit(blocks.size_bytes, where)
    shared = header.timing
    try:
        timing = Timing.of(shared.deadline_ns, shared.period_ns, **_given(wishes))
        timing = dataclasses.replace(timing, dead_ns=shared.dead_ns)
        settings = Settings(
            wishes.node, wishes.nodes, secrets.randbits(63) + 1, header.region, timing, layout, wishes.name,
            wishes.network,
        )
    except ValueError as error:
        raise InputError(where, str(error)) from None
    return Own(settings), shared.period_ns, shared.deadline_ns


def _given(wishes: Wishes) -> dict[str, int]:
    named = {"fence_ns": wishes.fence_ns, "drain_ns": wishes.drain_ns}
    return {name: value for name, value in named.items() if value is not None}
