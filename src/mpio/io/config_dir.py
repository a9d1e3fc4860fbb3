"""Configuration files on disk: what a directory or an archive that was unpacked holds, and where rendered files go.

Owns: which files are read and how much of them, and that a directory appears whole or not at all. Symbolic links that
lead out of the directory are not followed: in a copy of another machine they would lead into this one. Knows nothing of
what is in the files; `config.files` says what each one is.
"""

import os
import shutil
import stat
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from mpio.config.document import Document, Problem
from mpio.config.files import Kind, codec_for, parse
from mpio.config.render import place_of
from mpio.errors import InputError

FILE_MAX_BYTES = 16 << 20  # a configuration file of a person has kilobytes
FILES_MAX = 50_000  # looked at below one directory; an unpacked support archive has some thousands
DEPTH_MAX = 24
DOCUMENTS_MAX = 2_000  # node records of a large host: one for each target and portal
HEAD_BYTES = 4096
_PLACES = ("etc", "var/lib/iscsi")  # where to look below something that looks like a root directory


@dataclass(slots=True)
class Configuration:
    """What was found: documents by kind in the order of their names, and what is wrong with what was looked at."""

    documents: dict[Kind, list[Document]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many files were understood."""
        return sum(len(documents) for documents in self.documents.values())


def read_configuration(places: Sequence[Path]) -> Configuration:
    """Read files, and the files that `codec_for` knows below directories: by name, or if there is none so by content.

    Raises InputError for a place that is missing or can't be read, for a file that is none of the known ones, and for a
    directory without any. A file within a directory that can't be read is a Problem.
    """
    found = Configuration()
    seen: set[Path] = set()
    for place in places:
        try:
            mode = place.stat().st_mode
        except (OSError, ValueError) as error:
            raise InputError(str(place), f"can't be read: {_words(error)}") from None
        if stat.S_ISDIR(mode):
            _read_directory(place, found, seen)
        elif stat.S_ISREG(mode):
            _read_named_file(place, found, seen)
        else:
            raise InputError(str(place), "expected a file or a directory, found something else")
    for kind, documents in found.documents.items():
        documents.sort(key=lambda document: _order(kind, document))
    return found


def _order(kind: Kind, document: Document) -> tuple[bool, str, str]:
    """In the order in which its program reads: drop-ins by name after multipath.conf, but before sysctl.conf."""
    place = place_of(kind, document)
    return place == "etc/sysctl.conf", place, document.file


def _read_named_file(path: Path, found: Configuration, seen: set[Path]) -> None:
    try:
        read = _read(path, str(path), found, seen)
    except OSError as error:
        raise InputError(str(path), f"can't be read: {_words(error)}") from None
    if not read:
        raise InputError(str(path), f"expected one of the configuration files ({', '.join(Kind)}), found none of them "
                                    "by its name or content")


def _read_directory(top: Path, found: Configuration, seen: set[Path]) -> None:
    is_ours = False
    alike: list[Path] = []
    for looked_at, path in enumerate(_walk(top), 1):
        if looked_at > FILES_MAX or found.count >= DOCUMENTS_MAX:
            found.problems.append(Problem(str(top), 0, "warning", f"more than {FILES_MAX} files or {DOCUMENTS_MAX} "
                                          "configuration files: the rest was left out", "name a smaller directory"))
            break
        if codec_for(str(path), b"") is None:
            alike.append(path)
        else:
            is_ours |= _read_or_report(path, found, seen)
    named = set(found.documents)
    for path in alike:
        is_ours |= _read_or_report(path, found, seen, named)
    if not is_ours:
        raise InputError(str(top), "no configuration file was found below it: expected etc/iscsi/iscsid.conf, "
                                   "etc/multipath.conf or another that is planned for")


def _read_or_report(path: Path, found: Configuration, seen: set[Path], named: Collection[Kind] = ()) -> bool:
    try:
        return _read(path, str(path), found, seen, named)
    except OSError as error:
        found.problems.append(Problem(str(path), 0, "warning", f"can't be read: {_words(error)}"))
        return True


def _walk(top: Path) -> Iterator[Path]:
    """Regular files below a directory in the order of their names; links only where they stay below it."""
    root = top.resolve()
    starts = [top / place for place in _PLACES if (top / place).is_dir()] if (top / "etc").is_dir() else [top]
    todo = [(start, 0) for start in reversed(starts)]
    while todo:
        directory, depth = todo.pop()
        try:
            entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        except OSError:
            continue  # a directory of somebody else; what is wanted but unreadable shows as a file
        deeper = []
        for entry in entries:
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                if depth < DEPTH_MAX:
                    deeper.append((path, depth + 1))
            elif entry.is_file(follow_symlinks=False) or (entry.is_file() and path.resolve().is_relative_to(root)):
                yield path
        todo += reversed(deeper)


def _read(path: Path, name: str, found: Configuration, seen: set[Path], named: Collection[Kind] = ()) -> bool:
    """Parse one file if it is a known one, and say whether it is. Raises OSError.

    `named` are kinds of which there are files with their proper names; what only looks like one by its content, such as
    the output of `multipathd show config`, is then left out.
    """
    real = path.resolve()
    if real in seen:
        return True
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        kind = codec_for(name, head)
        if kind is None or kind in named:
            return False
        seen.add(real)
        data = head + file.read(max(0, FILE_MAX_BYTES + 1 - len(head)))
    if len(data) > FILE_MAX_BYTES:
        found.problems.append(Problem(name, 0, "error", f"more than {FILE_MAX_BYTES >> 20} MiB: not read"))
        return True
    found.documents.setdefault(kind, []).append(parse(name, data, kind))
    return True


def write_directory(directory: Path, files: Mapping[str, bytes], executable: Sequence[str] = ()) -> None:
    """Make a directory with these files, given by relative name. It appears whole, or not at all.

    Raises InputError if it is there already and not empty, or can't be written. Raises ValueError for a name that leads
    out of it.
    """
    for name in files:
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or "\0" in name:
            raise ValueError(f"not a name inside of a directory: {name!r}")
    try:
        if directory.is_symlink() or (directory.exists() and (not directory.is_dir() or any(directory.iterdir()))):
            raise InputError(str(directory), "is there already: name a new or an empty directory")
        directory.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    except OSError as error:
        raise InputError(str(directory), f"can't be written: {_words(error)}") from None
    try:
        for name, data in files.items():
            path = scratch / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            path.chmod(0o755 if name in executable else 0o644)
        scratch.chmod(0o755)
        scratch.replace(directory)
    except OSError as error:
        raise InputError(str(directory), f"can't be written: {_words(error)}") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
