"""The main figure: latency and throughput over time, and below them one lane per path with its states.

Owns: the drawing's layout. Its size is bounded whatever the run holds: I/Os are reduced to one mark per column, and
lanes, marks and labels have limits; `notes` says in words what was left out.
"""

from dataclasses import dataclass, field

from markupsafe import Markup

from mpio.events import Kind
from mpio.report.lanes import Lane, MarkKind, node_of, path_lanes, place_name
from mpio.report.nodes import node_lanes
from mpio.report.run import Run, Stall
from mpio.report.series import (
    latency_columns,
    longest_ios,
    margin_columns,
    odd_ios,
    path_throughput_columns,
    throughput_columns,
)
from mpio.report.svg import Linear, Logarithmic, drawing, element, path_data, round_down
from mpio.report.words import fault_label, path_name, plural, size, span_ns
from mpio.units import NS_PER_S, format_duration

LANES_MAX = 64
ODD_MARKS_MAX = 300
FAULT_LABELS_MAX = 60
PHASES_MAX = 50
SPIKE_FACTOR = 3  # throughput beyond so many times its upper quartile is cut off
COLOURED_PATHS_MAX = 8  # beyond, throughput is drawn as one total
_COLUMN_WIDTH = 2.0
_GAP_WIDTH = 12.0  # pixels without a sample: then a line is interrupted
_LETTER_WIDTH = 6.4  # of the 11-pixel label font, on the safe side
_MARK_SHAPES: dict[MarkKind, str] = {  # around 0, 0
    "lost": "M-4 -4L4 4M4 -4L-4 4",
    "fenced": "M0 -5.5L5 4H-5Z",
    "fence failed": "M0 -5.5L5 4H-5ZM-6 -6L6 6",
    "reinstated": "M0 -5L5 0L0 5L-5 0Z",
    "refused": "M-4.5 -4.5H4.5V4.5H-4.5Z",
    "self-fence": "M-6 -3.5L-3.5 -6L0 -2.5L3.5 -6L6 -3.5L2.5 0L6 3.5L3.5 6L0 2.5L-3.5 6L-6 3.5L-2.5 0Z",
    "called dead": "M-1 -6H1V-3H4V-1H1V6H-1V-1H-4V-3H-1Z",
}


@dataclass(frozen=True, slots=True)
class Layout:
    """Pixels of one variant of the figure."""

    width: float
    left: float  # room for the axis labels, and for the lanes' names unless they stand above
    right: float
    latency_height: float
    throughput_height: float
    lane_height: float
    names_above: bool


WIDE = Layout(width=1000, left=158, right=14, latency_height=250, throughput_height=74, lane_height=18,
              names_above=False)
NARROW = Layout(width=400, left=60, right=8, latency_height=220, throughput_height=64, lane_height=16,
                names_above=True)


@dataclass(slots=True)
class Figure:
    """A drawing and the sentences that belong below it."""

    svg: Markup
    notes: list[str] = field(default_factory=list)


def run_timeline(run: Run, layout: Layout = WIDE) -> Figure:
    """The main figure of a run."""
    return _Timeline(run, layout).draw()


