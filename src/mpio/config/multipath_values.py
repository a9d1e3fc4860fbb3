"""How multipathd reads a value: which ones it takes, which it ignores, and which take back what stood before.

Follows multipath-tools libmultipath/dict.c. Releases before 0.8.8 read numbers with atoi(), so that `5s` is 5 there.
"""

import re
from collections.abc import Callable, Mapping
from enum import Enum

from mpio.model.stack import Version

STRICT_SINCE: Version = (0, 8, 8)
_ARGUMENTS_COUNTED_SINCE: Version = (0, 9, 4)
INT_MAX = 2**31 - 1
UINT_MAX = 2**32 - 1
DEV_LOSS_TMO_MAX = INT_MAX
"""`infinity`; any number from here on means the same to the kernel."""

_BLANKS = r"[ \t\n\v\f\r]*"
_NUMBER = re.compile(_BLANKS + r"([+-]?[0-9]+)" + _BLANKS, re.ASCII)
_LEADING = re.compile(_BLANKS + r"([+-]?[0-9]+)", re.ASCII)
_POLICIES = ("failover", "multibus", "group_by_serial", "group_by_prio", "group_by_node_name")
_BY_TPG_SINCE: Version = (0, 9, 6)


class Refused(Enum):
    """What a value is that is none."""

    IGNORED = "an earlier value stays"
    UNSET = "an earlier value is taken back"


Reader = Callable[[str, Version], object]
"""Of a value as it is written, and multipath-tools' release: its value, or a `Refused`."""


def _capped(low: int, high: int = INT_MAX) -> Reader:
    """do_set_int(): a whole number, brought into its range."""

    def read(text: str, version: Version) -> object:
        match = (_NUMBER.fullmatch if version >= STRICT_SINCE else _LEADING.match)(text)
        if match is None:
            return Refused.IGNORED if version >= STRICT_SINCE else Refused.UNSET
        value = _integer(match[1])
        if version < STRICT_SINCE and not low <= value <= high:
            return Refused.UNSET
        return min(max(value, low), high)

    return read


def _unsigned(text: str, version: Version) -> object:  # noqa: ARG001
    """set_uint(): digits only."""
    match = _NUMBER.fullmatch(text)
    if match is None or not match[1].isdigit() or _integer(match[1]) > UINT_MAX:
        return Refused.IGNORED
    return _integer(match[1])


def _words_or(words: Mapping[str, object], otherwise: Reader) -> Reader:
    def read(text: str, version: Version) -> object:
        return words[text] if text in words else otherwise(text, version)

    return read


def _positive_or_unset(text: str, version: Version) -> object:
    value = _capped(0)(text, version)
    return Refused.UNSET if value == 0 else value


def _dev_loss_tmo(text: str, version: Version) -> object:
    """A number may be followed by anything; a negative one is a very large one."""
    match = _LEADING.match(text)
    if match is None:
        return Refused.IGNORED if version >= STRICT_SINCE else Refused.UNSET
    value = _integer(match[1])
    return min(value, DEV_LOSS_TMO_MAX) if value >= 0 else DEV_LOSS_TMO_MAX


def _policy(text: str, version: Version) -> object:
    if text in _POLICIES or (text == "group_by_tpg" and version >= _BY_TPG_SINCE):
        return text
    return Refused.IGNORED if version >= STRICT_SINCE else Refused.UNSET


def _text(text: str, version: Version) -> object:  # noqa: ARG001
    return text


def _with_arguments(count_at: int) -> Reader:
    """set_arg_str(): words of which one says how many follow it."""

    def read(text: str, version: Version) -> object:
        if version < _ARGUMENTS_COUNTED_SINCE:
            return text
        words = text.split()
        counted = words[count_at] if len(words) > count_at else ""
        count = _integer(counted) if re.fullmatch(r"[+-]?[0-9]+", counted, re.ASCII) else -1
        return text if count >= 0 and count == len(words) - count_at - 1 else Refused.IGNORED

    return read


def _integer(digits: str) -> int:
    """A number however long; what no C integer holds becomes a very large one."""
    return int(digits) if len(digits) <= 19 else 2**63 * (-1 if digits[0] == "-" else 1)


READERS: Mapping[str, Reader] = {
    "no_path_retry": _words_or({"fail": "fail", "0": "fail", "queue": "queue"}, _capped(1)),
    "fast_io_fail_tmo": _words_or({"off": None, "0": 0}, _capped(1)),
    "dev_loss_tmo": _words_or({"infinity": DEV_LOSS_TMO_MAX}, _dev_loss_tmo),
    "failback": _words_or(
        {word: word for word in ("manual", "immediate", "followover")}, _positive_or_unset,
    ),
    "path_grouping_policy": _policy,
    "path_selector": _with_arguments(1),
    "features": _with_arguments(0),
    "path_checker": _text,
    "polling_interval": _unsigned,
    "max_polling_interval": _unsigned,
    "checker_timeout": _positive_or_unset,
    "max_retries": _words_or({"off": -1, "0": 0}, _capped(1, 5)),
}
