"""Checks of single files that no table can say: values that a program changes, and mistakes that many people make."""

import re
from collections.abc import Callable, Iterator, Mapping

from mpio.config.document import Document, Entry, Problem, Section
from mpio.config.files import Kind
from mpio.config.schema import SCHEMAS, Key, Type, find, named
from mpio.config.schema.key import shown

_SBD_FLAG = re.compile(r"-([a-zA-Z0-9])(\S*)")
_DIGITS = re.compile(r"[0-9]{1,9}", re.ASCII)


def _initiator(document: Document) -> Iterator[Problem]:
    """iscsid.conf and node records: pings of which only one half is off, cmds_max that is no power of two."""
    pings: dict[tuple[Section, str], dict[str, Entry]] = {}
    for entry in document.entries():
        connection, _, last = entry.key.rpartition(".")
        number = _number(entry)
        if last in ("noop_out_interval", "noop_out_timeout"):
            pings.setdefault((entry.section, connection), {})[last] = entry
        elif entry.key == "node.session.cmds_max" and number is not None and number & (number - 1):
            yield Problem(document.file, entry.line, "warning", f"node.session.cmds_max is {number}: expected a power "
                          "of two; the kernel rounds it down", f"write {1 << number.bit_length() - 1}")
    for pair in pings.values():
        zeros = [entry for entry in pair.values() if _number(entry) == 0]
        if len(zeros) == 1:
            yield Problem(
                document.file, zeros[0].line, "warning",
                "one of noop_out_interval and noop_out_timeout is 0: iscsid and the kernel then set both to 5",
                "set both to 0 to turn pings off",
            )


def _o2cb(document: Document) -> Iterator[Problem]:
    """Seconds given as iterations. With T = 60 a node fences itself after 118 s, with 31 after 60 s."""
    entry = document.get((), "O2CB_HEARTBEAT_THRESHOLD")
    count = None if entry is None else _number(entry)
    if entry is None or count is None or count < 3:
        return
    if count >= 1000:
        yield Problem(
            document.file, entry.line, "warning",
            f"O2CB_HEARTBEAT_THRESHOLD counts iterations of 2 s: {count} means that a node fences itself after "
            f"{2 * (count - 1)} s", f"for {count} ms write {max(7, count // 2000 + 1)}",
        )
    elif count >= 20 and count % 10 == 0:
        yield Problem(
            document.file, entry.line, "warning",
            f"O2CB_HEARTBEAT_THRESHOLD counts iterations of 2 s: {count} means that a node fences itself after "
            f"{2 * (count - 1)} s", f"for {count} s write {count // 2 + 1}, for {2 * count} s write {count + 1}",
        )
    elif count < 7:
        yield Problem(document.file, entry.line, "warning", f"O2CB_HEARTBEAT_THRESHOLD is {count}: `o2cb configure` "
                      f"accepts 7 and more; a node would fence itself after {2 * (count - 1)} s")


def _multipath(document: Document) -> Iterator[Problem]:
    """Values that multipathd does not apply on iSCSI, and words that must be counted."""
    for entry in document.entries():
        if entry.key == "fast_io_fail_tmo" and entry.value in ("off", "0"):
            yield Problem(
                document.file, entry.line, "warning",
                f"fast_io_fail_tmo {entry.value} is not applied on iSCSI: replacement_timeout counts, mostly 120",
                "write a number from 1",
            )
        elif entry.key == "features":
            yield from _features(document.file, entry)
        elif entry.key == "path_selector" and find(Kind.MULTIPATH, entry.section, entry.key):
            words = entry.value.split()
            if len(words) < 2 or not _DIGITS.fullmatch(words[1]) or int(words[1]) != len(words) - 2:
                yield Problem(document.file, entry.line, "warning", "path_selector: expected its name, the number of "
                              f"its arguments and these, found {shown(entry.value)}",
                              f'write "{words[0]} {len(words[1:])}"' if len(words) == 1 else "")
    section = ("defaults",)
    least, most = (document.get(section, name) for name in ("polling_interval", "max_polling_interval"))
    if least and most and (_number(least) or 0) > (_number(most) or 0) > 0:
        yield Problem(document.file, least.line, "warning", f"polling_interval {least.value} is more than "
                      f"max_polling_interval {most.value}, which then counts", "raise max_polling_interval")


def _features(file: str, entry: Entry) -> Iterator[Problem]:
    words = entry.value.split()
    if not words or not _DIGITS.fullmatch(words[0]) or int(words[0]) != len(words) - 1:
        yield Problem(file, entry.line, "warning",
                      f"features: expected the number of words and then the words, found {shown(entry.value)}",
                      f'write "{len(words)} {" ".join(words)}"' if words and not _DIGITS.fullmatch(words[0]) else "")
    if "queue_if_no_path" in words:
        yield Problem(file, entry.line, "warning", "features queue_if_no_path is out of date, and counts only where "
                      "no_path_retry is set nowhere", "write no_path_retry queue")