class _Timeline:
    """Draws from top to bottom; `y` is where the next part begins."""

    def __init__(self, run: Run, layout: Layout) -> None:
        self.run = run
        self.layout = layout
        self.start_ns, self.end_ns = span_ns(run)
        self.x = Linear(self.start_ns, self.end_ns, layout.left, layout.width - layout.right)
        self.column_count = int((self.x.end - self.x.start) / _COLUMN_WIDTH)
        self.parts: list[str] = []
        self.notes: list[str] = []
        self.y = 4.0

    def draw(self) -> Figure:
        faults = self.run.stalls[:FAULT_LABELS_MAX]
        if len(self.run.stalls) > len(faults):
            self.notes.append(f"Only the first {len(faults)} of {plural(len(self.run.stalls), 'fault')} are marked.")
        self._fault_labels(faults)
        top = self.y
        self.y += 10
        self._latency()
        self._phases(top, self.y)
        self.y += 26
        self._throughput()
        self.y += 14
        if self.run.nodes:
            self._margins()
        self._lanes()
        bottom = self.y
        self._time_axis(top)
        shades = [self._fault_shade(stall, top, bottom) for stall in faults]
        duration = format_duration(self.end_ns - self.start_ns)
        description = (f"{duration} of the run. Top: latency of each I/O on a logarithmic scale. Middle: throughput. "
                       f"Bottom: the state of each path. {plural(len(self.run.stalls), 'fault')} shaded.")
        return Figure(drawing(self.layout.width, self.y + 2, "I/O latency, throughput and path states over time",
                              description, *shades, *self.parts,
                              class_="timeline"), self.notes)

    # --- faults

    def _window(self, stall: Stall) -> tuple[float, float]:
        healed_ns = self.end_ns if stall.healed_ns is None else stall.healed_ns
        left = self.x(stall.cut_ns)
        return left, max(self.x(healed_ns), left + 1.5)

    def _fault_shade(self, stall: Stall, top: float, bottom: float) -> str:
        left, right = self._window(stall)
        healed = "not healed" if stall.healed_ns is None else f"healed {self._clock(stall.healed_ns)}"
        lines = [element("line", x1=left, x2=left, y1=top, y2=bottom, class_="cut")]
        if stall.healed_ns is not None:
            lines.append(element("line", x1=right, x2=right, y1=top, y2=bottom, class_="heal"))
        return element("g", element("title", text=f"{fault_label(self.run, stall)}: cut {self._clock(stall.cut_ns)}, "
                                                  f"{healed}"),
                       element("rect", x=left, y=top, width=right - left, height=bottom - top, class_="fault"), *lines)

    def _fault_labels(self, faults: tuple[Stall, ...]) -> None:
        """Labels in as few rows as keep them apart, three at most; numbers only where words would not fit."""
        full = []
        for index, stall in enumerate(faults, 1):
            where = "" if stall.path is None else f" {place_name(stall.node, stall.path)}"
            full.append(f"{index} {_fit(stall.fault, 24 * _LETTER_WIDTH)}{where}")
        placed = self._place(faults, full)
        if len(placed) < len(faults):
            placed = self._place(faults, [str(index) for index in range(1, len(faults) + 1)])
        rows = max((row for row, _, _ in placed), default=-1) + 1
        for row, x, text in placed:
            y = self.y + (rows - 1 - row) * 20
            width = len(text) * _LETTER_WIDTH + 10
            self.parts.append(element("g",
                element("rect", x=x, y=y, width=width, height=17, rx=3, class_="tag"),
                element("text", text=text, x=x + width / 2, y=y + 12.5, class_="tag-text", text_anchor="middle")))
        self.y += rows * 20

    def _place(self, faults: tuple[Stall, ...], labels: list[str]) -> list[tuple[int, float, str]]:
        """Row and left end for each label that fits."""
        row_ends = [0.0, 0.0, 0.0]
        placed = []
        for stall, text in zip(faults, labels, strict=True):
            width = len(text) * _LETTER_WIDTH + 14
            x = min(self._window(stall)[0], self.layout.width - width)
            row = next((row for row, end in enumerate(row_ends) if x >= end), None)
            if row is not None:
                row_ends[row] = x + width
                placed.append((row, x, text))
        return placed

    # --- panels

    def _panel(self, height: float, title: str) -> tuple[float, float]:
        """The frame of a panel; returns its top and bottom."""
        top, bottom = self.y, self.y + height
        self.parts.append(element("line", x1=self.x.start, x2=self.x.end, y1=bottom, y2=bottom, class_="axis"))
        self.parts.append(element("text", text=title, x=self.x.start + 6, y=top + 4, class_="panel-title"))
        self.y = bottom
        return top, bottom

    def _tick(self, y: float, text: str) -> None:
        self.parts.append(element("line", x1=self.x.start, x2=self.x.end, y1=y, y2=y, class_="grid"))
        self.parts.append(element("text", text=text, x=self.x.start - 7, y=y + 4, text_anchor="end", class_="tick"))

    def _latency(self) -> None:
        columns = latency_columns(self.run.history, self.start_ns, self.end_ns, self.column_count)
        odd, odd_total = odd_ios(self.run.history, ODD_MARKS_MAX)
        if odd_total > len(odd):
            self.notes.append(f"Of {odd_total:,} I/Os that failed or are unknown, the first {len(odd)} are marked.")
        top, bottom = self._panel(self.layout.latency_height, "I/O latency")
        drawn = [column for column in columns if column is not None]
        if not drawn and not odd:
            self.parts.append(element("text", text="no I/O in the history of this run", text_anchor="middle",
                                      x=(self.x.start + self.x.end) / 2, y=(top + bottom) / 2, class_="empty"))
            return
        bounds = [stall.bound_ns for stall in self.run.stalls if stall.bound_ns]
        scale = _latency_scale([column.median_ns for column in drawn],
                               [column.worst_ns for column in drawn] + bounds, bottom, top + 14)
        for value in scale.ticks():
            self._tick(scale(value), format_duration(round(value)))
        width = (self.x.end - self.x.start) / self.column_count
        band, middle, segment = [], [], list[tuple[float, float]]()
        for index, column in enumerate(columns):
            x = self.x.start + (index + 0.5) * width
            if column is None:
                middle.append(path_data(segment))
                segment = []
                continue
            y_median, y_worst = scale(column.median_ns), scale(column.worst_ns)
            band.append(f"M{x:.1f} {y_median + 0.6:.1f}V{y_worst - 0.6:.1f}")
            segment.append((x, y_median))
        middle.append(path_data(segment if len(segment) != 1 else [segment[0], (segment[0][0] + 1, segment[0][1])]))
        self.parts.append(element("path", d="".join(band), class_="band"))
        self.parts.append(element("path", d="".join(middle), class_="median"))
        self._bounds(scale)
        for io in odd:
            y = top + 8 if io.latency_ns is None else scale(io.latency_ns)
            shape = "M-3.5 -3.5L3.5 3.5M3.5 -3.5L-3.5 3.5" if io.outcome == "fail" else "M0 -4.5L4.5 0L0 4.5L-4.5 0Z"
            waited = "never answered" if io.latency_ns is None else f"after {format_duration(io.latency_ns)}"
            self.parts.append(element("path", element("title", text=f"{io.outcome}, {waited}"), d=shape,
                                      transform=f"translate({self.x(io.start_ns):.1f} {y:.1f})",
                                      class_=f"odd odd-{io.outcome}"))
        stretch = format_duration(round((self.end_ns - self.start_ns) / self.column_count))
        self.notes.insert(0, "Each column of the latency panel stands for all I/Os that started within "
                             f"{stretch}: the line is their median, the bar reaches to their worst.")

    def _bounds(self, scale: Logarithmic) -> None:
        """Per fault: its longest wait, drawn as long as it took, and the bound as a dashed line over its window."""
        stalls = self.run.stalls[:FAULT_LABELS_MAX]
        taken: list[tuple[float, float, float]] = []  # left, right and baseline of what labels may not hide

        def label(text: str, x: float, y: float, class_: str) -> bool:
            """Write a label where it hides nothing."""
            right = x + len(text) * _LETTER_WIDTH
            if right > self.layout.width or any(x < b and right > a and abs(y - c) < 12 for a, b, c in taken):
                return False
            taken.append((x, right, y))
            self.parts.append(element("text", text=text, x=x, y=y, class_=class_))
            return True

        waits = []
        for longest in longest_ios(self.run.history, stalls):
            if longest is not None:
                y, begun = scale(longest[1] - longest[0]), self.x(longest[0])
                ended = max(self.x(longest[1]), begun + 3)
                text = format_duration(longest[1] - longest[0])
                self.parts.append(element("g", element("title", text=f"longest wait of this fault: {text}"),
                                          element("line", x1=begun, x2=ended, y1=y, y2=y, class_="stall"),
                                          element("circle", cx=ended, cy=y, r=2.5, class_="stall-end")))
                taken.append((begun, ended + 4, y + 4))
                waits.append((text, ended + 6, y + 4))
        for text, x, y in waits:
            label(text, x, y, "stall-text")
        named: tuple[int | None, float] = (None, 0.0)  # the bound that was named last, and where its window ends
        for stall in stalls:
            if stall.bound_ns is None:
                continue
            left, right = self._window(stall)
            right = min(max(right, left + 40), self.x.end)
            y, text = scale(stall.bound_ns), f"bound {format_duration(stall.bound_ns)}"
            self.parts.append(element("line", x1=left, x2=right, y1=y, y2=y, class_="bound"))
            at_end = max(right - len(text) * _LETTER_WIDTH, left + 4)
            if named[0] == stall.bound_ns and left <= named[1]:
                named = (stall.bound_ns, max(right, named[1]))  # goes on from its neighbour, as one line
            elif label(text, at_end, y - 5, "bound-text") or label(text, at_end, y + 13, "bound-text"):
                named = (stall.bound_ns, right)

    def _phases(self, top: float, bottom: float) -> None:
        """Where each phase of the run begins: a tick with its name at the foot of the latency panel."""
        free_from = self.x.start
        phases = [event for event in self.run.journal if event.kind is Kind.PHASE_ENTERED]
        for event in phases[:PHASES_MAX]:
            x, name = self.x(event.t_ns), str(event.fields.get("phase", ""))
            self.parts.append(element("line", x1=x, x2=x, y1=top, y2=bottom, class_="phase"))
            width = len(name) * _LETTER_WIDTH + 8
            left = x if x + width < self.layout.width else x - width  # the last phase is short: name it from the left
            if left >= free_from:
                self.parts.append(element("text", text=name, x=left + 4, y=bottom - 5, class_="phase-text"))
                free_from = left + width

    def _throughput(self) -> None:
        top, bottom = self._panel(self.layout.throughput_height, "throughput")
        count = self.column_count // 2
        own = [figures for figures in self.run.paths if figures.throughput_bytes]
        if 0 < len(own) <= COLOURED_PATHS_MAX:
            series = [(self._colour(figures.node, figures.path),
                       path_throughput_columns(figures, self.start_ns, self.end_ns, count)) for figures in own]
            self.notes.append("Throughput is stacked by path, in the colours of the lanes below.")
        else:
            series = [(-1, throughput_columns(self.run.history, self.start_ns, self.end_ns, count))]
        totals = [sum(values) for values in zip(*(values for _, values in series), strict=True)]
        peak = max(totals, default=0.0)
        if peak <= 0:
            return
        full = min(peak, SPIKE_FACTOR * sorted(totals)[len(totals) * 3 // 4] or peak)
        if full < peak:  # filling the region first can be much faster than the rest of the run
            self.notes.append(f"Throughput above {size(full)}/s is cut off; its peak was {size(peak)}/s.")
            peak = full
        scale = Linear(0, peak * 1.04, bottom, top + 12)
        unit = next((unit for unit in (1 << 30, 1 << 20, 1 << 10) if peak >= unit), 1)
        tick = round_down(peak / unit) * unit
        self._tick(scale(tick), f"{size(tick)}/s")
        width = (self.x.end - self.x.start) / count
        base = [0.0] * count
        for path, values in series:
            level = [low + value for low, value in zip(base, values, strict=True)]
            self.parts.append(element("path", d=_area(base, level, self.x.start, width, scale),
                                      class_="flow" if path < 0 else f"flow path-{path % COLOURED_PATHS_MAX}"))
            base = level

    def _colour(self, node: int | None, path: int) -> int:
        """The number of a path's colour, or, for path 0, of its node's."""
        if node is None:
            return path
        places = [(figures.node, figures.path) for figures in self.run.paths]
        if path == 0:
            places = [(figures.node, 0) for figures in self.run.nodes]
        return places.index((node, path)) + 1 if (node, path) in places else path

    def _margins(self) -> None:
        """How long each node had left until it would have fenced itself."""
        deadline_ns = max(node.deadline_ns for node in self.run.nodes)
        top, bottom = self._panel(self.layout.throughput_height, "time left until a node fences itself")
        scale = Linear(0, deadline_ns * 1.04, bottom, top + 12)
        self._tick(scale(deadline_ns), format_duration(deadline_ns))
        self._tick(scale(deadline_ns / 2), format_duration(deadline_ns // 2))
        self._tick(scale(0), "0")
        width = (self.x.end - self.x.start) / self.column_count
        for node in self.run.nodes[:COLOURED_PATHS_MAX]:
            lines, segment = [], list[tuple[float, float]]()
            quiet = 0
            for index, margin_ns in enumerate(margin_columns(node, self.start_ns, self.end_ns, self.column_count)):
                quiet = 0 if margin_ns is not None else quiet + 1
                if margin_ns is not None:
                    segment.append((self.x.start + (index + 0.5) * width, scale(max(margin_ns, 0))))
                elif quiet * width > _GAP_WIDTH:
                    lines.append(path_data(segment))
                    segment = []
            lines.append(path_data(segment))
            colour = self._colour(node.node, 0) % COLOURED_PATHS_MAX
            self.parts.append(element("path", element("title", text=f"node {node.node}"), d="".join(lines),
                                      class_=f"margin margin-{colour}"))
        for event in self.run.journal:
            if event.kind is Kind.NODE_FENCED:
                told = f"node {node_of(event.source)} fenced {self._clock(event.t_ns)}: {event.fields.get('reason')}"
                self.parts.append(element("path", element("title", text=told), d=_MARK_SHAPES["self-fence"],
                                          transform=f"translate({self.x(event.t_ns):.1f} {scale(0):.1f})",
                                          class_="mark mark-self-fence"))
        self.notes.append("A node fences itself when its margin is used up; each heartbeat that is done sets it back.")
        self.y += 14

    def _lanes(self) -> None:
        lanes = node_lanes(self.run.journal, self.start_ns, self.end_ns, [node.node for node in self.run.nodes])
        for node in list(dict.fromkeys(figures.node for figures in self.run.paths)) or [None]:
            names = [(figures.path, path_name(self.run, figures.path, node))
                     for figures in self.run.paths if figures.node == node]
            lanes += path_lanes(self.run.journal, self.start_ns, self.end_ns, names, node)
        if len(lanes) > LANES_MAX:
            self.notes.append(f"Only the first {LANES_MAX} of {len(lanes)} paths are drawn.")
        coloured = 0 < sum(1 for figures in self.run.paths if figures.throughput_bytes) <= COLOURED_PATHS_MAX
        for lane in lanes[:LANES_MAX]:
            self._lane(lane, coloured=coloured)
            if lane.is_cut_short:
                self.notes.append(f"{lane.title.capitalize()} changed its state too often to draw all of it.")

    def _lane(self, lane: Lane, *, coloured: bool) -> None:
        height, name = self.layout.lane_height, lane.title
        coloured = coloured and (lane.path > 0 or lane.node is not None)
        swatch = 13.0 if coloured else 0.0
        if self.layout.names_above:
            self.y += 14
            x, y, room = self.x.start, self.y - 4, self.x.end - self.x.start
        else:
            x, y, room = 2.0, self.y + height - 5, self.x.start - 12
        full = f"{name} {lane.name}".rstrip()
        short = str(lane.path) if lane.node is None else f"{lane.node}.{lane.path}"
        shown = _fit(f"{short} · {lane.name}" if lane.name else name, room - swatch)
        if coloured:
            self.parts.append(element("rect", x=x, y=y - 8, width=9, height=9, rx=1.5,
                                      class_=f"flow path-{self._colour(lane.node, lane.path) % COLOURED_PATHS_MAX}"))
        self.parts.append(element("text", element("title", text=full), text=shown, x=x + swatch, y=y,
                                  class_="lane-name"))
        for span in lane.spans:
            left, right = self.x(span.start_ns), self.x(span.end_ns)
            took = format_duration(span.end_ns - span.start_ns)
            title = f"{name}: {span.label} for {took} from {self._clock(span.start_ns)}"
            self.parts.append(element("rect", element("title", text=title), x=left, y=self.y,
                                      width=max(right - left, 0.8), height=height, class_=f"lane {span.state}"))
            if right - left > len(span.label) * _LETTER_WIDTH + 22:
                self.parts.append(element("text", text=span.label, x=left + 7, y=self.y + height / 2 + 4,
                                          class_=f"lane-text {span.state}-text"))
        for mark in lane.marks:
            text = f"{mark.kind}{': ' + mark.text if mark.text else ''}, {self._clock(mark.t_ns)}"
            self.parts.append(element("path", element("title", text=f"{name} {text}"), d=_MARK_SHAPES[mark.kind],
                                      transform=f"translate({self.x(mark.t_ns):.1f} {self.y + height / 2:.1f})",
                                      class_=f"mark mark-{mark.kind.replace(' ', '-')}"))
        self.y += height + 6

    def _time_axis(self, top: float) -> None:
        seconds = Linear(0, (self.end_ns - self.start_ns) / NS_PER_S, self.x.start, self.x.end)
        for value in seconds.ticks(int((self.x.end - self.x.start) / 70)):
            x = seconds(value)
            self.parts.insert(0, element("line", x1=x, x2=x, y1=top, y2=self.y, class_="grid"))
            anchor = "end" if x > self.x.end - 12 else "middle"
            self.parts.append(element("text", text=f"{value:g} s", x=x, y=self.y + 13, text_anchor=anchor,
                                      class_="tick"))
        self.y += 18

    def _clock(self, t_ns: int) -> str:
        return f"at {(t_ns - self.start_ns) / NS_PER_S:.3f} s"


def _latency_scale(medians: list[float], worsts: list[int], bottom: float, top: float) -> Logarithmic:
    """From the power of ten below the fastest column's median to above the slowest I/O or bound."""
    low = 1e3  # nothing that crosses a network is faster than a microsecond
    fastest = min(medians, default=1e6)
    while low * 10 <= fastest:
        low *= 10
    high = max([*worsts, low * 10])
    return Logarithmic(low, high * 1.25, bottom, top)


def _area(base: list[float], level: list[float], left: float, width: float, scale: Linear) -> str:
    """The outline of a stepped band between two series; runs of equal value become one step."""
    def edge(values: list[float]) -> list[tuple[float, float]]:
        points: list[tuple[float, float]] = []
        for index, value in enumerate(values):
            y = scale(value)
            if points and abs(points[-1][1] - y) < 0.05:
                points[-1] = (left + (index + 1) * width, y)
            else:
                points += [(left + index * width, y), (left + (index + 1) * width, y)]
        return points
    return path_data(edge(level) + edge(base)[::-1]) + "Z"


def _fit(text: str, room: float) -> str:
    """The text, shortened in the middle if it needs more pixels than there are."""
    length = max(int(room / _LETTER_WIDTH), 4)
    if len(text) <= length:
        return text
    tail = (length - 1) // 2
    return f"{text[:length - 1 - tail]}…{text[len(text) - tail:]}"
