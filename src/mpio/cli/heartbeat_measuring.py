"""The run of `mpio heartbeat measure`: keeps up the load, shows progress, and hands on what was seen."""

import asyncio
import contextlib
import random
import secrets
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from mpio.check.failover_stall import Source
from mpio.cli.heartbeat_advice import (
    Drilled,
    Question,
    advise_all,
    failover_stall,
    is_running,
    kinds_of,
    planned,
    present_settings,
    read_drills,
    run_directories,
)
from mpio.cli.heartbeat_measure_ground import Ground, Wish, open_ground, pattern_for
from mpio.cli.heartbeat_place import Place
from mpio.errors import InputError
from mpio.heartbeat.tail import percentiles
from mpio.io.heartbeat_ground import Loan, borrowed, must_be_free
from mpio.io.heartbeat_load import Load, LoadMaker
from mpio.io.heartbeat_measure import MAGIC, Measured, Measurement
from mpio.report.heartbeat_measured import Findings, progress_words
from mpio.units import NS_PER_S, format_duration, format_size

GRACE_NS = 60 * NS_PER_S
"""How long a heartbeat that is out at the end may take yet: as long as a failover should."""
HURRY_S = 2.0
"""For each request of putting a sector back, if nobody wants to wait."""
REDRAW_S, LINE_EVERY_S = 0.5, 5.0
RECENT = 20_000  # heartbeats whose percentiles are shown while it runs


async def measure_and_advise(place: Place, wish: Wish) -> Findings:
    """Everything from the options to the findings. Raises MpioError."""
    kinds = kinds_of(wish.personality)
    question = Question(kinds, wish.node_years, wish.runs, wish.seed, present_settings(wish.present, kinds))
    directories = run_directories(wish.drills)
    running = [directory for directory in directories if is_running(directory)]
    drilled = read_drills([directory for directory in directories if directory not in running])
    began_ns = time.time_ns() - time.monotonic_ns()
    async with contextlib.AsyncExitStack() as stack:
        ground = await open_ground(stack, place, wish)
        measured, load_words, trouble = await _run(stack, wish, ground)
    late, notes = _read_late(running)
    drilled += late
    measured.set_aside([(from_ns - began_ns, to_ns - began_ns) for from_ns, to_ns in drilled.windows])
    if measured.unended_ns:
        measured.rounds.append(measured.unended_ns)
        measured.reads.append(measured.unended_ns)
    if not measured.rounds:
        raise InputError(place.name, "; ".join(
            words for words in ("no heartbeat got through, so there is nothing to tell", trouble) if words))
    if question.runs and sys.stderr.isatty():
        print(f"mpio: trying each threshold in {wish.runs:,} simulated failovers …", file=sys.stderr)
    about: dict[str, object] = {
        "device": place.name, "personality": wish.personality, "interval_ns": wish.interval_ns, "load": wish.load,
        "words": f"{len(measured.rounds):,} heartbeats in {format_duration(measured.elapsed_ns)} on {place.name}, "
                 f"{ground.words}, {load_words}",
    }
    stall = failover_stall(_sources(place, wish, drilled), measured)
    return advise_all(question, measured, stall, about, [*ground.notes, *notes], trouble)


def _read_late(directories: list[Path]) -> tuple[Drilled, list[str]]:
    """Drills that ran beside the measurement; what can't be read of them must not cost what was measured."""
    drilled, notes = Drilled(), []
    for directory in directories:
        try:
            drilled += read_drills([directory])
        except InputError as error:
            notes.append(f"{error}: this drill does not count")
    return drilled, notes


def _sources(place: Place, wish: Wish, drilled: Drilled) -> list[Source]:
    """Who has a say on the stall. The planner's bound for the map counts where nobody else is asked."""
    sources = list(drilled.sources)
    if wish.stall_ns is not None:
        sources.append(Source(wish.stall_ns, "as given by --stall"))
    own = planned(place.settings, len(place.paths)) if place.paths and not sources else None
    return [*sources, *([own] if own is not None else [])]


# --- the run


