"""The initiator's side of login: which keys go into which request, and what the answers mean (RFC 7143 §6.3, §11.12).

`InitiatorLogin` is a pure machine of texts and flags. The connection puts them into PDUs and knows about sequence
numbers and time. The target's side is `target_login`.
"""

from dataclasses import dataclass, field
from enum import Enum

from mpio.errors import LocalProtocolError, LoginRejected, RemoteProtocolError
from mpio.model.address import Portal
from mpio.model.settings import Settings
from mpio.proto.iscsi.chap import (
    ALGORITHMS,
    chap_matches,
    chap_response,
    decode_binary,
    encode_binary,
    make_challenge,
)
from mpio.proto.iscsi.negotiation import NOT_UNDERSTOOD, Negotiator, SessionParams, parse_number, session_params
from mpio.proto.iscsi.text import (
    LOGIN_SEGMENT_MAX,
    Pairs,
    TextAssembler,
    TextSplitter,
    decode_text,
    encode_text,
    unique,
)

SECURITY, OPERATIONAL, FULL_FEATURE = 0, 1, 3  # CSG and NSG values
TRANSIT_BIT, CONTINUE_BIT = 0x80, 0x40
ROUNDS_MAX = 64  # login PDUs; an ordinary login takes 1 to 4

STATUS_WORDS: dict[int, str] = {
    0x0000: "success",
    0x0101: "target moved temporarily",
    0x0102: "target moved permanently",
    0x0200: "initiator error",
    0x0201: "authentication failed",
    0x0202: "this initiator is not allowed to use the target",
    0x0203: "no such target",
    0x0204: "target removed",
    0x0205: "no common protocol version",
    0x0206: "too many connections in the session",
    0x0207: "a parameter is missing",
    0x0208: "this connection can't be part of the session",
    0x0209: "session type not supported",
    0x020A: "no such session",
    0x020B: "request not valid during login",
    0x0300: "target error",
    0x0301: "service unavailable",
    0x0302: "target is out of resources",
}
"""Status class << 8 | detail of a Login Response in words (§11.13.5)."""


def status_words(status: int) -> str:
    """A login status in words, also one the standard does not know."""
    kind = {1: "redirection", 2: "initiator error", 3: "target error"}.get(status >> 8, "unknown status")
    return f"{STATUS_WORDS.get(status, kind)} (status {status:04x})"


@dataclass(frozen=True, slots=True)
class LoginParams:
    """What the initiator role needs to know for one login.

    Attributes:
        target_name: None for a discovery session.
        isid: 6 bytes; the same for every login of one path, so that a new session ends the old one.
        initial_cmd_sn: any 32-bit number.
        challenge_seed: 16 or more random bytes, new for each login; for mutual CHAP.
    """

    initiator_name: str
    target_name: str | None
    isid: bytes
    settings: Settings
    initial_cmd_sn: int = 1
    challenge_seed: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class LoginStep:
    """The next Login Request: stages, T and C bits, text."""

    csg: int
    nsg: int
    transit: bool
    cont: bool
    text: bytes

    @property
    def flags(self) -> int:
        """Byte 1 of the PDU."""
        return self.transit * TRANSIT_BIT | self.cont * CONTINUE_BIT | self.csg << 2 | self.nsg


@dataclass(frozen=True, slots=True)
class Redirect:
    """The target says to log in elsewhere. `permanent` (status 0102) asks to remember it."""

    portal: Portal
    permanent: bool


class _Auth(Enum):
    """Steps of the security stage, named for what the target has to send next."""

    METHOD = 0
    CHALLENGE = 1
    PROOF = 2
    """Its agreement to go on; with mutual CHAP also its CHAP_R."""


