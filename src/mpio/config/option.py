"""One setting as a person names it on a command line: by its short name, or as it stands in its file.

`noop_out_interval=5`, `node.conn[0].timeo.noop_out_interval=5`, `o2cb.heartbeat_threshold=31` and
`O2CB_HEARTBEAT_THRESHOLD=31` all work; times may carry a unit if they come out whole in the file's own.
"""

import dataclasses
import difflib
from collections.abc import Mapping

from mpio.config.schema import SCHEMAS, Key, Type
from mpio.model.cluster import Corosync, LinuxHa, Mmp, Ncs, O2cb, Qdisk, Rac, Sanlock, Sbd
from mpio.model.stack import LinuxStack
from mpio.units import NS_PER_S, parse_duration

_NOT_SETTINGS = ("hz", "kernel", "multipath_tools", "nodes", "devices")
_OWNERS: Mapping[str, type] = {
    "": LinuxStack, "o2cb": O2cb, "sbd": Sbd, "corosync": Corosync, "sanlock": Sanlock, "ncs": Ncs,
    "heartbeat": LinuxHa, "rac": Rac, "mmp": Mmp, "qdisk": Qdisk,
}
_UNITS_NS = {"s": NS_PER_S, "ms": NS_PER_S // 1000}
_WORDS: Mapping[str, bool] = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}


def setting_names() -> tuple[str, ...]:
    """Every name that `parse_option` gives."""
    return tuple(f"{prefix}.{item.name}" if prefix else item.name for prefix, owner in _OWNERS.items()
                 for item in dataclasses.fields(owner) if item.name not in _NOT_SETTINGS)


def parse_option(text: str) -> tuple[str, object]:
    """Name and value of a KEY=VALUE. Raises ValueError with a message for people."""
    given, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not given:
        raise ValueError(f"expected KEY=VALUE such as noop_out_interval=5, found {text[:60]!r}")
    name, key = _find(given)
    if not value:
        raise ValueError(f"{given}: expected a value, found nothing")
    try:
        return name, _value(name, key, value)
    except ValueError as error:
        raise ValueError(f"{given}: {error}") from None


def _find(given: str) -> tuple[str, Key | None]:
    keys = [key for schema in SCHEMAS.values() for key in schema.keys if key.feeds]
    names = setting_names()
    if given in names:
        return given, next((key for key in keys if key.feeds == given), None)
    for key in keys:
        if key.name == given and key.feeds in names:
            return key.feeds, key
    near = difflib.get_close_matches(given, [*names, *(key.name for key in keys)], 1, 0.6)
    raise ValueError(f"{given[:60]}: no such setting" + (f", did you mean {near[0]}?" if near else ""))


def _value(name: str, key: Key | None, text: str) -> object:
    prefix, _, field = name.rpartition(".")
    kind = next(item.type for item in dataclasses.fields(_OWNERS[prefix]) if item.name == field)
    if kind is bool:
        if text.lower() not in _WORDS:
            raise ValueError(f"expected yes or no, found {text[:40]!r}")
        return _WORDS[text.lower()]
    if key is None:
        return _number(text, "ms" if field.endswith("_ms") else "s", whole=kind is not float)
    if key.type in (Type.TEXT, Type.CHOICE):
        return key.read(text)
    return _from_file(key, text, whole=kind is not float)


def _from_file(key: Key, text: str, *, whole: bool) -> object:
    """A number, or one of the words that the file allows beside it."""
    words = dict(key.words)
    if text in words and not text.lstrip("-").isdigit():
        return None if text == "off" else text
    value = _number(text, key.unit, whole=whole)
    if (key.low is not None and value < key.low) or (key.high is not None and value > key.high):
        raise ValueError(f"expected {key.expected()}, found {text[:40]}")
    return value


def _number(text: str, unit: str, *, whole: bool) -> int | float:
    """A number in the unit, or a duration with a unit of its own that is a whole number of these."""
    try:
        return int(text) if len(text) <= 24 else int("too long")
    except ValueError:
        pass
    unit_ns = _UNITS_NS.get(unit)
    if unit_ns is None:
        raise ValueError(f"expected a whole number{f' of {unit}' if unit else ''}, found {text[:40]!r}")
    duration_ns = parse_duration(text)
    if whole and duration_ns % unit_ns:
        raise ValueError(f"expected a whole number of {unit}, found {text[:40]!r}")
    return duration_ns // unit_ns if duration_ns % unit_ns == 0 else duration_ns / unit_ns
