"""Where a setting's value comes from, and which others lost against it.

Owns the answer's shape; the rules of each program are in `open_iscsi`, `multipathd` and `cluster_files`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mpio.config.document import Document, Entry
from mpio.config.files import Kind
from mpio.model.stack import Version

OriginKind = Literal["file", "node record", "hardware table", "built-in default", "derived", "option"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one value stands or follows from.

    Attributes:
        file, line: of a "file" and a "node record"; else "" and 0.
        words: the section of a file, the array of a hardware table, what a derived value follows from.
    """

    kind: OriginKind
    file: str = ""
    line: int = 0
    words: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.file else str(self.kind)
        return f"{where} ({self.words})" if self.words else where


@dataclass(frozen=True, slots=True)
class Effective:
    """One setting as it is in force.

    Attributes:
        key: a field of `LinuxStack`, or one of a cluster after its prefix ("o2cb.heartbeat_threshold").
        overruled: the values that lost: value, origin, why; the nearest to winning first.
    """

    key: str
    value: object
    origin: Origin
    overruled: tuple[tuple[object, Origin, str], ...] = ()

    def derive(self, value: object, words: str) -> "Effective":
        """What a program makes of the value; the one that was asked for is overruled then."""
        lost = (self.value, self.origin, words)
        return Effective(self.key, value, Origin("derived", words=words), (lost, *self.overruled))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A value that counts unless one before it does. `loses` says why it doesn't then."""

    value: object
    origin: Origin
    loses: str


@dataclass(frozen=True, slots=True)
class Device:
    """An array as its INQUIRY data names it."""

    vendor: str
    product: str
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Host:
    """What is known of a host.

    Attributes:
        documents: by kind, in the order in which their program reads them: multipath.conf, then its drop-ins
            by name; of node records, one for each path.
        device: the array; None if unknown.
        multipath: whether multipathd runs. multipath_tools, kernel, hz: what the host runs.
        distribution: "debian", "rhel", …; None if unknown.
        wwid, alias: the map, for the `multipaths` section. target: only node records of this target count.
        options: values that a person gave instead of files, by name (see `Effective.key`).
    """

    documents: Mapping[Kind, Sequence[Document]] = field(default_factory=dict)
    device: Device | None = None
    multipath: bool = True
    multipath_tools: Version = (0, 9, 4)
    kernel: Version = (6, 1)
    hz: int = 250
    distribution: str | None = None
    wwid: str = ""
    alias: str = ""
    target: str = ""
    options: Mapping[str, object] = field(default_factory=dict)


def decide(host: Host, key: str, candidates: Sequence[Candidate]) -> Effective:
    """The first candidate, or the option that a person gave. Expects at least one candidate."""
    lost = [(candidate.value, candidate.origin, candidate.loses) for candidate in candidates]
    if key in host.options:
        lost = [(value, origin, "a value that was given beats all files") for value, origin, _ in lost]
        return Effective(key, host.options[key], Origin("option"), tuple(lost))
    return Effective(key, candidates[0].value, candidates[0].origin, tuple(lost[1:]))


def at(document: Document, entry: Entry, kind: OriginKind = "file") -> Origin:
    """The origin of an entry."""
    words = " ".join(name.partition("[")[0] for name in entry.section)
    return Origin(kind, document.file, entry.line, words if kind == "file" else "")
