"""Live progress of a running drill, on standard error.

Owns: what is shown while a run lasts: phase, elapsed time, path states, I/O rate, worst latency so far. Redraws one
block on a terminal; elsewhere writes a plain line per change and one now and then. Fed by the journal (`Progress.event`
is a sink) and by `sample` from the workload; has no thread and no timer of its own, so it costs the run nothing between
the calls.
"""

import sys
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from mpio.events import Event, Kind
from mpio.report.lanes import lane_state, node_of, path_of, place_name
from mpio.report.shape import clean
from mpio.report.words import event_text, number
from mpio.units import NS_PER_S, format_duration

REDRAW_NS = 200_000_000  # five times a second is as live as eyes need
LINE_EVERY_NS = 5 * NS_PER_S  # plain lines, where nothing else happens
PATHS_SHOWN_MAX = 16

_STATE_STYLES = {"up": "green", "standby": "cyan", "blocked": "yellow", "failed": "red", "reconnecting": "blue"}
_TOLD = frozenset((Kind.PHASE_ENTERED, Kind.STEP_STARTED, Kind.FAULT_INJECTED, Kind.FAULT_HEALED,
                   Kind.PATH_STATE_CHANGED, Kind.FENCE_COMPLETED, Kind.FENCE_FAILED, Kind.PATH_REINSTATED,
                   Kind.IO_FAILED, Kind.OUTCOME_UNKNOWN, Kind.QUEUEING_STARTED, Kind.QUEUEING_ENDED,
                   Kind.QUEUEING_EXPIRED, Kind.HEARTBEAT_STATE_CHANGED, Kind.HEARTBEAT_LATE, Kind.HEARTBEAT_RESUMED,
                   Kind.NODE_FENCED, Kind.NODE_HALTED, Kind.NODE_CRASHED, Kind.PEER_DEAD, Kind.SERVICE_STARTED,
                   Kind.SERVICE_STOPPED))
_LINES_PER_SECOND_MAX = 50  # a flapping path may not flood a log


class Progress:
    """A context manager; give its `event` to `journal.sinks` and call `sample` as often as you like."""

    def __init__(self, stream: TextIO | None = None, total_ns: int | None = None) -> None:
        """`total_ns`: how long the run will take, if known."""
        self._console = Console(file=stream or sys.stderr, highlight=False, markup=False)
        self._live = (Live(console=self._console, auto_refresh=False, transient=True)
                      if self._console.is_terminal else None)
        self._total_ns = total_ns
        self._start_ns: int | None = None
        self._drawn_ns = 0
        self._phase = "starting"
        self._paths: dict[tuple[int | None, int], str] = {}
        self._ios = 0
        self._rate = 0.0
        self._rate_from: tuple[int, int] | None = None  # instant and I/O count that the rate is measured from
        self._worst_ns = 0
        self._told_second = 0
        self._told_count = 0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    # --- inputs

    def event(self, event: Event) -> None:
        """A record of the journal."""
        self._begin(event.t_ns)
        match event.kind:
            case Kind.PHASE_ENTERED:
                self._phase = clean(str(event.fields.get("phase", "")), 60)
            case Kind.PATH_ADDED if (path := path_of(event)) is not None:
                self._paths.setdefault((node_of(event.source), path), "down")
            case Kind.PATH_STATE_CHANGED if (path := path_of(event)) is not None:
                self._paths[node_of(event.source), path] = clean(str(event.fields.get("new", "?")), 20)
        if self._live is not None:
            self._redraw(event.t_ns)
        elif event.kind in _TOLD and self._may_tell(event.t_ns):
            source = clean(event.source, 80)
            self._line(event.t_ns, f"{event.kind} {source} {event_text(event)}".rstrip())

    def sample(self, now: int, ios: int, worst_ns: int) -> None:
        """I/Os completed since the start of the run, and the worst latency so far."""
        self._begin(now)
        self._ios, self._worst_ns = ios, worst_ns
        since = self._rate_from or (now, ios)
        if self._rate_from is None or now - since[0] >= NS_PER_S:
            self._rate = (ios - since[1]) * NS_PER_S / (now - since[0]) if now > since[0] else 0.0
            self._rate_from = (now, ios)
        if self._live is not None:
            self._redraw(now)
        elif now - self._drawn_ns >= LINE_EVERY_NS:
            self._drawn_ns = now
            self._line(now, f"{self._phase}: {self._paths_text().plain}, {self._figures()}")

    # --- output

    def _begin(self, now: int) -> None:
        if self._start_ns is None:
            self._start_ns = self._drawn_ns = now

    def _may_tell(self, now: int) -> bool:
        second = now // NS_PER_S
        if second != self._told_second:
            if self._told_count > _LINES_PER_SECOND_MAX:
                self._line(now, f"… {self._told_count - _LINES_PER_SECOND_MAX} more events, see the journal")
            self._told_second, self._told_count = second, 0
        self._told_count += 1
        return self._told_count <= _LINES_PER_SECOND_MAX

    def _line(self, now: int, text: str) -> None:
        self._console.print(Text(f"{self._elapsed_s(now):8.3f} s  {text}"), soft_wrap=True)

    def _redraw(self, now: int) -> None:
        if self._live is None or 0 < now - self._drawn_ns < REDRAW_NS:
            return
        self._drawn_ns = now
        total = "" if self._total_ns is None else f" of about {self._total_ns / NS_PER_S:.0f} s"
        elapsed = f"  {self._elapsed_s(now):.1f} s{total}  "
        head = Text.assemble((self._phase, "bold"), elapsed, (self._figures(), "dim"))
        self._live.update(Text("\n").join([head, self._paths_text()]), refresh=True)

    def _paths_text(self) -> Text:
        text = Text()
        for (node, path), state in sorted(self._paths.items(), key=lambda item: (item[0][0] or 0, item[0][1]))[
                :PATHS_SHOWN_MAX]:
            text.append("  " if text else "").append(f"{place_name(node, path)} ")
            text.append(state, style=_STATE_STYLES.get(lane_state(state), ""))
        if len(self._paths) > PATHS_SHOWN_MAX:
            text.append(f"  and {len(self._paths) - PATHS_SHOWN_MAX} more")
        return text or Text("no paths yet")

    def _figures(self) -> str:
        worst = f", worst latency {format_duration(self._worst_ns)}" if self._worst_ns else ""
        return f"{number(self._ios)} I/Os, {number(round(self._rate))} a second{worst}"

    def _elapsed_s(self, now: int) -> float:
        return (now - (now if self._start_ns is None else self._start_ns)) / NS_PER_S
