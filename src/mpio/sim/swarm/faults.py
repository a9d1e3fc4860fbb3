"""Faults of a plan, begun and ended on the parts of a run.

Faults of one kind may overlap, also on the same part: what they set is counted or added up, never just overwritten.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from mpio.model.identity import AluaState
from mpio.sim.swarm.host import SwarmHost
from mpio.sim.swarm.link import Cable, End, Lane
from mpio.sim.swarm.plan import Fault
from mpio.sim.swarm.target import SwarmTarget, Trouble


@dataclass(slots=True)
class Parts:
    """What faults work on.

    Attributes:
        cables: by host and portal. decoy: another target with another LU, behind the same name.
        crashed: hosts that are gone. deaf: host's ends of connections that nothing passes any more.
        left_out: faults that could not be begun. alua: states that faults have set, by portal group, oldest first.
    """

    hosts: list[SwarmHost]
    cables: list[list[Cable]]
    target: SwarmTarget
    decoy: SwarmTarget
    tpgts: tuple[int, ...]
    crashed: dict[int, None] = field(default_factory=dict)
    deaf: list[End] = field(default_factory=list)
    left_out: list[Fault] = field(default_factory=list)
    alua: dict[int, list[int]] = field(default_factory=dict)

    def cable(self, fault: Fault) -> Cable:
        """The one that the fault is of."""
        return self.cables[fault.host][fault.portal]

    def trouble(self, fault: Fault) -> Trouble:
        """Those of its portal."""
        return self.target.portals[fault.portal]


def inject(parts: Parts, fault: Fault, step: int) -> None:
    """Begin (`step` 1) or end (`step` -1) a fault."""
    _KINDS[fault.kind](parts, fault, step)


# --- cables


def _lanes(parts: Parts, fault: Fault) -> list[Lane]:
    cable = parts.cable(fault)
    if fault.kind.endswith("_out"):
        return [cable.out]
    return [cable.back] if fault.kind.endswith("_back") else [cable.out, cable.back]


def _blackhole(parts: Parts, fault: Fault, step: int) -> None:
    for lane in _lanes(parts, fault):
        lane.losing += step


def _hold(parts: Parts, fault: Fault, step: int) -> None:
    for lane in _lanes(parts, fault):
        if step > 0:
            lane.holding += 1
        else:
            lane.release()


def _reset(parts: Parts, fault: Fault, step: int) -> None:
    cable = parts.cable(fault)
    cable.refusing += step
    if step > 0 and fault.kind == "reset":
        cable.reset_all()


def _forget(parts: Parts, fault: Fault, step: int) -> None:
    if step > 0:
        parts.deaf += parts.cable(fault).cut_all()


def _slow(parts: Parts, fault: Fault, step: int) -> None:
    for lane in _lanes(parts, fault):
        if fault.kind == "loss":
            lane.loss += step * fault.amount
        elif fault.kind == "slow":
            lane.extra_ns += step * fault.amount
        else:
            lane.ns_per_byte += step * fault.amount


def _swap(parts: Parts, fault: Fault, step: int) -> None:
    """Not before the host knows its LU: it would take the other one for it, and rightly so."""
    cable = parts.cable(fault)
    if step > 0 and parts.hosts[fault.host].map.identity is None:
        parts.left_out.append(fault)
        return
    if fault in parts.left_out:
        parts.left_out.remove(fault)
        return
    cable.swapped += step
    cable.listener = parts.decoy if cable.swapped else parts.target
    cable.reset_all()


# --- portals


def _portal(parts: Parts, fault: Fault, step: int) -> None:
    trouble = parts.trouble(fault)
    match fault.kind:
        case "mute":
            trouble.mute += step
        case "reject":
            trouble.reject += step
        case "delay":
            trouble.delay_ns += step * fault.amount
        case "busy":
            trouble.busy += step * fault.amount
        case "drop_response":
            trouble.drop += step * fault.amount
        case "short":
            trouble.short += step * fault.amount
        case _:
            (trouble.senses.append if step > 0 else trouble.senses.remove)(fault.amount)


def _hang(parts: Parts, fault: Fault, step: int) -> None:
    trouble = parts.trouble(fault) if fault.kind == "hang" else parts.target.common
    trouble.hung += step
    if not trouble.hung:
        parts.target.resume()


def _alua(parts: Parts, fault: Fault, step: int) -> None:
    tpgt = parts.tpgts[fault.portal]
    states = parts.alua.setdefault(tpgt, [])
    if step > 0:
        states.append(fault.amount)
    else:
        states.remove(fault.amount)
    parts.target.set_alua(tpgt, AluaState(states[-1]) if states else AluaState.ACTIVE_OPTIMIZED)


def _end_session(parts: Parts, fault: Fault, step: int) -> None:
    if step > 0 and parts.target.process.alive:
        within_s = fault.amount if fault.kind == "ask_logout" else None
        parts.target.process.call(lambda: parts.target.end_sessions(fault.portal, within_s=within_s))


# --- the target and its disk


def _down(parts: Parts, fault: Fault, step: int) -> None:
    target = parts.target
    power = fault.kind == "power_loss"
    if power:
        for cables in parts.cables:
            for cable in cables:
                cable.out.losing += step
                cable.back.losing += step
    target.down += step
    if step > 0:
        if power:
            target.lose_power()
        elif target.down == 1:
            target.kill()
    elif not target.down:
        target.start()


def _target_pause(parts: Parts, _fault: Fault, step: int) -> None:
    if step > 0:
        parts.target.process.pause()
    else:
        parts.target.process.resume()


def _disk(parts: Parts, fault: Fault, step: int) -> None:
    if fault.kind == "disk_slow":
        parts.target.common.delay_ns += step * fault.amount
    else:
        parts.target.disk.failing += step


# --- hosts


def _host_pause(parts: Parts, fault: Fault, step: int) -> None:
    process = parts.hosts[fault.host].process
    if step > 0:
        process.pause()
    else:
        process.resume()


def _host_crash(parts: Parts, fault: Fault, step: int) -> None:
    host = parts.hosts[fault.host]
    if step > 0 and host.process.alive:
        parts.crashed[fault.host] = None
        host.process.kill()
        for worker in host.workers:
            worker.crash()


_KINDS: dict[str, Callable[[Parts, Fault, int], None]] = {
    "blackhole": _blackhole, "blackhole_out": _blackhole, "blackhole_back": _blackhole,
    "hold": _hold, "hold_out": _hold, "hold_back": _hold,
    "reset": _reset, "refuse": _reset, "forget": _forget, "loss": _slow, "slow": _slow, "throttle": _slow,
    "swap": _swap,
    "mute": _portal, "reject": _portal, "delay": _portal,
    "busy": _portal, "drop_response": _portal, "short": _portal, "sense": _portal,
    "hang": _hang, "alua": _alua, "end_session": _end_session, "ask_logout": _end_session,
    "restart": _down, "power_loss": _down, "target_pause": _target_pause,
    "disk_slow": _disk, "disk_error": _disk, "disk_hang": _hang,
    "host_pause": _host_pause, "host_crash": _host_crash,
}
