"""Every event of a heartbeat has a sentence, and a sentence never fails."""

import re
import string
from pathlib import Path

import pytest

import mpio.events
from mpio.cli.heartbeat_words import SENTENCES, sentence
from mpio.events import Event, Kind

EVENTS = Path(mpio.events.__file__)
MACHINES = sorted((EVENTS.parent / "heartbeat").glob("*.py"))
TOLD = sorted({name for path in MACHINES for name in re.findall(r"\bKind\.([A-Z_]+)", path.read_text())})
"""What machines tell, by the names of the kinds."""
FIELDS = {
    name: re.findall(r"\w+", comment.partition(":")[0])
    for name, comment in re.findall(r'^    ([A-Z_]+) = "\w+"  # (.*)$', EVENTS.read_text(), re.MULTILINE)
}


@pytest.mark.parametrize("name", TOLD)
def test_a_sentence_uses_the_fields_that_the_event_has(name: str) -> None:
    used = [field for _, field, _, _ in string.Formatter().parse(SENTENCES[Kind[name]]) if field]
    assert used
    assert set(used) <= set(FIELDS[name])


@pytest.mark.parametrize("kind", list(Kind))
def test_a_sentence_never_fails(kind: Kind) -> None:
    assert sentence(Event(1, 1, "node:0/heartbeat", kind, {}))
    assert sentence(Event(1, 1, "node:0/heartbeat", kind, {"node": None, "cause": "{odd} %s", "x": 1.5}))


def test_words_for_numbers() -> None:
    event = Event(1, 1, "", Kind.HEARTBEAT_LATE, {"margin_ns": 29_000_000_000, "budget_ns": 60_000_000_000})
    assert sentence(event) == "the heartbeat is late: 29 s of 60 s are left"
    assert sentence(Event(1, 1, "", Kind.PEER_LIVE, {"node": 1, "generation": 0x1122334455667788})) == (
        "node 1 is live, generation 1122334455667788")
    assert sentence(Event(1, 1, "", Kind.REACHABILITY_CHANGED, {"old": 2, "new": 1})) == "reachability 1, was 2"
