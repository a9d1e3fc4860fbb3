"""The machine that fits a region and what a person asked for."""

import dataclasses
import secrets
import time
from dataclasses import dataclass

from mpio.errors import InputError
from mpio.heartbeat.formats import own as own_format
from mpio.heartbeat.formats import sbd as sbd_format
from mpio.heartbeat.machine import Heartbeat
from mpio.heartbeat.region import Found, Holds, Layout, layout_of
from mpio.io.heartbeat_clock import boottime_ns
from mpio.io.heartbeat_store import Blocks
from mpio.units import NS_PER_S

IDLE_PERIODS = 5
KEEPALIVE_MAX_NS = 2 * NS_PER_S


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


@dataclass(frozen=True, slots=True)
class Made:
    """A machine, from heartbeat to heartbeat, its time to the self-fence, and the silence that disconnects peers."""

    machine: Heartbeat
    period_ns: int
    budget_ns: int
    idle_ns: int


async def machine_for(wishes: Wishes, found: Found, blocks: Blocks, where: str) -> Made:
    """Made, not started. Raises InputError if region and wishes do not go together."""
    kind = Holds(wishes.personality) if wishes.personality is not None else found.holds
    if kind in (Holds.EMPTY, Holds.FOREIGN):
        raise InputError(where, (
            f"expected a heartbeat region, found {found.words}; look at the device and the offset (--region), or "
            "create a region with 'mpio heartbeat create' (for a fresh one of o2cb, say --personality o2cb)"
        ))
    found.must_be(kind, where)
    if wishes.threshold is not None and kind is not Holds.O2CB:
        raise InputError("--threshold", f"goes with o2cb; a region of {kind.value} says its times itself")
    if kind is not Holds.OWN:
        for option, value in (("--fence-latency", wishes.fence_ns), ("--drain", wishes.drain_ns)):
            if value is not None:
                raise InputError(option, f"goes with a region of mpio; {kind.value} has no such time")
    layout = Layout(kind, blocks.block_size) if found.header is None else layout_of(found.header)
    if layout.sector != blocks.block_size:
        raise InputError(where, f"the region has sectors of {layout.sector} bytes, the device of {blocks.block_size}")
    layout.must_fit(blocks.size_bytes, where)
    try:
        if kind is Holds.O2CB:
            return _o2cb(wishes, layout)
        if isinstance(found.header, sbd_format.Header):
            return await _sbd(wishes, found.header, layout, blocks, where)
        assert isinstance(found.header, own_format.Header)
        return _own(wishes, found.header, layout)
    except ValueError as error:
        raise InputError(where, str(error)) from None


def _own(wishes: Wishes, header: own_format.Header, layout: Layout) -> Made:
    from mpio.heartbeat.own import Own, Settings
    from mpio.heartbeat.timing import Timing

    shared = header.timing
    named = {"fence_ns": wishes.fence_ns, "drain_ns": wishes.drain_ns}
    given = {name: value for name, value in named.items() if value is not None}
    timing = dataclasses.replace(Timing.of(shared.deadline_ns, shared.period_ns, **given), dead_ns=shared.dead_ns)
    settings = Settings(
        wishes.node, wishes.nodes, secrets.randbits(63) + 1, header.region, timing, layout, wishes.name, wishes.network)
    return Made(Own(settings), shared.period_ns, shared.deadline_ns, IDLE_PERIODS * shared.period_ns)


def _o2cb(wishes: Wishes, layout: Layout) -> Made:
    from mpio.heartbeat.o2cb import PERIOD_NS, O2cb, Settings
    from mpio.model.cluster import O2cb as Timers

    timers = Timers() if wishes.threshold is None else Timers(heartbeat_threshold=wishes.threshold)
    epoch_s = int(time.time()) - boottime_ns() // NS_PER_S
    settings = Settings(
        wishes.node, wishes.nodes, secrets.randbits(63) + 1, timers, layout, epoch_s, network=wishes.network)
    return Made(O2cb(settings), PERIOD_NS, settings.budget_ns, timers.idle_timeout_ms * 1_000_000)


async def _sbd(wishes: Wishes, header: sbd_format.Header, layout: Layout, blocks: Blocks, where: str) -> Made:
    from mpio.heartbeat.sbd import Sbd, Settings
    from mpio.model.cluster import Sbd as Timers

    names = await _names(wishes, layout, blocks, where)
    timers = Timers(
        watchdog=header.watchdog, msgwait=header.msgwait, allocate=header.allocate, loop=header.loop,
        pacemaker=wishes.network,
    )
    settings = Settings(wishes.node, names, timers, layout)
    period_ns = header.loop * NS_PER_S
    return Made(Sbd(settings), period_ns, settings.budget_ns, IDLE_PERIODS * period_ns)


async def _names(wishes: Wishes, layout: Layout, blocks: Blocks, where: str) -> dict[int, str]:
    """Who has which slot; this node's is allotted to it if it is free, as `sbd allocate` does."""
    from mpio.io.heartbeat_region import read_slots, write

    sectors = await read_slots(blocks, layout)
    names = {}
    for node in wishes.nodes:
        if node >= layout.slots:
            raise InputError("--nodes", f"the region has slots 0 to {layout.slots - 1}, and a node {node} was named")
        data = sectors[node]
        slot = data if isinstance(data, str) else sbd_format.parse_slot(data[:layout.sector])
        if not isinstance(slot, sbd_format.Slot):
            why = slot if isinstance(slot, str) else slot.words
            raise InputError(where, f"the slot of node {node} can't be used: {why}")
        names[node] = slot.name if slot.in_use else f"node{node}"
        if node != wishes.node:
            continue
        if slot.in_use and not sbd_format.same_node(slot.name, wishes.name):
            raise InputError("--node", f"slot {node} is that of {slot.name!r}, and this node's name is {wishes.name!r}")
        if not slot.in_use:
            names[node] = wishes.name
            slot_bytes = sbd_format.render_slot(sbd_format.Slot(wishes.name), layout.sector)
            empty = sbd_format.render_message(sbd_format.NOTHING, layout.sector)
            await write(blocks, layout.mailbox(node), empty)
            await write(blocks, layout.slot(node), slot_bytes)
    return names
