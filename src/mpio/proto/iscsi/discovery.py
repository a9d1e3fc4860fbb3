"""The answer to SendTargets (RFC 7143 §4.3 and appendix C): a flat list of names, each followed by its addresses."""

from mpio.errors import RemoteProtocolError
from mpio.model.address import Portal, check_iscsi_name
from mpio.proto.iscsi.pdu import NO_TAG
from mpio.proto.iscsi.text import Pairs, TextAssembler, decode_text

Targets = list[tuple[str, list[tuple[Portal, int]]]]
"""Target names with portals and portal group tags, in the order of the answer."""

_PAIRS_MAX = 8192
_ROUNDS_MAX = 1024  # empty text responses would otherwise never end


class TargetsAnswer:
    """Gathers the Text Responses that answer one SendTargets."""

    def __init__(self) -> None:
        self._text = TextAssembler()
        self._rounds = 0

    def add(self, segment: bytes, *, final: bool, ttt: int) -> Targets | None:
        """Take a response: data segment, F bit, target transfer tag. The targets, or None if more is to be asked for.

        Raises RemoteProtocolError.
        """
        self._rounds += 1
        text = self._text.add(segment, more=not final)
        if text is not None:
            return parse_targets(decode_text(text, _PAIRS_MAX))
        if ttt == NO_TAG or self._rounds > _ROUNDS_MAX:
            raise RemoteProtocolError("a text response that goes on has no target transfer tag, or never ends",
                                      clause="RFC 7143 §11.11.1")
        return None


def parse_targets(pairs: Pairs) -> Targets:
    """The targets in the text. Raises RemoteProtocolError.

    Addresses that can't be connected to as they stand (such as link-local IPv6 with a zone) and repeated ones are left
    out. A target may so have none: then it is to be looked for at the address of the discovery.
    """
    targets: Targets = []
    for key, value in pairs:
        if key == "TargetName":
            try:
                targets.append((check_iscsi_name(value), []))
            except ValueError as error:
                raise RemoteProtocolError(f"SendTargets: {error}", clause="RFC 7143 §4.2.7") from None
        elif key == "TargetAddress":
            if not targets:
                raise RemoteProtocolError("TargetAddress before any TargetName", clause="RFC 7143 appendix C")
            address = _parse_address(value)
            if address is not None and address not in targets[-1][1]:
                targets[-1][1].append(address)
        elif key == "SendTargets":
            raise RemoteProtocolError(f"SendTargets was answered {value[:40]!r}", clause="RFC 7143 appendix C")
    return targets


def _parse_address(text: str) -> tuple[Portal, int] | None:
    address, _, tag = text.partition(",")
    if not (tag.isascii() and tag.isdigit() and len(tag) <= 5 and int(tag) < 65536):
        return None
    try:
        return Portal.parse(address), int(tag)
    except ValueError:
        return None
