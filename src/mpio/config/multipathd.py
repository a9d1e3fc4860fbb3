"""Which of its settings multipathd obeys for one map: multipaths > overrides > devices > hardware table > defaults.

Sources: multipath-tools libmultipath/propsel.c (precedence), libmultipath/config.c (how files and devices are joined,
polling intervals), libmultipath/dict.c (how values are read), libmultipath/blacklist.c. Releases from 0.7.8 on are
followed in detail; before, one device entry alone counted, and the built-in table was another.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mpio.config import blacklist, hwtable, posix_regex, schema
from mpio.config.document import Document, Entry, Problem, Section
from mpio.config.files import Kind
from mpio.config.multipath_values import READERS, UINT_MAX, Refused
from mpio.config.origin import Candidate, Device, Effective, Host, Origin, at, decide
from mpio.model.stack import Version

_PROTOCOL_SINCE: Version = (0, 9, 0)
_INTERVALS_FIT_SINCE: Version = (0, 8, 4)
_INVALID_WRAPS_SINCE: Version = (0, 8, 8)  # libmultipath/dict.c:checkint_handler counts "unset" down by one
_ZERO_ENDS_SINCE: Version = (0, 10, 0)  # libmultipath/config.c: max_checkint % checkint

_MAP_KEYS = ("no_path_retry", "features", "failback", "path_grouping_policy", "path_selector")
_PATH_KEYS = ("fast_io_fail_tmo", "dev_loss_tmo")
_CHECKER = "path_checker"
_DEFAULTS_ONLY = ("polling_interval", "max_polling_interval", "checker_timeout", "max_retries")
_LATER = "a later line of the same key wins"

@dataclass(frozen=True, slots=True)
class _Section:
    """A section that applies to the map. `name` is its place in the order of precedence.

    Attributes:
        loses: why it does not win where another does.
        settings: by key, in the order of the files; the last acceptable one counts. table: the same, built in.
    """

    name: str
    loses: str
    settings: Mapping[str, Sequence[tuple[Document, Entry]]] = field(default_factory=dict)
    table: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Block:
    """A section that may be repeated."""

    document: Document
    line: int
    settings: dict[str, list[tuple[Document, Entry]]] = field(default_factory=dict)

    def last(self, key: str) -> str | None:
        found = self.settings.get(key)
        return found[-1][1].value if found else None


class _Files:
    """multipath.conf and its drop-ins as one: sections that may not be repeated by name, the others in order."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self.flat: dict[str, dict[str, list[tuple[Document, Entry]]]] = {}
        self.repeated: dict[str, list[_Block]] = {}
        for document in documents:
            blocks: dict[Section, _Block] = {}
            for entry in document.entries():
                key = _CHECKER if entry.key == "checker" else entry.key
                if len(entry.section) == 1:
                    settings = self.flat.setdefault(entry.section[0], {})
                else:
                    block = blocks.get(entry.section)
                    if block is None:
                        block = blocks[entry.section] = _Block(document, entry.line)
                        self.repeated.setdefault(schema.section_path(entry.section), []).append(block)
                    settings = block.settings
                settings.setdefault(key, []).append((document, entry))


def in_force(host: Host) -> tuple[dict[str, Effective], list[Problem]]:
    """Settings of multipathd by their names in `LinuxStack`, `path_checker` too, and what a person should know."""
    documents = host.documents.get(Kind.MULTIPATH, ())
    files = _Files(documents)
    sections, problems = _sections(host, files)
    values = {
        key: decide(host, key, [*_candidates(host, sections, key), _built_in(host, key)])
        for key in (*_MAP_KEYS, *_PATH_KEYS, _CHECKER, *_DEFAULTS_ONLY)
    }
    features, retry = values.pop("features"), values["no_path_retry"]
    if "queue_if_no_path" in str(features.value) and retry.origin.kind == "built-in default":
        words = "features \"1 queue_if_no_path\" means no_path_retry queue"
        origin = Origin("derived", features.origin.file, features.origin.line, words)
        values["no_path_retry"] = Effective(retry.key, "queue", origin, ((retry.value, retry.origin, words),))
    problems += _fit_intervals(host, values, files)
    running = Candidate(host.multipath, Origin("option" if not host.multipath else "built-in default"), "")
    named = blacklist.covers(host, documents) if host.multipath else None
    blocked = [Candidate(False, named, "")] if named else []
    values["multipath"] = decide(host, "multipath", [*blocked, running])
    return values, problems


