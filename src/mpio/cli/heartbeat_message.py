"""`mpio heartbeat message`: a word for one node, put where it looks: SBD's mailbox, or the operator's slot."""

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable

import click

from mpio.cli.heartbeat_place import Place, place_options
from mpio.cli.options import DURATION
from mpio.errors import InputError
from mpio.heartbeat.formats import own, sbd
from mpio.heartbeat.formats.broken import Broken, Why
from mpio.heartbeat.region import Layout, layout_of
from mpio.io.heartbeat_store import Blocks

_SBD_WORDS = {("clear" if item is sbd.Command.EMPTY else item.name.lower()): item for item in sbd.Command}
_OWN_WORDS = ("poison", "clear")
_POLL_S = 0.2


@click.command(short_help="Send a message or a poison pill.")
@place_options
@click.argument("node")
@click.argument("word")
@click.option("--from", "sender", default="mpio", show_default=True, metavar="NAME", help="Who sends it, for SBD.")
@click.option("--wait", "wait_ns", type=DURATION, metavar="TIME",
              help="Wait so long for the node to say that it is fenced (own), or that it has read a test (sbd).")
@click.option("--yes", is_flag=True, help="Needed for words that end a node: poison, reset, off, crashdump.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    place: Place, node: str, word: str, sender: str, wait_ns: int | None, yes: bool, as_json: bool
) -> int:
    """Put WORD where NODE will find it with its next reads.

    In a region of SBD, NODE is a name or a number, and WORD is test, reset, off, exit, crashdump or clear. In one of
    mpio, WORD is poison: the node fences itself in this life of its, and says so once that holds; or clear, which
    takes a pill back that was not taken yet. A region of o2cb has no messages.

    Exit code 3 means that the node did not answer within --wait.
    """
    answer = asyncio.run(_send(place, node, word, sender, wait_ns, yes=yes))
    if as_json:
        print(json.dumps({"version": 1, "device": place.name, **answer}))
    else:
        outcome = {True: ", and it has answered", False: ", no answer yet"}.get(bool(answer["answered"]), "")
        print(f"{place.name}: {word} for node {answer['node']}{'' if answer['answered'] is None else outcome}")
    return 3 if answer["answered"] is False else 0


async def _send(
    place: Place, node: str, word: str, sender: str, wait_ns: int | None, *, yes: bool
) -> dict[str, object]:
    from mpio.io.heartbeat_region import find, must_be_region

    async with place.open() as blocks:
        found = await find(blocks)
        must_be_region(found, place.name)
        if found.header is None:
            raise InputError(place.name, "a region of o2cb has no messages: its nodes only look at each other's blocks")
        layout = layout_of(found.header)
        if isinstance(found.header, sbd.Header):
            return await _send_sbd(blocks, layout, found.header, place.name, node, word, sender, wait_ns, yes=yes)
        return await _send_own(blocks, layout, found.header, place.name, node, word, wait_ns, yes=yes)


def _must_mean_it(word: str, fatal: bool, yes: bool) -> None:
    if fatal and not yes:
        raise InputError(word, "ends a node; say --yes if that is meant")


async def _sector(blocks: Blocks, layout: Layout, offset: int) -> bytes:
    """One sector. Raises InputError."""
    from mpio.io.heartbeat_region import Unread, read

    data = await read(blocks, offset, layout.sector)
    if isinstance(data, Unread):
        raise InputError(blocks.name, f"can't be read at {offset}: {data.words}")
    return data


# --- SBD


async def _send_sbd(
    blocks: Blocks, layout: Layout, header: sbd.Header, where: str, node: str, word: str, sender: str,
    wait_ns: int | None, *, yes: bool,
) -> dict[str, object]:
    from mpio.io.heartbeat_region import write

    if word not in _SBD_WORDS:
        raise InputError("WORD", f"expected {', '.join(sorted(_SBD_WORDS))} in a region of SBD, found {word!r}")
    message = _SBD_WORDS[word]
    _must_mean_it(word, message in sbd.FATAL, yes)
    if wait_ns is not None and message is not sbd.Command.TEST:
        raise InputError("--wait", (
            "a node of SBD answers a test only; after another word, take it for dead once msgwait, "
            f"{header.msgwait} s, is over"
        ))
    number = await _sbd_number(blocks, layout, where, node)
    offset = layout.mailbox(number)
    try:
        await write(blocks, offset, sbd.render_message(sbd.Message(message, sender), layout.sector))
    except ValueError as error:
        raise InputError("--from", str(error)) from None

    async def taken() -> bool:
        found = sbd.parse_message(await _sector(blocks, layout, offset))
        return isinstance(found, sbd.Message) and found.command is sbd.Command.EMPTY

    answered = None if wait_ns is None else await _wait(taken, wait_ns)
    return {"node": number, "word": word, "answered": answered}


