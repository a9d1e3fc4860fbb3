"""The target's side of login: whom to let in, by which proof, with which parameters (RFC 7143 §6.3, §11.13).

`TargetLogin` is a pure machine of texts and flags, the counterpart of `login.InitiatorLogin`. It asks a
`LoginAcceptor` for everything that depends on the target: names, secrets, sessions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from mpio.errors import LocalProtocolError, LoginRejected, RemoteProtocolError
from mpio.model.address import NAME_MAX_BYTES, Portal
from mpio.model.settings import DigestPolicy
from mpio.proto.iscsi.chap import ChapConfig, chap_matches, chap_response, decode_binary, encode_binary, make_challenge
from mpio.proto.iscsi.login import (
    CONTINUE_BIT,
    FULL_FEATURE,
    OPERATIONAL,
    ROUNDS_MAX,
    SECURITY,
    TRANSIT_BIT,
    chap_identifier,
)
from mpio.proto.iscsi.negotiation import Negotiator, SessionParams, session_params
from mpio.proto.iscsi.text import (
    LOGIN_SEGMENT_MAX,
    Pairs,
    TextAssembler,
    TextSplitter,
    decode_text,
    encode_text,
    unique,
)

if TYPE_CHECKING:
    from mpio.proto.iscsi.target import TargetConnection

_IDENTITY_KEYS = frozenset(("InitiatorName", "TargetName", "SessionType"))


@dataclass(frozen=True, slots=True)
class TargetParams:
    """What one connection of the target role needs to know. Lengths in bytes, times in seconds.

    Attributes:
        portal: the address the connection came in on. tpgt: that portal's group.
        challenge_seed: 16 or more random bytes, new for each connection; for CHAP.
        header_digest, data_digest: what is accepted; the initiator's order of preference decides.
        queue_depth: commands in flight on a session. immediate_max: immediate ones beyond those.
        write_length_max: longest write. gather_bytes_max: write data being gathered at a time, of all tasks;
            commands beyond it get TASK SET FULL.
        nop_in_interval, nop_in_timeout: silence before the target pings, and before it gives up; 0: never.
    """

    portal: Portal
    tpgt: int = 1
    challenge_seed: bytes = field(default=b"", repr=False)
    max_recv_data_segment_length: int = 262_144
    max_burst_length: int = 16_776_192
    first_burst_length: int = 262_144
    initial_r2t: bool = False
    immediate_data: bool = True
    header_digest: DigestPolicy = "None,CRC32C"
    data_digest: DigestPolicy = "None,CRC32C"
    default_time2wait: int = 2
    default_time2retain: int = 20
    queue_depth: int = 128
    immediate_max: int = 64
    write_length_max: int = 1 << 25
    gather_bytes_max: int = 1 << 27
    login_timeout: float = 15.0
    nop_in_interval: float = 0.0
    nop_in_timeout: float = 0.0


@dataclass(frozen=True, slots=True)
class Admission:
    """The answer to "may this initiator log in here?" where it is not no.

    Attributes:
        chap: what the initiator has to prove; None: nothing.
        alias: TargetAlias.
        redirect: go there instead; `redirect_permanently` tells 0102 from 0101.
    """

    chap: ChapConfig | None = None
    alias: str = ""
    redirect: Portal | None = None
    redirect_permanently: bool = False


class LoginAcceptor(Protocol):
    """What a target node decides. Each method may raise LoginRejected with a status of RFC 7143 §11.13.5."""

    def admit(self, initiator_name: str, target_name: str | None, portal: Portal) -> Admission:
        """First request of a login; `target_name` None is discovery. 0203: no such target, 0202: not allowed."""

    def open_session(self, connection: "TargetConnection", params: SessionParams) -> int:
        """A normal session reaches the full feature phase; nothing has been answered yet. Returns its TSIH, not 0.

        An older session of the same nexus (initiator name, ISID, target name, portal group) must be ended here, by
        `close()` of its connection, so that nothing of it is executed any more (§6.3.5). `params.tsih` is what the
        initiator asked to join: 020A if it is not 0 and there is no such session, 0206 if there is one. Sets
        `connection.on_command`, `on_task_management` and `on_closed`.
        """

    def send_targets(
        self, initiator_name: str, target_name: str | None, portal: Portal
    ) -> Sequence[tuple[str, Sequence[tuple[Portal, int]]]]:
        """Names of targets with their portals and group tags; `target_name` None asks for all. Unknown: none."""


@dataclass(frozen=True, slots=True)
class LoginReply:
    """The next Login Response: byte 1, status class << 8 | detail, TSIH, text."""

    flags: int
    status: int
    tsih: int
    text: bytes


class _Auth(Enum):
    """What the initiator may send next in the security stage."""

    METHOD = 0
    ALGORITHM = 1
    RESPONSE = 2
    DONE = 3


class TargetLogin:
    """Target's login: give each Login Request to `receive()` and send what it returns.

    Attributes:
        done: the full feature phase starts after the last reply; `result` holds.
        failure: why the login was refused, in words; None if it was not. The connection is to be closed then.
    """

    def __init__(
        self,
        params: TargetParams,
        acceptor: LoginAcceptor,
        open_session: Callable[[SessionParams], int],
        segment_max: int = LOGIN_SEGMENT_MAX,
    ) -> None:
        self._params = params
        self._acceptor = acceptor
        self._open_session = open_session
        self._negotiator = Negotiator(_target_values(params))
        self._incoming = TextAssembler()
        self._outgoing = TextSplitter(segment_max)
        self._stage: int | None = None
        self._isid = b""
        self._tsih = 0
        self._rounds = 0
        self._identified = False
        self._initiator_name = ""
        self._target_name: str | None = None
        self._admission = Admission()
        self._auth = _Auth.METHOD
        self._algorithm = 0
        self._challenge = (0, b"")
        self._segment_declared = False
        self._agreed = False  # to leave the stage, once the text is out
        self.done = False
        self.failure: str | None = None
        self._result: SessionParams | None = None

    @property
    def result(self) -> SessionParams:
        """What was agreed on. LocalProtocolError before `done`."""
        if self._result is None:
            raise LocalProtocolError("login has not ended")
        return self._result

    def receive(self, flags: int, version_min: int, isid: bytes, tsih: int, text: bytes) -> LoginReply:
        """Take a Login Request (byte 1, VersionMin, ISID, TSIH, data segment) and say what to answer."""
        if self.done or self.failure is not None:
            raise LocalProtocolError("login has ended")
        try:
            return self._receive(flags, version_min, isid, tsih, text)
        except LoginRejected as error:
            return self._refuse(error.status, str(error))
        except RemoteProtocolError as error:
            return self._refuse(0x0200, str(error))

    def _refuse(self, status: int, why: str, text: bytes = b"") -> LoginReply:
        self.failure = why
        return LoginReply((self._stage or 0) << 2, status, self._tsih, text)

    def _receive(self, flags: int, version_min: int, isid: bytes, tsih: int, text: bytes) -> LoginReply:
        self._rounds += 1
        if self._rounds > ROUNDS_MAX:
            raise RemoteProtocolError(f"login does not end after {ROUNDS_MAX} rounds")
        transit, cont = bool(flags & TRANSIT_BIT), bool(flags & CONTINUE_BIT)
        next_stage = flags & 3
        self._check_header(flags, version_min, isid, tsih)
        if transit and cont:
            raise RemoteProtocolError("T and C bits together", clause="RFC 7143 §11.12.2")
        whole = self._incoming.add(text, more=cont)
        if whole is None:
            return LoginReply((self._stage or 0) << 2, 0, self._tsih, b"")
        if self._outgoing.pending:
            if whole:
                raise RemoteProtocolError("text in answer to one that goes on", clause="RFC 7143 §6.2")
            return self._reply(next_stage if transit else None)
        keys = unique(decode_text(whole))
        answers: Pairs = []
        if not self._identified:
            answers += self._identify(keys)
            redirect = self._admission.redirect
            if redirect is not None:
                status = 0x0102 if self._admission.redirect_permanently else 0x0101
                address = encode_text([("TargetAddress", str(redirect))])
                return self._refuse(status, f"redirected to {redirect}", address)
        elif not _IDENTITY_KEYS.isdisjoint(keys):
            raise RemoteProtocolError("a name is declared twice", clause="RFC 7143 §6.3")
        answers += self._take_security(keys)
        answers += self._take_operational(keys)
        self._agreed = transit and (self._stage == OPERATIONAL or self._may_pass())
        if self._stage == OPERATIONAL or (self._agreed and next_stage == FULL_FEATURE):
            answers += self._own_keys()
        self._outgoing.put(encode_text(answers))
        return self._reply(next_stage if transit else None)

    def _check_header(self, flags: int, version_min: int, isid: bytes, tsih: int) -> None:
        stage, next_stage = (flags >> 2) & 3, flags & 3
        if self._stage is None:
            if version_min > 0:
                raise LoginRejected("no common protocol version", status=0x0205)
            self._isid, self._tsih = isid, tsih
            self._stage = stage
        if stage != self._stage or stage not in (SECURITY, OPERATIONAL):
            raise LoginRejected(f"request for stage {stage} of login", status=0x020B)
        if flags & TRANSIT_BIT and (next_stage not in (OPERATIONAL, FULL_FEATURE) or next_stage <= stage):
            raise LoginRejected(f"transition from stage {stage} to {next_stage}", status=0x020B)
        if isid != self._isid or tsih != self._tsih:
            raise RemoteProtocolError("ISID or TSIH changes during login", clause="RFC 7143 §11.12")

    def _reply(self, asked_stage: int | None) -> LoginReply:
        """The next part of the queued text, with the transition once it is all out and if it is asked for."""
        stage = self._stage or 0
        text, more = self._outgoing.take()
        if more:
            return LoginReply(CONTINUE_BIT | stage << 2, 0, self._tsih, text)
        if asked_stage is None or not self._agreed:
            return LoginReply(stage << 2, 0, self._tsih, text)
        if asked_stage == FULL_FEATURE:
            self._finish()
        self._stage = asked_stage
        self._agreed = False
        return LoginReply(TRANSIT_BIT | stage << 2 | asked_stage, 0, self._tsih, text)

    def _finish(self) -> None:
        unmet = self._negotiator.unmet()
        if unmet:
            raise LoginRejected(f"the initiator does not support {' and '.join(unmet)} as required", status=0x0200)
        declared = self._negotiator.declared

        def outcome(tsih: int) -> SessionParams:
            return session_params(
                self._negotiator,
                initiator_name=self._initiator_name,
                target_name=self._target_name,
                isid=self._isid,
                tsih=tsih,
                tpgt=0 if self._target_name is None else self._params.tpgt,
                initiator_alias=str(declared.get("InitiatorAlias", "")),
                target_alias=self._admission.alias,
                initiator_max_recv_data_segment_length=int(declared.get("MaxRecvDataSegmentLength", 8192)),
                target_max_recv_data_segment_length=self._params.max_recv_data_segment_length,
            )

        if self._target_name is not None:
            self._tsih = self._open_session(outcome(self._tsih))
        elif self._tsih:
            raise LoginRejected("a discovery session has one connection", status=0x020A)
        else:
            self._tsih = 1  # nothing refers to it again
        self._result = outcome(self._tsih)
        self.done = True

    # --- identity

    def _identify(self, keys: dict[str, str]) -> Pairs:
        """Take the names of the first text, and ask whether they may come in. Returns what the target declares."""
        self._identified = True
        kind = keys.get("SessionType", "Normal")
        if kind not in ("Normal", "Discovery"):
            raise LoginRejected(f"session type {kind[:20]!r}", status=0x0209)
        self._initiator_name = _name(keys, "InitiatorName")
        if kind == "Normal":
            self._target_name = _name(keys, "TargetName")
        self._admission = self._acceptor.admit(self._initiator_name, self._target_name, self._params.portal)
        if self._stage == OPERATIONAL and self._admission.chap is not None:
            raise LoginRejected("the initiator skips the authentication that is required", status=0x0201)
        if self._target_name is None:
            return []
        declarations = [("TargetPortalGroupTag", str(self._params.tpgt))]
        if self._admission.alias:
            declarations.append(("TargetAlias", self._admission.alias))
        return declarations

    # --- operational keys

    def _take_operational(self, keys: dict[str, str]) -> Pairs:
        answers = []
        for name, value in keys.items():
            if name in _IDENTITY_KEYS or name == "AuthMethod" or name.startswith("CHAP_"):
                continue
            answer = self._negotiator.receive(name, value)
            if answer is not None:
                answers.append((name, answer))
        return answers

    def _own_keys(self) -> Pairs:
        """Declarations, and offers that the initiator has to answer before the target agrees to go on."""
        pairs: Pairs = []
        if not self._segment_declared:
            self._segment_declared = True
            pairs += self._negotiator.offer(["MaxRecvDataSegmentLength"])
        offers = self._negotiator.wishes()
        if offers:
            self._agreed = False
            pairs += self._negotiator.offer(offers)
        return pairs

    # --- the security stage

    def _may_pass(self) -> bool:
        return self._auth is _Auth.DONE or self._admission.chap is None

    def _take_security(self, keys: dict[str, str]) -> Pairs:
        asked = {name for name in keys if name == "AuthMethod" or name.startswith("CHAP_")}
        if asked and self._stage != SECURITY:
            raise RemoteProtocolError("security keys after the security stage", clause="RFC 7143 §6.3.2")
        answers: Pairs = []
        if "AuthMethod" in asked:
            answers += self._take_method(keys["AuthMethod"])
        if "CHAP_A" in asked:
            answers += self._take_algorithms(keys["CHAP_A"])
        if asked & {"CHAP_N", "CHAP_R", "CHAP_I", "CHAP_C"}:
            answers += self._take_response(keys)
        return answers

    def _expect(self, step: _Auth) -> ChapConfig:
        if self._auth is not step or self._admission.chap is None:
            raise RemoteProtocolError("CHAP keys out of turn", clause="RFC 7143 §12.1.3")
        return self._admission.chap

    def _take_method(self, text: str) -> Pairs:
        if self._auth is not _Auth.METHOD:
            raise RemoteProtocolError("AuthMethod is negotiated twice", clause="RFC 7143 §6.3")
        wanted = "None" if self._admission.chap is None else "CHAP"
        if wanted not in text.split(","):
            raise LoginRejected(f"expected AuthMethod={wanted}, found {text[:40]!r}", status=0x0201)
        self._auth = _Auth.DONE if wanted == "None" else _Auth.ALGORITHM
        return [("AuthMethod", wanted)]

    def _take_algorithms(self, text: str) -> Pairs:
        allowed = {str(number): number for number in self._expect(_Auth.ALGORITHM).algorithms}
        chosen = next((item for item in text.split(",") if item in allowed), None)
        if chosen is None:
            raise LoginRejected(f"no common CHAP algorithm in {text[:40]!r}", status=0x0201)
        self._auth = _Auth.RESPONSE
        self._algorithm = allowed[chosen]
        self._challenge = make_challenge(self._params.challenge_seed, b"target")
        identifier, challenge = self._challenge
        return [("CHAP_A", chosen), ("CHAP_I", str(identifier)), ("CHAP_C", encode_binary(challenge))]

    def _take_response(self, keys: dict[str, str]) -> Pairs:
        chap = self._expect(_Auth.RESPONSE)
        identifier, challenge = self._challenge
        response = decode_binary(keys.get("CHAP_R", ""))
        right = chap_matches(self._algorithm, identifier, chap.password, challenge, response)
        if keys.get("CHAP_N") != chap.username or not right:
            raise LoginRejected("wrong CHAP user name or secret", status=0x0201)
        self._auth = _Auth.DONE
        if "CHAP_C" not in keys:
            return []
        their_challenge = decode_binary(keys["CHAP_C"])
        if their_challenge == challenge:
            raise LoginRejected("the initiator sent our own CHAP challenge", status=0x0201)
        if chap.mutual_username is None or chap.mutual_password is None:
            raise LoginRejected("the initiator asks for a mutual CHAP secret, and there is none", status=0x0201)
        identifier = chap_identifier(keys.get("CHAP_I", ""))
        proof = chap_response(self._algorithm, identifier, chap.mutual_password, their_challenge)
        return [("CHAP_N", chap.mutual_username), ("CHAP_R", encode_binary(proof))]


def _name(keys: dict[str, str], key: str) -> str:
    name = keys.get(key, "").lower()
    if not name:
        raise LoginRejected(f"{key} is missing", status=0x0207)
    if len(name.encode()) > NAME_MAX_BYTES:
        raise RemoteProtocolError(f"{key} has more than {NAME_MAX_BYTES} bytes", clause="RFC 7143 §4.2.7.1")
    return name


def _target_values(params: TargetParams) -> dict[str, int | bool | str]:
    return {
        "HeaderDigest": params.header_digest,
        "DataDigest": params.data_digest,
        "MaxRecvDataSegmentLength": params.max_recv_data_segment_length,
        "InitialR2T": params.initial_r2t,
        "ImmediateData": params.immediate_data,
        "MaxBurstLength": params.max_burst_length,
        "FirstBurstLength": params.first_burst_length,
        "MaxOutstandingR2T": 1,
        "DefaultTime2Wait": params.default_time2wait,
        "DefaultTime2Retain": params.default_time2retain,
    }