def _sbd(document: Document) -> Iterator[Problem]:
    """Options inside SBD_OPTS, and a watchdog timeout that the disk's header overrules."""
    options = document.get((), "SBD_OPTS")
    if options is not None:
        yield from _sbd_options(document.file, options)
    timeout, device = document.get((), "SBD_WATCHDOG_TIMEOUT"), document.get((), "SBD_DEVICE")
    if timeout is not None and device is not None and device.value.strip("; \t") and timeout.value not in ("5", "15"):
        yield Problem(document.file, timeout.line, "warning", "SBD_WATCHDOG_TIMEOUT has no effect beside SBD_DEVICE: "
                      "the timeout in the disk's header counts", "sbd create -1 sets that")


def _sbd_options(file: str, entry: Entry) -> Iterator[Problem]:
    words = iter(entry.value.split())
    for word in words:
        flag = _SBD_FLAG.fullmatch(word)
        key = None if flag is None else _sbd_flag(f"-{flag[1]}")
        if flag is None or key is None:
            yield Problem(file, entry.line, "error", f"SBD_OPTS: sbd has no option {shown(word)}",
                          "sbd refuses to start")
        elif _takes_value(key):
            value = flag[2] or next(words, "")
            if key.type is Type.INTEGER and not _DIGITS.fullmatch(value):
                yield Problem(file, entry.line, "error", f"SBD_OPTS: {key.name} expects a whole number"
                              f"{' of seconds' if key.unit == 's' else ''}, found {shown(value)}",
                              "sbd refuses to start")


def _sbd_flag(name: str) -> Key | None:
    return next((key for key in named(Kind.SBD, name) if key.name == name), None)


def _takes_value(key: Key) -> bool:
    return key.type is Type.INTEGER or key.name in ("-r", "-d", "-w", "-n", "-p")


def _sanlock(document: Document) -> Iterator[Problem]:
    """Without the watchdog a host that lost its leases may go on writing."""
    entry = document.get((), "use_watchdog")
    if entry is not None and entry.value == "0":
        yield Problem(document.file, entry.line, "warning",
                      "use_watchdog 0: nothing resets a host that lost its leases", "write use_watchdog = 1")


def _ocfs2(document: Document) -> Iterator[Problem]:
    """Names and regions that o2cb_ctl refuses, and a node_count that does not count the nodes."""
    nodes: dict[str, int] = {}
    clusters: dict[str, dict[str, Entry]] = {}
    for entry in document.entries():
        stanza = entry.section[0] if entry.section else ""
        if stanza.startswith("node[") and entry.key == "cluster":
            nodes[entry.value] = nodes.get(entry.value, 0) + 1
        elif stanza.startswith("cluster["):
            clusters.setdefault(stanza, {})[entry.key] = entry
        elif entry.key == "region" and not re.fullmatch(r"[0-9A-F]{32}", entry.value):
            yield Problem(document.file, entry.line, "error", "region: expected 32 hexadecimal digits in upper case, "
                          f"found {shown(entry.value)}", "mounted.ocfs2 -d shows a volume's UUID")
    for cluster in clusters.values():
        name, count = cluster.get("name"), cluster.get("node_count")
        if name is not None and not re.fullmatch(r"[0-9A-Za-z]{1,16}", name.value):
            yield Problem(document.file, name.line, "error", "name of a cluster: expected up to 16 letters and digits, "
                          f"found {shown(name.value)}")
        there = nodes.get(name.value, 0) if name is not None else 0
        if count is not None and _number(count) not in (None, there):
            yield Problem(document.file, count.line, "error", f"node_count is {count.value}, and there are {there} "
                          "nodes of the cluster", "write the number of node stanzas")


def initiators_key(name: str) -> Key | None:
    """The key of iscsid.conf of that name, or else with that last part."""
    if exact := named(Kind.ISCSID, name):
        return exact[0]
    last = name.rpartition(".")[2].lower()
    return next((key for key in SCHEMAS[Kind.ISCSID].keys if key.name.rpartition(".")[2].lower() == last), None)


def _number(entry: Entry) -> int | None:
    return int(entry.value) if _DIGITS.fullmatch(entry.value) else None


SPECIAL: Mapping[Kind, Callable[[Document], Iterator[Problem]]] = {
    Kind.ISCSID: _initiator, Kind.NODE_RECORD: _initiator, Kind.MULTIPATH: _multipath, Kind.O2CB: _o2cb,
    Kind.SBD: _sbd, Kind.SANLOCK: _sanlock, Kind.OCFS2: _ocfs2,
}
