"""What the files of a cluster stack set it to: o2cb and SBD sysconfig, `sbd dump`, corosync.conf, sanlock.conf, ha.cf.

A file that is not there says nothing of a stack: there is a cluster only where one of its files is, or an option that
names one of its settings. What no file has (Pacemaker's properties, NCS, RAC) is a default unless given as an option.
"""

import dataclasses
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence

from mpio.config import schema
from mpio.config.document import Document, Entry, Problem
from mpio.config.files import Kind
from mpio.config.origin import Candidate, Effective, Host, Origin, at, decide
from mpio.config.schema.key import Key
from mpio.model.cluster import Cluster, Corosync, LinuxHa, Mmp, Ncs, O2cb, Qdisk, Rac, Sanlock, Sbd
from mpio.model.stack import Version

CLUSTERS: Mapping[str, type] = {
    "o2cb": O2cb, "sbd": Sbd, "corosync": Corosync, "sanlock": Sanlock, "ncs": Ncs, "heartbeat": LinuxHa, "rac": Rac,
    "mmp": Mmp, "qdisk": Qdisk,
}
"""By what stands before the dot in the names of their settings."""

_FILES: Mapping[str, tuple[Kind, ...]] = {
    "o2cb": (Kind.O2CB,), "sbd": (Kind.SBD_DUMP, Kind.SBD), "corosync": (Kind.COROSYNC,),
    "sanlock": (Kind.SANLOCK,), "heartbeat": (Kind.HA_CF,),
}
_NEGOTIATES_SINCE: Version = (4, 7)  # linux fs/ocfs2/cluster/heartbeat.c, in May 2016
_ON_DISK = ("watchdog", "msgwait", "allocate", "loop")  # of SBD's disk header
_SBD_OPTIONS = {"io_timeout": "-I", "restart_delay": "-t"}
_CONFIGURED = ("O2CB_IDLE_TIMEOUT_MS", "O2CB_KEEPALIVE_DELAY_MS", "O2CB_RECONNECT_DELAY_MS")
"""Keys whose least value is what `o2cb configure` asks for; the kernel takes any but 0."""

_Item = tuple[str, object]  # a field of a cluster and its default
_Found = list[tuple[Document, Entry]]


def in_force(host: Host) -> tuple[dict[str, Effective], tuple[Cluster, ...], list[Problem]]:
    """Settings of all stacks by name ("o2cb.heartbeat_threshold"), the stacks themselves, and what is wrong."""
    values: dict[str, Effective] = {}
    clusters: list[Cluster] = []
    problems: list[Problem] = []
    for prefix, form in CLUSTERS.items():
        given = any(name.startswith(f"{prefix}.") for name in host.options)
        if not given and not any(host.documents.get(kind) for kind in _FILES.get(prefix, ())):
            continue
        rules = _RULES.get(prefix, _candidates)
        shipped = [(field, getattr(form(), field.name)) for field in dataclasses.fields(form)]
        fields = [(field.name, float(value) if field.type is float else value) for field, value in shipped]
        own = {name: decide(host, f"{prefix}.{name}", rules(host, prefix, (name, like))) for name, like in fields}
        values |= {effective.key: effective for effective in own.values()}
        problems += _CHECKS[prefix](host) if prefix in _CHECKS else []
        if prefix != "o2cb" or _other_stack(host) is None:
            clusters.append(form(**{name: effective.value for name, effective in own.items()}))
    return values, tuple(clusters), problems


def _candidates(host: Host, prefix: str, item: _Item) -> list[Candidate]:
    """What holds for most stacks: the last acceptable line of the file, then the default."""
    return [*_from_files(host, _FILES.get(prefix, ()), prefix, item), _default(host, prefix, item)]


def _from_files(host: Host, kinds: Sequence[Kind], prefix: str, item: _Item) -> Iterator[Candidate]:
    name, like = item
    for kind, key in schema.feeding(f"{prefix}.{name}"):
        if kind not in kinds:
            continue
        for document, entry in reversed(_written(host, kind, key)):
            value = _read(kind, key, entry.value, like)
            if value is not None:
                yield Candidate(value, at(document, entry), "a later line of the same key wins")


