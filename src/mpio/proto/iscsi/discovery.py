"""The answer to SendTargets (RFC 7143 §4.3 and appendix C): a flat list of names, each followed by its addresses."""

from mpio.errors import RemoteProtocolError
from mpio.model.address import Portal, check_iscsi_name
from mpio.proto.iscsi.text import Pairs

Targets = list[tuple[str, list[tuple[Portal, int]]]]
"""Target names with portals and portal group tags, in the order of the answer."""

PAIRS_MAX = 8192


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
