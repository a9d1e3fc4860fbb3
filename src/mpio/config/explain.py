"""One setting in words, from the schema: every file that has it, what it does, its default, special values, source."""

import textwrap
from collections.abc import Iterator

from mpio.config.schema import SCHEMAS, Default, Key, Schema, Type, Version, feeding, named, nearest
from mpio.errors import InputError

_WIDTH = 100


def explain(name: str) -> str:
    """A setting by its full name, its last part, or the name that the planner has for it.

    Raises InputError with the nearest known name.
    """
    blocks: dict[tuple[str, str], tuple[Key, list[Schema]]] = {}
    for schema, key in _found(name.strip()):
        blocks.setdefault((key.name, key.meaning), (key, []))[1].append(schema)
    if not blocks:
        known = tuple(dict.fromkeys(key.name for schema in SCHEMAS.values() for key in schema.keys))
        hint = nearest(name.strip(), known)
        raise InputError("", f"there is no setting {name.strip()[:80]!r}" + (f"; did you mean {hint}?" if hint else ""))
    return "\n\n".join(_block(key, schemas) for key, schemas in blocks.values())


def _found(name: str) -> Iterator[tuple[Schema, Key]]:
    """Keys of that name in any file; else those that decide the planner's setting; else those that end so."""
    exact = [(schema, key) for schema in SCHEMAS.values() for key in named(schema.kind, name)]
    exact += [(SCHEMAS[kind], key) for kind, key in feeding(name)]
    if exact or not name:
        yield from exact
        return
    lower = name.lower()
    for schema in SCHEMAS.values():
        for key in schema.keys:
            paths = {f"{section.replace('/', '.')}.{key.name}" for section in key.sections}
            if lower in (key.name.lower(), key.name.lower().rpartition(".")[2], key.feeds.rpartition(".")[2]) or any(
                lower == path.lower() for path in paths
            ):
                yield schema, key


def _block(key: Key, schemas: list[Schema]) -> str:
    files = ", ".join(dict.fromkeys(f"{schema.title} ({schema.places[0]})" for schema in schemas))
    where = places(key)
    rows = [
        ("file", files + (f", in {where}" if where else "")),
        ("value", value(key)),
        ("default", "; ".join(defaults(key, schemas[0]))),
        ("special", "; ".join(f"{word}: {words}" if words else word for word, words in key.words)),
        ("since", f"{schemas[0].package} {version(key.since)}" if key.since else ""),
        ("note", key.note),
        ("out of date", key.deprecated),
        ("no effect", key.ignored),
        ("source", key.source),
    ]
    lines = [key.name, *textwrap.wrap(key.meaning, _WIDTH, initial_indent="  ", subsequent_indent="  ")]
    for label, text in rows:
        if text:
            lines += textwrap.wrap(text, _WIDTH, initial_indent=f"  {label:<12}", subsequent_indent=" " * 14,
                                   break_on_hyphens=False, break_long_words=False)
    return "\n".join(lines)


def places(key: Key) -> str:
    """The sections that a key may stand in, in words; "" for a file without sections."""
    return ", ".join(section.replace("/", " / ") for section in key.sections if section and section != "record")


def value(key: Key) -> str:
    """What may be written: type, unit and range."""
    if key.type is Type.TEXT:
        return "text"
    return key.expected()


def defaults(key: Key, schema: Schema) -> Iterator[str]:
    """Today's upstream default, then all others with whose they are."""
    explained = [other.note for other in key.others if _says_what_unset_means(other)]
    unset = ", ".join(["unset", *explained])
    yield unset if key.default is None else key.default or "empty"
    for other in key.others:
        if _says_what_unset_means(other):
            continue
        words = [f"before {schema.package} {version(other.before)}"] if other.before else []
        words += [f"in the packaged {schema.title}"] if other.shipped else []
        words += [f"of {other.distribution}"] if other.distribution else []
        said = " ".join(words) + (f", {other.note}" if other.note else "")
        yield f"{other.value if other.value is not None else 'unset'} {said}".rstrip()


def _says_what_unset_means(other: Default) -> bool:
    return other.value is None and not other.before and not other.shipped and not other.distribution


def version(numbers: Version) -> str:
    """A version as people write it."""
    return ".".join(str(number) for number in numbers)