def _sections(host: Host, files: _Files) -> tuple[list[_Section], list[Problem]]:
    """The sections that apply to the host's map and array, the one that wins first."""
    problems: list[Problem] = []
    sections = [
        _Section("multipaths", "a later section of the same wwid wins", block.settings)
        for block in _map_blocks(host, files, problems)
    ]
    protocols = [block for block in files.repeated.get("overrides/protocol", ()) if block.last("type") == "scsi:iscsi"]
    if host.multipath_tools >= _PROTOCOL_SINCE:
        words = "a later section of the same protocol wins"
        sections += [_Section("protocol", words, block.settings) for block in reversed(protocols)]
    elif protocols:
        words = "multipath-tools before 0.9.0 knows no protocol section, and its '}' ends overrides"
        problems.append(Problem(protocols[0].document.file, protocols[0].line, "error", words))
    words = "multipaths and overrides of the protocol beat overrides"
    sections.append(_Section("overrides", words, files.flat.get("overrides", {})))
    sections += _array_sections(host, _device_blocks(host, files, problems))
    words = "all other sections and the built-in hardware table beat defaults"
    sections.append(_Section("defaults", words, files.flat.get("defaults", {})))
    return sections, problems


def _array_sections(host: Host, blocks: Sequence[_Block]) -> Iterator[_Section]:
    """`device` sections that match, and the built-in table behind them.

    A built-in entry for the very same patterns is filled into the section, and comes with it before other sections.
    """
    version = max(host.multipath_tools, hwtable.FIRST_VERSION)
    words = "multipaths, overrides and later devices sections that match beat it"
    moved = []
    for block in blocks:
        yield _Section("devices", words, block.settings)
        name = (block.last("vendor") or "", block.last("product") or "")
        if block.last("revision") is None:
            moved.append(name)
            yield _Section("hardware table", words, table=hwtable.entry(*name, version))
    if host.device and (not blocks or host.multipath_tools >= hwtable.FIRST_VERSION):
        table = hwtable.lookup(host.device.vendor, host.device.product, version, moved)
        yield _Section("hardware table", "multipaths, overrides and devices beat it", table=table)


def _candidates(host: Host, sections: Sequence[_Section], key: str) -> Iterator[Candidate]:
    allowed = ["overrides", "devices", "hardware table", "defaults"]
    if key in _DEFAULTS_ONLY:
        known = all(host.multipath_tools >= each.since for each in schema.named(Kind.MULTIPATH, key))
        allowed = ["defaults"] if known else []
    elif key != _CHECKER:
        allowed.append("multipaths" if key in _MAP_KEYS else "protocol")
    for section in sections:
        if section.name in allowed and section.name == "hardware table":
            yield from _from_table(host, key, section)
        elif section.name in allowed:
            yield from _from_section(host, key, section)


def _from_section(host: Host, key: str, section: _Section) -> Iterator[Candidate]:
    """The last value that multipathd takes, unless a later one takes it back; then those that it replaced."""
    taken: list[Candidate] = []
    for document, entry in section.settings.get(key, ()):
        value = READERS[key](entry.value, host.multipath_tools)
        if value is Refused.UNSET:
            taken = []
        elif value is not Refused.IGNORED:
            taken = [Candidate(before.value, before.origin, _LATER) for before in taken]
            taken.append(Candidate(value, at(document, entry), section.loses))
    yield from reversed(taken)


def _from_table(host: Host, key: str, section: _Section) -> Iterator[Candidate]:
    text = section.table.get(key)
    value = Refused.UNSET if text is None else READERS[key](text, host.multipath_tools)
    if host.device and not isinstance(value, Refused):
        words = f"{host.device.vendor} {host.device.product}, multipath-tools {_dotted(host.multipath_tools)}"
        yield Candidate(value, Origin("hardware table", words=words), section.loses)


def _built_in(host: Host, key: str) -> Candidate:
    """What holds where no section says anything."""
    words, value = f"multipath-tools {_dotted(host.multipath_tools)}", _UNSET.get(key)
    if key in _UNSET:
        words += f": {_UNSET_WORDS[key]}" if key in _UNSET_WORDS else ""
    else:
        text = schema.default(Kind.MULTIPATH, key, version=host.multipath_tools)
        value = None if text is None else READERS[key](text, host.multipath_tools)
    return Candidate(value, Origin("built-in default", words=words), "a file sets it")


_UNSET: dict[str, object] = {
    "no_path_retry": "fail", "features": "", "dev_loss_tmo": None, "checker_timeout": None, "max_retries": 5,
    "max_polling_interval": None,
}
_UNSET_WORDS = {
    "no_path_retry": "unset is as fail", "checker_timeout": "unset, the SCSI timeout takes its place",
    "max_retries": "unset leaves the kernel's",
}


