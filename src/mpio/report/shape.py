"""Checked access to JSON that somebody else wrote: each value has the expected type, or InputError names its place.

Owns: type checks, bounds of text and lists, and the cleaning of text so that it can be shown anywhere (a terminal,
HTML, XML). Knows nothing of what the fields mean.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mpio.errors import InputError

TEXT_MAX = 2_000  # characters of one string; longer ones are cut, and end in an ellipsis
NS_MAX = 2**62  # 146 years; more is a mistake, and would not fit a 64-bit sum
_SHOWN_MAX = 60  # characters of a wrong value in an error message

# C0 and C1 controls, lone surrogates and the signs that reorder text: illegal in XML, or able to lie on a terminal
_UNSAFE = dict.fromkeys(
    (*range(0x20), *range(0x7F, 0xA0), *range(0xD800, 0xE000), 0x200E, 0x200F, *range(0x202A, 0x202F),
     *range(0x2066, 0x206A), 0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xFFFF), "\ufffd")
_UNSAFE_BUT_LINES = {code: to for code, to in _UNSAFE.items() if code not in (0x09, 0x0A)}


def clean(text: str, length_max: int = TEXT_MAX) -> str:
    """The text on one line, without control or reordering characters, cut to `length_max`."""
    return _cut(text, length_max).translate(_UNSAFE)


def clean_lines(text: str, length_max: int) -> str:
    """As `clean`, but line ends and tabs stay."""
    return _cut(text, length_max).replace("\r\n", "\n").translate(_UNSAFE_BUT_LINES)


def _cut(text: str, length_max: int) -> str:
    return text if len(text) <= length_max else text[:length_max - 1] + "…"


def parse_json(where: str, text: str) -> Any:
    """Parse one JSON text. Raises InputError, also for NaN, infinities and hopeless nesting."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}:{error.lineno}", f"expected JSON, found {error.msg} "
                                                    f"at column {error.colno}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(where, f"expected JSON, found {clean(str(error), 200)}") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name}, which JSON does not have")


def _shown(value: object) -> str:
    return clean(repr(value), _SHOWN_MAX)


class Shape:
    """A JSON object together with the place it was read from (`verdict.json: stalls[0]`)."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise InputError(where, f"expected a JSON object, found {_shown(value)}")
        self.value: Mapping[str, Any] = value
        self.where = where

    def _get(self, key: str, types: type | tuple[type, ...], expected: str, default: Any) -> Any:
        value = self.value.get(key, default)
        if value is ...:
            raise InputError(self.place(key), f"expected {expected}, found nothing")
        if value is None and default is None:
            return None
        if not isinstance(value, types) or (isinstance(value, bool) and types is not bool):
            raise InputError(self.place(key), f"expected {expected}, found {_shown(value)}")
        return value

    def place(self, key: str) -> str:
        """The place of a field, for error messages."""
        return f"{self.where}.{key}" if ": " in self.where else f"{self.where}: {key}"

    def text(self, key: str, default: Any = ...) -> str:
        """A string, cleaned."""
        return clean(self._get(key, str, "text", default))

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        """A string that is one of `choices`."""
        value: str = self._get(key, str, f"one of {', '.join(choices)}", ...)
        if value not in choices:
            raise InputError(self.place(key), f"expected one of {', '.join(choices)}; found {_shown(value)}")
        return value

    def integer(self, key: str, default: Any = ...) -> int:
        """An integer between -NS_MAX and NS_MAX."""
        value: int = self._get(key, int, "an integer", default)
        if not -NS_MAX <= value <= NS_MAX:
            raise InputError(self.place(key), f"expected an integer of at most 62 bits, found {_shown(value)}")
        return value

    def optional_integer(self, key: str) -> int | None:
        """An integer; None where it is missing or null."""
        return None if self.value.get(key) is None else self.integer(key)

    def number(self, key: str, default: Any = ...) -> float:
        """A finite number."""
        value = self._get(key, (int, float), "a number", default)
        if not -1e18 < value < 1e18:
            raise InputError(self.place(key), f"expected a number of sensible size, found {_shown(value)}")
        return float(value)

    def items(self, key: str, count_max: int, default: Any = ...) -> list[Any]:
        """A list of at most `count_max` values."""
        value: list[Any] = self._get(key, list, "a list", default)
        if len(value) > count_max:
            raise InputError(self.place(key), f"expected at most {count_max} items, found {len(value)}")
        return value

    def shapes(self, key: str, count_max: int, default: Any = ...) -> Iterator["Shape"]:
        """The objects of a list."""
        for index, value in enumerate(self.items(key, count_max, default)):
            yield Shape(value, f"{self.place(key)}[{index}]")

    def shape(self, key: str, default: Any = ...) -> "Shape":
        """An object inside this one."""
        return Shape(self._get(key, dict, "an object", default), self.place(key))

    def plain(self, count_max: int) -> dict[str, str | int | float | bool | None]:
        """The fields that hold plain values, in order, cleaned; nested ones as their JSON text."""
        if len(self.value) > count_max:
            raise InputError(self.where, f"expected at most {count_max} fields, found {len(self.value)}")
        return {clean(key, 100): plain(value) for key, value in self.value.items()}


def plain(value: Any) -> str | int | float | bool | None:
    """A value that may be shown: text cleaned, lists and objects as JSON text."""
    if isinstance(value, str):
        return clean(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    return clean(json.dumps(value, ensure_ascii=False))