def _default(host: Host, prefix: str, item: _Item) -> Candidate:
    name, value = item
    words = ""
    for kind, key in schema.feeding(f"{prefix}.{name}"):
        text = schema.default(kind, key.name, distribution=host.distribution or "")
        read = _read(kind, key, text, value) if text is not None else None
        if read is not None:
            value, words = read, schema.SCHEMAS[kind].program
            break
    return Candidate(value, Origin("built-in default", words=words), "a file sets it")


def _written(host: Host, kind: Kind, key: Key) -> _Found:
    """All lines of a key, in the order in which the program reads them."""
    return [
        (document, entry)
        for document in _documents(host, kind) for entry in document.entries()
        if schema.find(kind, entry.section, entry.key) is key
    ]


def _read(kind: Kind, key: Key, text: str, like: object) -> object | None:
    """A value in the type of the setting's default; None if the program refuses it."""
    if schema.SCHEMAS[kind].leading_digits:
        text = text[: len(text) - len(text.lstrip("0123456789"))][:12] or "0"
    try:
        value = key.read(text, fold_case=True)
    except ValueError:
        return None
    if isinstance(value, bool | str):
        return value
    least = 1 if key.name in _CONFIGURED else key.low
    if least is not None and value < least:
        return None
    return float(value) if isinstance(like, float) else int(value)


def _lines(host: Host, kind: Kind, name: str) -> _Found:
    return [
        (document, entry)
        for document in _documents(host, kind) for entry in document.entries() if entry.key == name
    ]


def _documents(host: Host, kind: Kind) -> Sequence[Document]:
    """The files that count: of o2cb's two, the one in sysconfig (ocfs2-tools vendor/common/o2cb.init.sh)."""
    documents = host.documents.get(kind, ())
    preferred = [document for document in documents if "sysconfig" in document.file]
    return preferred if kind is Kind.O2CB and preferred else documents


# --- o2cb


def _o2cb(host: Host, prefix: str, item: _Item) -> list[Candidate]:
    if item[0] == "negotiate" and host.kernel < _NEGOTIATES_SINCE:
        return [Candidate(False, Origin("derived", words="kernels before 4.7 do not negotiate"), "")]
    return _candidates(host, prefix, item)


def _other_stack(host: Host) -> tuple[Document, Entry] | None:
    """Where another cluster stack than o2cb's own is chosen."""
    chosen = _lines(host, Kind.O2CB, "O2CB_STACK")
    return chosen[-1] if chosen and chosen[-1][1].value not in ("o2cb", "") else None


def _check_o2cb(host: Host) -> list[Problem]:
    counting = _documents(host, Kind.O2CB)
    problems = [
        Problem(document.file, 0, "warning", f"not read, because there is {counting[0].file}")
        for document in host.documents.get(Kind.O2CB, ()) if document not in counting
    ]
    if other := _other_stack(host):
        document, entry = other
        words = f"O2CB_STACK={entry.value}: membership comes from that stack, and o2cb's timeouts do nothing"
        problems.append(Problem(document.file, entry.line, "warning", words))
    return problems


# --- SBD


def _sbd(host: Host, prefix: str, item: _Item) -> list[Candidate]:
    """With a disk its header counts; without one the sysconfig file does."""
    name, _ = item
    default = _default(host, prefix, item)
    disks = _disks(host)
    if name == "devices":
        return [disks, default] if disks else [default]
    if name == "delay_start":
        return [*_delay_start(host), default]
    configured = [*_from_options(host, name), *_from_files(host, (Kind.SBD,), prefix, item)]
    if name not in _ON_DISK or (disks and disks.value == 0):
        return [*configured, default]
    words = "with a disk, the timeout in its header counts"
    lost = [Candidate(candidate.value, candidate.origin, words) for candidate in configured]
    on_disk = list(_from_files(host, (Kind.SBD_DUMP,), prefix, item))
    return [*on_disk[-1:], default, *lost]  # of several disks the first


