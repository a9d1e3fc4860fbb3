"""Who the nodes are and how they talk: --node, --nodes, --peer, --listen and --key-file, checked."""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mpio.errors import InputError
from mpio.heartbeat.formats.broken import NODES_MAX
from mpio.model.address import Portal

KEY_BYTES_MIN, KEY_BYTES_MAX = 16, 4096


@dataclass(frozen=True, slots=True)
class Numbers:
    """This node, all nodes (ascending, this one among them), and where the others listen."""

    node: int
    nodes: tuple[int, ...]
    peers: Mapping[int, Portal]


@dataclass(frozen=True, slots=True)
class Wire:
    """The cluster network: where this node listens, and the key."""

    listen: Portal
    key: bytes


def numbers_from(node: int, nodes: str | None, peers: Sequence[str]) -> Numbers:
    """Who takes part. Raises InputError."""
    where = dict(_peer(text) for text in peers)
    if len(where) < len(peers):
        raise InputError("--peer", "expected each node once")
    if node in where:
        raise InputError("--peer", f"{node} is this node; its own address goes with --listen")
    if nodes is None:
        if not where:
            raise InputError("--nodes", "expected the numbers of all nodes, or a --peer for each other one")
        return Numbers(node, tuple(sorted({node, *where})), where)
    all_nodes = _numbers(nodes)
    if node not in all_nodes:
        raise InputError("--nodes", f"expected this node, {node}, among all nodes, found {nodes!r}")
    others = [number for number in all_nodes if number != node]
    if where and sorted(where) != others:
        raise InputError("--peer", f"expected one for each of nodes {_listed(others)}, found {_listed(sorted(where))}")
    return Numbers(node, all_nodes, where)


def wire_from(numbers: Numbers, listen: str | None, key_file: Path | None) -> Wire | None:
    """The cluster network, if there is one. Raises InputError."""
    if not numbers.peers:
        for option, value in (("--listen", listen), ("--key-file", key_file)):
            if value is not None:
                raise InputError(option, "goes with --peer: without one there is no cluster network")
        return None
    if listen is None:
        raise InputError("--listen", "expected where this node listens, as there are --peers")
    portal = _portal("--listen", listen)
    key = b"" if key_file is None else _key(key_file)
    if not key:
        for address in (portal, *numbers.peers.values()):
            if not _is_loopback(address.host):
                raise InputError("--key-file", f"needed: {address} is not on loopback, and whoever reaches it could "
                                 "speak for a node")
    return Wire(portal, key)


def _peer(text: str) -> tuple[int, Portal]:
    number, equals, address = text.partition("=")
    if not equals or not (number.isascii() and number.isdigit() and len(number) < 4 and int(number) < NODES_MAX):
        raise InputError("--peer", f"expected N=HOST:PORT with N from 0 to {NODES_MAX - 1}, found {text!r}")
    return int(number), _portal("--peer", address)


def _portal(option: str, text: str) -> Portal:
    if not text.rpartition("]")[2].count(":"):
        raise InputError(option, f"expected HOST:PORT, found {text!r}")
    try:
        return Portal.parse(text)
    except ValueError as error:
        raise InputError(option, str(error)) from None


def _numbers(text: str) -> tuple[int, ...]:
    """'0,2-4' as 0, 2, 3, 4."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        ends = (first, last if dash else first)
        if not all(end.isascii() and end.isdigit() and len(end) < 4 and int(end) < NODES_MAX for end in ends):
            example = f"numbers from 0 to {NODES_MAX - 1} such as '0,1' or '0-3'"
            raise InputError("--nodes", f"expected {example}, found {text!r}")
        found.extend(range(int(ends[0]), int(ends[1]) + 1))
    if len(found) != len(frozenset(found)) or not found:
        raise InputError("--nodes", f"expected each node once, found {text!r}")
    return tuple(sorted(found))


def _key(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            key = file.read(KEY_BYTES_MAX + 1).rstrip(b"\r\n")
    except OSError as error:
        raise InputError(str(path), f"can't read the key: {error.strerror}") from None
    if not KEY_BYTES_MIN <= len(key) <= KEY_BYTES_MAX:
        raise InputError(str(path), f"expected a key of {KEY_BYTES_MIN} to {KEY_BYTES_MAX} bytes, found {len(key)}")
    return key


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"
