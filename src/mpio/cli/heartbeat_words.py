"""Events of a heartbeat as sentences for people."""

from mpio.events import Event, Kind, Value
from mpio.units import format_duration

_GENERATION_MIN = 1 << 32  # "old" and "new" are generations or scores, and what is so large is no score

SENTENCES = {
    Kind.HEARTBEAT_STATE_CHANGED: "this node is {new}: {cause}",
    Kind.HEARTBEAT_LATE: "the heartbeat is late: {margin_ns} of {budget_ns} are left",
    Kind.HEARTBEAT_RESUMED: "the heartbeat goes on; {margin_ns} were left",
    Kind.HEARTBEAT_FAILED: "the heartbeat failed: {cause}",
    Kind.HEARTBEAT_NEGOTIATED: "every node hangs, so none is fenced (says node {by})",
    Kind.PEER_LIVE: "node {node} is live, generation {generation}",
    Kind.PEER_DEAD: "node {node} is dead: {cause}",
    Kind.PEER_LEFT: "node {node} has left",
    Kind.PEER_RESTARTED: "node {node} has restarted: generation {new} after {old}",
    Kind.PEER_UNREADABLE: "the slot of node {node} can't be read: {cause}",
    Kind.PEER_MISMATCHED: "node {node} goes by other times: expected {expected}, found {found}",
    Kind.PEER_CONNECTED: "node {node} is connected",
    Kind.PEER_DISCONNECTED: "node {node} is not connected any more",
    Kind.SLOT_TAKEN: "{cause}",
    Kind.TIMING_UNSAFE: "these times are not safe: {cause}",
    Kind.JOIN_REFUSED: "not let in: {cause}",
    Kind.POISON_SENT: "poison for node {node}, generation {generation}",
    Kind.POISON_SEEN: "poisoned by {sender}",
    Kind.POISON_ACKNOWLEDGED: "node {node} says that it is fenced",
    Kind.MESSAGE_SEEN: "message {command} from {sender}",
    Kind.QUORUM_LOST: "no quorum: {cause}",
    Kind.QUORUM_GAINED: "quorum: {cause}",
    Kind.REACHABILITY_CHANGED: "reachability {new}, was {old}",
    Kind.NODE_FENCED: "node {node} has to be fenced ({cause}): {reason}",
}


class _Words(dict[str, str]):
    """Fields by name; one that is not there is no reason to fail."""

    def __missing__(self, name: str) -> str:
        return "?"


def sentence(event: Event) -> str:
    """One event, without its time."""
    pattern = SENTENCES.get(event.kind)
    words = _Words((name, _word(name, value)) for name, value in event.fields.items())
    if pattern is None:
        return " ".join((event.kind.value, *(f"{name}={word}" for name, word in words.items())))
    return pattern.format_map(words)


def _word(name: str, value: Value) -> str:
    if isinstance(value, int) and name.endswith("_ns"):
        return format_duration(value)
    if isinstance(value, int) and name in ("generation", "old", "new") and value >= _GENERATION_MIN:
        return f"{value:016x}"
    return "nobody" if value is None else str(value)
