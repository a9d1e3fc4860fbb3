"""Opening the store behind a LUN from the words that name it: `ram:SIZE`, `file:PATH`, an NBD URI, or `cow:` such."""

import platform
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from mpio.errors import InputError
from mpio.io.file_store import FileStore
from mpio.io.nbd_store import NbdStore
from mpio.proto.nbd.uri import parse_uri
from mpio.target.overlay import OverlayStore
from mpio.target.store import BlockStore, RamStore
from mpio.units import parse_size

FORMS = "ram:SIZE, file:PATH, nbd://HOST[:PORT]/EXPORT, nbd+unix:///EXPORT?socket=PATH, cow:PATH or cow:NBD-URI"
OPTIONS = ("size", "direct", "shared")
"""What is said of a store beside its name: `size=1GiB`, and `direct` and `shared` of a file."""

_NBD = ("nbd", "nbd+unix", "nbds", "nbds+unix")


class Opened(NamedTuple):
    """A store, and what tells it from all others of this host; for its name."""

    store: BlockStore
    identity: str


def open_store(text: str, options: Mapping[str, str], *, block_size: int, read_only: bool = False) -> Opened:
    """Open a store.

    Args:
        text: as FORMS say.
        options: by name, of OPTIONS; others are not looked at.
        block_size: of the logical unit, in bytes.
        read_only: never write to it.

    Raises:
        InputError: it can't be opened, or not with these options.
        ValueError: the words are wrong.
    """
    kind, colon, what = text.partition(":")
    if not colon or not what:
        raise ValueError(f"expected {FORMS}; found {text[:80]!r}")
    for name in ("size", "direct", "shared"):
        if name in options and kind != "file":
            raise ValueError(f"{name} is for file:PATH, found {text[:80]!r}")
    if kind == "ram":
        return Opened(RamStore(parse_size(what)), secrets.token_hex(16))
    if kind == "cow":
        base = what if what.partition(":")[0] in _NBD else f"file:{what}"
        store, _ = open_store(base, {}, block_size=block_size, read_only=True)
        return Opened(OverlayStore(store), secrets.token_hex(16))
    opened: FileStore | NbdStore
    if kind == "file":
        size = parse_size(options["size"]) if "size" in options else None
        opened = FileStore(
            Path(what), size_bytes=size, read_only=read_only, direct="direct" in options, shared="shared" in options
        )
        identity = f"{platform.node()}\0{Path(what).resolve()}"
    elif kind in _NBD:
        uri = parse_uri(text)
        opened = NbdStore(uri, read_only=read_only)
        where = uri if uri.portal is not None else f"{platform.node()}\0{Path(uri.socket).resolve()}\0{uri.export}"
        identity = str(where)
    else:
        raise ValueError(f"expected {FORMS}; found {text[:80]!r}")
    if block_size % opened.alignment:
        opened.close()
        raise InputError(text, f"can only be read and written in blocks of {opened.alignment} bytes: give bs=4096")
    return Opened(opened, identity)
