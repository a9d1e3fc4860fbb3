"""Names of commands as filters are told them, and which blocks a command touches."""

from collections.abc import Sequence

from mpio.errors import RemoteProtocolError
from mpio.model.task import Buffer
from mpio.proto.scsi.cdb import SA_GET_LBA_STATUS, Op, lba_and_blocks, parse_unmap_list

READS = (Op.READ_6, Op.READ_10, Op.READ_12, Op.READ_16)
WRITES = (Op.WRITE_6, Op.WRITE_10, Op.WRITE_12, Op.WRITE_16, Op.WRITE_ATOMIC_16)
"""Plain writes: data as long as the blocks they go to."""

CHANGES = (
    *WRITES, Op.WRITE_AND_VERIFY_10, Op.WRITE_AND_VERIFY_12, Op.WRITE_AND_VERIFY_16, Op.WRITE_SAME_10, Op.WRITE_SAME_16,
    Op.UNMAP, Op.COMPARE_AND_WRITE, Op.ORWRITE_16, Op.EXTENDED_COPY,
)
"""Everything that changes the medium."""

LOOKS = (
    *READS, Op.VERIFY_10, Op.VERIFY_12, Op.VERIFY_16, Op.PRE_FETCH_10, Op.PRE_FETCH_16, Op.SYNCHRONIZE_CACHE_10,
    Op.SYNCHRONIZE_CACHE_16,
)
MEDIUM = (*LOOKS, *CHANGES)

FAMILIES: dict[str, tuple[int, ...]] = {
    "read": READS, "write": CHANGES, "medium": MEDIUM, "any": tuple(range(256)),
}
"""What one word stands for; `write` is everything that changes the medium."""

_NO_RANGE = (Op.UNMAP, Op.EXTENDED_COPY)
_BLOCKS_ELSEWHERE: dict[int, slice] = {Op.COMPARE_AND_WRITE: slice(13, 14), Op.WRITE_ATOMIC_16: slice(12, 14)}
_WITH_RANGE = frozenset(int(op) for op in MEDIUM if op not in _NO_RANGE)

Range = tuple[int, int]
"""First LBA, and how many blocks."""

TO_THE_END = 1 << 64
_ZERO_IS_ALL = frozenset((
    Op.SYNCHRONIZE_CACHE_10, Op.SYNCHRONIZE_CACHE_16, Op.WRITE_SAME_10, Op.WRITE_SAME_16, Op.PRE_FETCH_10,
    Op.PRE_FETCH_16,
))


def parse(words: Sequence[object]) -> tuple[int, ...]:
    """Opcodes of names, numbers and families, each once. Raises ValueError."""
    found: dict[int, None] = {}
    for word in words:
        found.update(dict.fromkeys(_parse_one(word)))
    return tuple(found)


def _parse_one(word: object) -> tuple[int, ...]:
    text = str(word)
    if text.lower() in FAMILIES:
        return FAMILIES[text.lower()]
    name = text.upper().replace("(", "_").replace(")", "").replace(" ", "_").replace("-", "_")
    if name in Op.__members__:
        return (Op[name],)
    try:
        number = int(text, 16) if text.lower().startswith("0x") else int(text)
    except ValueError:
        number = -1
    if not 0 <= number <= 0xFF or len(text) > 4:
        raise ValueError(f"expected a command such as READ_10, 0x28, read, write or any; found {text[:40]!r}")
    return (number,)


def name_of(opcode: int) -> str:
    """As `parse` takes it."""
    try:
        return Op(opcode).name
    except ValueError:
        return f"{opcode:#04x}"


def ranges_of(cdb: Buffer, data: Buffer) -> list[Range]:
    """What a command touches; nothing for one that touches no blocks, or can't be read."""
    opcode = cdb[0]
    if opcode in _WITH_RANGE or (opcode == Op.SERVICE_ACTION_IN_16 and cdb[1] & 0x1F == SA_GET_LBA_STATUS):
        lba, blocks = lba_and_blocks(cdb)
        if not blocks and opcode in _ZERO_IS_ALL:
            blocks = TO_THE_END
        elsewhere = _BLOCKS_ELSEWHERE.get(opcode)
        if elsewhere is not None:
            blocks = int.from_bytes(bytes(cdb[elsewhere]), "big")
        return [(lba, blocks)]
    if opcode == Op.UNMAP:
        try:
            return parse_unmap_list(data)
        except RemoteProtocolError:
            return []
    return []
