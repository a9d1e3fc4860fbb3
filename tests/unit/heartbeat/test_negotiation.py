"""Negotiation: what is approved is safe, however messages are delayed, lost or doubled."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpio.heartbeat.machine import Send
from mpio.heartbeat.negotiation import Message, Negotiation, Word, parse, render

PACE = 10


@pytest.mark.parametrize("message", [
    Message(Word.HANGS, 1, 2, 3), Message(Word.POLL, (1 << 64) - 1, 0, 1), Message(Word.HELD, 7),
    Message(Word.ASKS, 1), Message(Word.APPROVES, 1)])
def test_messages_go_there_and_back(message: Message) -> None:
    assert parse(render(message)) == message


@given(st.binary(max_size=40))
def test_any_bytes_are_a_message_or_none(data: bytes) -> None:
    found = parse(data)
    assert found is None or render(found)[:6] == data[:6]


def test_a_changed_byte_of_the_head_is_no_message() -> None:
    good = render(Message(Word.POLL, 1, 2, 3))
    for at in (0, 3, 4, 5):
        assert parse(good[:at] + b"\xff" + good[at + 1:]) is None


@dataclass
class Net:
    """Negotiations of some nodes. Messages wait in a list until a test delivers, drops or doubles one."""

    count: int
    now: int = 1
    waiting: list[tuple[int, int, bytes]] = field(default_factory=list)
    lives: int = 0

    def __post_init__(self) -> None:
        self.nodes = tuple(range(self.count))
        self.parts = {node: self.made(node) for node in self.nodes}
        self.promised: dict[int, int] = dict.fromkeys(self.nodes, 0)
        self.approved: list[tuple[int, int]] = []

    def made(self, node: int) -> Negotiation:
        self.lives += 1
        return Negotiation(node, self.nodes, self.lives, PACE)

    def send(self, node: int, sends: list[Send]) -> None:
        self.waiting += [(node, item.peer, item.data) for item in sends]

    def approve(self, node: int, since: int | None) -> None:
        if since is None:
            return
        self.approved.append((node, since))
        for other in self.nodes:
            assert self.promised[other] >= since, "counts from a moment after which a node has promised nothing"

    def ask(self, node: int) -> None:
        if self.parts[node].ask_at is None:
            return
        self.promised[node] = self.now
        self.send(node, self.parts[node].ask(self.now))
        self.approve(node, self.parts[node].own_approval())

    def deliver(self, index: int, *, keep: bool = False) -> None:
        sender, node, data = self.waiting[index]
        if not keep:
            del self.waiting[index]
        message = parse(data)
        assert message is not None
        since, answers = self.parts[node].receive(sender, message, self.now)
        self.send(node, answers)
        self.approve(node, since)

    def restart(self, node: int) -> None:
        """Another life. It has promised nothing, but looks at others from now on only."""
        self.parts[node] = self.made(node)
        self.promised[node] = self.now

    def settle(self, rounds: int) -> None:
        for _ in range(rounds):
            self.now += PACE
            for node in self.nodes:
                self.ask(node)
            while self.waiting:
                self.deliver(0)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_when_all_hang_everybody_is_approved_again_and_again(count: int) -> None:
    net = Net(count)
    for node in net.nodes:
        net.parts[node].begin(net.now)
    net.settle(10)
    for node in net.nodes:
        mine = [since for who, since in net.approved if who == node]
        assert len(mine) >= 6
        assert mine[-1] >= net.now - 3 * PACE


@pytest.mark.parametrize("missing", range(3))
def test_one_that_does_not_hang_stops_it(missing: int) -> None:
    net = Net(3)
    for node in net.nodes:
        net.parts[node].begin(net.now)
    net.settle(5)
    net.parts[missing].end()
    net.settle(2)
    latest = max(since for _, since in net.approved)
    net.settle(5)
    assert max(since for _, since in net.approved) == latest


@settings(max_examples=300)
@given(st.integers(1, 4), st.data())
def test_nobody_ever_counts_from_later_than_all_promises(count: int, data: st.DataObject) -> None:
    net = Net(count)
    node = st.integers(0, count - 1)
    steps = ["ask", "ask", "deliver", "deliver", "deliver", "double", "drop", "begin", "end", "restart"]
    for _ in range(data.draw(st.integers(1, 60))):
        net.now += data.draw(st.integers(0, 12))
        match data.draw(st.sampled_from(steps)):
            case "ask":
                for part in net.nodes:
                    due = net.parts[part].ask_at
                    if due is not None and due <= net.now:
                        net.ask(part)
            case "begin":
                net.parts[data.draw(node)].begin(net.now)
            case "end":
                net.parts[data.draw(node)].end()
            case "restart":
                net.restart(data.draw(node))
            case what if net.waiting:
                index = data.draw(st.integers(0, len(net.waiting) - 1))
                if what == "drop":
                    del net.waiting[index]
                else:
                    net.deliver(index, keep=what == "double")


def test_a_restarted_master_counts_anew_and_is_followed() -> None:
    net = Net(2)
    for node in net.nodes:
        net.parts[node].begin(net.now)
    net.settle(4)
    net.restart(0)
    net.parts[0].begin(net.now)
    before = len(net.approved)
    net.settle(5)
    assert len(net.approved) > before


def test_what_is_remembered_stays_small() -> None:
    net = Net(2)
    for node in net.nodes:
        net.parts[node].begin(net.now)
    net.settle(200)
    assert all(len(part._answered_at) <= 4 for part in net.parts.values())
