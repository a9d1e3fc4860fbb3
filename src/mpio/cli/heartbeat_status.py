"""`mpio heartbeat status`: looks at a region for a few periods, and tells what is in every slot."""

import asyncio
import json
import time
from dataclasses import dataclass

import click

from mpio.cli.heartbeat_create import describe, words
from mpio.cli.heartbeat_place import Place, place_options
from mpio.cli.options import DURATION
from mpio.heartbeat.bystander import Beat, Bystander, Look, SlotView
from mpio.heartbeat.formats import own, sbd
from mpio.heartbeat.formats.o2cb import PERIOD_MS
from mpio.heartbeat.region import Holds, Layout
from mpio.units import NS_PER_S, format_duration

PERIODS = 3.5  # to look for: two changes, wherever in its period a node is, and some delay


@dataclass(frozen=True, slots=True)
class Seen:
    """What a region looks like after some looks."""

    layout: Layout
    header: own.Header | sbd.Header | None
    operator: own.Slot | None
    views: list[SlotView]
    sampled_ns: int


@click.command(short_help="Show all slots.")
@place_options
@click.option("--for", "sample_ns", type=DURATION, metavar="TIME",
              help="How long to look before judging; three and a half periods if not given.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(place: Place, sample_ns: int | None, as_json: bool) -> int:
    """Show every slot in use: whose it is, how old its last change is, and how long it may still live without another.

    Nothing is written. A slot that did not change while we looked is at least as old as that. Exit code 1 means that a
    slot is damaged or unreadable, or its node goes by other times than the region says.
    """
    seen = asyncio.run(_look(place, sample_ns))
    if as_json:
        print(json.dumps(_record(place, seen)))
    else:
        _print(place, seen)
    return 1 if any(finding(view, seen.header) for view in seen.views) else 0


async def _look(place: Place, sample_ns: int | None) -> Seen:
    from mpio.io.heartbeat_region import find_region, read, read_slots

    async with place.open(read_only=True) as blocks:
        header, layout = await find_region(blocks, place.name)
        period_ns = period_of(header)
        interval_ns = period_ns // 4
        bystander = Bystander(layout, interval_ns, header.region if isinstance(header, own.Header) else b"")
        sample_ns = round(PERIODS * period_ns) if sample_ns is None else sample_ns
        if layout.holds is Holds.SBD:
            sample_ns = 0  # nothing changes by itself there
        begin = time.monotonic_ns()
        while True:
            issued = time.monotonic_ns()
            bystander.see(await read_slots(blocks, layout), issued)
            left = begin + sample_ns - time.monotonic_ns()
            if left <= 0:
                break
            await asyncio.sleep(min(left, interval_ns) / NS_PER_S)
        operator = None
        if isinstance(header, own.Header):
            data = await read(blocks, layout.slot(layout.slots), layout.sector)
            parsed = own.parse_slot(data) if isinstance(data, bytes) else None
            operator = parsed if isinstance(parsed, own.Slot) else None
        now = time.monotonic_ns()
        return Seen(layout, header, operator, bystander.views(now), now - begin)


def period_of(header: own.Header | sbd.Header | None) -> int:
    """From one heartbeat to the next, in ns."""
    if isinstance(header, own.Header):
        return header.timing.period_ns
    return PERIOD_MS * 1_000_000 if header is None else max(header.loop, 1) * NS_PER_S


def finding(view: SlotView, header: own.Header | sbd.Header | None) -> str:
    """What is wrong with a slot; "" if nothing is."""
    if view.look in (Look.DAMAGED, Look.UNREADABLE):
        return f"{view.look.value}: {view.trouble}"
    beat = view.beat
    if isinstance(header, own.Header) and view.look in (Look.SILENT, Look.BEATING):
        timing = header.timing
        if (beat.period_ns, beat.deadline_ns, beat.dead_ns) != (timing.period_ns, timing.deadline_ns, timing.dead_ns):
            return f"goes by other times than the region says: {_times(beat)}"
    return ""


def _times(beat: Beat) -> str:
    named = (("period", beat.period_ns), ("deadline", beat.deadline_ns), ("dead", beat.dead_ns))
    return ", ".join(f"{name} {format_duration(value)}" for name, value in named if value is not None)


# --- for people


def _print(place: Place, seen: Seen) -> None:
    print(f"{place.name}: {seen.layout.holds.value}, {seen.layout.slots} slots of {seen.layout.sector} bytes, "
          f"{words(seen.header)}")
    if not seen.views:
        print("  no slot in use")
    for view in seen.views:
        print(f"  {_line(view, seen)}")
    if seen.operator is not None:
        for item in seen.operator.poison:
            print(f"  the operator wants node {item.node} dead, generation {item.generation:016x}")
    fences = sorted(
        (view.margin_ns, view) for view in seen.views if view.look is Look.BEATING and view.margin_ns is not None
    ) if seen.views else []
    if fences:
        margin_ns, first = fences[0]
        print(f"  next to fence itself, if nothing more comes: node {first.node}, in {format_duration(margin_ns)}")


def _line(view: SlotView, seen: Seen) -> str:
    beat = view.beat
    name = f" {beat.name}" if beat.name else ""
    parts = [f"node {view.node}{name}: {view.look.value}"]
    if view.look in (Look.SILENT, Look.BEATING, Look.DEAD):
        least = "for at least" if view.is_at_least else "last change"
        assert view.age_ns is not None
        parts.append(f"{least} {format_duration(view.age_ns)}{'' if view.is_at_least else ' ago'}")
        if view.margin_ns is not None:
            parts.append(f"fences itself in {format_duration(view.margin_ns)}" if view.margin_ns > 0 else
                         "has fenced itself, if it goes by these times")
        if view.dead_in_ns is not None and view.dead_in_ns > 0:
            parts.append(f"dead in {format_duration(view.dead_in_ns)}")
        parts.append(f"generation {beat.generation:016x}")
    if beat.message is not None:
        parts.append("no message" if beat.message.command == sbd.Command.EMPTY else
                     f"message {beat.message.command.name.lower()} from {beat.message.sender or 'nobody'}")
    if beat.connected and view.look is Look.BEATING:
        parts.append(f"connected to {', '.join(map(str, beat.connected))}")
    if beat.score and view.look is Look.BEATING:
        parts.append(f"reachability {beat.score}")
    parts.extend(f"wants node {item.node} dead" for item in beat.poison)
    if wrong := finding(view, seen.header):
        parts.append(wrong)
    return ", ".join(parts)


# --- for programs


def _record(place: Place, seen: Seen) -> dict[str, object]:
    return {
        "version": 1,
        "device": place.name,
        "offset_bytes": place.offset,
        **describe(seen.layout, seen.header),
        "sampled_ns": seen.sampled_ns,
        "nodes": [_node(view, seen) for view in seen.views],
        "operator_poison": [] if seen.operator is None else _poison(seen.operator.poison),
    }


def _node(view: SlotView, seen: Seen) -> dict[str, object]:
    beat = view.beat
    record: dict[str, object] = {
        "node": view.node,
        "name": beat.name,
        "state": view.look.value,
        "generation": f"{beat.generation:016x}",  # 64 bits are more than many readers of JSON keep
        "sequence": beat.sequence,
        "age_ns": view.age_ns,
        "age_is_at_least": view.is_at_least,
        "deadline_ns": beat.deadline_ns,
        "dead_ns": beat.dead_ns,
        "self_fence_in_ns": view.margin_ns,
        "dead_in_ns": view.dead_in_ns,
        "score": beat.score,
        "connected": list(beat.connected),
        "poison": _poison(beat.poison),
        "finding": finding(view, seen.header),
    }
    if beat.message is not None:
        record["message"] = {"command": beat.message.command.name.lower(), "sender": beat.message.sender}
    return record


def _poison(items: tuple[own.Poison, ...]) -> list[dict[str, object]]:
    return [{"node": item.node, "generation": f"{item.generation:016x}"} for item in items]
