from hypothesis import given
from hypothesis import strategies as st
from tests.unit.proto_iscsi_login.login_kit import Session, cut

from mpio.proto.iscsi import pdu
from mpio.proto.iscsi.command_window import HELD_BYTES_MAX, CommandWindow
from mpio.proto.iscsi.pdu import NO_LUN, NO_TAG, SERIAL_MASK, RequestHeader, parse_request


def command(cmd_sn: int) -> RequestHeader:
    return parse_request(pdu.scsi_command(0xC1, NO_LUN, 1, 512, cmd_sn & SERIAL_MASK, 0, bytes(16)))


@given(
    st.integers(0, SERIAL_MASK),
    st.integers(1, 16),
    st.lists(st.tuples(st.sampled_from(["command", "release", "skip"]), st.integers(-4, 20)), max_size=60),
)
def test_each_number_is_taken_once_and_in_order(first: int, depth: int, steps: list[tuple[str, int]]) -> None:
    window = CommandWindow(first, depth)
    taken: list[int] = []
    skipped: set[int] = set()
    open_commands = 0
    highest = 0

    def took(cmd_sn: int) -> None:
        nonlocal open_commands
        taken.append((cmd_sn - first) & SERIAL_MASK)
        open_commands += 1

    for what, ahead in steps:
        cmd_sn = (window.expected + ahead) & SERIAL_MASK
        if what == "release" and open_commands:
            open_commands -= 1
            window.release()
        elif what == "skip" and window.accepts(cmd_sn):
            window.skip(cmd_sn)
            skipped.add((cmd_sn - first) & SERIAL_MASK)
        elif what == "command" and window.accepts(cmd_sn):
            if cmd_sn == window.expected:
                window.take()
                took(cmd_sn)
            else:
                window.hold(command(cmd_sn), b"data")
        while (held := window.next_held()) is not None:
            took(held[0].cmd_sn)
        assert taken == sorted(set(taken))
        assert not skipped.intersection(taken)
        assert open_commands <= depth
        assert len(window.held) <= depth
        assert (window.maximum - first) & SERIAL_MASK >= highest
        highest = (window.maximum - first) & SERIAL_MASK
        assert window.is_shut == (open_commands == depth)


def test_held_data_are_bounded() -> None:
    window = CommandWindow(0, 100)
    for cmd_sn in range(1, 50):
        window.hold(command(cmd_sn), bytes(HELD_BYTES_MAX // 10))
    assert len(window.held) == 10
    for cmd_sn in range(1, 50):
        window.skip(cmd_sn)
    window.hold(command(60), bytes(HELD_BYTES_MAX))
    assert window.held[60] is not None


def test_a_shut_window_that_opens_without_an_answer_is_told() -> None:
    session = Session(queue_depth=2)
    session.send(session.command(1, read=512) + session.command(2, read=512))
    assert session.target.abort_tasks(None) == 2
    (answer,) = cut(session.target.data_to_send())
    assert (answer.opcode, answer.header.itt, answer.header.word20) == (pdu.Opcode.NOP_IN, NO_TAG, NO_TAG)
    assert answer.header.max_cmd_sn == answer.header.exp_cmd_sn + 1
