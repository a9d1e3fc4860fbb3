import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.errors import RemoteProtocolError
from mpio.proto.iscsi import pdu

serial = st.integers(0, pdu.SERIAL_MASK)


@given(serial, st.integers(1, pdu.SERIAL_HALF - 1))
def test_serial_order(start: int, step: int) -> None:
    later = pdu.serial_add(start, step)
    assert pdu.serial_before(start, later)
    assert not pdu.serial_before(later, start)
    assert not pdu.serial_before(start, start)
    assert pdu.serial_add(later, -step) == start


def test_sense_is_taken_by_its_length() -> None:
    assert pdu.sense_of(b"") == b""
    assert pdu.sense_of(b"\0\2ABresponse data") == b"AB"
    assert pdu.sense_of(pdu.sense_segment(b"x" * 18)) == b"x" * 18
    assert pdu.sense_segment(b"") == b""
    for segment in (b"\0", b"\0\3AB", b"\xff\xff"):
        with pytest.raises(RemoteProtocolError):
            pdu.sense_of(segment)


def test_word_of_a_request() -> None:
    header = pdu.parse_request(pdu.data_out(False, bytes(8), 1, 2, 3, 4, 5, 6))
    assert (header.word(36), header.word(40), header.data_length) == (4, 5, 6)


def test_tag_none_is_not_a_serial_end() -> None:
    assert pdu.serial_add(pdu.NO_TAG, 1) == 0
