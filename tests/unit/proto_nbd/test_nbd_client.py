"""The NBD client: known bytes whole and byte by byte, and any bytes."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.errors import LocalProtocolError, RemoteProtocolError
from mpio.model.address import Portal
from mpio.proto.nbd.client import Answer, Event, Export, NbdClient, Ready, Refused
from mpio.proto.nbd.uri import NbdUri, parse_uri
from mpio.proto.nbd.wire import Command, ExportFlag

GREETING = b"NBDMAGICIHAVEOPT" + bytes.fromhex("0003")
ACK, INFO, META = 1, 3, 4
UNSUPPORTED, UNKNOWN = 0x80000001, 0x80000006
FLAGS = ExportFlag.HAS_FLAGS | ExportFlag.SEND_FLUSH


def option_reply(option: int, kind: int, data: bytes = b"") -> bytes:
    return struct.pack(">QIII", 0x0003E889045565A9, option, kind, len(data)) + data


EXPORT_INFO = option_reply(7, INFO, struct.pack(">HQH", 0, 1 << 20, FLAGS))
BLOCK_INFO = option_reply(7, INFO, struct.pack(">HIII", 3, 512, 4096, 1 << 16))
PLAIN = GREETING + option_reply(8, UNSUPPORTED) + EXPORT_INFO + option_reply(7, ACK)
STRUCTURED = (GREETING + option_reply(8, ACK) + option_reply(10, META, struct.pack(">I", 5) + b"base:allocation")
              + option_reply(10, ACK) + EXPORT_INFO + BLOCK_INFO + option_reply(7, ACK))


def simple(cookie: int, error: int = 0, data: bytes = b"") -> bytes:
    return struct.pack(">IIQ", 0x67446698, error, cookie) + data


def chunk(cookie: int, kind: int, data: bytes = b"", *, done: bool = False) -> bytes:
    return struct.pack(">IHHQI", 0x668E33EF, done, kind, cookie, len(data)) + data


def events(client: NbdClient) -> list[Event]:
    found = []
    while (event := client.next_event()) is not None:
        found.append(event)
    return found


def feed(client: NbdClient, data: bytes, step: int) -> list[Event]:
    for at in range(0, len(data), step):
        client.receive(data[at : at + step])
    return events(client)


def up(handshake: bytes = STRUCTURED) -> NbdClient:
    client = NbdClient("disk")
    assert isinstance(feed(client, handshake, len(handshake))[0], Ready)
    client.data_to_send()
    return client


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_handshakes(step: int) -> None:
    client = NbdClient("disk")
    assert feed(client, PLAIN, step) == [Ready(Export(1 << 20, FLAGS))]
    assert b"".join(client.data_to_send()) == (
        bytes.fromhex("00000003")
        + b"IHAVEOPT" + struct.pack(">II", 8, 0)
        + b"IHAVEOPT" + struct.pack(">III", 7, 12, 4) + b"disk" + struct.pack(">HH", 1, 3))
    client = NbdClient("disk")
    assert feed(client, STRUCTURED, step) == [Ready(Export(1 << 20, FLAGS, 512, 1 << 16, tells_allocation=True))]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (option_reply(7, UNSUPPORTED), "too old"),
        (option_reply(7, UNKNOWN, b"nothing here"), "no such export: nothing here"),
        (option_reply(7, 0x80000005), "wants TLS"),
        (option_reply(7, 0x80000099), "with error 0x80000099"),
    ],
)
def test_refusals(answer: bytes, words: str) -> None:
    client = NbdClient("disk")
    (event,) = feed(client, GREETING + option_reply(8, UNSUPPORTED) + answer + b"and more", 1)
    assert isinstance(event, Refused)
    assert words in event.reason
    with pytest.raises(LocalProtocolError):
        client.submit(Command.FLUSH)


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_answers(step: int) -> None:
    client = up(PLAIN)
    one = client.submit(Command.READ, 512, 4)
    two = client.submit(Command.WRITE, 0, 3, b"abc", fua=True)
    three = client.submit(Command.READ, 0, 4)
    assert b"".join(client.data_to_send()) == (
        struct.pack(">IHHQQI", 0x25609513, 0, 0, one, 512, 4)
        + struct.pack(">IHHQQI", 0x25609513, 1, 1, two, 0, 3) + b"abc"
        + struct.pack(">IHHQQI", 0x25609513, 0, 0, three, 0, 4))
    assert client.in_flight == 3
    answers = feed(client, simple(two) + simple(three, 5) + simple(one, 0, b"data"), step)
    assert answers == [Answer(two), Answer(three, 5), Answer(one, 0, b"data")]
    assert client.in_flight == 0


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_answers_in_chunks(step: int) -> None:
    client = up()
    read = client.submit(Command.READ, 4096, 8)
    failed = client.submit(Command.READ, 0, 8)
    status = client.submit(Command.BLOCK_STATUS, 0, 8192)
    flush = client.submit(Command.FLUSH)
    stream = (
        chunk(read, 1, struct.pack(">Q", 4100) + b"tail")
        + chunk(failed, 0x8001, struct.pack(">IH", 5, 3) + b"bad", done=True)
        + chunk(read, 2, struct.pack(">QI", 4096, 4), done=True)
        + chunk(status, 5, struct.pack(">IIIII", 5, 4096, 0, 4096, 3))
        + chunk(status, 0, done=True)
        + chunk(flush, 0, done=True)
    )
    assert feed(client, stream, step) == [
        Answer(failed, 5), Answer(read, 0, b"\0\0\0\0tail"), Answer(status, 0, b"", ((4096, 0), (4096, 3))),
        Answer(flush),
    ]


@pytest.mark.parametrize(
    "stream",
    [
        b"\0\0\0\1" + bytes(12),
        simple(99),
        chunk(1, 0, done=True),  # a read without its data
        chunk(1, 1, struct.pack(">Q", 0) + b"12345"),  # more than was asked for
        chunk(1, 1, struct.pack(">Q", 1) + b"1234"),  # and elsewhere
        chunk(1, 2, struct.pack(">QI", 0, 1 << 31)),
        chunk(1, 7),
        chunk(1, 0x8001),
        chunk(2, 5, b"\0\0\0\5\0"),
        struct.pack(">IHHQI", 0x668E33EF, 1, 1, 1, 1 << 30),
    ],
)
def test_what_breaks_the_protocol(stream: bytes) -> None:
    client = up()
    assert client.submit(Command.READ, 0, 4) == 1
    assert client.submit(Command.BLOCK_STATUS, 0, 4) == 2
    with pytest.raises(RemoteProtocolError):
        client.receive(stream)


@given(st.sampled_from([b"", GREETING, PLAIN, STRUCTURED]), st.binary(max_size=200),
       st.sampled_from([b"", b"\x67\x44\x66\x98", b"\x66\x8e\x33\xef"]), st.integers(1, 50))
def test_any_bytes_are_understood_or_refused(before: bytes, noise: bytes, start: bytes, step: int) -> None:
    client = NbdClient("disk")
    client.receive(before)
    if isinstance(client.next_event(), Ready):
        client.submit(Command.READ, 0, 64)
        client.submit(Command.BLOCK_STATUS, 0, 64)
    try:
        feed(client, start + noise, step)
    except RemoteProtocolError:
        return
    assert client.in_flight <= 2


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("nbd://localhost", NbdUri(Portal("localhost", 10809), "", "")),
        ("nbd://[::1]:10810/a%20disk", NbdUri(Portal("::1", 10810), "", "a disk")),
        ("nbd+unix:///disk?socket=/run/nbd.sock", NbdUri(None, "/run/nbd.sock", "disk")),
    ],
)
def test_uris(text: str, uri: NbdUri) -> None:
    assert parse_uri(text) == uri


@pytest.mark.parametrize("text", ["nbd:///disk", "nbds://host/", "http://host/", "nbd+unix:///x", "nbd://host:x/",
                                  "nbd+unix://host/x?socket=/s", "nbd://user@host/", f"nbd://h/{'x' * 5000}"])
def test_what_is_no_uri(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_uri(text)
