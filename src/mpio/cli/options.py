"""Options that several verbs share, and their conversion into the model's types."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from mpio.errors import InputError
from mpio.model.address import Portal, TargetAddress
from mpio.model.settings import PROFILES, Settings, parse_setting
from mpio.units import parse_duration, parse_size

SECRET_FILE_MAX_BYTES = 4096


class _Parsed(click.ParamType[object]):
    """A value parsed by a function that raises ValueError with a message for people."""

    def __init__(self, name: str, parse: Callable[[str], object]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


SIZE = _Parsed("size", parse_size)
DURATION = _Parsed("duration", parse_duration)
PORTAL = _Parsed("portal", Portal.parse)
ADDRESS = _Parsed("url", TargetAddress.parse)


def _setting(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"expected NAME=VALUE, found {text!r}")
    return name.strip(), parse_setting(name.strip(), value.strip())


SETTING = _Parsed("name=value", _setting)


def map_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--portal, --bind, --profile, --set, --user, --secret-file: how to build a map from a URL and more."""
    decorators = [
        click.option("--portal", "portals", type=PORTAL, multiple=True, metavar="HOST[:PORT]",
                     help="A further path to the same LUN through this portal. May be repeated."),
        click.option("--bind", "binds", multiple=True, metavar="ADDRESS|INTERFACE",
                     help="Source address or interface of the first path, the second and so on. May be repeated."),
        click.option("--profile", "profile_name", default="fast", show_default=True,
                     type=click.Choice(sorted(PROFILES)), help="Settings by name."),
        click.option("--set", "overrides", type=SETTING, multiple=True, metavar="NAME=VALUE",
                     help="One setting, named as in iscsid.conf or multipath.conf. May be repeated."),
        click.option("--user", metavar="NAME", help="CHAP user name."),
        click.option("--secret-file", type=click.Path(path_type=Path),
                     help="File with the CHAP secret (else the environment variable MPIO_CHAP_SECRET)."),
    ]
    for decorator in reversed(decorators):
        function = decorator(function)
    return function


def settings_from(
    base: Settings, overrides: Sequence[tuple[str, object]], user: str | None, secret_file: Path | None,
    address: TargetAddress | None = None,
) -> Settings:
    """`base` with single settings put in, and CHAP credentials: the user's, else the address's. Raises InputError."""
    changes = dict(overrides)
    if user is not None:
        changes |= {"username": user, "password": read_secret(secret_file)}
    elif address is not None and address.username is not None:
        changes |= {"username": address.username, "password": address.password or read_secret(secret_file)}
    try:
        return base.replace(**changes)
    except (ValueError, TypeError) as error:
        raise InputError("--set", str(error)) from None


def read_secret(path: Path | None) -> str:
    """The CHAP secret from a file or the environment. Raises InputError."""
    if path is None:
        secret = os.environ.get("MPIO_CHAP_SECRET")
        if secret is None:
            raise InputError("--user", "needs --secret-file or the environment variable MPIO_CHAP_SECRET")
        return secret
    try:
        with path.open(encoding="utf-8") as file:
            secret = file.read(SECRET_FILE_MAX_BYTES).strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(path), f"can't read the secret: {getattr(error, 'strerror', None) or error}") from None
    if not secret:
        raise InputError(str(path), "the secret is empty")
    return secret


def paths_from(
    urls: Sequence[TargetAddress], portals: Sequence[Portal], binds: Sequence[str]
) -> list[TargetAddress]:
    """One address a path: the URLs, then the first URL's LUN through each further portal, each with its binding."""
    from dataclasses import replace

    addresses = [*urls, *(replace(urls[0], portal=portal) for portal in portals)]
    if len(binds) > len(addresses):
        raise InputError("--bind", f"{len(binds)} bindings for {len(addresses)} paths")
    for index, bind in enumerate(binds):
        is_address = ":" in bind or bind.replace(".", "").isdigit()
        if is_address:
            addresses[index] = replace(addresses[index], source=bind)
        else:
            addresses[index] = replace(addresses[index], interface=bind)
    return addresses
