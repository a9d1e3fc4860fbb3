"""Whether a path belongs to its map: the same LU, of the same size, and behind the nexus that it had."""

from mpio.engine.path import Path
from mpio.model.identity import PathIdentity

_BLOCK_BYTES_MIN = 512


def identity_mismatch(own: PathIdentity | None, found: PathIdentity, *, is_only_path: bool) -> str | None:
    """Why `found` can't be a path to the LU `own` (None: any LU will do), or None if it can.

    A LU without a name can have one path only: there is no telling whether a second one leads to it.
    """
    size = found.block_size
    if size < _BLOCK_BYTES_MIN or size & (size - 1) or found.blocks < 1:
        return f"{found.blocks} blocks of {size} bytes are no disk that can be used"
    if own is None:
        return None
    if found.wwid != own.wwid or (not own.wwid and not is_only_path):
        nameless = "(without a name)"
        return f"it leads to the LU {found.wwid or nameless}, the map is {own.wwid or nameless}"
    if found.block_size != own.block_size:
        return f"its blocks have {found.block_size} bytes, the map's {own.block_size}"
    if found.blocks > own.blocks:
        return (f"the LU has grown from {own.blocks} to {found.blocks} blocks; the map keeps its size, "
                "close it and open it again to use the new one")
    if found.blocks < own.blocks:
        return f"the LU has shrunk from {own.blocks} to {found.blocks} blocks"
    return None


def nexus_mismatch(path: Path, found: PathIdentity) -> str | None:
    """Why a login is no reinstatement of the nexus that the path's requests in doubt belong to, or None if it is."""
    old = path.identity
    if old is None or not (path.doubts or path.held):
        return None
    if (found.target_name, found.tpgt) == (old.target_name, old.tpgt):
        return None
    return (f"it is now in portal group {found.tpgt} of {found.target_name}, but requests of portal group "
            f"{old.tpgt} of {old.target_name} are still in doubt")


def identity_text(identity: PathIdentity) -> str:
    """For the journal."""
    return f"{identity.wwid}, {identity.blocks} blocks of {identity.block_size} bytes"
