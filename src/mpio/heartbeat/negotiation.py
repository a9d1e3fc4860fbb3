"""When every node hangs, nobody needs to be fenced: how the nodes agree on that, so that nobody can be mistaken.

Nodes talk over the cluster network. The master is the lowest configured number; it counts polls. A node that hangs,
without an I/O error, answers the newest poll it knows, and promises with each answer not to call anybody dead before
another whole dead timeout. When every configured node has answered poll n, the master approves it and opens poll n + 1.

An approval of poll n lets a node count its deadline from when it first answered poll n - 1. That is safe however late
or often messages come: poll n was opened after every answer to n - 1 was sent, and each promise for n was made after
that. So everybody counts its dead timeout from a later moment than the deadline counts from. All *configured* nodes
must answer, also those that seem dead or have left: one that starts anew meanwhile, with storage that works, would
otherwise have promised nothing.
"""

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

from mpio.heartbeat.machine import Send

_MESSAGE = Struct("<4sBBxxQQQ")
_MAGIC = b"MPHB"
_VERSION = 1


class Word(IntEnum):
    """What a message says."""

    HANGS = 1
    """The sender hangs; `number` is the poll that it answers, `other` the master's generation."""
    POLL = 2
    """The master: `number` is the newest poll, and the one before is approved if `other` is 1."""
    HELD = 3
    """The sender is fenced and the fence holds."""
    ASKS = 4
    """o2cb: the sender's heartbeat hangs."""
    APPROVES = 5
    """o2cb: all hang, so every timer starts anew."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message between nodes; 64-bit numbers."""

    word: Word
    generation: int
    number: int = 0
    other: int = 0


def render(message: Message) -> bytes:
    """The message's 32 bytes."""
    return _MESSAGE.pack(_MAGIC, _VERSION, message.word, message.generation, message.number, message.other)


def parse(data: bytes) -> Message | None:
    """The message; None for anything else."""
    if len(data) != _MESSAGE.size:
        return None
    magic, version, word, generation, number, other = _MESSAGE.unpack(data)
    if magic != _MAGIC or version != _VERSION or word not in tuple(Word):
        return None
    return Message(Word(word), generation, number, other)


class Negotiation:
    """One node's part, and the master's if it is that.

    Args:
        node: this node. nodes: all configured ones, with this one. generation: of this life.
        pace_ns: how often questions are asked again, and how far polls are apart at least.
    """

    def __init__(self, node: int, nodes: tuple[int, ...], generation: int, pace_ns: int) -> None:
        self.node = node
        self.master = min(nodes)
        self.ask_at: int | None = None
        self._nodes = nodes
        self._generation = generation
        self._pace_ns = pace_ns
        self._master_generation = generation if node == self.master else 0
        self._poll = 1 if node == self.master else 0
        self._answered_at: dict[int, int] = {}
        self._answers: dict[int, int] = {}
        self._opened_at: int | None = None
        self._approved = False

    def begin(self, now: int) -> None:
        """This node hangs from now on, until `end`."""
        self.ask_at = now

    def end(self) -> None:
        """It does not hang any more: it answers nothing, and promises nothing."""
        self.ask_at = None

    def ask(self, now: int) -> list[Send]:
        """Answer the newest poll, to be called at `ask_at`. The caller keeps the promise that goes with it."""
        self.ask_at = now + self._pace_ns
        self._answered_at.setdefault(self._poll, now)
        if self.node != self.master:
            message = Message(Word.HANGS, self._generation, self._poll, self._master_generation)
            return [Send(self.master, render(message))]
        self._answers[self.node] = self._poll
        return self._polled() if self._advance(now) else []

    def receive(self, sender: int, message: Message, now: int) -> tuple[int | None, list[Send]]:
        """A message of a peer. Returns from when this node's deadline counts now, if that was approved, and answers."""
        if message.word is Word.HANGS and self.node == self.master:
            return self._heard(sender, message, now)
        if message.word is Word.POLL and sender == self.master:
            return self._told(message, now), []
        return None, []

    def own_approval(self) -> int | None:
        """The master's own share of the approval that it gave last; to be asked after `ask` and `receive`."""
        return self._answered_at.get(self._poll - 2) if self._approved and self.node == self.master else None

    def _heard(self, sender: int, message: Message, now: int) -> tuple[int | None, list[Send]]:
        if message.other == self._generation and message.number == self._poll:
            self._answers[sender] = self._poll
            if self._advance(now):
                return self.own_approval(), self._polled()
        knows = message.other == self._generation and message.number == self._poll
        return None, [] if knows else [self._poll_for(sender)]

    def _advance(self, now: int) -> bool:
        """Open the next poll if all have answered this one, and it is time."""
        if self._opened_at is not None and now - self._opened_at < self._pace_ns:
            return False
        if any(self._answers.get(node) != self._poll for node in self._nodes):
            return False
        self._poll += 1
        self._opened_at, self._approved = now, True
        self._forget()
        if self.ask_at is not None:
            self.ask_at = now
        return True

    def _told(self, message: Message, now: int) -> int | None:
        if message.generation != self._master_generation:
            self._master_generation, self._poll = message.generation, message.number
            self._answered_at.clear()
        elif message.number > self._poll:
            self._poll = message.number
        else:
            return None
        self._forget()
        if self.ask_at is not None:
            self.ask_at = now
        return self._answered_at.get(message.number - 2) if message.other else None

    def _forget(self) -> None:
        for poll in [poll for poll in self._answered_at if poll < self._poll - 2]:
            del self._answered_at[poll]

    def _polled(self) -> list[Send]:
        return [self._poll_for(node) for node in self._nodes if node != self.node]

    def _poll_for(self, node: int) -> Send:
        return Send(node, render(Message(Word.POLL, self._generation, self._poll, int(self._approved))))
