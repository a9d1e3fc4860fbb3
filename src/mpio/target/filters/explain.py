"""The page about filters, made from the filters themselves."""

import inspect
from collections.abc import Sequence
from dataclasses import MISSING, Field
from typing import Any

from mpio.target.filters import FILTERS, limits_of
from mpio.target.filters.base import Filter
from mpio.target.filters.limits import Limits
from mpio.target.filters.opcodes import FAMILIES, name_of
from mpio.target.filters.parameters import key_of, parameters_of

HEAD = """# Filters

A filter stands between the initiators and the logical units of `mpio target`, and misbehaves as told. Filters stack:
each command passes them in the order in which they were added, the first one nearest to the initiators, and the answer
goes back the same way. While there is none, commands go straight to their units.
`tools/generate-docs` makes this page from `src/mpio/target/filters/`.

There are three ways to add one, with the same words:

    mpio target --lun 1=ram:64MiB --filter 'delay time=50ms opcode=write' --control /tmp/ctl
    mpio target ctl --socket /tmp/ctl add delay time=50ms opcode=write

and a table in the file that `--config` names:

    [[filter]]
    name = "delay"
    id = "slow"          # to remove it by; one is made up if it is not given
    time = "50ms"
    opcode = "write"

`mpio target ctl` can `remove` one by its id; `filters` lists them, with how many commands each has struck.
Durations are numbers of seconds or such as `300ms`; sizes are such as `4KiB`; sense is key/ASC/ASCQ in hex.
"""

LIMITS_HEAD = """## Limits

What a filter strikes. All that are given have to fit; what is not given does not limit.
"""


def page() -> str:
    """The whole page, in Markdown."""
    rows = [f"| [`{name}`](#{name}) | {_summary(kind)} |" for name, kind in FILTERS.items()]
    index = "\n".join(["| filter | what happens |", "|---|---|", *rows])
    families = [
        f"- `{word}`: {', '.join(name_of(opcode) for opcode in members)}" for word, members in FAMILIES.items()
        if word != "any"
    ]
    counting = ("`skip` and `count` count what fits all the rest. Chance is a function of `seed`: the same commands in "
                "the same order meet the same fate.")
    limits = "\n".join([
        _table(parameters_of(Limits)), "", counting, "", "Families of commands:", "", *families,
        "- `any`: every command, also those without a name here",
    ])
    return "\n\n".join([HEAD.rstrip(), index, LIMITS_HEAD.rstrip(), limits, *map(_section, FILTERS.values())]) + "\n"


def _doc(kind: type[Filter]) -> str:
    return inspect.cleandoc(kind.__doc__ or "")


def _summary(kind: type[Filter]) -> str:
    return _doc(kind).partition("\n\n")[0].replace("\n", " ")


def _section(kind: type[Filter]) -> str:
    own = parameters_of(kind)
    parts = [f"## {kind.name}", _doc(kind)]
    if own:
        parts.append(_table(own))
    if kind.limited_by is not None:
        parts.append("Limits: " + ", ".join(f"`{key}`" for key in limits_of(kind)) + ".")
    example = f'[[filter]]\nname = "{kind.name}"\n{kind.example.strip()}'
    parts.append("\n".join(f"    {line}" for line in example.splitlines()))
    return "\n\n".join(parts)


def _table(items: Sequence[Field[Any]]) -> str:
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for item in items:
        default = item.metadata["default"]
        shown = "has to be given" if default is MISSING else "" if default is None else f"`{_word(default)}`"
        cells = (f"`{key_of(item)}`", item.metadata["shown"], shown, item.metadata["meaning"])
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def _word(default: object) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)
