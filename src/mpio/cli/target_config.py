"""What `mpio target` is told beside portals and LUNs: the configuration file, filters, and where their log goes."""

import contextlib
import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mpio.cli.target_ctl import parse_filter
from mpio.errors import InputError
from mpio.model.address import Portal
from mpio.target.configuration import FILE_MAX_BYTES, Configuration, parse_configuration
from mpio.target.control import add_filter
from mpio.target.filters.plant import plant as planted
from mpio.target.node import TargetNode


def read_config(path: Path) -> Configuration:
    """The configuration in a file. Raises InputError."""
    try:
        with path.open("rb") as stream:
            content = stream.read(FILE_MAX_BYTES + 1)
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(path), f"can't read it: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > FILE_MAX_BYTES:
        raise InputError(str(path), f"expected at most {FILE_MAX_BYTES} bytes")
    return parse_configuration(text, str(path))


def misbehave(node: TargetNode, told: Configuration, filters: Sequence[str], plant: str | None) -> None:
    """Set redirections and the states of port groups, and add filters: of the file, then of the command line.

    Raises InputError.
    """
    try:
        for address, to in told.redirects:
            node.redirects[Portal.parse(address)] = to, False
    except ValueError as error:
        raise InputError("[[portal]] redirect", str(error)) from None
    for group in told.groups:
        try:
            node.set_group_state(group.tag, group.state, preferred=group.preferred)
        except ValueError as error:
            raise InputError("[[group]]", str(error)) from None
    where = "[[filter]]"
    try:
        for table in told.filters:
            add_filter(node, table)
        where = "--filter"
        for text in filters:
            add_filter(node, parse_filter(shlex.split(text)))
        where = "--plant"
        if plant is not None:
            node.filters.add(planted(plant, next(iter(node.device.units))))
    except ValueError as error:
        raise InputError(where, str(error)) from None


def log_to(path: Path | None) -> Callable[[Mapping[str, Any]], None] | None:
    """What writes a record of the filter `log` to a file, a line each. Raises InputError."""
    if path is None:
        return None
    try:
        stream = path.open("a", encoding="utf-8", buffering=1)
    except OSError as error:
        raise InputError(str(path), f"can't be written: {error.strerror}") from None

    def write(record: Mapping[str, Any]) -> None:
        if not stream.closed:
            try:
                print(json.dumps(record), file=stream)
            except OSError as error:  # commands go on without it
                print(f"mpio: {path}: the log ends here: {error.strerror}", file=sys.stderr)
                with contextlib.suppress(OSError):
                    stream.close()

    return write
