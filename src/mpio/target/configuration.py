"""The target's configuration file: TOML in, what to serve out, or one InputError that says where and what is wrong.

Portals and LUNs are given as their parts and come out in the words of the command line, which means the same by them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mpio.model.address import Portal
from mpio.model.identity import AluaState
from mpio.model.toml_text import Places, read_toml
from mpio.target.filters import build
from mpio.target.filters.alua_flap import parse_state
from mpio.target.filters.parameters import FLAG, INTEGER, TEXT, TEXTS, parameter, read_parameters
from mpio.target.limits import Limits

FILE_MAX_BYTES = 1 << 20


def _parse_portal(value: object) -> Portal:
    return Portal.parse(TEXT[0](value))


@dataclass(kw_only=True)
class TargetSection:
    """`[target]`."""

    name: str | None = parameter(TEXT, "the target's iSCSI name", None)
    chap: str | None = parameter(TEXT, "file with the CHAP secrets, as for --chap", None)
    allow: tuple[str, ...] = parameter(TEXTS, "names of the only initiators to admit", None)
    control: str | None = parameter(TEXT, "path of the control socket", None)
    log: str | None = parameter(TEXT, "file for what the filter `log` writes", None)
    state: str | None = parameter(TEXT, "directory for reservations that last", None)
    alua: str | None = parameter(TEXT, "implicit, or explicit: initiators may change states", None)


@dataclass(kw_only=True)
class PortalSection:
    """`[[portal]]`."""

    address: str = parameter(TEXT, "HOST[:PORT]; port 0 picks a free one")
    group: int = parameter(INTEGER, "portal group tag", 1)
    redirect: Portal | None = parameter((_parse_portal, "HOST[:PORT]"),  # noqa: RUF009 - it is a field
                                        "where initiators that log in here are sent", None)


@dataclass(kw_only=True)
class InitiatorSection:
    """`[[initiator]]`: one that is admitted."""

    name: str = parameter(TEXT, "its iSCSI name")
    chap: str | None = parameter(TEXT, "file with its own CHAP secrets, in place of the target's", None)


@dataclass(kw_only=True)
class GroupSection:
    """`[[group]]`: of a portal group, what is not as usual."""

    tag: int = parameter(INTEGER, "portal group tag")
    state: AluaState = parameter((parse_state, "a state"), "its ALUA state at the start",  # noqa: RUF009 - it is a field
                                 "optimized")
    preferred: bool = parameter(FLAG, "whether its PREF bit is set", False)


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a file says.

    Attributes:
        target: `[target]`. portals: as for --portal. luns: as for --lun. initiators: `[[initiator]]`.
        redirects: where logins are sent, by the portal's address as it was given.
        groups: of portal groups, what is not as usual.
        filters: tables for `control.add_filter`, which were tried.
        limits: `[limits]`.
    """

    target: TargetSection
    portals: tuple[str, ...] = ()
    luns: tuple[str, ...] = ()
    groups: tuple[GroupSection, ...] = ()
    filters: tuple[Mapping[str, Any], ...] = field(default=())
    limits: Limits = field(default_factory=Limits)
    initiators: tuple[InitiatorSection, ...] = ()
    redirects: tuple[tuple[str, Portal], ...] = ()


def parse_configuration(text: str, file: str) -> Configuration:
    """Parse and check a file. Raises InputError naming `file`, the line and the key."""
    document = read_toml(text, file)
    places = Places(file, text)
    for name, value in document.items():
        if name not in ("target", "limits", "portal", "initiator", "group", "lun", "filter"):
            is_section = isinstance(value, dict | list)
            raise places.error(name if is_section else "", 0, "" if is_section else name,
                               "expected [target], [limits], [[portal]], [[initiator]], [[group]], [[lun]] or "
                               "[[filter]]")
    head, limits = document.get("target", {}), document.get("limits", {})
    for name, section in (("target", head), ("limits", limits)):
        if not isinstance(section, dict):
            raise places.error("", 0, name, f"expected a section [{name}]")
    portals = [_read(PortalSection, table, places, "portal", index)
               for index, table in _tables(document, places, "portal")]
    return Configuration(
        _read(TargetSection, head, places, "target", 0),
        tuple(_portal(section) for section in portals),
        tuple(_lun(table, places, index) for index, table in _tables(document, places, "lun")),
        tuple(_read(GroupSection, table, places, "group", index)
              for index, table in _tables(document, places, "group")),
        tuple(_filter(table, places, index) for index, table in _tables(document, places, "filter")),
        _read(Limits, limits, places, "limits", 0),
        tuple(_read(InitiatorSection, table, places, "initiator", index)
              for index, table in _tables(document, places, "initiator")),
        tuple((section.address, section.redirect) for section in portals if section.redirect is not None),
    )


def _tables(document: Mapping[str, Any], places: Places, name: str) -> list[tuple[int, dict[str, Any]]]:
    tables = document.get(name, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise places.error(name, 0, "", f"expected [[{name}]] with double brackets")
    return list(enumerate(tables))


def _read(kind: type, table: Mapping[str, Any], places: Places, section: str, index: int) -> Any:
    try:
        return kind(**read_parameters(kind, table))
    except ValueError as error:
        raise _error(places, section, index, error) from None


def _error(places: Places, section: str, index: int, error: ValueError) -> Exception:
    """Errors of parameters begin with the key, where there is one."""
    key, colon, rest = str(error).partition(": ")
    if colon and key.replace("-", "").isalnum():
        return places.error(section, index, key, rest)
    return places.error(section, index, "", str(error))


def _portal(section: PortalSection) -> str:
    return f"{section.address},{section.group}"


def _lun(table: Mapping[str, Any], places: Places, index: int) -> str:
    """`number` and `store`, and the options of --lun by their names there."""
    rest = dict(table)
    try:
        number = INTEGER[0](rest.pop("number", None))
        store = TEXT[0](rest.pop("store", None))
    except ValueError:
        raise places.error("lun", index, "", "expected number = N and store = 'ram:SIZE' or the like") from None
    options = []
    for key, value in rest.items():
        if isinstance(value, bool):
            options += [key] if value else []
        elif isinstance(value, int | str) and "," not in str(value):
            options.append(f"{key}={value}")
        else:
            raise places.error("lun", index, key, "expected text, a number, true or false")
    return ",".join((f"{number}={store}", *options))


def _filter(table: Mapping[str, Any], places: Places, index: int) -> Mapping[str, Any]:
    rest = {key: value for key, value in table.items() if key not in ("name", "id")}
    try:
        if "id" in table:
            TEXT[0](table["id"])
        build(table.get("name"), rest)
    except ValueError as error:
        raise _error(places, "filter", index, error) from None
    return table
