"""The path machine: every state with every input."""

from importlib import resources

import pytest

from mpio.engine.path import TRANSITIONS, PathInput, PathState
from mpio.errors import LocalProtocolError

S, I = PathState, PathInput  # noqa: E741

EXPECTED = {
    #             SESSION_UP  LOST        EXPIRED   CHECK_UP   GHOST    DOWN      COMMAND   HOLD       RELEASE
    S.DOWN:     (S.UP,        S.DOWN,     None,     None,      None,    None,     None,     None,      None),
    S.UP:       (None,        S.BLOCKED,  None,     S.UP,      S.GHOST, S.FAULTY, S.FAULTY, S.DELAYED, None),
    S.GHOST:    (None,        S.FAILED,   None,     S.UP,      S.GHOST, S.FAULTY, S.GHOST,  None,      None),
    S.FAULTY:   (None,        S.FAILED,   None,     S.UP,      S.GHOST, S.FAULTY, S.FAULTY, None,      None),
    S.DELAYED:  (None,        S.FAILED,   None,     S.DELAYED, S.GHOST, S.FAULTY, S.FAULTY, S.DELAYED, S.UP),
    S.BLOCKED:  (S.UP,        S.BLOCKED,  S.FAILED, None,      None,    None,     None,     None,      None),
    S.FAILED:   (S.UP,        S.FAILED,   None,     None,      None,    None,     None,     None,      None),
}


@pytest.mark.parametrize("state", PathState)
@pytest.mark.parametrize(("column", "event"), list(enumerate(PathInput)))
def test_every_state_and_input(state: PathState, column: int, event: PathInput) -> None:
    expected = EXPECTED[state][column]
    if expected is None:
        with pytest.raises(LocalProtocolError, match="not allowed in state"):
            TRANSITIONS.next(state, event)
    else:
        assert TRANSITIONS.next(state, event) is expected


def test_every_state_says_who_sets_it_and_what_may_be_sent() -> None:
    source = resources.files("mpio.engine").joinpath("path.py").read_text()  # compiled classes do not know theirs
    for state in PathState:
        text = source.split(f"{state.name} = ")[1].split('"""')[1]
        assert "sent" in text, state