def _disks(host: Host) -> Candidate | None:
    """How many disks there are; 0 is diskless."""
    named = _lines(host, Kind.SBD, "SBD_DEVICE")
    dumped = _lines(host, Kind.SBD_DUMP, "Timeout (watchdog)")
    if named and (named[-1][1].value.strip("; ") or not dumped):
        count = len([name for name in named[-1][1].value.split(";") if name.strip()])
        return Candidate(count, at(*named[-1]), "")
    if dumped:
        return Candidate(len(dumped), at(*dumped[0]), "")
    if host.documents.get(Kind.SBD):
        return Candidate(0, Origin("derived", words="SBD_DEVICE is not set"), "")
    return None


def _delay_start(host: Host) -> list[Candidate]:
    """SBD_DELAY_START: no, yes for the header's msgwait, or seconds."""
    found = []
    for document, entry in reversed(_lines(host, Kind.SBD, "SBD_DELAY_START")):
        word = entry.value.lower()
        key = schema.find(Kind.SBD, (), entry.key)
        value: object | None
        if word in ("yes", "true", "on", "y", "1"):
            value = decide(host, "sbd.msgwait", _sbd(host, "sbd", ("msgwait", Sbd().msgwait))).value
        elif word in ("no", "false", "off", "n", "0"):
            value = 0
        else:
            value = _read(Kind.SBD, key, entry.value, 0) if key else None
        if isinstance(value, int):
            found.append(Candidate(value, at(document, entry), "a later line of the same key wins"))
    return found


def _from_options(host: Host, name: str) -> Iterator[Candidate]:
    """What an option within SBD_OPTS says; sbd takes the last of its kind."""
    option = _SBD_OPTIONS.get(name)
    for document, entry in reversed(_lines(host, Kind.SBD, "SBD_OPTS") if option else []):
        try:
            words = shlex.split(entry.value)
        except ValueError:
            continue
        for word, following in reversed(list(zip(words, [*words[1:], ""], strict=False))):
            text = (word[2:] or following) if word[:2] == option else ""
            if text.isascii() and text.isdigit() and len(text) < 10:
                yield Candidate(int(text), at(document, entry), "a later option of the same name wins")


def _check_sbd(host: Host) -> list[Problem]:
    problems = []
    disks = _disks(host)
    headers = _lines(host, Kind.SBD_DUMP, "Timeout (watchdog)") + _lines(host, Kind.SBD_DUMP, "Timeout (msgwait)")
    for name in {entry.key for _, entry in headers}:
        values = [(document, entry) for document, entry in headers if entry.key == name]
        for document, entry in values[1:]:
            if entry.value != values[0][1].value:
                words = f"{name} is {entry.value} here and {values[0][1].value} on the first disk"
                problems.append(Problem(document.file, entry.line, "error", words, "give all disks the same"))
    if disks and disks.value and not headers:
        words = "the timeouts are in the disk's header, which is not given: those of sbd create are assumed"
        origin = disks.origin
        problems.append(Problem(origin.file, origin.line, "warning", words, "give the output of sbd -d DEVICE dump"))
    return problems


# --- corosync


def _corosync(host: Host, prefix: str, item: _Item) -> list[Candidate]:
    """Nodes are counted, a quorum device is there or not; the rest is as anywhere."""
    documents = host.documents.get(Kind.COROSYNC, ())
    if item[0] == "nodes":
        for document in documents:
            nodes = {entry.section[1] for entry in document.entries() if entry.section[:1] == ("nodelist",)
                     and len(entry.section) > 1 and entry.section[1].startswith("node[")}
            if nodes:
                origin = Origin("file", document.file, words="node sections of nodelist")
                return [Candidate(len(nodes), origin, ""), _default(host, prefix, item)]
    if item[0] == "qdevice":
        for document in documents:
            device = [entry for entry in document.entries() if entry.section[:2] == ("quorum", "device")]
            if device:
                return [Candidate(True, at(document, device[0]), ""), _default(host, prefix, item)]
    return _candidates(host, prefix, item)


_RULES: Mapping[str, Callable[[Host, str, _Item], list[Candidate]]] = {
    "o2cb": _o2cb, "sbd": _sbd, "corosync": _corosync,
}
_CHECKS: Mapping[str, Callable[[Host], list[Problem]]] = {"o2cb": _check_o2cb, "sbd": _check_sbd}
