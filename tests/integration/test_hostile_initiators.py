"""Initiators that mean no good: connections that never log in, and proofs that are not theirs."""

import asyncio
import contextlib
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.peers import MpioTarget

import mpio
from mpio.errors import LoginRejected
from mpio.model.address import Portal
from mpio.proto.iscsi import pdu
from mpio.proto.iscsi.chap import ChapConfig
from mpio.proto.iscsi.target import TargetConnection
from mpio.proto.iscsi.target_login import TargetParams
from mpio.target.node import Access, TargetNode

HALF_OPEN = 1000
NAME = "iqn.2026-01.example:t"
SETTINGS = mpio.profile("fast").replace(login_timeout=20.0)


def resident_bytes(pid: int) -> int:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) << 10


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < HALF_OPEN + 256:
        pytest.skip(f"only {hard} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, HALF_OPEN + 256), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def first_login() -> bytes:
    """A Login Request that asks for more to come."""
    text = b"InitiatorName=iqn.2026-01.example:bad\0TargetName=" + NAME.encode() + b"\0AuthMethod=CHAP,None\0"
    return pdu.login_request(0x00, bytes(6), 0, 1, 0, 1, 0, len(text)) + text + bytes(-len(text) & 3)


@pytest.mark.parametrize("said", [b"", first_login(), first_login()[:60]])
def test_half_open_logins_do_not_stop_a_good_one(tmp_path: Path, many_descriptors: None, said: bytes) -> None:
    async def use(url: str) -> bytearray:
        async with mpio.open_map([url], SETTINGS) as disk:
            await disk.write(0, b"x" * 512)
            return await disk.read(0, 512)

    with MpioTarget(tmp_path, "1=ram:1MiB") as target, contextlib.ExitStack() as stack:
        before = resident_bytes(target.pid)
        address = (target.portals[0].host, target.portals[0].port)
        for _ in range(HALF_OPEN):
            sock = stack.enter_context(socket.create_connection(address, 20))
            with contextlib.suppress(OSError):
                sock.sendall(said)
        assert asyncio.run(use(target.url())) == b"x" * 512
        assert resident_bytes(target.pid) - before < 64 << 20


def test_sessions_are_not_closed_to_make_room(tmp_path: Path) -> None:
    async def run(url: str, address: tuple[str, int]) -> bytearray:
        async with mpio.open_map([url], SETTINGS.replace(no_path_retry="fail")) as disk:
            with contextlib.ExitStack() as stack:
                for _ in range(20):
                    stack.enter_context(socket.create_connection(address, 20))
                    await disk.read(0, 512)
                return await disk.read(0, 512)

    with MpioTarget(tmp_path, "1=ram:1MiB", options=["--limit", "connections=4"]) as target:
        address = (target.portals[0].host, target.portals[0].port)
        assert asyncio.run(run(target.url(), address)) == bytes(512)


class Prober:
    """Speaks the login by hand, so that it can cheat."""

    def __init__(self, seed: bytes, *, mutual: bool = True) -> None:
        own = ("disk", "another-secret-1") if mutual else ()
        node = TargetNode(NAME, access=Access(chap=ChapConfig("joe", "a-secret-of-16-b", *own)))
        node.add_portal(1, Portal("192.0.2.1"))
        self.target = TargetConnection(TargetParams(Portal("192.0.2.1"), challenge_seed=seed), node, 0)
        self.node = node

    def say(self, **keys: str) -> dict[str, str]:
        """One Login Request in the security stage; the keys of the answer, and its status as `status`."""
        text = b"".join(f"{key}={value}".encode() + b"\0" for key, value in keys.items())
        self.target.receive(
            pdu.login_request(0x81 if "CHAP_R" in keys else 0x00, bytes(6), 0, 1, 0, 1, 0, len(text)) + text
            + bytes(-len(text) & 3), 0)
        answer = b"".join(bytes(piece) for piece in self.target.data_to_send())
        words = answer[48 : 48 + int.from_bytes(answer[5:8], "big")].split(b"\0")
        found = dict(word.decode().split("=", 1) for word in words if word)
        return {**found, "status": answer[36:38].hex()}

    def challenge(self) -> dict[str, str]:
        assert self.say(InitiatorName="iqn.2026-01.example:a", TargetName=NAME, SessionType="Normal",
                        AuthMethod="CHAP")["AuthMethod"] == "CHAP"
        return self.say(CHAP_A="5")


def proof(identifier: str, challenge: str, secret: bytes) -> str:
    import hashlib

    return "0x" + hashlib.md5(bytes([int(identifier)]) + secret + bytes.fromhex(challenge[2:])).hexdigest()


def test_the_right_proof_is_taken() -> None:
    prober = Prober(bytes(32))
    asked = prober.challenge()
    answer = prober.say(CHAP_N="joe", CHAP_R=proof(asked["CHAP_I"], asked["CHAP_C"], b"a-secret-of-16-b"))
    assert answer["status"] == "0000"


def test_a_proof_of_another_connection_is_refused() -> None:
    """Somebody listened to a login and says the same again."""
    overheard = Prober(bytes(32)).challenge()
    reply = proof(overheard["CHAP_I"], overheard["CHAP_C"], b"a-secret-of-16-b")
    prober = Prober(bytes(31) + b"\1")
    asked = prober.challenge()
    assert asked["CHAP_C"] != overheard["CHAP_C"]
    assert prober.say(CHAP_N="joe", CHAP_R=reply)["status"] == "0201"


def test_a_challenge_is_not_answered_for_who_reflects_it() -> None:
    """Without a secret: let the target answer its own challenge, and say what it said."""
    prober = Prober(bytes(32))
    asked = prober.challenge()
    answer = prober.say(CHAP_N="joe", CHAP_R="0x" + "00" * 16, CHAP_I=asked["CHAP_I"], CHAP_C=asked["CHAP_C"])
    assert answer["status"] == "0201"
    assert "CHAP_R" not in answer


def test_nor_by_a_second_connection() -> None:
    """The same with a second connection to reflect on: the target gives no proof to who has given none."""
    one, other = Prober(bytes(32)), Prober(bytes(31) + b"\1")
    asked, _ = one.challenge(), other.challenge()
    answer = other.say(CHAP_N="joe", CHAP_R="0x" + "00" * 16, CHAP_I=asked["CHAP_I"], CHAP_C=asked["CHAP_C"])
    assert answer["status"] == "0201"
    assert "CHAP_R" not in answer


def test_secrets_that_are_used_both_ways_are_refused() -> None:
    with pytest.raises(ValueError, match=r"secret"):
        ChapConfig("joe", "a-secret-of-16-b", "disk", "a-secret-of-16-b")


def test_a_wrong_secret_over_the_wire(tmp_path: Path) -> None:
    secrets = tmp_path / "chap"
    secrets.write_text("joe a-secret-of-16-b\n")

    async def run(url: str) -> None:
        async with mpio.open_map([url], SETTINGS):
            pass

    with MpioTarget(tmp_path, options=["--chap", str(secrets)]) as target:
        with pytest.raises(LoginRejected):
            asyncio.run(run(target.url(user="joe%another-secret-2")))
        asyncio.run(run(target.url(user="joe%a-secret-of-16-b")))
