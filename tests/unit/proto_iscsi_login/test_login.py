"""Both login machines, joined directly and each alone against what a peer may say."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.unit.proto_iscsi_login.login_kit import (
    CHAP,
    INITIATOR,
    ISID,
    NAMES,
    SEED_T,
    TARGET,
    Node,
    initiator,
    join,
    past_security,
    settings,
    target,
)

from mpio.errors import LocalProtocolError, LoginRejected, RemoteProtocolError
from mpio.model.address import Portal
from mpio.proto.iscsi.login import ROUNDS_MAX, STATUS_WORDS, InitiatorLogin, LoginParams, status_words
from mpio.proto.iscsi.target_login import Admission

NO_CHAP: dict[str, object] = {}
ONE_WAY: dict[str, object] = {
    "username": "user", "password": "a secret of 16 b",
    "discovery_username": "user", "discovery_password": "a secret of 16 b",
}  # fmt: skip
MUTUAL = ONE_WAY | {"username_in": "disk", "password_in": "another secret!!"}


@pytest.mark.parametrize("auth", [NO_CHAP, ONE_WAY, MUTUAL], ids=["none", "one-way", "mutual"])
@pytest.mark.parametrize("digest", ["None", "CRC32C", "None,CRC32C", "CRC32C,None"])
@pytest.mark.parametrize("name", [TARGET, None], ids=["normal", "discovery"])
@pytest.mark.parametrize(("ours", "theirs"), list(itertools.product([8192, 17, 1], repeat=2)))
def test_matrix(
    auth: dict[str, object], digest: str, name: str | None, ours: int, theirs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpio.proto.iscsi.login.ROUNDS_MAX", 2000)
    monkeypatch.setattr("mpio.proto.iscsi.target_login.ROUNDS_MAX", 2000)
    login = initiator(settings(**auth, header_digest=digest, data_digest=digest), name, ours)
    node = Node(Admission(chap=CHAP if auth else None))
    other = target(node, theirs, tpgt=3)
    join(login, other)
    assert login.done
    assert other.done
    result = login.result
    assert result == other.result
    assert result.header_digest == result.data_digest == digest.startswith("CRC32C")
    assert result.is_discovery == (name is None)
    assert (result.tsih, result.tpgt) == ((7, 3) if name else (1, 0))
    assert len(node.sessions) == (name is not None)


VALUES = st.fixed_dictionaries({
    "initial_r2t": st.booleans(),
    "immediate_data": st.booleans(),
    "max_burst_length": st.integers(4096, 2**24 - 1),
    "first_burst_length": st.integers(512, 4096),
    "max_recv_data_segment_length": st.integers(512, 2**24 - 1),
    "default_time2wait": st.integers(0, 3600),
    "default_time2retain": st.integers(0, 3600),
})


@given(VALUES, VALUES)
def test_any_settings_meet_and_both_sides_agree(ours: Any, theirs: Any) -> None:
    login, other = initiator(settings(**ours)), target(**theirs)
    join(login, other)
    result = login.result
    assert result == other.result
    assert result.initiator_max_recv_data_segment_length == ours["max_recv_data_segment_length"]
    assert result.target_max_recv_data_segment_length == theirs["max_recv_data_segment_length"]
    assert result.max_burst_length == min(ours["max_burst_length"], theirs["max_burst_length"])
    assert result.first_burst_length == min(
        ours["first_burst_length"], theirs["first_burst_length"], result.max_burst_length
    )
    assert result.initial_r2t == (ours["initial_r2t"] or theirs["initial_r2t"])
    assert result.immediate_data == (ours["immediate_data"] and theirs["immediate_data"])


def test_the_target_brings_up_what_the_initiator_left_out() -> None:
    other = target(max_burst_length=4096, initial_r2t=False, header_digest="CRC32C")
    reply = other.receive(0x87, 0, ISID, 0, NAMES.replace("|", "\0").encode())
    assert reply.flags == 0x04
    assert b"HeaderDigest=CRC32C\0" in reply.text
    assert b"MaxBurstLength=4096\0" in reply.text
    assert b"InitialR2T" not in reply.text
    reply = other.receive(0x87, 0, ISID, 0, b"HeaderDigest=CRC32C\0MaxBurstLength=2048\0")
    assert reply.flags == 0x87
    assert other.result.max_burst_length == 2048
    assert other.result.header_digest


def test_an_initiator_answers_offers_before_it_goes_on() -> None:
    login = past_security(settings())
    login.request()
    login.receive(0x04, 0, 0, b"TaskReporting=RFC3720\0OFMarkInt=1~2\0X-com.a=1\0")
    step = login.request()
    assert step.flags == 0x87
    assert step.text == b"TaskReporting=RFC3720\0OFMarkInt=Irrelevant\0X-com.a=NotUnderstood\0"


_NAMED = (
    f"> 81 InitiatorName={INITIATOR}\0TargetName={TARGET}\0SessionType=Normal\0AuthMethod=None\0",
    "< 81 0000 TargetPortalGroupTag=1\0AuthMethod=None\0",
)
_ASKED = (
    "> 87 HeaderDigest=None\0DataDigest=None\0"
    "MaxRecvDataSegmentLength=262144\0InitialR2T=No\0ImmediateData=Yes\0MaxBurstLength=16776192\0"
    "FirstBurstLength=262144\0MaxOutstandingR2T=1\0MaxConnections=1\0DataPDUInOrder=Yes\0DataSequenceInOrder=Yes\0"
    "DefaultTime2Wait=2\0DefaultTime2Retain=0\0ErrorRecoveryLevel=0\0"
)
_ANSWERED = (
    "< 87 0000 HeaderDigest=None\0DataDigest=None\0InitialR2T=No\0ImmediateData=Yes\0"
    "MaxBurstLength=16776192\0FirstBurstLength=262144\0MaxOutstandingR2T=1\0MaxConnections=1\0DataPDUInOrder=Yes\0"
    "DataSequenceInOrder=Yes\0DefaultTime2Wait=2\0DefaultTime2Retain=0\0ErrorRecoveryLevel=0\0"
    "MaxRecvDataSegmentLength=262144\0"
)


def test_golden_plain_login_begins_in_the_security_stage() -> None:
    """Else tgt does not end the old session of the same name and ISID, and an old copy of a write may still land."""
    assert join(initiator(settings()), target()) == [*_NAMED, _ASKED, _ANSWERED]


def test_a_target_that_wants_authentication_is_refused_without_a_user_name() -> None:
    login = initiator(settings(password_in="another secret!!"))  # without a user name it counts for nothing
    assert b"AuthMethod=None\0" in login.request().text
    with pytest.raises(LoginRejected, match="no user name"):
        login.receive(0x00, 0, 0, b"AuthMethod=CHAP\0")


def test_a_target_may_take_its_time_in_the_security_stage() -> None:
    login = initiator(settings())
    login.request()
    login.receive(0x00, 0, 0, b"TargetPortalGroupTag=1\0")
    step = login.request()
    assert (step.flags, step.text) == (0x81, b"")
    login.receive(0x81, 0, 0, b"AuthMethod=None\0")
    assert login.request().flags == 0x87


def test_golden_mutual_chap() -> None:
    login = initiator(settings(**MUTUAL, chap_algs=("SHA256", "MD5")))
    lines = join(login, target(Node(Admission(chap=CHAP))))
    assert [line[:4] for line in lines] == ["> 00", "< 00", "> 00", "< 00", "> 81", "< 81", "> 87", "< 87"]
    keys = [[item.partition("=")[0] for item in line.split(" ", 2 if line[0] == ">" else 3)[-1].split("\0")[:-1]]
            for line in lines]
    assert keys[:6] == [
        ["InitiatorName", "TargetName", "SessionType", "AuthMethod"],
        ["TargetPortalGroupTag", "AuthMethod"],
        ["CHAP_A"],
        ["CHAP_A", "CHAP_I", "CHAP_C"],
        ["CHAP_N", "CHAP_R", "CHAP_I", "CHAP_C"],
        ["CHAP_N", "CHAP_R"],
    ]
    assert lines[2].endswith("CHAP_A=7,5\0")


def test_tgt_as_seen_on_the_wire() -> None:
    """tgt declares no MaxRecvDataSegmentLength and answers only what was offered."""
    login = past_security(settings())
    login.request()
    login.receive(0x87, 1, 0, b"HeaderDigest=None\0DataDigest=None\0InitialR2T=No\0"
                              b"ImmediateData=Yes\0MaxBurstLength=262144\0FirstBurstLength=65536\0")  # fmt: skip
    assert login.result.target_max_recv_data_segment_length == 8192
    assert login.result.immediate_length_max == 8192
    assert login.result.default_time2retain == 20


def test_libiscsi_as_seen_on_the_wire() -> None:
    """One PDU with all keys, in discovery too."""
    text = (
        "InitiatorName=iqn.2007-10.com.github:sahlberg:libiscsi:x\0InitiatorAlias=x\0SessionType=Discovery\0"
        "HeaderDigest=None,CRC32C\0DataDigest=None\0InitialR2T=No\0ImmediateData=Yes\0MaxBurstLength=262144\0"
        "FirstBurstLength=262144\0MaxRecvDataSegmentLength=262144\0DataPDUInOrder=Yes\0DefaultTime2Wait=2\0"
        "DefaultTime2Retain=0\0IFMarker=No\0OFMarker=No\0MaxConnections=1\0MaxOutstandingR2T=1\0"
        "ErrorRecoveryLevel=0\0DataSequenceInOrder=Yes\0"
    )
    other = target()
    reply = other.receive(0x87, 0, ISID, 0, text.encode())
    assert (reply.flags, reply.status, reply.tsih) == (0x87, 0, 1)
    assert other.result.initiator_alias == "x"
    assert b"IFMarker=No" in reply.text


# --- refusals


@pytest.mark.parametrize("status", [status for status in STATUS_WORDS if status >= 0x0200])
def test_every_refusal_is_put_into_words(status: int) -> None:
    login = initiator(settings())
    login.request()
    with pytest.raises(LoginRejected, match=STATUS_WORDS[status]) as caught:
        login.receive(0, 0, status, b"")
    assert caught.value.status == status
    assert caught.value.is_final == (status < 0x0300)


def test_unknown_status_in_words() -> None:
    assert status_words(0x0299) == "initiator error (status 0299)"
    assert status_words(0x0901) == "unknown status (status 0901)"


@pytest.mark.parametrize(("status", "permanent"), [(0x0101, False), (0x0102, True)])
def test_redirection(status: int, permanent: bool) -> None:
    node = Node(Admission(redirect=Portal("192.0.2.9", 3261), redirect_permanently=permanent))
    login = initiator(settings())
    lines = join(login, target(node))
    assert f"{status:04x} TargetAddress=192.0.2.9:3261" in lines[-1]
    assert login.redirect is not None
    assert (login.redirect.portal, login.redirect.permanent) == (Portal("192.0.2.9", 3261), permanent)
    assert node.sessions == []


def test_redirection_with_group_tag_and_without_address() -> None:
    login = initiator(settings())
    login.receive(0, 0, 0x0101, b"TargetAddress=[2001:db8::1]:3260,2\0")
    assert login.redirect is not None
    assert login.redirect.portal == Portal("2001:db8::1")
    with pytest.raises(RemoteProtocolError, match="TargetAddress"):
        initiator(settings()).receive(0, 0, 0x0101, b"")


@pytest.mark.parametrize(
    ("flags", "version", "text", "status"),
    [
        (0x87, 0, "TargetName=iqn.x|", 0x0207),
        (0x87, 0, "InitiatorName=iqn.x|", 0x0207),
        (0x87, 0, "InitiatorName=iqn.x|SessionType=Copy|", 0x0209),
        (0x87, 1, NAMES, 0x0205),
        (0x8B, 0, NAMES, 0x020B),
        (0x85, 0, NAMES, 0x020B),
        (0x86, 0, NAMES, 0x020B),
        (0xC7, 0, NAMES, 0x0200),
        (0x87, 0, NAMES + "MaxBurstLength=1024|MaxBurstLength=1024|", 0x0200),
        (0x87, 0, NAMES + "AuthMethod=None|", 0x0200),
        (0x87, 0, NAMES + "CHAP_A=5|", 0x0200),
        (0x00, 0, NAMES + "CHAP_A=5|", 0x0200),
        (0x00, 0, NAMES + "AuthMethod=KRB5|", 0x0201),
        (0x87, 0, "no separator|", 0x0200),
        (0x87, 0, "InitiatorName=" + "i" * 224 + "|", 0x0200),
        (0x87, 0, NAMES + "MaxRecvDataSegmentLength=511|", 0x0200),
    ],
)
def test_what_the_target_refuses(flags: int, version: int, text: Any, status: int) -> None:
    node = Node()
    other = target(node)
    reply = other.receive(flags, version, ISID, 0, text.replace("|", "\0").encode())
    assert reply.status == status, other.failure
    assert other.failure
    assert not other.done
    assert node.sessions == []
    with pytest.raises(LocalProtocolError):
        other.receive(0x87, 0, ISID, 0, b"")


def test_refusals_of_the_node_reach_the_initiator() -> None:
    class Refusing(Node):
        def admit(self, initiator_name: str, target_name: str | None, portal: Portal) -> Admission:
            raise LoginRejected("no", status=0x0203)

    with pytest.raises(LoginRejected, match="no such target"):
        join(initiator(settings()), target(Refusing()))


def test_stage_isid_and_names_stay() -> None:
    name = b"InitiatorName=a\0"
    for second in [(0x87, ISID, 0, b""), (0x00, b"other!", 0, b""), (0x00, ISID, 9, b""), (0x00, ISID, 0, name)]:
        other = target()
        assert other.receive(0x00, 0, ISID, 0, NAMES.replace("|", "\0").encode()).status == 0
        flags, isid, tsih, text = second
        assert other.receive(flags, 0, isid, tsih, text).status != 0


def test_security_to_full_feature_declares_the_segment_length() -> None:
    other = target()
    reply = other.receive(0x83, 0, ISID, 0, (NAMES + "AuthMethod=None|").replace("|", "\0").encode())
    assert reply.flags == 0x83
    assert b"MaxRecvDataSegmentLength=" in reply.text
    assert other.done


def test_required_digest_that_the_other_side_lacks() -> None:
    with pytest.raises(LoginRejected):
        join(initiator(settings(header_digest="None")), target(header_digest="CRC32C"))
    login = initiator(settings(data_digest="CRC32C"))
    with pytest.raises(LoginRejected):
        join(login, target(data_digest="None"))


@pytest.mark.parametrize(
    ("flags", "tsih", "text", "words"),
    [
        (0x83, 7, b"", "stage"),
        (0x84, 7, b"", "not asked for"),
        (0xC7, 7, b"", "not asked for"),
        (0x87, 0, b"", "TSIH"),
        (0x87, 7, b"MaxBurstLength=1024\0MaxBurstLength=1024\0", "twice"),
        (0x87, 7, b"MaxBurstLength=1\0", "512"),
        (0x87, 7, b"HeaderDigest=CRC32C\0", "offer"),
        (0x87, 7, b"TaskReporting=RFC3720\0", "offers open"),
        (0x87, 7, b"nonsense", "key=value"),
    ],
)
def test_what_the_initiator_does_not_take(flags: int, tsih: int, text: Any, words: str) -> None:
    login = past_security(settings())
    login.request()
    with pytest.raises(RemoteProtocolError, match=words):
        login.receive(flags, tsih, 0, text)
    assert not login.done


def test_endless_logins_end() -> None:
    login, other = past_security(settings()), target()
    for _ in range(ROUNDS_MAX - 1):
        login.request()
        login.receive(0x04, 0, 0, b"")
    with pytest.raises(RemoteProtocolError, match="does not end"):
        login.receive(0x04, 0, 0, b"")
    for _ in range(ROUNDS_MAX):
        assert other.receive(0x44, 0, ISID, 0, b"").status == 0
    assert other.receive(0x44, 0, ISID, 0, b"").status == 0x0200


def test_unbounded_text_ends() -> None:
    other = target()
    for _ in range(8):
        assert other.receive(0x44, 0, ISID, 0, b"A" * 8192).status == 0
    assert other.receive(0x44, 0, ISID, 0, b"A" * 8192).status == 0x0200


def test_a_login_that_has_ended_takes_nothing() -> None:
    login, other = initiator(settings()), target()
    with pytest.raises(LocalProtocolError):
        assert login.result
    with pytest.raises(LocalProtocolError):
        assert other.result
    join(login, other)
    with pytest.raises(LocalProtocolError):
        login.receive(0x87, 7, 0, b"")
    with pytest.raises(LocalProtocolError):
        other.receive(0x87, 0, ISID, 0, b"")


# --- any peer at all

_NAMES = [
    "AuthMethod", "CHAP_A", "CHAP_I", "CHAP_C", "CHAP_N", "CHAP_R", "MaxBurstLength", "HeaderDigest", "TargetName",
    "TargetPortalGroupTag", "InitiatorName", "SessionType", "MaxRecvDataSegmentLength", "TargetAddress", "Unknown",
]  # fmt: skip
_VALUES = [
    "CHAP", "None", "CHAP,None", "5", "7,5", "0x1122334455667788", "0x", "0bQUJD", "user", "Reject", "Irrelevant",
    "512", "99999999", INITIATOR, "Normal", "Discovery", "192.0.2.1:3260,1", "",
]  # fmt: skip
TEXTS = st.one_of(
    st.binary(max_size=60),
    st.lists(
        st.tuples(
            st.sampled_from(_NAMES),
            st.sampled_from(_VALUES),
        ),
        max_size=6,
    ).map(lambda pairs: "".join(f"{key}={value}\0" for key, value in pairs).encode()),
)  # fmt: skip
FLAGS = st.sampled_from([0x00, 0x81, 0x83, 0x87, 0x04, 0x44, 0x40]) | st.integers(0, 255)
STATUSES = st.sampled_from([0, 0, 0, 0x0101, 0x0201])
AUTH = st.sampled_from([NO_CHAP, ONE_WAY, MUTUAL])


@hypothesis_settings(max_examples=300, deadline=None)
@given(AUTH, st.lists(st.tuples(FLAGS, st.integers(0, 2), STATUSES, TEXTS), max_size=8))
def test_initiator_against_any_target(auth: dict[str, object], answers: list[tuple[int, int, int, bytes]]) -> None:
    params = LoginParams(INITIATOR, TARGET, ISID, settings(**auth), challenge_seed=SEED_T)
    login = InitiatorLogin(params)
    for flags, tsih, status, text in answers:
        step = login.request()
        assert len(step.text) <= 8192
        assert not (step.transit and step.cont)
        try:
            login.receive(flags, tsih, status, text)
        except (LoginRejected, RemoteProtocolError):
            return
        if login.done:
            assert not auth.get("password_in"), "a target got in without its proof"
            assert login.result.tsih
        if login.done or login.redirect is not None:
            return


@hypothesis_settings(max_examples=300, deadline=None)
@given(AUTH, st.lists(st.tuples(FLAGS, TEXTS), max_size=8))
def test_target_against_any_initiator(auth: dict[str, object], requests: list[tuple[int, bytes]]) -> None:
    node = Node(Admission(chap=CHAP if auth else None))
    other = target(node)
    first = NAMES.replace("|", "\0").encode()
    for flags, text in requests:
        reply = other.receive(flags, 0, ISID, 0, first + text)
        first = b""
        assert len(reply.text) <= 8192
        assert reply.status == 0 or other.failure
        assert not (auth and (other.done or node.sessions)), "an initiator got in without its proof"
        if reply.flags & 0x80:
            assert flags & 0x80
            assert not reply.flags & 0x40
        if other.done or other.failure:
            return
