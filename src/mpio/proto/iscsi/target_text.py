"""The target's answers to Text Requests in the full feature phase: SendTargets, and keys that are settled by then."""

from mpio.errors import RemoteProtocolError
from mpio.model.address import Portal
from mpio.proto.iscsi.negotiation import KEYS, NOT_UNDERSTOOD, REJECT, Function, SessionParams
from mpio.proto.iscsi.pdu import CONTINUE, DEFAULT_DATA_SEGMENT, FINAL, NO_TAG, RejectReason
from mpio.proto.iscsi.target_login import LoginAcceptor
from mpio.proto.iscsi.text import Pairs, TextAssembler, TextSplitter, decode_text, encode_text

_LENGTH = "MaxRecvDataSegmentLength"


class TextAnswers:
    """Text exchanges of one session, one at a time; a new request ends the one before (§11.10.4).

    Attributes:
        segment_max: the MaxRecvDataSegmentLength that the initiator declared here; None: it did not.
    """

    def __init__(self, acceptor: LoginAcceptor, params: SessionParams, portal: Portal) -> None:
        self._acceptor = acceptor
        self._params = params
        self._portal = portal
        self._limit = min(params.initiator_max_recv_data_segment_length, DEFAULT_DATA_SEGMENT)
        self._incoming = TextAssembler()
        self._outgoing = TextSplitter(self._limit)
        self._ttt = NO_TAG
        self._next_ttt = 1
        self.segment_max: int | None = None

    def receive(self, flags: int, ttt: int, segment: bytes) -> tuple[int, int, bytes]:
        """Take a Text Request: byte 1, TTT, data segment. Returns the same of the Text Response.

        Raises RemoteProtocolError for a PDU that is to be rejected.
        """
        if ttt == NO_TAG:
            self._incoming = TextAssembler()
            self._outgoing = TextSplitter(self._limit)
        elif ttt != self._ttt:
            raise RemoteProtocolError("a TTT that is not in use", reject_reason=RejectReason.INVALID_FIELD)
        whole = self._incoming.add(segment, more=bool(flags & CONTINUE))
        if whole is None:
            return 0, self._new_ttt(), b""
        if not self._outgoing.pending:
            self._outgoing.put(encode_text(self._answer(decode_text(whole))))
        answer, more = self._outgoing.take()
        if more:
            return CONTINUE, self._new_ttt(), answer
        if not flags & FINAL:
            return 0, self._new_ttt(), answer
        self._ttt = NO_TAG
        return FINAL, NO_TAG, answer

    def _new_ttt(self) -> int:
        self._ttt = self._next_ttt
        self._next_ttt = (self._next_ttt + 1) % NO_TAG or 1
        return self._ttt

    def _answer(self, pairs: Pairs) -> Pairs:
        answers: Pairs = []
        for name, value in pairs:
            key = KEYS.get(name)
            if name == "SendTargets":
                answers += self._send_targets(value)
            elif name == _LENGTH:
                try:
                    self.segment_max = int(KEYS[_LENGTH].parse(value))
                except ValueError as error:
                    raise RemoteProtocolError(str(error), reject_reason=RejectReason.INVALID_FIELD) from None
            elif key is None:
                answers.append((name, NOT_UNDERSTOOD))
            elif key.function is not Function.DECLARED:
                answers.append((name, REJECT))  # settled at login
        return answers

    def _send_targets(self, value: str) -> Pairs:
        """All targets in discovery, one by name, or a session's own (RFC 7143 appendix C)."""
        own = self._params.target_name
        if own is None:
            asked = None if value == "All" else value.lower()
            refused = not value
        else:
            asked = own
            refused = value.lower() not in ("", own)
        if refused:
            return [("SendTargets", REJECT)]
        answer: Pairs = []
        for name, portals in self._acceptor.send_targets(self._params.initiator_name, asked, self._portal):
            answer.append(("TargetName", name))
            answer += [("TargetAddress", f"{portal},{tpgt}") for portal, tpgt in portals]
        return answer
