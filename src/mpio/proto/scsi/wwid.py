"""World-wide names of logical units, as multipath-tools derives them from VPD page 83 (and scsi_id from page 80).

The text is one character for the kind of designator and the value: `3` NAA, `2` EUI-64, `8` iSCSI name, `1` T10 vendor,
`S` serial number. Two LUs are the same if and only if their texts are. Source: libmultipath/discovery.c,
parse_vpd_pg83, whose order of preference differs from udev's scsi_id.
"""

import re

from mpio.proto.scsi.inquiry import Association, Designator, DesignatorType

WWID_CHARS_MAX = 127  # WWID_SIZE of libmultipath, less the terminator

_NAA_RANK_AND_BYTES = {6: (8, 16), 5: (7, 8), 2: (6, 8), 3: (1, 8)}
_RANK_EUI64 = 5
_RANK_NAME = 4
_RANK_T10 = 2
_EUI64_BYTES = (8, 12, 16)
_NAME_PREFIXES = {b"eui.": "2", b"naa.": "3", b"iqn.": "8"}


def _rank(designator: Designator) -> int:
    """Preference of a designator of the LU; 0 if it is of no use or not valid."""
    value = designator.value
    if designator.association != Association.LOGICAL_UNIT or not value:
        return 0
    if designator.type_ == DesignatorType.NAA:
        rank, length = _NAA_RANK_AND_BYTES.get(value[0] >> 4, (0, 0))
        return rank if len(value) == length else 0
    if designator.type_ == DesignatorType.EUI64:
        return _RANK_EUI64 if len(value) in _EUI64_BYTES else 0
    if designator.type_ == DesignatorType.NAME:
        return _RANK_NAME if value[:4] in _NAME_PREFIXES and value[4:].partition(b"\0")[0] else 0
    if designator.type_ == DesignatorType.T10:
        return _RANK_T10 if len(value) >= 8 and value.strip(b"\0 ") else 0
    return 0


def _one_blank(text: bytes) -> str:
    """Runs of blanks as one underscore; latin-1, so that no two values share a text."""
    return re.sub(r" +", "_", text.decode("latin-1"))


def _text(designator: Designator) -> str:
    value = designator.value
    if designator.type_ in (DesignatorType.NAA, DesignatorType.EUI64):
        return f"{designator.type_}{value.hex()}"
    if designator.type_ == DesignatorType.NAME:
        return _NAME_PREFIXES[value[:4]] + value[4:].partition(b"\0")[0].decode("latin-1")
    return "1" + _one_blank(value.rstrip(b"\0"))


def from_designators(designators: list[Designator]) -> str | None:
    """The WWID from page 83: the first designator of the best class. None if there is none that names the LU."""
    best = max(designators, key=_rank, default=None)  # max keeps the first of equals
    if best is None or _rank(best) == 0:
        return None
    return _text(best)[:WWID_CHARS_MAX]


def from_serial(vendor: str, product: str, serial: str) -> str | None:
    """The WWID that scsi_id makes of page 80 where page 83 is of no use. None without a serial number."""
    if not serial:
        return None
    return "S" + _one_blank(f"{vendor:<8}{product:<16}{serial}".encode("latin-1", "replace"))[: WWID_CHARS_MAX - 1]
