"""What every heartbeat machine says of its own life: the state it is in, what it tells, and the orders it gives."""

from mpio.events import Kind, Value
from mpio.heartbeat.machine import Action, Cause, Fence, Happened, NodeState


class Life:
    """One life of a node. Actions gather until the call of the interface that brought them about hands them out.

    Attributes:
        node: its number. state: what it is to itself.
    """

    def __init__(self, node: int) -> None:
        self.node = node
        self.state = NodeState.IDLE
        self._actions: list[Action] = []
        self._cause: Cause | None = None
        self._reason = ""

    def _taken_actions(self) -> list[Action]:
        actions, self._actions = self._actions, []
        return actions

    def _tell(self, kind: Kind, **fields: Value) -> None:
        self._actions.append(Happened(kind, fields))

    def _become(self, state: NodeState, cause: str) -> None:
        old, self.state = self.state, state
        self._tell(Kind.HEARTBEAT_STATE_CHANGED, old=old.value, new=state.value, cause=cause)

    def _fence(self, cause: Cause, reason: str) -> None:
        self._cause, self._reason = cause, reason
        self._become(NodeState.FENCED, reason)
        self._tell(Kind.NODE_FENCED, node=self.node, cause=cause.value, reason=reason)
        self._actions.append(Fence(cause, reason))

    def _refuse(self, reason: str) -> None:
        self._reason = reason
        self._tell(Kind.JOIN_REFUSED, cause=reason)
        self._become(NodeState.REFUSED, reason)