async def _sbd_number(blocks: Blocks, layout: Layout, where: str, node: str) -> int:
    """The slot that a node has, by name or number. Raises InputError."""
    from mpio.io.heartbeat_region import read_slots

    slots = []
    for data in await read_slots(blocks, layout):
        slot = sbd.parse_slot(data[:layout.sector]) if isinstance(data, bytes) else None
        slots.append(slot if isinstance(slot, sbd.Slot) else sbd.FREE)
    number = sbd.find_slot(slots, node)
    if number is None and _is_number(node) and int(node) < layout.slots and slots[int(node)].in_use:
        number = int(node)
    if number is None:
        names = ", ".join(slot.name for slot in slots if slot.in_use) or "none"
        raise InputError(where, f"expected a node that has a slot ({names}), found {node!r}")
    return number


# --- our own


async def _send_own(
    blocks: Blocks, layout: Layout, header: own.Header, where: str, node: str, word: str, wait_ns: int | None, *,
    yes: bool,
) -> dict[str, object]:
    from mpio.io.heartbeat_region import write

    if word not in _OWN_WORDS:
        raise InputError("WORD", f"expected {' or '.join(_OWN_WORDS)} in a region of mpio, found {word!r}")
    if not _is_number(node) or int(node) >= layout.slots:
        raise InputError("NODE", f"expected a number from 0 to {layout.slots - 1}, found {node!r}")
    number = int(node)
    _must_mean_it(word, word == "poison", yes)
    operator = await _operator_slot(blocks, layout, header, where)
    poison = []
    for item in operator.poison:  # what is not meant any more makes room
        slot = own.parse_slot(await _sector(blocks, layout, layout.slot(item.node)))
        if item.node != number and isinstance(slot, own.Slot) and slot.generation == item.generation and not slot.held:
            poison.append(item)
    victim = own.parse_slot(await _sector(blocks, layout, layout.slot(number)))
    if word == "poison":
        if not isinstance(victim, own.Slot) or victim.region != header.region or victim.generation == 0:
            raise InputError(where, f"node {number} is not there: its slot is empty, or says that it has left")
        poison.append(own.Poison(number, victim.generation))
        if len(poison) > own.POISON_MAX:
            raise InputError(where, f"expected at most {own.POISON_MAX} pills at a time; clear one, or wait")
    slot = own.Slot(
        header.region, own.OPERATOR, operator.generation, operator.sequence + 1, header.timing, name="operator",
        poison=tuple(poison),
    )
    await write(blocks, layout.slot(layout.slots), own.render_slot(slot, layout.sector))
    generation = victim.generation if isinstance(victim, own.Slot) else 0

    async def held() -> bool:
        found = own.parse_slot(await _sector(blocks, layout, layout.slot(number)))
        return isinstance(found, own.Slot) and (found.held or found.generation != generation)

    answered = None if wait_ns is None or word == "clear" else await _wait(held, wait_ns)
    return {"node": number, "word": word, "generation": f"{generation:016x}", "answered": answered}


async def _operator_slot(blocks: Blocks, layout: Layout, header: own.Header, where: str) -> own.Slot:
    """What is there, or a new one. Raises InputError for what nobody should write over."""
    found = own.parse_slot(await _sector(blocks, layout, layout.slot(layout.slots)))
    if isinstance(found, Broken) and found.why is not Why.EMPTY:
        raise InputError(where, f"the operator's slot is damaged: {found.words}")
    if isinstance(found, Broken) or found.region != header.region:
        return own.Slot(header.region, own.OPERATOR, secrets.randbits(63) + 1, 0, header.timing, name="operator")
    return found


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 4


async def _wait(done: Callable[[], Awaitable[bool]], wait_ns: int) -> bool:
    end = time.monotonic_ns() + wait_ns
    while not await done():
        if time.monotonic_ns() >= end:
            return False
        await asyncio.sleep(_POLL_S)
    return True
