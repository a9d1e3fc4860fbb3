import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.errors import RemoteProtocolError
from mpio.proto.iscsi.text import PAIRS_MAX, TextAssembler, TextSplitter, decode_text, encode_text, unique

KEYS = st.from_regex(r"[A-Z][A-Za-z0-9.\-+@_]{0,62}", fullmatch=True)
VALUES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=300)


@given(st.lists(st.tuples(KEYS, VALUES), max_size=20))
def test_round_trip(pairs: list[tuple[str, str]]) -> None:
    assert decode_text(encode_text(pairs)) == pairs


@given(st.binary(max_size=2000))
def test_any_bytes_give_pairs_or_a_typed_error(data: bytes) -> None:
    try:
        pairs = decode_text(data)
    except RemoteProtocolError:
        return
    assert len(pairs) <= PAIRS_MAX


@given(st.binary(max_size=500), st.integers(1, 60))
def test_a_text_that_is_split_comes_out_whole(text: bytes, segment_max: int) -> None:
    splitter, assembler = TextSplitter(segment_max), TextAssembler()
    splitter.put(text)
    whole = None
    while whole is None:
        segment, more = splitter.take()
        assert len(segment) <= segment_max
        whole = assembler.add(segment, more=more)
    assert whole == text
    assert not splitter.pending


@pytest.mark.parametrize(
    "data",
    [b"no separator\0", b"=value\0", b"1Key=v\0", b"Ke y=v\0", b"K" * 64 + b"=v\0", b"Key=\xff\0"],
    ids=["separator", "no key", "digit first", "blank", "long key", "not UTF-8"],
)
def test_broken_text_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_text(data)


def test_missing_and_superfluous_nuls_are_forgiven() -> None:
    assert decode_text(b"A=1\0\0B=2") == [("A", "1"), ("B", "2")]


def test_bounds() -> None:
    with pytest.raises(RemoteProtocolError, match="keys"):
        decode_text(b"A=\0" * (PAIRS_MAX + 1))
    assembler = TextAssembler(100)
    assembler.add(bytes(60), more=True)
    with pytest.raises(RemoteProtocolError, match="100"):
        assembler.add(bytes(60), more=True)


def test_repeated_key() -> None:
    assert unique([("A", "1"), ("B", "2")]) == {"A": "1", "B": "2"}
    with pytest.raises(RemoteProtocolError, match="twice"):
        unique([("A", "1"), ("A", "1")])