class InitiatorLogin:
    """Initiator's login. Call `request()`, send it, give the answer to `receive()`, until `done` or `redirect`.

    It starts in the security stage, also without a user name and though the operational stage would save a round: tgt
    ends the old session of the same name and ISID only then, and a lost nexus would not be fenced.

    Attributes:
        done: the full feature phase is reached, `result` holds.
        redirect: set if the target sent us elsewhere.
        retry_with_md5: after LoginRejected: the target may be one that knows nothing but CHAP_A=5 and compares the
            whole list with it, or one that numbers algorithms in its own way. Offering MD5 alone may succeed.
    """

    def __init__(self, params: LoginParams, segment_max: int = LOGIN_SEGMENT_MAX) -> None:
        settings = params.settings
        self._params = params
        if params.target_name is None:
            self._username, self._password = settings.discovery_username, settings.discovery_password or ""
            self._username_in, self._password_in = None, None
        else:
            self._username, self._password = settings.username, settings.password or ""
            self._username_in, self._password_in = settings.username_in, settings.password_in
        if self._username is None:
            self._password_in = None
        self._stage = SECURITY
        self._auth = _Auth.METHOD
        self._algorithm = 0
        self._challenge = (0, b"")
        self._negotiator = Negotiator(_initiator_values(settings))
        self._incoming = TextAssembler()
        self._outgoing = TextSplitter(segment_max)
        self._transit = self._username is None
        self._next_stage = OPERATIONAL
        self._more = False  # the request that was sent last had the C bit
        self._rounds = 0
        self._tsih = 0
        self.done = False
        self.redirect: Redirect | None = None
        self.retry_with_md5 = False
        self._result: SessionParams | None = None
        self._queue(self._first_keys(), answers=[])

    @property
    def result(self) -> SessionParams:
        """What was agreed on. LocalProtocolError before `done`."""
        if self._result is None:
            raise LocalProtocolError("login has not ended")
        return self._result

    # --- requests

    def request(self) -> LoginStep:
        """The next request. Each call is a new one: call it once at first and once after each `receive`."""
        text, self._more = self._outgoing.take()
        transit = self._transit and not self._more
        return LoginStep(self._stage, self._next_stage if transit else 0, transit, self._more, text)

    def _queue(self, keys: Pairs, answers: Pairs) -> None:
        self._outgoing.put(encode_text(keys + answers))

    def _first_keys(self) -> Pairs:
        params = self._params
        pairs = [("InitiatorName", params.initiator_name)]
        if params.target_name is not None:
            pairs.append(("TargetName", params.target_name))
        pairs.append(("SessionType", "Discovery" if params.target_name is None else "Normal"))
        if self._username is None:
            pairs.append(("AuthMethod", "None"))
        else:
            # None is offered unless the target has to prove itself: one without CHAP is then still usable.
            pairs.append(("AuthMethod", "CHAP" if self._password_in else "CHAP,None"))
        return pairs

    def _operational_keys(self) -> Pairs:
        self._transit, self._next_stage = True, FULL_FEATURE
        names = ["HeaderDigest", "DataDigest", "MaxRecvDataSegmentLength"]
        if self._params.target_name is not None:
            names += [
                "InitialR2T", "ImmediateData", "MaxBurstLength", "FirstBurstLength", "MaxOutstandingR2T",
                "MaxConnections", "DataPDUInOrder", "DataSequenceInOrder", "DefaultTime2Wait", "DefaultTime2Retain",
                "ErrorRecoveryLevel",
            ]  # fmt: skip
        return self._negotiator.offer(names)

    # --- responses

    def receive(self, flags: int, tsih: int, status: int, text: bytes) -> None:
        """Take a Login Response: byte 1, TSIH, status class << 8 | detail, data segment.

        Raises LoginRejected if the target refuses, or can't prove itself; RemoteProtocolError if it breaks a rule.
        """
        if self.done or self.redirect is not None:
            raise LocalProtocolError("login has ended")
        self._rounds += 1
        if self._rounds > ROUNDS_MAX:
            raise RemoteProtocolError(f"login does not end after {ROUNDS_MAX} rounds")
        if status:
            self._refused(status, text)
            return
        transit, cont = bool(flags & TRANSIT_BIT), bool(flags & CONTINUE_BIT)
        self._check_flags(flags, transit=transit, cont=cont)
        if self._more:
            if text or cont:
                raise RemoteProtocolError("text in answer to one that goes on", clause="RFC 7143 §6.2")
            return
        whole = self._incoming.add(text, more=cont)
        if whole is None:
            self._queue([], answers=[])  # an empty request asks for the rest (§6.2)
            return
        self._tsih = tsih
        self._take(unique(decode_text(whole)), transit=transit)

    def _check_flags(self, flags: int, *, transit: bool, cont: bool) -> None:
        if (flags >> 2) & 3 != self._stage:
            raise RemoteProtocolError(f"login answer for stage {(flags >> 2) & 3} in {self._stage}", clause="§11.13.3")
        if transit and (cont or not self._transit or self._more or flags & 3 != self._next_stage):
            raise RemoteProtocolError("login transition that was not asked for", clause="RFC 7143 §11.13.2")

    def _refused(self, status: int, text: bytes) -> None:
        if status >> 8 == 1:
            address = unique(decode_text(text)).get("TargetAddress", "")
            try:
                self.redirect = Redirect(Portal.parse(address.partition(",")[0]), permanent=status == 0x0102)
            except ValueError as error:
                raise RemoteProtocolError(f"redirection without a usable TargetAddress: {error}") from None
            return
        if status >> 8 == 2 and self._auth is not _Auth.METHOD and self._algorithm != 5:  # tgt says 0200, not 0201
            offered = _chap_numbers(self._params.settings)
            self.retry_with_md5 = 5 in offered and len(offered) > 1
        raise LoginRejected(f"login refused: {status_words(status)}", status=status)

    def _take(self, keys: dict[str, str], *, transit: bool) -> None:
        questions: Pairs = []
        if self._stage == SECURITY:
            questions = self._take_security(keys)
        answers = self._take_operational(keys)
        if transit:
            if any(answer != NOT_UNDERSTOOD for _, answer in answers):
                raise RemoteProtocolError("the target left a stage with offers open", clause="RFC 7143 §6.3")
            self._enter(self._next_stage)
        elif self._stage == SECURITY:
            self._queue(questions, answers)
        else:
            self._transit, self._next_stage = True, FULL_FEATURE
            self._queue([], answers)

    def _take_operational(self, keys: dict[str, str]) -> Pairs:
        answers = []
        for name, value in keys.items():
            if name == "AuthMethod" or name.startswith("CHAP_"):
                continue
            answer = self._negotiator.receive(name, value)
            if answer is not None:
                answers.append((name, answer))
        return answers

    def _enter(self, stage: int) -> None:
        self._stage = stage
        if stage == OPERATIONAL:
            self._queue(self._operational_keys(), answers=[])
            return
        if not self._tsih:
            raise RemoteProtocolError("the last login answer has no TSIH", clause="RFC 7143 §11.13.4")
        unmet = self._negotiator.unmet()
        if unmet:
            raise LoginRejected(f"the target does not support {' and '.join(unmet)} as required", status=0x0200)
        params, declared = self._params, self._negotiator.declared
        self._result = session_params(
            self._negotiator,
            initiator_name=params.initiator_name,
            target_name=params.target_name,
            isid=params.isid,
            tsih=self._tsih,
            tpgt=int(declared.get("TargetPortalGroupTag", 0)),
            initiator_alias="",
            target_alias=str(declared.get("TargetAlias", "")),
            initiator_max_recv_data_segment_length=params.settings.max_recv_data_segment_length,
            target_max_recv_data_segment_length=int(declared.get("MaxRecvDataSegmentLength", 8192)),
        )
        self.done = True

    # --- the security stage

    def _take_security(self, keys: dict[str, str]) -> Pairs:
        """What to say next in the security stage; sets the transition that goes with it."""
        self._transit, self._next_stage = False, OPERATIONAL
        if self._auth is _Auth.METHOD:
            return self._take_method(keys)
        if self._auth is _Auth.CHALLENGE:
            return self._take_challenge(keys)
        self._check_proof(keys)
        self._transit = True
        return []

    def _take_method(self, keys: dict[str, str]) -> Pairs:
        method = keys.get("AuthMethod")
        if method is None and not keys.keys() - {"TargetPortalGroupTag", "TargetAlias"}:
            self._transit = self._username is None
            return []  # the target has not answered yet and may do so in its next response
        if method == "None" and not self._password_in:
            self._auth = _Auth.PROOF
            self._password_in = None
            self._transit = True
            return []
        if self._username is None:
            raise LoginRejected("the target wants authentication, and there is no user name for it", status=0x0201)
        if method != "CHAP":
            raise LoginRejected(f"the target wants AuthMethod={method}, not CHAP", status=0x0201)
        self._auth = _Auth.CHALLENGE
        return [("CHAP_A", ",".join(map(str, _chap_numbers(self._params.settings))))]

    def _take_challenge(self, keys: dict[str, str]) -> Pairs:
        offered = _chap_numbers(self._params.settings)
        chosen, identifier = keys.get("CHAP_A"), keys.get("CHAP_I")
        if chosen is not None and chosen not in map(str, offered):
            self.retry_with_md5 = 5 in offered and len(offered) > 1
            raise LoginRejected(f"the target answers CHAP_A={chosen[:20]} to our algorithms", status=0x0201)
        if chosen is None or identifier is None or "CHAP_C" not in keys:
            raise RemoteProtocolError("CHAP_A, CHAP_I or CHAP_C is missing", clause="RFC 7143 §12.1.3")
        self._algorithm = int(chosen)
        challenge = decode_binary(keys["CHAP_C"])
        self._auth = _Auth.PROOF
        self._transit = True
        response = chap_response(self._algorithm, chap_identifier(identifier), self._password, challenge)
        pairs = [("CHAP_N", self._username or ""), ("CHAP_R", encode_binary(response))]
        if self._password_in:
            if self._password_in == self._password:
                raise LoginRejected("the CHAP secrets of the two directions must differ", status=0x0201)
            self._challenge = make_challenge(self._params.challenge_seed, b"initiator")
            if self._challenge[1] == challenge:
                raise LoginRejected("the target sent our own CHAP challenge", status=0x0201)
            pairs += [("CHAP_I", str(self._challenge[0])), ("CHAP_C", encode_binary(self._challenge[1]))]
        return pairs

    def _check_proof(self, keys: dict[str, str]) -> None:
        """Mutual CHAP: the target must know its secret before we go on (§12.1.3)."""
        if not self._password_in:
            return
        identifier, challenge = self._challenge
        response = decode_binary(keys["CHAP_R"]) if "CHAP_R" in keys else b""
        named = self._username_in is None or keys.get("CHAP_N") == self._username_in
        if not named or not chap_matches(self._algorithm, identifier, self._password_in, challenge, response):
            raise LoginRejected("the target did not prove that it knows the mutual CHAP secret", status=0x0201)
        self._password_in = None  # proved


def _chap_numbers(settings: Settings) -> list[int]:
    return [ALGORITHMS[name] for name in settings.chap_algs if name in ALGORITHMS]


def chap_identifier(text: str) -> int:
    """CHAP_I as a number, decimal or hex. Raises RemoteProtocolError."""
    try:
        value = parse_number(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 255:
        raise RemoteProtocolError(f"expected CHAP_I from 0 to 255, found {text[:20]!r}", clause="RFC 7143 §12.1.3")
    return value


def _initiator_values(settings: Settings) -> dict[str, int | bool | str]:
    return {
        "HeaderDigest": settings.header_digest,
        "DataDigest": settings.data_digest,
        "MaxRecvDataSegmentLength": settings.max_recv_data_segment_length,
        "InitialR2T": settings.initial_r2t,
        "ImmediateData": settings.immediate_data,
        "MaxBurstLength": settings.max_burst_length,
        "FirstBurstLength": settings.first_burst_length,
        "MaxOutstandingR2T": settings.max_outstanding_r2t,
        "DefaultTime2Wait": settings.default_time2wait,
        "DefaultTime2Retain": settings.default_time2retain,
    }
