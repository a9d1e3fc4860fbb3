"""How long I/O can stall on Linux' own stack (open-iscsi, dm-multipath, multipathd), from its settings alone.

`predict` answers for one scenario with a sum of named terms, best and worst. Unless a scenario says otherwise a stall
is that of a request on the affected path, counted from the fault to its answer by another path. What the terms are and
where they come from is in `linux_terms`; docs/stall.md derives the sums.
"""

from collections.abc import Callable, Mapping

from mpio.model.stack import LinuxStack, TargetTimers
from mpio.planner import linux_outage, linux_path
from mpio.planner.budget import Budget
from mpio.planner.linux_case import Case, Comeback, Hang, Loss, Scenario
from mpio.planner.linux_terms import nominal_ns
from mpio.units import seconds

__all__ = ["Comeback", "Hang", "Loss", "Scenario", "nominal_ns", "predict"]

_MODELS: Mapping[Scenario, Callable[[Case], Budget]] = {
    Scenario.SILENT_LOSS: linux_path.silent_loss,
    Scenario.ONE_WAY_LOSS: linux_path.one_way_loss,
    Scenario.LINK_DOWN: linux_path.silent_loss,
    Scenario.IDLE_DETECTED: linux_path.idle_detected,
    Scenario.IDLE_LOSS: linux_path.idle_loss,
    Scenario.IDLE_NOTICED: linux_path.idle_noticed,
    Scenario.SHORT_OUTAGE: linux_outage.short_outage,
    Scenario.RESET_BACK: linux_path.reset_back,
    Scenario.RESET_CLOSED: linux_path.reset_closed,
    Scenario.LUN_HANG: linux_path.lun_hang,
    Scenario.PINGS_OFF: linux_path.pings_off,
    Scenario.ALL_DOWN: linux_outage.all_down,
    Scenario.SERIAL: linux_path.serial,
    Scenario.LOGOUT_REQUEST: linux_path.logout_request,
    Scenario.ISCSID_RESTART: linux_outage.iscsid_restart,
    Scenario.SESSION_RETURN: linux_outage.session_return,
    Scenario.PATH_RETURN: linux_outage.path_return,
    Scenario.FAILBACK: linux_outage.failback,
}


def predict(
    stack: LinuxStack, target: TargetTimers, scenario: Scenario, *, paths: int = 2, outage_s: float | None = None,
    issued_after_s: float = 0, loss: Loss = Loss.SILENT, hang: Hang = Hang.ERROR, comeback: Comeback | None = None,
) -> Budget:
    """The span that a scenario means, in this stack.

    Args:
        stack: the host's settings in force.
        target: the target's timers.
        scenario: see there; the circumstances below only count where it names them.
        paths: of the map.
        outage_s: how long the fault lasts: needed for SHORT_OUTAGE; for ALL_DOWN None is for good.
        issued_after_s: when the first request on an idle path comes, counted from the loss.
        loss: how the paths of IDLE_LOSS (not by reset), SHORT_OUTAGE, SERIAL and ALL_DOWN are lost.
        hang: how far a LUN_HANG goes.
        comeback: for SESSION_RETURN, PATH_RETURN and outages; None is the slowest that goes with the loss.

    Returns:
        The budget. `worst_ns` is None if I/O waits for ever (recovery_tmo off, no_path_retry queue, failback manual).
        `fails_after_ns` is the soonest moment when requests can fail with an error instead, None if they can't; for
        ALL_DOWN for good that is the best case of the budget itself.

    Raises:
        ValueError: SHORT_OUTAGE without outage_s, fewer than two paths for SERIAL, a negative time.
    """
    if (outage_s is not None and outage_s < 0) or issued_after_s < 0:
        raise ValueError("outage_s, issued_after_s: expected 0 or more seconds")
    if scenario is Scenario.SHORT_OUTAGE and outage_s is None:
        raise ValueError("outage_s: short_outage needs it")
    if scenario is Scenario.SERIAL and paths < 2:
        raise ValueError("paths: serial needs two or more")
    outage_ns = None if outage_s is None else seconds(outage_s)
    return _MODELS[scenario](
        Case(stack, target, scenario, paths, outage_ns, seconds(issued_after_s), loss, hang, comeback))
