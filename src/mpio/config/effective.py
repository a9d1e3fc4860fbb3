"""Which values are in force on a host, and where each comes from, by the precedence of the real programs.

iscsid: `open_iscsi`. multipathd: `multipathd`. Cluster stacks: `cluster_files`. What multipathd writes over iscsid's
recovery time, if anything: `recovery`.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from mpio.config import cluster_files, multipathd, open_iscsi
from mpio.config.document import Problem
from mpio.config.files import Kind
from mpio.config.origin import Candidate, Device, Effective, Host, Origin, decide
from mpio.config.recovery import recovery
from mpio.model.cluster import Cluster
from mpio.model.stack import LinuxStack

__all__ = ["Device", "Effective", "EffectiveHost", "Host", "Origin", "effective"]

_HOST_FIELDS = ("hz", "kernel", "multipath_tools")


@dataclass(frozen=True, slots=True)
class EffectiveHost:
    """What is in force.

    Attributes:
        values: by name: fields of `LinuxStack`, of clusters after their prefix, `path_checker`, and `recovery_tmo`,
            which is what the kernel waits for a lost session: seconds, None for ever.
        problems: what the answer hangs on that is not known, and what a person may not expect; what is wrong with
            the files themselves is `validate`'s.
    """

    values: Mapping[str, Effective]
    stack: LinuxStack
    clusters: tuple[Cluster, ...]
    problems: tuple[Problem, ...]


def effective(host: Host) -> EffectiveHost:
    """Answer for all settings at once. Never raises for what files contain; a wrong option raises TypeError."""
    values, problems = open_iscsi.in_force(host)
    from_multipathd, more = multipathd.in_force(host)
    values |= from_multipathd
    values["timeout"] = _kernel_default(host, "timeout", "the kernel's sd driver, /sys/block/*/device/timeout")
    stack = {field.name: values[field.name].value for field in dataclasses.fields(LinuxStack)
             if field.name not in _HOST_FIELDS}
    of_clusters, clusters, others = cluster_files.in_force(host)
    problems += [*more, *_unknown_array(host, values), *others]
    linux = LinuxStack(**stack, hz=host.hz, kernel=host.kernel, multipath_tools=host.multipath_tools)  # type: ignore[arg-type]
    values["recovery_tmo"] = _recovery_tmo(linux, values["replacement_timeout"], values["fast_io_fail_tmo"])
    return EffectiveHost(values | of_clusters, linux, clusters, tuple(problems))


def _recovery_tmo(stack: LinuxStack, record: Effective, fast: Effective) -> Effective:
    """The longer one where the kernel may have either; the setting that decides has its own origin."""
    found = recovery(stack)
    waits = None if stack.replacement_timeout < 0 else stack.replacement_timeout
    if found.skipped:
        lost = (fast.value, fast.origin, found.skipped)
        return Effective("recovery_tmo", waits, record.origin, (lost, *fast.overruled, *record.overruled))
    if found.worst_s != fast.value:
        lost = (fast.value, fast.origin, "kernels before 4.2 take replacement_timeout again at each login")
        return Effective("recovery_tmo", waits, record.origin, (lost, *fast.overruled, *record.overruled))
    lost = (waits, record.origin, "multipathd writes fast_io_fail_tmo over replacement_timeout")
    return Effective("recovery_tmo", fast.value, fast.origin, (lost, *record.overruled, *fast.overruled))


def _kernel_default(host: Host, name: str, words: str) -> Effective:
    value = getattr(LinuxStack(), name)
    return decide(host, name, [Candidate(value, Origin("built-in default", words=words), "")])


def _unknown_array(host: Host, values: Mapping[str, Effective]) -> list[Problem]:
    """Values that an unknown array's entry in the built-in hardware table might beat."""
    documents = host.documents.get(Kind.MULTIPATH, ())
    weak = [name for name in ("no_path_retry", "fast_io_fail_tmo", "failback")
            if values[name].origin.kind == "built-in default" or values[name].origin.words == "defaults"]
    if host.device or not documents or not weak or not values["multipath"].value:
        return []
    words = f"the array is not known; multipathd's built-in entry for it may set {', '.join(weak)}"
    return [Problem(documents[0].file, 0, "warning", words, "give its vendor and product")]
