import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.proto_iscsi_login.login_kit import CHAP, Node, initiator, join, settings, target

from mpio.errors import LoginRejected, RemoteProtocolError
from mpio.proto.iscsi.chap import (
    ALGORITHMS,
    ChapConfig,
    chap_matches,
    chap_response,
    decode_binary,
    encode_binary,
    make_challenge,
)
from mpio.proto.iscsi.login import InitiatorLogin, LoginStep
from mpio.proto.iscsi.target_login import Admission, TargetLogin

CHALLENGE = bytes.fromhex("00112233445566778899aabbccddeeff")
# identifier 0x42, the secret and the challenge, hashed by `openssl dgst`
VECTORS = {
    5: "4f9d09b0d0f48dd4603014beb3c39825",
    6: "b334e3a23253e1fd5460ae9f3699b3b09a95bacc",
    7: "30d2257931bff4df7546a0319b6beb859e6bbd4acb1008ec1a65ba9d85a66d34",
    8: "3ac495a5c44351ec9029167924c8478ec4c2871c7f4e1dfdbb9614cf7bbc66a7",
}


@pytest.mark.parametrize("algorithm", VECTORS)
def test_vectors(algorithm: int) -> None:
    response = chap_response(algorithm, 0x42, "a secret of 16 b", CHALLENGE)
    assert response.hex() == VECTORS[algorithm]
    assert chap_matches(algorithm, 0x42, "a secret of 16 b", CHALLENGE, response)
    assert not chap_matches(algorithm, 0x43, "a secret of 16 b", CHALLENGE, response)
    assert not chap_matches(algorithm, 0x42, "a secret of 16 b", CHALLENGE, b"")


@given(st.binary(min_size=1, max_size=1024))
def test_binary_values(value: bytes) -> None:
    assert decode_binary(encode_binary(value)) == value
    assert decode_binary("0X" + value.hex().upper()) == value
    assert decode_binary("0b" + base64.b64encode(value).decode()) == value


@given(st.text(max_size=40))
def test_any_text_is_a_binary_value_or_a_typed_error(text: str) -> None:
    with contextlib.suppress(RemoteProtocolError):
        decode_binary(text)


def test_binary_corner_cases() -> None:
    assert decode_binary("0x123") == b"\x01\x23"
    for text in ("", "0x", "0b", "1234", "0xzz", "0b!!!!", "0x" + "00" * 1025, "0b" + "A" * 1400):
        with pytest.raises(RemoteProtocolError):
            decode_binary(text)


def test_challenges_depend_on_seed_and_purpose() -> None:
    seeds = [make_challenge(bytes([n]) * 16, purpose) for n in range(4) for purpose in (b"a", b"b")]
    assert len(set(seeds)) == 8
    with pytest.raises(ValueError, match="random"):
        make_challenge(b"short", b"a")


def test_equal_secrets_are_refused() -> None:
    with pytest.raises(ValueError, match="differ"):
        ChapConfig("user", "the same secret", "disk", "the same secret")
    with pytest.raises(ValueError, match="empty"):
        ChapConfig("user", "")
    login = initiator(settings(username="user", password="same", username_in="disk", password_in="same"))
    with pytest.raises(LoginRejected, match="differ"):
        join(login, target(Node(Admission(chap=ChapConfig("user", "same")))))


ONE_WAY = {"username": "user", "password": "a secret of 16 b"}
MUTUAL = ONE_WAY | {"username_in": "disk", "password_in": "another secret!!"}


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("configured", [ONE_WAY, MUTUAL], ids=["one-way", "mutual"])
def test_each_algorithm(name: str, configured: dict[str, str]) -> None:
    login = initiator(settings(**configured, chap_algs=(name,)))
    other = target(Node(Admission(chap=CHAP)))
    lines = join(login, other)
    assert login.result == other.result
    assert any(f"CHAP_A={ALGORITHMS[name]}" in line for line in lines)
    assert not any("secret" in line for line in lines)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"password": "not the secret"}, "authentication failed"),
        ({"username": "nobody"}, "authentication failed"),
        ({"password_in": "not the secret"}, "did not prove"),
        ({"username_in": "other"}, "did not prove"),
    ],
)
def test_wrong_secrets(changes: dict[str, object], words: str) -> None:
    login, other = initiator(settings(**(MUTUAL | changes))), target(Node(Admission(chap=CHAP)))
    with pytest.raises(LoginRejected, match=words) as caught:
        join(login, other)
    assert caught.value.status == 0x0201
    assert caught.value.is_final


