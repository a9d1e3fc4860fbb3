"""Every golden PDU: built, and received whole, byte by byte, and with more after it."""

import pytest
from tests.golden.iscsi_pdus import REQUESTS, RESPONSES, Golden

from mpio.proto.iscsi import pdu
from mpio.proto.iscsi.pdu import BHS_BYTES, Fields
from mpio.proto.iscsi.stream import PduReceiver, PduSender

ALL = [*((golden, True) for golden in REQUESTS), *((golden, False) for golden in RESPONSES)]
each = pytest.mark.parametrize(("golden", "is_request"), ALL, ids=[golden.name for golden, _ in ALL])


def collect(golden: Golden, is_request: bool) -> tuple[PduReceiver, list[tuple[Fields, bytes]]]:
    got: list[tuple[Fields, bytes]] = []

    def wrong(header: Fields) -> None:
        raise AssertionError(f"digest of {header}")

    receiver = PduReceiver(
        pdu.REQUEST if is_request else pdu.RESPONSE,
        lambda header, data: got.append((header, bytes(data))),
        lambda _: None,
        wrong,
        wrong,
    )
    receiver.header_digest, receiver.data_digest = golden.header_digest, golden.data_digest
    return receiver, got


def check(golden: Golden, is_request: bool, header: Fields, data: bytes) -> None:
    named = (pdu.RequestHeader if is_request else pdu.ResponseHeader)._make(header)._asdict()
    assert {name: named[name] for name in golden.fields} == golden.fields
    assert data == golden.data


@each
def test_built(golden: Golden, is_request: bool) -> None:
    built = bytearray(golden.built)
    if golden.ahs:
        built[4] = golden.wire[4]  # the builders make no AHS
    assert built.hex() == golden.wire[:BHS_BYTES].hex()


@each
def test_sent(golden: Golden, is_request: bool) -> None:
    if golden.ahs:
        return
    sender = PduSender()
    sender.header_digest, sender.data_digest = golden.header_digest, golden.data_digest
    if golden.data:
        sender.put_data(golden.built, golden.data)
    else:
        sender.put(golden.built)
    assert b"".join(sender.drain()).hex() == golden.wire.hex()


@each
def test_received_whole(golden: Golden, is_request: bool) -> None:
    receiver, got = collect(golden, is_request)
    receiver.receive(golden.wire)
    [(header, data)] = got
    check(golden, is_request, header, data)


@each
def test_received_byte_by_byte(golden: Golden, is_request: bool) -> None:
    receiver, got = collect(golden, is_request)
    for index in range(len(golden.wire)):
        assert not got
        receiver.receive(golden.wire[index : index + 1])
    [(header, data)] = got
    check(golden, is_request, header, data)


@each
def test_received_with_more_after_it(golden: Golden, is_request: bool) -> None:
    receiver, got = collect(golden, is_request)
    receiver.receive(golden.wire + golden.wire + golden.wire[:20])
    assert len(got) == 2
    receiver.receive(golden.wire[20:])
    assert len(got) == 3
    for header, data in got:
        check(golden, is_request, header, data)
