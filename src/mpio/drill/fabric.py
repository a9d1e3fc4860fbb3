"""Faults and fabrics: the wires between initiator and target, one per path, and the ways to cut them.

Owns the vocabulary: which faults there are, and their parameters. What each one does to the bytes: docs/cuts.md.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType, TracebackType
from typing import Protocol, Self

from mpio.errors import InputError, UnsupportedFault
from mpio.model.address import Portal

NUMBER_MAX = 1e12


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a fault: its default, and either the words it may be or the numbers it lies between."""

    default: float | str
    meaning: str
    choices: tuple[str, ...] = ()
    minimum: float = 0.0
    maximum: float = NUMBER_MAX

    def read(self, value: object) -> float | str:
        """The value if it is one that this parameter takes. Raises ValueError."""
        if self.choices:
            if not isinstance(value, str) or value not in self.choices:
                raise ValueError(f"expected {', '.join(self.choices)}; found {str(value)[:60]!r}")
            return value
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or not self.minimum <= value <= self.maximum:  # type: ignore[arg-type, operator]
            raise ValueError(f"expected a number from {self.minimum:g} to {self.maximum:g}; found {str(value)[:60]!r}")
        return value  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One kind of fault."""

    meaning: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    loses_paths: bool = True  # whether an initiator should take the path for lost while the fault lasts


_DIRECTION = Parameter("both", "which way the bytes are hit", ("both", "to_target", "to_initiator"))
_SIDE = Parameter("initiator", "at which end", ("initiator", "target"))

FAULTS: Mapping[str, FaultKind] = MappingProxyType({
    "blackhole": FaultKind("nothing passes and nobody is told", {"direction": _DIRECTION}),
    "drop": FaultKind("a packet filter drops everything that arrives", {"direction": _DIRECTION}),
    "link_down": FaultKind("the network interface at one end is down", {"side": _SIDE}),
    "reject": FaultKind("a firewall answers every packet with a TCP reset", {"direction": _DIRECTION}),
    "hang": FaultKind("the target answers pings and logins, but carries out no command", {
        "management": Parameter("hangs", "whether it still ends commands that it is asked to end",
                                ("hangs", "answers"))}),
    "reset": FaultKind("every connection is reset once; new ones work"),
    "refuse": FaultKind("every connection is reset, new ones are refused"),
    "half_open": FaultKind("one end of every connection is reset, the other never hears of it; new ones work", {
        "side": Parameter("initiator", "the end that is reset", ("initiator", "target"))}),
    "hold": FaultKind("like blackhole, but what the initiator sent reaches the target after the heal, come what may"),
    "delay": FaultKind("everything comes later, in order", {
        "ms": Parameter(100, "how much later, each way", maximum=600_000), "direction": _DIRECTION}, loses_paths=False),
    "stall": FaultKind("now and then everything pauses, as TCP does over a link that loses packets", {
        "rate": Parameter(0.01, "chance of a pause per read of the relay", maximum=1.0),
        "pause_ms": Parameter(200, "length of a pause: Linux's smallest retransmission time-out is 200 ms",
                              maximum=600_000),
        "seed": Parameter(1, "of the chance"), "direction": _DIRECTION}, loses_paths=False),
    "throttle": FaultKind("a slow link", {
        "bytes_per_s": Parameter(1_000_000, "bytes per second, each way, for all connections of the path", minimum=1),
        "direction": _DIRECTION}, loses_paths=False),
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault to inject into one path. Parameters that are not given have their defaults."""

    kind: str
    params: Mapping[str, float | str] = field(default_factory=dict)

    def __str__(self) -> str:
        """`delay` or `delay ms=50 direction=to_target`."""
        return " ".join([self.kind, *(f"{name}={value}" for name, value in self.params.items())])


def check_fault(fault: Fault) -> dict[str, float | str]:
    """All parameters of the fault, defaults filled in. Raises ValueError, naming `params` if one of them is wrong."""
    kind = FAULTS.get(fault.kind)
    if kind is None:
        raise ValueError(f"expected one of {', '.join(FAULTS)}; found {fault.kind[:60]!r}")
    for name in fault.params:
        if name not in kind.parameters:
            known = ", ".join(kind.parameters) or "none"
            raise ValueError(f"params: {fault.kind} has no parameter {name[:60]!r}; it has {known}")
    complete = {name: parameter.default for name, parameter in kind.parameters.items()}
    for name, value in fault.params.items():
        try:
            complete[name] = kind.parameters[name].read(value)
        except ValueError as error:
            raise ValueError(f"params: {name}: {error}") from None
    return complete


class Fabric(Protocol):
    """The wires between an initiator and a target, one per path. Entered once; leaving undoes every fault."""

    supported: frozenset[str]  # kinds of fault

    @property
    def portals(self) -> list[Portal]:
        """What the initiator connects to, one per path. Valid while entered."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def inject(self, path: int, fault: Fault) -> str:
        """Put a fault in force, and say how: for the journal.

        Raises UnsupportedFault; InputError for wrong parameters, an unknown path, or a path that has a fault already;
        FabricError if the fabric itself fails.
        """

    async def heal(self, path: int) -> str:
        """Lift the path's fault, if it has one, and say how. Raises FabricError."""


def require_supported(fault: Fault, supported: frozenset[str], fabric: str) -> dict[str, float | str]:
    """All parameters of a fault that the fabric can inject. Raises UnsupportedFault or InputError."""
    try:
        params = check_fault(fault)
    except ValueError as error:
        raise InputError("fault", str(error)) from None
    if fault.kind not in supported:
        can = ", ".join(sorted(supported)) or "none"
        raise UnsupportedFault("fault", f"{fabric} can't inject {fault.kind!r}; it can inject: {can}")
    return params
