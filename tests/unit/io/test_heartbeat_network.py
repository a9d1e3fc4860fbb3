"""The nodes' own network: who is believed, who is connected, and that nothing is believed twice."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.errors import InputError
from mpio.io.heartbeat_network import (
    PAYLOAD_BYTES_MAX,
    SESSIONS_KEPT,
    WINDOW,
    Arrived,
    ClusterNetwork,
    Linked,
    News,
    PeerLinks,
    UdpDatagrams,
)
from mpio.model.address import Portal

KEY = b"a key that only the nodes know"
IDLE = 10


def links(node: int, session: int = 0, key: bytes = KEY, nodes: int = 2) -> PeerLinks:
    return PeerLinks(node, [peer for peer in range(nodes) if peer != node], key, session or 100 + node, IDLE)


def deliver(source: PeerLinks, target: PeerLinks, node: int, now: int = 0) -> list[News]:
    """Everything that the source has for that node arrives, in order."""
    outbox, source.outbox = source.outbox, []
    news = []
    for peer, data in outbox:
        if peer == node:
            news += target.handle(data, now)
    return news


def linked() -> tuple[PeerLinks, PeerLinks]:
    one, two = links(0), links(1)
    one.greet()
    for _ in range(4):
        deliver(one, two, 1)
        deliver(two, one, 0)
    assert one.connected() == [1]
    assert two.connected() == [0]
    return one, two


def test_one_greeting_is_enough_to_connect_both() -> None:
    one, two = links(0), links(1)
    one.greet()
    assert deliver(one, two, 1) == []  # it does not know the other's session yet: it could have been recorded
    assert deliver(two, one, 0) == [Linked(1, up=True)]
    assert deliver(one, two, 1) == [Linked(0, up=True)]


def test_a_message_arrives_once() -> None:
    one, two = linked()
    one.send(1, b"hello")
    [(_, data)] = one.outbox
    assert two.handle(data, 1) == [Arrived(0, b"hello")]
    assert two.handle(data, 1) == []
    assert two.rejected == 1


def test_nothing_is_sent_to_a_peer_that_is_not_connected() -> None:
    one = links(0)
    one.send(1, b"hello")
    assert one.outbox == []


def test_silence_disconnects_and_a_word_connects_again() -> None:
    one, two = linked()
    assert one.handle_timer(IDLE - 1) == []
    assert one.handle_timer(IDLE) == [Linked(1, up=False)]
    assert one.handle_timer(IDLE + 1) == []
    two.greet()
    assert deliver(two, one, 0, IDLE + 2) == [Linked(1, up=True)]


def test_a_restarted_peer_is_told_as_such_and_its_former_life_is_not_believed_any_more() -> None:
    one, two = linked()
    two.send(0, b"from the former life")
    [(_, old)] = two.outbox
    again = links(1, session=777)
    again.greet()
    deliver(again, one, 0)
    deliver(one, again, 1)
    assert deliver(again, one, 0) == [Linked(1, up=False), Linked(1, up=True)]
    assert one.handle(old, 1) == []


def test_what_was_recorded_before_a_restart_is_not_believed_after_it() -> None:
    one, _ = linked()
    one.send(1, b"poison")
    [(_, old)] = one.outbox
    again = links(1, session=777)
    assert again.handle(old, 0) == []
    assert again.connected() == []


def test_another_key_is_not_believed() -> None:
    one, two = links(0), links(1, key=b"another key of a fair length")
    one.greet()
    assert deliver(one, two, 1) == []
    assert two.outbox == []  # nor answered
    assert two.rejected == 1


def test_a_message_for_another_node_is_not_believed() -> None:
    three = [links(node, nodes=3) for node in range(3)]
    for _ in range(4):
        for source in three:
            source.greet()
            outbox, source.outbox = source.outbox, []
            for peer, data in outbox:
                three[peer].handle(data, 0)
    three[0].send(1, b"for one")
    [(_, data)] = three[0].outbox
    assert three[2].handle(data, 0) == []
    assert three[1].handle(data, 0) == [Arrived(0, b"for one")]


def test_an_oversized_payload_is_a_mistake_of_the_caller() -> None:
    one, _ = linked()
    one.send(1, bytes(PAYLOAD_BYTES_MAX))
    with pytest.raises(ValueError, match="at most"):
        one.send(1, bytes(PAYLOAD_BYTES_MAX + 1))


@given(st.lists(st.integers(0, 3 * WINDOW - 1), max_size=300))
def test_in_any_order_and_with_any_doubles_each_message_arrives_at_most_once(order: list[int]) -> None:
    one, two = linked()
    for number in range(3 * WINDOW):
        one.send(1, number.to_bytes(2, "big"))
    sent = [data for _, data in one.outbox]
    arrived = [news for index in order for news in two.handle(sent[index], 1)]
    assert len(arrived) == len({repr(news) for news in arrived})
    newest, expected, seen = -1, [], set()
    for index in order:  # a message is lost only if it is old: overtaken by more than the window
        if index not in seen and index > newest - WINDOW:
            expected.append(Arrived(0, index.to_bytes(2, "big")))
        seen.add(index)
        newest = max(newest, index)
    assert arrived == expected


@given(st.binary(max_size=1200))
def test_no_bytes_are_believed_or_answered(data: bytes) -> None:
    _, two = linked()
    two.outbox.clear()
    assert two.handle(data, 1) == []
    assert two.outbox == []


@given(st.data())
def test_a_datagram_with_any_bit_flipped_is_not_believed(data: st.DataObject) -> None:
    one, two = linked()
    one.send(1, b"some payload")
    [(_, good)] = one.outbox
    bit = data.draw(st.integers(0, len(good) * 8 - 1))
    bad = bytearray(good)
    bad[bit // 8] ^= 1 << bit % 8
    assert two.handle(bytes(bad), 1) == []
    assert two.handle(good, 1) == [Arrived(0, b"some payload")]


def test_the_memory_of_former_lives_is_bounded() -> None:
    one = links(0)
    for life in range(2 * SESSIONS_KEPT):
        two = links(1, session=1000 + life)
        two.greet()
        deliver(two, one, 0)
        deliver(one, two, 1)
        assert Linked(1, up=True) in deliver(two, one, 0)
        one.outbox.clear()
    assert len(one._peers[1].retired) == SESSIONS_KEPT


def test_over_udp() -> None:
    async def run() -> tuple[list[News], list[News]]:
        told: tuple[list[News], list[News]] = ([], [])
        sockets = []
        for _ in range(2):  # free ports, found by taking them
            probe = UdpDatagrams(Portal("127.0.0.1", 0), {})
            sockets.append(Portal("127.0.0.1", probe.port))
            probe.close()
        networks = []
        arrived = asyncio.Event()
        for node in range(2):
            datagrams = UdpDatagrams(sockets[node], {1 - node: sockets[1 - node]})
            network = ClusterNetwork(links(node), datagrams, 10**7, time.monotonic_ns)
            networks.append(network)

        def tell(node: int, news: News) -> None:
            told[node].append(news)
            if isinstance(news, Linked) and news.up and node == 0:
                networks[0].send(1, b"hello")
            if isinstance(news, Arrived):
                arrived.set()

        networks[0]._links._idle_ns = networks[1]._links._idle_ns = 10**11
        for node, network in enumerate(networks):
            network.open(lambda news, node=node: tell(node, news))  # type: ignore[misc]
        await arrived.wait()
        for network in networks:
            network.close()
        return told

    one, two = asyncio.run(run())
    assert one == [Linked(1, up=True)]
    assert two == [Linked(0, up=True), Arrived(0, b"hello")]


def test_an_address_that_is_not_ours_is_a_clear_error() -> None:
    with pytest.raises(InputError, match=r"--listen: can't listen on 192\.0\.2\.1:7700"):
        UdpDatagrams(Portal("192.0.2.1", 7700), {})


def test_mixed_families_are_a_clear_error() -> None:
    with pytest.raises(InputError, match=r"--peer 1: .* not both"):
        UdpDatagrams(Portal("127.0.0.1", 0), {1: Portal("::1", 7700)})