async def _run(stack: contextlib.AsyncExitStack, wish: Wish, ground: Ground) -> tuple[Measured, str, str]:
    """What was measured, the load in words, and what became of the sector if it is not what it was."""
    blocks = ground.blocks
    pattern = pattern_for(wish.personality, wish.nodes, blocks.block_size, read_only=wish.read_only)
    token = secrets.token_bytes(16)
    loan = Loan()
    async with contextlib.AsyncExitStack() as lent:
        if pattern.own is not None and not ground.is_scratch:
            await must_be_free(blocks, placed=wish.placed)
            undo = Path(f"mpio-heartbeat-sector-{token.hex()[:12]}.bin")
            loan = await lent.enter_async_context(borrowed(blocks, pattern.own, MAGIC + token, undo))
        measurement = Measurement(blocks, pattern, token, failures=ground.failures)
        load = _load(wish, ground)
        _stop_on_signals(stack, measurement, loan)
        if load is not None:
            load.start()
        shown = asyncio.create_task(_show(measurement, wish, load))
        try:
            measured = await measurement.run(wish.duration_ns, wish.interval_ns, GRACE_NS)
        finally:
            loan.in_doubt = measurement.is_out
            shown.cancel()
            if load is not None:
                load.stop()
            with contextlib.suppress(asyncio.CancelledError):
                await shown
    return measured, _load_words(wish, load), loan.trouble


def _load(wish: Wish, ground: Ground) -> LoadMaker | None:
    if wish.load is None or ground.loaded is None:
        return None
    unit = ground.loaded.block_size
    offset, length = ground.area
    if wish.load_bytes % unit or not wish.load_bytes:
        raise InputError("--load-request", f"expected whole blocks of {unit} bytes, found {wish.load_bytes}")
    if offset % unit or length < wish.load_bytes:
        raise InputError("--load-area", (
            f"expected an offset in whole blocks of {unit} bytes, and room for a request of {wish.load_bytes}; found "
            f"{offset} and {length}"))
    return LoadMaker(ground.loaded, Load(wish.load, ground.area, wish.load_bytes, wish.load_depth),
                     random.Random(wish.seed))


def _load_words(wish: Wish, load: LoadMaker | None) -> str:
    if load is None:
        return "no load"
    failed = f", {load.failed:,} failed: {load.first_error}" if load.failed else ""
    return (f"under a load of {load.done:,} requests ({wish.load}, {format_size(wish.load_bytes)}, "
            f"{wish.load_depth} at a time{failed})")


def _stop_on_signals(stack: contextlib.AsyncExitStack, measurement: Measurement, loan: Loan) -> None:
    """The first signal ends the measurement, and what was seen counts; a second one waits for nothing any more."""
    loop = asyncio.get_running_loop()

    def restore() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    def stop() -> None:
        measurement.stop()
        listen(give_up)
        loop.call_later(1.0, tell)

    def give_up() -> None:
        loan.timeout_s = HURRY_S
        measurement.give_up()
        restore()

    def tell() -> None:
        if measurement.is_out:
            print(f"mpio: a heartbeat is out yet, waiting up to {GRACE_NS // NS_PER_S} s; a second signal ends that",
                  file=sys.stderr)

    def listen(handler: Callable[[], None]) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, handler)

    listen(stop)
    stack.callback(restore)


async def _show(measurement: Measurement, wish: Wish, load: LoadMaker | None) -> None:
    """A line on standard error: redrawn on a terminal, elsewhere one now and then."""
    live = sys.stderr.isatty()
    started_ns = time.monotonic_ns()
    try:
        while True:
            await asyncio.sleep(REDRAW_S if live else LINE_EVERY_S)
            measured = measurement.measured
            shown = percentiles(measured.rounds[-RECENT:])
            if shown:
                shown["max"] = max(measured.rounds)
            extra = f"  load {load.done:,}" if load is not None else ""
            extra += f"  failovers {len(measured.failovers)}" if measured.failovers else ""
            elapsed_ns = time.monotonic_ns() - started_ns
            line = progress_words(elapsed_ns, wish.duration_ns, len(measured.rounds), shown, extra)
            print(f"\r\033[K{line}" if live else f"mpio: {line}", end="" if live else "\n", file=sys.stderr, flush=True)
    finally:
        if live:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
