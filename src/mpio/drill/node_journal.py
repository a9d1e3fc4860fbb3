"""The journal as one node of several writes it: every source is told to be the node's."""

from collections.abc import Iterator

from mpio.check.stall import node_source
from mpio.events import Event, Journal, Kind, Value


class NodeJournal(Journal):
    """Writes to `whole`, with `node:N/` before each source, and shows what this node wrote."""

    def __init__(self, whole: Journal, node: int) -> None:
        super().__init__(records_max=0)
        self._whole = whole
        self._node = node

    def record(self, t_ns: int, source: str, kind: Kind, /, **fields: Value) -> int:
        """See Journal."""
        own = node_source(self._node, source)
        seq = self._whole.record(t_ns, own, kind, **fields)
        if self.sinks:
            event = Event(t_ns, seq, own, kind, fields)
            for sink in self.sinks:
                sink(event)
        return seq

    def __iter__(self) -> Iterator[Event]:
        return (event for event in self._whole if event.source.startswith(node_source(self._node, "")))

    def __len__(self) -> int:
        return sum(1 for _ in self)
