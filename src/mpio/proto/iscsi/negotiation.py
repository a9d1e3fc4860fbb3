"""Operational keys: a table of what each one means, and the state of one side's negotiation (RFC 7143 §6.2, §13).

Both roles use the same `Negotiator`, with their own values. A result is computed by the key's function from both
values, so both sides get the same one whoever made the offer. What is not negotiated has its default.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from mpio.errors import RemoteProtocolError
from mpio.proto.iscsi.text import Pairs

Value = int | bool | str

NOT_UNDERSTOOD = "NotUnderstood"
IRRELEVANT = "Irrelevant"
REJECT = "Reject"
_REFUSALS = frozenset((NOT_UNDERSTOOD, IRRELEVANT, REJECT))

_NUMBER = re.compile(r"[0-9]{1,10}|0[xX][0-9A-Fa-f]{1,8}", re.ASCII)
_SEGMENT_RANGE = (512, 2**24 - 1)


class Function(Enum):
    """How a result comes from the two sides' values (§6.2.1, §6.2.2)."""

    MINIMUM = 0
    MAXIMUM = 1
    AND = 2
    OR = 3
    LIST = 4
    """The first element of the offer that the other side supports."""
    DECLARED = 5
    """Announced and not answered; each side has its own."""
    OBSOLETE = 6
    """Answered Irrelevant, no result."""


@dataclass(frozen=True, slots=True)
class Key:
    """One operational key. `low` and `high` bound a number; a `default` of another type makes it a boolean or text."""

    name: str
    function: Function
    default: Value = ""
    low: int = 0
    high: int = 0

    def parse(self, text: str) -> Value:
        """A value from its text. Raises ValueError."""
        if isinstance(self.default, bool):
            if text not in ("Yes", "No"):
                raise ValueError(f"{self.name}: expected Yes or No, found {text[:40]!r}")
            return text == "Yes"
        if isinstance(self.default, int):
            number = parse_number(text)
            if not self.low <= number <= self.high:
                raise ValueError(f"{self.name}: expected {self.low} to {self.high}, found {number}")
            return number
        return text

    def format(self, value: Value) -> str:
        """The text of a value."""
        if isinstance(value, bool):
            return "Yes" if value else "No"
        return str(value)

    def combine(self, offer: Value, own: Value) -> Value | None:
        """The result of an offer meeting the answerer's own value; None if a list has nothing in common."""
        match self.function:
            case Function.MINIMUM:
                return min(int(offer), int(own))
            case Function.MAXIMUM:
                return max(int(offer), int(own))
            case Function.AND:
                return bool(offer and own)
            case Function.OR:
                return bool(offer or own)
            case _:
                supported = str(own).split(",")
                return next((item for item in str(offer).split(",") if item in supported), None)


KEYS: Mapping[str, Key] = {
    key.name: key
    for key in (
        Key("HeaderDigest", Function.LIST, "None"),
        Key("DataDigest", Function.LIST, "None"),
        Key("MaxConnections", Function.MINIMUM, 1, 1, 65535),
        Key("InitialR2T", Function.OR, default=True),
        Key("ImmediateData", Function.AND, default=True),
        Key("MaxRecvDataSegmentLength", Function.DECLARED, 8192, *_SEGMENT_RANGE),
        Key("MaxBurstLength", Function.MINIMUM, 262144, *_SEGMENT_RANGE),
        Key("FirstBurstLength", Function.MINIMUM, 65536, *_SEGMENT_RANGE),
        Key("MaxOutstandingR2T", Function.MINIMUM, 1, 1, 65535),
        Key("DataPDUInOrder", Function.OR, default=True),
        Key("DataSequenceInOrder", Function.OR, default=True),
        Key("DefaultTime2Wait", Function.MAXIMUM, 2, 0, 3600),
        Key("DefaultTime2Retain", Function.MINIMUM, 20, 0, 3600),
        Key("ErrorRecoveryLevel", Function.MINIMUM, 0, 0, 2),
        Key("TaskReporting", Function.LIST, "RFC3720"),
        Key("iSCSIProtocolLevel", Function.MINIMUM, 1, 0, 31),  # RFC 7144 §7.1.1
        Key("TargetPortalGroupTag", Function.DECLARED, 0, 0, 65535),
        Key("TargetAlias", Function.DECLARED),
        Key("InitiatorAlias", Function.DECLARED),
        Key("TargetAddress", Function.DECLARED),
        Key("X#NodeArchitecture", Function.DECLARED),
        Key("IFMarker", Function.AND, default=False),
        Key("OFMarker", Function.AND, default=False),
        Key("IFMarkInt", Function.OBSOLETE),
        Key("OFMarkInt", Function.OBSOLETE),
    )
}
"""The operational and informational keys (RFC 7143 §13, appendix A of RFC 3720 for the markers)."""