def _map_blocks(host: Host, files: _Files, problems: list[Problem]) -> list[_Block]:
    """The `multipath` sections of the host's map, the last one first."""
    blocks = files.repeated.get("multipaths/multipath", [])
    for block in blocks:
        if block.last("wwid") is None:
            words = "a multipath section without wwid: multipathd drops it"
            problems.append(Problem(block.document.file, block.line, "error", words))
    named = {block.last("wwid") for block in blocks} & {host.wwid} - {""}
    if not named and host.alias:
        named = {block.last("wwid") for block in blocks if block.last("alias") == host.alias}
    if blocks and not host.wwid and not host.alias:
        words = "multipath sections are not looked at: it is not known which map is meant"
        problems.append(Problem(blocks[0].document.file, blocks[0].line, "warning", words, "give its wwid"))
    return [block for block in reversed(blocks) if block.last("wwid") in named - {None}]


def _device_blocks(host: Host, files: _Files, problems: list[Problem]) -> list[_Block]:
    """The `device` sections that match the host's array, the last one first."""
    blocks = []
    for block in files.repeated.get("devices/device", ()):
        if block.last("vendor") is None or block.last("product") is None:
            words = "a device section needs vendor and product: multipathd drops it"
            problems.append(Problem(block.document.file, block.line, "error", words))
        else:
            blocks.append(block)
    if host.device is None:
        if blocks:
            words = "device sections are not looked at: it is not known which array is meant"
            hint = "give its vendor and product"
            problems.append(Problem(blocks[0].document.file, blocks[0].line, "warning", words, hint))
        return []
    matching = [block for block in reversed(_joined(host, blocks)) if _block_matches(block, host.device)]
    return matching[:1] if host.multipath_tools < hwtable.FIRST_VERSION else matching


def _joined(host: Host, blocks: Sequence[_Block]) -> list[_Block]:
    """factorize_hwtable(): sections of the same vendor, product and revision become one, at the last one's place.

    What the later one takes back is its own: merge_hwe() finds no value there, and the earlier one's stays.
    """
    joined: dict[tuple[str | None, ...], _Block] = {}
    for block in blocks:
        name = tuple(block.last(key) for key in ("vendor", "product", "revision"))
        earlier = joined.pop(name, None)
        if earlier:
            merged = _Block(block.document, block.line, dict(earlier.settings))
            for key, found in block.settings.items():
                before = merged.settings.get(key, ())
                counts = key not in READERS or any(_from_section(host, key, _Section("devices", "", block.settings)))
                merged.settings[key] = [*before, *found] if counts else [*found, *before]
            block = merged
        joined[name] = block
    return list(joined.values())


def _block_matches(block: _Block, device: Device) -> bool:
    pairs = (("vendor", device.vendor), ("product", device.product), ("revision", device.revision))
    return all(posix_regex.found(pattern, text) for key, text in pairs if (pattern := block.last(key)) is not None)


def _fit_intervals(host: Host, values: dict[str, Effective], files: _Files) -> list[Problem]:
    """config.c: what becomes of the polling intervals when one is missing, zero, or larger than the other."""
    problems: list[Problem] = []
    least, most = values["polling_interval"], values["max_polling_interval"]
    asked = files.flat.get("defaults", {}).get("polling_interval", [])
    if asked and least.origin.kind == "built-in default" and host.multipath_tools >= _INVALID_WRAPS_SINCE:
        document, entry = asked[-1]
        words = f"{entry.value!r:.40} is no number, and multipathd then takes {UINT_MAX - 1}"
        least = least.derive(UINT_MAX - 1, words)
        problems.append(Problem(document.file, entry.line, "error", words, "write whole seconds"))
    if least.value == 0:
        if host.multipath_tools >= _ZERO_ENDS_SINCE:
            words = "polling_interval 0 ends multipathd with a division by zero"
            problems.append(Problem(least.origin.file, least.origin.line, "error", words, "write 1 or more"))
        least = least.derive(1, "with 0 paths are checked each time the loop runs, once a second")
    fits = host.multipath_tools >= _INTERVALS_FIT_SINCE
    if not most.value:
        words = "four times polling_interval"
        most = Effective(most.key, min(4 * _number(least), UINT_MAX), Origin("derived", words=words), most.overruled)
    elif fits and least.origin.kind == "built-in default":
        least = least.derive(max(_number(most) // 4, 1), "a quarter of max_polling_interval, which alone is set")
    elif fits and _number(least) > _number(most):
        least = least.derive(most.value, "max_polling_interval is smaller")
    values["polling_interval"], values["max_polling_interval"] = least, most
    return problems


def _number(effective: Effective) -> int:
    assert isinstance(effective.value, int)
    return effective.value


def _dotted(version: Version) -> str:
    return ".".join(str(part) for part in version)
