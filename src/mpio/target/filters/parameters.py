"""What a filter can be told: fields of its dataclass that say how they are read and what they mean.

Values come from TOML, from JSON, or as text from a command line, so each kind takes all three. Every function here
raises ValueError with what was expected and what was found.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, field, fields
from typing import Any

from mpio.proto.scsi.sense import Sense
from mpio.units import parse_duration, parse_size, seconds

Kind = tuple[Callable[[object], Any], str]
"""How a value is read, and what is shown in its place in the docs."""

_TEXT_MAX = 4096
_COUNT_MAX = 2**63 - 1


def parameter(kind: Kind, meaning: str, default: object = MISSING) -> Any:
    """A field that can be given. Without a default it must be; a default is written as a person would.

    A default of None stays None.
    """
    parse, shown = kind
    metadata = {"parse": parse, "shown": shown, "meaning": meaning, "default": default}
    if default is MISSING:
        return field(kw_only=True, metadata=metadata)
    value = parse(default) if default is not None else None
    return field(kw_only=True, default=value, metadata=metadata)


def parameters_of(kind: type) -> list[Field[Any]]:
    """The fields of a dataclass that can be given, in order."""
    return [item for item in fields(kind) if "parse" in item.metadata]


def key_of(item: Field[Any]) -> str:
    """What a field is called in a configuration: its name without the unit that it is kept in."""
    return item.name.removesuffix("_ns").removesuffix("_bytes").rstrip("_").replace("_", "-")


def read_parameters(kind: type, given: Mapping[str, object]) -> dict[str, Any]:
    """Constructor arguments for a dataclass; takes keys with `-` or `_`. Raises ValueError, also for unknown keys."""
    known = {key_of(item): item for item in parameters_of(kind)}
    values: dict[str, Any] = {}
    for name, value in given.items():
        key = name.replace("_", "-")
        item = known.get(key)
        if item is None:
            raise ValueError(f"there is no {name[:40]!r}; expected one of {', '.join(known)}")
        try:
            values[item.name] = item.metadata["parse"](value)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
    for key, item in known.items():
        if item.metadata["default"] is MISSING and item.name not in values:
            raise ValueError(f"{key} is missing: {item.metadata['meaning']}")
    return values


def shown(value: object) -> str:
    """A value in an error message."""
    return repr(value)[:60]


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or len(value) > _TEXT_MAX or not value.isprintable():
        raise ValueError(f"expected text, found {shown(value)}")
    return value


def _texts(value: object) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not items:
        raise ValueError(f"expected a text or a list of them, found {shown(value)}")
    return tuple(_text(item.strip() if isinstance(item, str) else item) for item in items)


def _integer(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _COUNT_MAX:
        raise ValueError(f"expected a whole number, found {shown(value)}")
    return value


def _number(value: object) -> float:
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else -1.0
    except (ValueError, OverflowError):
        number = -1.0
    if not 0 <= number < 1e15:  # NaN is neither
        raise ValueError(f"expected a number, found {shown(value)}")
    return number


def _share(value: object) -> float:
    number = _number(value)
    if number > 1:
        raise ValueError(f"expected a share from 0 to 1, found {shown(value)}")
    return number


def _flag(value: object) -> bool:
    words = {"true": True, "yes": True, "false": False, "no": False}
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, found {shown(value)}")
    return value


def _duration(value: object) -> int:
    if isinstance(value, str):
        return parse_duration(value)
    return seconds(_number(value))


def _size(value: object) -> int:
    return parse_size(value) if isinstance(value, str) else _integer(value)


def _sense(value: object) -> Sense:
    words = value.split("/") if isinstance(value, str) else []
    try:
        key, asc, ascq = (int(word, 16) for word in words if len(word) <= 2)
    except ValueError:
        raise ValueError(f"expected key/asc/ascq in hex such as '03/11/00', found {shown(value)}") from None
    if not (0 <= key <= 0xF and asc >= 0 and ascq >= 0):
        raise ValueError(f"expected a sense key from 00 to 0F, found {shown(value)}")
    return Sense(key, asc, ascq)


TEXT: Kind = (_text, "text")
TEXTS: Kind = (_texts, "text, or several")
INTEGER: Kind = (_integer, "number")
NUMBER: Kind = (_number, "number")
SHARE: Kind = (_share, "0 to 1")
FLAG: Kind = (_flag, "true or false")
DURATION: Kind = (_duration, "duration")
SIZE: Kind = (_size, "size")
SENSE: Kind = (_sense, "key/asc/ascq")


def choice(*words: str) -> Kind:
    """One of some words."""

    def parse(value: object) -> str:
        if value not in words:
            raise ValueError(f"expected {' or '.join(words)}, found {shown(value)}")
        return str(value)

    return parse, " or ".join(f"`{word}`" for word in words)