FIXED: Mapping[str, Value] = {
    "MaxConnections": 1,
    "DataPDUInOrder": True,
    "DataSequenceInOrder": True,
    "ErrorRecoveryLevel": 0,
    "TaskReporting": "RFC3720",
    "iSCSIProtocolLevel": 1,
    "IFMarker": False,
    "OFMarker": False,
}
"""Values that are the same for every session of this implementation: one connection, in order, level 0."""


def parse_number(text: str) -> int:
    """A numerical value, decimal or 0x hex (§6.1). Raises ValueError."""
    if _NUMBER.fullmatch(text) is None:
        raise ValueError(f"expected a number, found {text[:40]!r}")
    return int(text, 16) if text[:2] in ("0x", "0X") else int(text)


class Negotiator:
    """One side of the negotiation of operational keys.

    Args:
        own: for each key that this side has a wish for: the limit, the boolean, the list in order of preference, or
            what it declares. Keys that are left out count with their default.
    """

    def __init__(self, own: Mapping[str, Value]) -> None:
        self._own = {**FIXED, **own}
        self._offered: set[str] = set()
        self._results: dict[str, Value] = {}
        self._seen: set[str] = set()
        self.declared: dict[str, Value] = {}
        """What the peer declared."""

    def offer(self, names: Iterable[str]) -> Pairs:
        """Offer or declare own values. They count as open until the peer answers; declarations don't."""
        pairs = []
        for name in names:
            key = KEYS[name]
            if key.function is not Function.DECLARED:
                self._offered.add(name)
            pairs.append((name, key.format(self._own[name])))
        return pairs

    def wishes(self) -> list[str]:
        """Keys not negotiated yet whose default this side's own value does not allow: it has to offer them itself."""
        return [
            name
            for name, own in self._own.items()
            if KEYS[name].function is not Function.DECLARED
            and name not in self._offered
            and name not in self._results
            and KEYS[name].combine(KEYS[name].default, own) != KEYS[name].default
        ]

    def receive(self, name: str, text: str) -> str | None:
        """Take one pair of the peer's: an answer, an offer or a declaration. Returns the answer to be sent, if any.

        Raises RemoteProtocolError for a repeated key, or an answer that does not fit the offer.
        """
        if name in self._seen:
            raise RemoteProtocolError(f"{name} is negotiated twice", clause="RFC 7143 §6.3")
        self._seen.add(name)
        key = KEYS.get(name)
        if key is None:
            return None if text in _REFUSALS else NOT_UNDERSTOOD
        if name in self._offered:
            self._take_answer(key, text)
            return None
        if key.function is Function.DECLARED:
            self.declared[name] = self._parse(key, text)
            return None
        if text in _REFUSALS:
            raise RemoteProtocolError(f"{name}={text} answers no offer", clause="RFC 7143 §6.2")
        return self._take_offer(key, text)

    def _take_answer(self, key: Key, text: str) -> None:
        self._offered.discard(key.name)
        if text in _REFUSALS or text == key.default:  # tgt names the default, also where it was not offered
            self._results[key.name] = key.default
            return
        result = key.combine(self._parse(key, text), self._own[key.name])
        if result is None:
            raise RemoteProtocolError(f"{key.name}={text[:40]} was not in the offer", clause="RFC 7143 §6.2.1")
        self._results[key.name] = result

    def _take_offer(self, key: Key, text: str) -> str:
        if key.function is Function.OBSOLETE:
            return IRRELEVANT
        try:
            result = key.combine(key.parse(text), self._own.get(key.name, key.default))
        except ValueError:
            result = None
        if result is None:
            self._results[key.name] = key.default
            return REJECT
        self._results[key.name] = result
        return key.format(result)

    @staticmethod
    def _parse(key: Key, text: str) -> Value:
        try:
            return key.parse(text)
        except ValueError as error:
            raise RemoteProtocolError(str(error), clause="RFC 7143 §6.2") from None

    def result(self, name: str) -> Value:
        """The negotiated value, or the default."""
        return self._results.get(name, KEYS[name].default)

    def unmet(self) -> list[str]:
        """List keys whose result this side does not support: the peer refused, and the default is no choice."""
        return [
            name
            for name in ("HeaderDigest", "DataDigest")
            if self.result(name) not in str(self._own.get(name, "None")).split(",")
        ]


