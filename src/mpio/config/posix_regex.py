"""Regular expressions as multipath.conf has them: POSIX extended ones, found anywhere in a text (regcomp, regexec)."""

import re

_CLASSES = {
    "alpha": "A-Za-z", "digit": "0-9", "alnum": "A-Za-z0-9", "upper": "A-Z", "lower": "a-z", "xdigit": "0-9A-Fa-f",
    "space": r"\s", "blank": r" \t", "punct": r"!-/:-@\[-`{-~",
}


def found(pattern: str, text: str) -> bool:
    """Whether the pattern occurs; one that cannot be compiled occurs nowhere."""
    for name, characters in _CLASSES.items():
        pattern = pattern.replace(f"[:{name}:]", characters)
    pattern = re.sub(r"(^|\(|\|)[*+?]+", r"\1", pattern)  # glibc skips a repetition of nothing
    try:
        return re.search(pattern, text) is not None
    except (re.error, OverflowError, RecursionError):
        return False
