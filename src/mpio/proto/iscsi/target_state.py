"""Life of a target's connection: its states, and what it reports to the shell."""

from dataclasses import dataclass
from enum import Enum

from mpio.proto.iscsi.negotiation import SessionParams
from mpio.table import Transitions


class State(Enum):
    """Life of the connection."""

    LOGIN = 0
    FULL_FEATURE = 1
    CLOSING = 2
    """The last answer is on its way; nothing is received any more."""
    CLOSED = 3


class Input(Enum):
    """What changes it."""

    LOGIN_COMPLETED = 0
    LOGIN_REFUSED = 1
    LOGGED_OUT = 2
    ENDED = 3


TRANSITIONS = Transitions(
    "target connection",
    State,
    Input,
    {
        State.LOGIN: {
            Input.LOGIN_COMPLETED: State.FULL_FEATURE,
            Input.LOGIN_REFUSED: State.CLOSING,
            Input.LOGGED_OUT: None,
            Input.ENDED: State.CLOSED,
        },
        State.FULL_FEATURE: {
            Input.LOGIN_COMPLETED: None,
            Input.LOGIN_REFUSED: None,
            Input.LOGGED_OUT: State.CLOSING,
            Input.ENDED: State.CLOSED,
        },
        State.CLOSING: {
            Input.LOGIN_COMPLETED: None,
            Input.LOGIN_REFUSED: None,
            Input.LOGGED_OUT: None,
            Input.ENDED: State.CLOSED,
        },
        State.CLOSED: {
            Input.LOGIN_COMPLETED: None,
            Input.LOGIN_REFUSED: None,
            Input.LOGGED_OUT: None,
            Input.ENDED: State.CLOSED,
        },
    },
)


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """Login has completed."""

    params: SessionParams


@dataclass(frozen=True, slots=True)
class ConnectionEnded:
    """Nothing is received or executed any more. Send what `data_to_send` still has, then close TCP.

    `orderly`: after a logout.
    """

    cause: str
    orderly: bool = False


TargetEvent = SessionOpened | ConnectionEnded