def test_a_target_without_chap_serves_one_way_but_not_mutual_initiators() -> None:
    login, other = initiator(settings(**ONE_WAY)), target()
    join(login, other)
    assert login.done
    with pytest.raises(LoginRejected):
        join(initiator(settings(**MUTUAL)), target())


def test_an_initiator_without_secret_is_refused_by_a_target_that_wants_one() -> None:
    with pytest.raises(LoginRejected, match="authentication failed"):
        join(initiator(settings()), target(Node(Admission(chap=CHAP))))


def test_no_common_algorithm_gives_the_hint_to_retry_with_md5() -> None:
    login = initiator(settings(**ONE_WAY, chap_algs=("SHA1", "MD5")))
    node = Node(Admission(chap=ChapConfig("user", "a secret of 16 b", algorithms=(8,))))
    with pytest.raises(LoginRejected):
        join(login, target(node))
    assert login.retry_with_md5
    alone = initiator(settings(**ONE_WAY, chap_algs=("MD5",)))
    with pytest.raises(LoginRejected):
        join(alone, target(node))
    assert not alone.retry_with_md5


def _refused_with(chosen: int, status: int) -> InitiatorLogin:
    """A login that gets as far as its proof, and is refused then."""
    login = initiator(settings(**ONE_WAY))
    login.request()
    login.receive(0, 0, 0, b"AuthMethod=CHAP\0")
    login.request()
    login.receive(0, 0, 0, f"CHAP_A={chosen}\0CHAP_I=1\0CHAP_C={encode_binary(CHALLENGE)}\0".encode())
    login.request()
    with pytest.raises(LoginRejected):
        login.receive(0x81, 0, status, b"")
    return login


def test_a_target_that_numbers_algorithms_in_its_own_way_gives_the_hint_to_retry_with_md5() -> None:
    assert _refused_with(7, 0x0200).retry_with_md5  # tgt: 7 is SHA-1 there, and a longer proof an initiator error


def test_a_proof_by_md5_that_is_refused_gives_no_hint_to_retry_with_md5() -> None:
    assert not _refused_with(5, 0x0201).retry_with_md5


def _to_challenge(login: InitiatorLogin, other: TargetLogin) -> None:
    for _ in range(2):
        step = login.request()
        reply = other.receive(step.flags, 0, b"\x80\x12\x34\x56\x00\x01", 0, step.text)
        login.receive(reply.flags, 0, 0, reply.text)


def test_target_refuses_its_own_challenge() -> None:
    other, login = target(Node(Admission(chap=CHAP))), initiator(settings(**MUTUAL))
    _to_challenge(login, other)
    step = login.request()
    pairs = dict(item.split("=", 1) for item in step.text.decode().split("\0") if item)
    _, challenge = make_challenge(bytes(range(100, 132)), b"target")
    pairs["CHAP_C"] = encode_binary(challenge)
    text = "".join(f"{key}={value}\0" for key, value in pairs.items()).encode()
    reply = other.receive(step.flags, 0, b"\x80\x12\x34\x56\x00\x01", 0, text)
    assert reply.status == 0x0201
    assert "own CHAP challenge" in (other.failure or "")


def test_initiator_refuses_its_own_challenge() -> None:
    login = initiator(settings(**MUTUAL))
    login.request()
    login.receive(0, 0, 0, b"AuthMethod=CHAP\0")
    login.request()
    _, challenge = make_challenge(bytes(range(16)), b"initiator")
    with pytest.raises(LoginRejected, match="own CHAP challenge"):
        login.receive(0, 0, 0, f"CHAP_A=5\0CHAP_I=1\0CHAP_C={encode_binary(challenge)}\0".encode())


def test_target_that_skips_its_proof_is_refused() -> None:
    login = initiator(settings(**MUTUAL))
    login.request()
    login.receive(0, 0, 0, b"AuthMethod=CHAP\0")
    login.request()
    login.receive(0, 0, 0, b"CHAP_A=5\0CHAP_I=0x1F\0CHAP_C=0x0011223344556677\0")
    step = login.request()
    assert isinstance(step, LoginStep)
    assert step.flags == 0x81
    with pytest.raises(LoginRejected, match="did not prove"):
        login.receive(0x81, 0, 0, b"")
