"""State machines as data: `(state, input) -> next state`, checked to be total when they are built.

A table names every pair. A pair that cannot happen is listed as `None`: taking it raises LocalProtocolError,
so a missing case is a decision somebody wrote down and never a default.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Generic, TypeVar

from mpio.errors import LocalProtocolError

S = TypeVar("S", bound=Enum)
I = TypeVar("I", bound=Enum)  # noqa: E741 - the input alphabet


class Transitions(Generic[S, I]):
    """A total transition table over two enums.

    Args:
        name: what the machine is, for messages.
        rows: for each state, for each input, the next state, or None where the pair is illegal.

    Attributes:
        visited: if somebody sets it, the legal pairs that were taken, in the order of their first time.

    Raises:
        ValueError: if a pair is missing, or a state can't be reached from the first one.
    """

    def __init__(self, name: str, states: type[S], inputs: type[I], rows: Mapping[S, Mapping[I, S | None]]) -> None:
        self.name = name
        self.states = states
        self.inputs = inputs
        self.visited: dict[tuple[S, I], None] | None = None
        self._rows = rows
        missing = [(s, i) for s in states for i in inputs if s not in rows or i not in rows[s]]
        if missing:
            raise ValueError(f"{name}: no entry for {missing}")
        unreached = set(states) - self._reachable()
        if unreached:
            raise ValueError(f"{name}: can't be reached: {sorted(s.name for s in unreached)}")

    def _reachable(self) -> set[S]:
        first = next(iter(self.states))
        seen, todo = {first}, [first]
        while todo:
            for target in self._rows[todo.pop()].values():
                if target is not None and target not in seen:
                    seen.add(target)
                    todo.append(target)
        return seen

    def next(self, state: S, event: I) -> S:
        """The next state. Raises LocalProtocolError for a pair that the table calls illegal."""
        target = self._rows[state][event]
        if target is None:
            raise LocalProtocolError(f"{self.name}: {event.name} is not allowed in state {state.name}")
        if self.visited is not None:
            self.visited[state, event] = None
        return target

    def allows(self, state: S, event: I) -> bool:
        """Whether the input is legal in the state."""
        return self._rows[state][event] is not None

    def dot(self) -> str:
        """The machine as a Graphviz graph, for the documentation."""
        lines = [f'digraph "{self.name}" {{', "  rankdir=LR;"]
        for state, row in self._rows.items():
            for event, target in row.items():
                if target is not None and target is not state:
                    lines.append(f'  "{state.name}" -> "{target.name}" [label="{event.name}"];')
        return "\n".join([*lines, "}"])
