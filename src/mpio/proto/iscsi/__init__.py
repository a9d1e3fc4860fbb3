"""iSCSI, RFC 7143 and 7144: both roles as objects without I/O, one TCP connection per session."""

from mpio.proto.iscsi.initiator import ConnectionState, InitiatorConnection
from mpio.proto.iscsi.login import LoginParams
from mpio.proto.iscsi.pdu import TaskFunction, TaskResponse

__all__ = ["ConnectionState", "InitiatorConnection", "LoginParams", "TaskFunction", "TaskResponse"]
