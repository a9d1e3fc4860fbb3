"""What an `InitiatorConnection` reports. Single I/Os are not among it: their end is told to the task itself.

`LoginFailed`, `Redirected`, `LoggedOut` and `Lost` are last words: one of them, and nothing after it.
"""

from dataclasses import dataclass

from mpio.model.address import Portal
from mpio.proto.iscsi.negotiation import SessionParams


@dataclass(frozen=True, slots=True)
class LoginCompleted:
    """Tasks may be submitted from now on."""

    params: SessionParams


@dataclass(frozen=True, slots=True)
class LoginFailed:
    """The target refused, or could not prove itself.

    Attributes:
        status: class << 8 | detail of the Login Response (RFC 7143 §11.13.5).
        retry_with_md5: the target seems to be one that only knows `CHAP_A=5`; offering that alone may succeed.
    """

    status: int
    message: str
    retry_with_md5: bool = False


@dataclass(frozen=True, slots=True)
class Redirected:
    """Log in at this portal instead; `permanent` asks to remember it."""

    portal: Portal
    permanent: bool


@dataclass(frozen=True, slots=True)
class DiscoveryAnswered:
    """Target names with their portals and portal group tags. No portals: it is where the discovery was."""

    targets: list[tuple[str, list[tuple[Portal, int]]]]


@dataclass(frozen=True, slots=True)
class PingTimedOut:
    """Nothing came for so long, in spite of a ping. `Lost` follows."""

    silent_ns: int


@dataclass(frozen=True, slots=True)
class AsyncMessage:
    """An Async Message (§11.9). `event` is its code, `text` the same in words."""

    event: int
    text: str
    sense: bytes = b""


@dataclass(frozen=True, slots=True)
class PduRejected:
    """The target rejected a PDU of ours. `opcode` is that of the PDU, as far as the Reject tells."""

    reason: int
    opcode: int | None


@dataclass(frozen=True, slots=True)
class TaskTimedOut:
    """A task was not answered within its timeout and is being aborted. `opcode` is the first byte of its CDB."""

    opcode: int


@dataclass(frozen=True, slots=True)
class TaskAborted:
    """ABORT TASK after a timeout was answered; `response` is a TaskResponse."""

    response: int


@dataclass(frozen=True, slots=True)
class LunReset:
    """LOGICAL UNIT RESET after a timeout was answered; `response` is a TaskResponse."""

    response: int


@dataclass(frozen=True, slots=True)
class LoggedOut:
    """The logout that was asked for is done."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection has ended for any other reason."""

    cause: str


ConnectionEvent = (
    LoginCompleted | LoginFailed | Redirected | DiscoveryAnswered | PingTimedOut | AsyncMessage | PduRejected
    | TaskTimedOut | TaskAborted | LunReset | LoggedOut | Lost
)
