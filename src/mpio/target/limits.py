"""How much of a target its initiators can take up: sessions, tasks, PDUs, time."""

from collections.abc import Sequence
from dataclasses import dataclass

from mpio.model.address import Portal
from mpio.proto.iscsi.target_login import TargetParams
from mpio.target.filters.parameters import DURATION, INTEGER, SIZE, parameter, read_parameters
from mpio.units import NS_PER_S

_SEGMENT_MIN, _SEGMENT_MAX = 512, (1 << 24) - 1  # what MaxRecvDataSegmentLength can be (RFC 7143 §13.12)
_QUEUE_MAX = 4096
_CONNECTIONS_MAX = 4096


@dataclass(kw_only=True)
class Limits:
    """See `meaning` of each field. Raises ValueError where a limit is out of range."""

    connections: int = parameter(INTEGER, "TCP connections at a time; at the limit, the oldest that has not logged in "
                                 "makes room", 256)
    sessions: int = parameter(INTEGER, "sessions at a time", 256)
    sessions_per_initiator: int = parameter(INTEGER, "sessions of one initiator name at a time", 256)
    tasks: int = parameter(INTEGER, "outstanding commands of a session (its command window)", 128)
    pdu_bytes: int = parameter(SIZE, "data in one PDU (MaxRecvDataSegmentLength)", "256KiB")
    write_bytes: int = parameter(SIZE, "data of one command", "32MiB")
    gather_bytes: int = parameter(SIZE, "write data of a session that are not complete yet; more is TASK SET FULL",
                                  "128MiB")
    login_time_ns: int = parameter(DURATION, "from the connection to the end of the login", "15s")

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("connections", self.connections, 1, _CONNECTIONS_MAX),
            ("sessions", self.sessions, 1, _CONNECTIONS_MAX),
            ("sessions-per-initiator", self.sessions_per_initiator, 1, _CONNECTIONS_MAX),
            ("tasks", self.tasks, 1, _QUEUE_MAX),
            ("pdu", self.pdu_bytes, _SEGMENT_MIN, _SEGMENT_MAX),
            ("write", self.write_bytes, 1 << 16, 1 << 32),
            ("gather", self.gather_bytes, 1 << 16, 1 << 40),
            ("login-time", self.login_time_ns, 1_000_000, 3600 * NS_PER_S),
        ):
            if not least <= value <= most:
                raise ValueError(f"{name}: expected {least} to {most}, found {value}")

    def params(self, portal: Portal) -> TargetParams:
        """What a connection is told of them."""
        return TargetParams(
            portal=portal, max_recv_data_segment_length=self.pdu_bytes, queue_depth=self.tasks,
            write_length_max=self.write_bytes, gather_bytes_max=self.gather_bytes,
            login_timeout=self.login_time_ns / NS_PER_S,
        )


def parse_limits(words: Sequence[str], told: Limits | None = None) -> Limits:
    """`NAME=VALUE` words over what was told before. Raises ValueError."""
    values: dict[str, object] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"expected NAME=VALUE, found {word[:60]!r}")
        values[name] = value
    return Limits(**{**(vars(told) if told is not None else {}), **read_parameters(Limits, values)})
