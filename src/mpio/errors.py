"""Every exception of the package. A class exists only where some caller reacts to it differently.

    MpioError
      ProtocolError                 an iSCSI rule was broken
        LocalProtocolError          by us or by our caller: a bug, never retried
        RemoteProtocolError         by the peer: drop the connection; `.clause` names the rule
      NexusError                    trouble with one I_T nexus: a path event, not an I/O result
        ConnectFailed               TCP could not be opened
        ConnectionLost              TCP or a timer ended a connection that was up
        LoginRejected               the target refused the login; `.status` tells whether to retry
        IdentityMismatch            another WWID, size or block size than the map has
      MapIoError                    what the application sees of a failed request
        NoUsablePath                every path is down, and queueing is off or ran out
        TargetError                 the target answered with an error that no other path would mend
        ReservationConflict         somebody else holds the reservation
        OutcomeUnknown              a write that may or may not land, now or later
        QueueFull                   more bytes queued than `queue_bytes_max` allows
      FabricError                   what carries or cuts the paths of a drill itself failed: the run proves nothing
      InputError                    bad input from a person; `.where` says in which file, line or field
        UnsupportedFault            a fault that this kind of fabric can't inject; the message lists those it can

Per-I/O outcomes inside the engines are values, not exceptions. `OutcomeUnknown` is never rounded up or down.
"""


class MpioError(Exception):
    """Base of all errors that a caller of this package may want to catch. `code` is stable."""

    code = "mpio"


class ProtocolError(MpioError):
    """An iSCSI or SCSI rule was broken."""

    code = "protocol"


class LocalProtocolError(ProtocolError):
    """We or our caller did something that the protocol forbids. A bug; never retried."""

    code = "protocol-local"


class RemoteProtocolError(ProtocolError):
    """The peer broke the standard. `clause` names the rule, `reject_reason` what a Reject PDU would say."""

    code = "protocol-remote"

    def __init__(self, message: str, *, clause: str = "", reject_reason: int = 0x04) -> None:
        super().__init__(f"{message} ({clause})" if clause else message)
        self.clause = clause
        self.reject_reason = reject_reason


class NexusError(MpioError):
    """Trouble with one I_T nexus."""

    code = "nexus"


class ConnectFailed(NexusError):
    """TCP could not be opened: refused, unreachable, or no answer in time."""

    code = "connect-failed"


class ConnectionLost(NexusError):
    """A connection that was up has ended: reset, closed, silent, or after a protocol error."""

    code = "connection-lost"


class LoginRejected(NexusError):
    """The target refused the login (RFC 7143 §11.13.5). `status` is class << 8 | detail."""

    code = "login-rejected"

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status

    @property
    def is_final(self) -> bool:
        """Whether the same login would be refused again (initiator errors, class 2)."""
        return self.status >> 8 == 2


class IdentityMismatch(NexusError):
    """A path leads to another LU, or to one of another size or block size, than its map."""

    code = "identity-mismatch"


class MapIoError(MpioError):
    """A request to a map failed."""

    code = "map-io"


class NoUsablePath(MapIoError):
    """Every path of the map is down, and `no_path_retry` does not (or no longer) let it wait."""

    code = "no-usable-path"


class TargetError(MapIoError):
    """The target answered with an error that no other path would mend. Carries SCSI status and sense."""

    code = "target-error"

    def __init__(self, message: str, *, status: int, sense: bytes = b"") -> None:
        super().__init__(message)
        self.status = status
        self.sense = sense


class ReservationConflict(TargetError):
    """Another initiator holds a reservation that forbids this command."""

    code = "reservation-conflict"


class OutcomeUnknown(MapIoError):
    """A write was sent, its answer was lost, and the old copy could not be fenced: it may still land."""

    code = "outcome-unknown"


class QueueFull(MapIoError):
    """More bytes wait for a path than `queue_bytes_max` allows."""

    code = "queue-full"


class FabricError(MpioError):
    """The wires of a drill failed on their own: the relay process ended, a command was refused."""

    code = "fabric"


class InputError(MpioError):
    """Bad input from a person. `where` is a file:line, an option or a field; the message says the rest."""

    code = "input"

    def __init__(self, where: str, message: str) -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.where = where


class UnsupportedFault(InputError):
    """A fault that the fabric at hand can't inject."""

    code = "unsupported-fault"
