"""The vectors of RFC 7143 appendix A.4."""

import pytest

from mpio.proto.iscsi.digest import digest

READ10 = bytes.fromhex(
    "01c000000000000000000000000000001400000000000400000000140000001828000000000000000200000000000000"
)


@pytest.mark.parametrize(
    ("data", "wire"),
    [
        (bytes(32), "aa36918a"),
        (b"\xff" * 32, "43aba862"),
        (bytes(range(32)), "4e79dd46"),
        (bytes(range(31, -1, -1)), "5cdb3f11"),
        (READ10, "563a96d9"),
    ],
)
def test_vectors(data: bytes, wire: str) -> None:
    assert digest(data).hex() == wire
    assert digest(bytearray(data)).hex() == wire
    assert digest(memoryview(data)).hex() == wire
    assert digest(data[:-3], data[-3:]).hex() == wire
