"""How values of a scenario are read: one function for each form, which checks it and names what was expected.

Each takes a value that TOML gave and returns the checked one, or raises ValueError("expected …, found …").
"""

import difflib
import re
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar, get_args

from mpio.model.address import TargetAddress
from mpio.target.filters import build
from mpio.units import NS_PER_S, parse_duration, parse_size

PATHS_MAX = 16
NODES_MAX = 8
_SHOWN_MAX = 60

T = TypeVar("T")
PathList = tuple[int, ...]


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint at the known word that looks most like this one, or nothing."""
    match = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {match[0]!r}?)" if match else ""


def shown(value: object) -> str:
    """The value as an error message shows it."""
    words = repr(value)
    return words if len(words) <= _SHOWN_MAX else words[:_SHOWN_MAX - 1] + "…"


def text(value: object) -> str:
    """A text."""
    if not isinstance(value, str) or len(value) > 10_000:
        raise ValueError(f"expected text, found {shown(value)}")
    return value


def integer(low: int, high: int) -> Callable[[object], int]:
    """A whole number in a range."""
    def parse(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"expected a whole number from {low} to {high}, found {shown(value)}")
        return value
    return parse


def boolean(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, found {shown(value)}")
    return value


def number(low: float, high: float) -> Callable[[object], float]:
    """A number in a range."""
    def parse(value: object) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"expected a number from {low:g} to {high:g}, found {shown(value)}")
        return float(value)
    return parse


def duration(low_s: float = 0, high_s: float = 86_400) -> Callable[[object], int]:
    """A duration, as text or as seconds, in ns."""
    def parse(value: object) -> int:
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = f"{value:.9f}"
        if not isinstance(value, str):
            raise ValueError(f"expected a duration such as '300ms' or '25s', found {shown(value)}")
        duration_ns = parse_duration(value)
        if not low_s * NS_PER_S <= duration_ns <= high_s * NS_PER_S:
            raise ValueError(f"expected a duration from {low_s:g} s to {high_s:g} s, found {shown(value)}")
        return duration_ns
    return parse


def size(low: int, high: int) -> Callable[[object], int]:
    """A size, as text or as bytes."""
    def parse(value: object) -> int:
        if not isinstance(value, int | str) or isinstance(value, bool):
            raise ValueError(f"expected a size such as '4KiB' or '64MiB', found {shown(value)}")
        size_bytes = parse_size(value) if isinstance(value, str) else value
        if not low <= size_bytes <= high:
            raise ValueError(f"expected a size from {low} to {high} bytes, found {shown(value)}")
        return size_bytes
    return parse


def sizes(value: object) -> tuple[int, ...]:
    """A list of sizes."""
    if not isinstance(value, list) or not 1 <= len(value) <= 32:
        raise ValueError(f"expected a list of 1 to 32 sizes such as ['4KiB', '64KiB'], found {shown(value)}")
    return tuple(size(512, 8 << 20)(item) for item in value)


def choice(kind: object) -> Callable[[object], Any]:
    """One of the words of a Literal."""
    choices = get_args(kind)

    def parse(value: object) -> str:
        if value not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}; found {shown(value)}"
                             + nearest(value if isinstance(value, str) else "", choices))
        return str(value)
    return parse


def or_words(parse: Callable[[object], T], *words: str) -> Callable[[object], T | str]:
    """One of these words, or what `parse` takes."""
    def parse_or_word(value: object) -> T | str:
        if isinstance(value, str) and value in words:
            return value
        try:
            return parse(value)
        except ValueError as error:
            detail = str(error).removeprefix("expected ")
            raise ValueError(f"expected {' or '.join(repr(word) for word in words)} or {detail}") from None
    return parse_or_word


def _numbers(what: str, high: int) -> Callable[[object], PathList | Literal["all"]]:
    def parse(value: object) -> PathList | Literal["all"]:
        if value == "all":
            return "all"
        numbers = value if isinstance(value, list) else [value]
        if not numbers or not all(isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= high for n in numbers):
            raise ValueError(f"expected a {what} number from 1, a list of them or 'all'; found {shown(value)}")
        if len(set(numbers)) != len(numbers):
            raise ValueError(f"expected each {what} once, found {shown(value)}")
        return tuple(numbers)
    return parse


paths = _numbers("path", PATHS_MAX)
"""Path numbers, or `all`."""
nodes = _numbers("node", NODES_MAX)
"""Node numbers, or `all`."""


def plant(value: object) -> str:
    """A fault to plant in the target."""
    words = text(value)
    if words and not re.fullmatch(r"(lost|stale|torn):[1-9][0-9]{0,8}", words):
        raise ValueError(f"expected lost:N, stale:N or torn:N with N from 1, found {shown(value)}")
    return words


def order(value: object) -> dict[str, object]:
    """An order to the target; a filter is tried."""
    if not isinstance(value, dict) or not isinstance(value.get("do"), str):
        raise ValueError(f"expected a table with do = '…', found {shown(value)}")
    if value["do"] == "add":
        build(value.get("name"), {key: item for key, item in value.items() if key not in ("do", "name", "id")})
    return value


def urls(value: object) -> tuple[str, ...]:
    """URLs of paths, without secrets."""
    if not isinstance(value, list) or not 1 <= len(value) <= PATHS_MAX:
        raise ValueError(f"expected a list of 1 to {PATHS_MAX} iscsi:// URLs, found {shown(value)}")
    for url in value:
        if TargetAddress.parse(text(url)).password is not None:
            raise ValueError("a secret does not belong in a scenario file, which is copied into every run directory; "
                             "give the URL on the command line")
    return tuple(value)


def params(value: object) -> dict[str, float | str]:
    """Parameters of a fault."""
    if not isinstance(value, dict) or not all(
            isinstance(item, int | float | str) and not isinstance(item, bool) for item in value.values()):
        raise ValueError(f"expected a table of numbers and texts such as {{ms = 200}}, found {shown(value)}")
    return dict(value)
