"""What can happen to the paths of a Linux host: the scenarios planned for, and the circumstances of one case."""

from dataclasses import dataclass
from enum import StrEnum

from mpio.model.stack import LinuxStack, TargetTimers


class Scenario(StrEnum):
    """What happens, and which span is meant."""

    SILENT_LOSS = "silent_loss"  # nothing passes in either direction, I/O in flight
    ONE_WAY_LOSS = "one_way_loss"  # what the initiator sends is lost (a blackhole route), I/O in flight
    LINK_DOWN = "link_down"  # carrier lost at either end: nothing in the stack listens to it, so a silent loss
    IDLE_DETECTED = "idle_detected"  # silent loss of an idle path, until its session is FAILED
    IDLE_LOSS = "idle_loss"  # loss of an idle path; the first request comes `issued_after_s` later
    IDLE_NOTICED = "idle_noticed"  # silent loss of an idle path, until dm-multipath has it as failed
    SHORT_OUTAGE = "short_outage"  # one path passes nothing for `outage_s`
    RESET_BACK = "reset_back"  # RST or FIN, the portal answers again at once
    RESET_CLOSED = "reset_closed"  # RST or FIN, the portal stays closed
    LUN_HANG = "lun_hang"  # commands get no answer, pings do; `hang` says how far it goes
    PINGS_OFF = "pings_off"  # silent loss as if noop_out_interval and noop_out_timeout were 0
    ALL_DOWN = "all_down"  # every path is lost, by `loss`, for `outage_s` or for good: then until I/O fails
    SERIAL = "serial"  # all `paths` but the last are lost one after another under the same request, by `loss`
    LOGOUT_REQUEST = "logout_request"  # the target asks for a logout
    ISCSID_RESTART = "iscsid_restart"  # drops every session at once; so does a target that restarts
    SESSION_RETURN = "session_return"  # from the end of a fault to the login, by `comeback`
    PATH_RETURN = "path_return"  # from the end of a fault until the path is reinstated, by `comeback`
    FAILBACK = "failback"  # from then on until the preferred group is used again


class Loss(StrEnum):
    """How paths are lost."""

    SILENT = "silent"
    ONE_WAY = "one_way"
    RESET = "reset"


class Hang(StrEnum):
    """How far the handling of a hung LUN goes."""

    FIRST_ABORT = "first_abort"  # until the first ABORT TASK is answered; the command is sent again on the same path
    ERROR = "error"  # until dm-multipath sees an error: after max_retries more such rounds
    TMF_DEAD = "tmf_dead"  # the ABORT TASK gets no answer either, and the session is dropped
    CHECKER = "checker"  # until multipathd's checker has failed the path, which spares later requests only


class Comeback(StrEnum):
    """What iscsid's connects meet while a path is lost."""

    SILENT = "silent"  # no answer
    REFUSED = "refused"  # an error at once: closed port, no route, a blackhole route
    UNREACHABLE = "unreachable"  # no neighbour on the link: EHOSTUNREACH after three ARP probes


@dataclass(frozen=True, slots=True)
class Case:
    """One scenario in one stack; see `planner.linux.predict` for what the circumstances mean."""

    stack: LinuxStack
    target: TargetTimers
    scenario: Scenario
    paths: int = 2
    outage_ns: int | None = None
    issued_after_ns: int = 0
    loss: Loss = Loss.SILENT
    hang: Hang = Hang.ERROR
    comeback: Comeback | None = None