@dataclass(frozen=True, slots=True)
class SessionParams:
    """What the two sides of a session agreed on at login. Lengths in bytes, times in seconds.

    `initiator_max_recv_data_segment_length` limits what the target may send in one PDU, `target_…` what the
    initiator may. `target_name` is None in a discovery session.
    """

    initiator_name: str
    target_name: str | None
    isid: bytes
    tsih: int = 0
    tpgt: int = 0
    initiator_alias: str = ""
    target_alias: str = ""
    initiator_max_recv_data_segment_length: int = 8192
    target_max_recv_data_segment_length: int = 8192
    max_burst_length: int = 262144
    first_burst_length: int = 65536
    initial_r2t: bool = True
    immediate_data: bool = True
    max_outstanding_r2t: int = 1
    header_digest: bool = False
    data_digest: bool = False
    default_time2wait: int = 2
    default_time2retain: int = 20

    @property
    def is_discovery(self) -> bool:
        """Whether only discovery is allowed in this session."""
        return self.target_name is None

    @property
    def immediate_length_max(self) -> int:
        """Most bytes of immediate data in a SCSI Command."""
        return min(self.first_burst_length, self.target_max_recv_data_segment_length) if self.immediate_data else 0


def session_params(
    negotiator: Negotiator,
    *,
    initiator_name: str,
    target_name: str | None,
    isid: bytes,
    tsih: int,
    tpgt: int,
    initiator_alias: str,
    target_alias: str,
    initiator_max_recv_data_segment_length: int,
    target_max_recv_data_segment_length: int,
) -> SessionParams:
    """The outcome of a login: what `negotiator` computed, and what the two sides said of themselves."""
    max_burst_length = int(negotiator.result("MaxBurstLength"))
    return SessionParams(
        initiator_name=initiator_name,
        target_name=target_name,
        isid=isid,
        tsih=tsih,
        tpgt=tpgt,
        initiator_alias=initiator_alias,
        target_alias=target_alias,
        initiator_max_recv_data_segment_length=initiator_max_recv_data_segment_length,
        target_max_recv_data_segment_length=target_max_recv_data_segment_length,
        max_burst_length=max_burst_length,
        first_burst_length=min(int(negotiator.result("FirstBurstLength")), max_burst_length),  # §13.14
        initial_r2t=bool(negotiator.result("InitialR2T")),
        immediate_data=bool(negotiator.result("ImmediateData")),
        max_outstanding_r2t=int(negotiator.result("MaxOutstandingR2T")),
        header_digest=negotiator.result("HeaderDigest") == "CRC32C",
        data_digest=negotiator.result("DataDigest") == "CRC32C",
        default_time2wait=int(negotiator.result("DefaultTime2Wait")),
        default_time2retain=int(negotiator.result("DefaultTime2Retain")),
    )
