"""Rules of thumb that people set timers by, each beside the exact bound: too weak here, right, or stronger than needed.

The first group is from an old SUSE article on multipath over iSCSI, which many still follow: with f the time until a
device is reported failed, polling_interval at least f + 1, better twice that; heartbeat timeout at least twice the
better polling, better three times; noop_out_interval + noop_out_timeout + polling_interval below the heartbeat
timeout; OCFS2 60 to 120 s under load. The second is what vendors and manuals say of their own stacks.

A rule is judged by what it asks for, not by what is set: it may be kept and too weak, or broken without harm. It is too
weak below the smallest safe value, and too strong above one and a half times what the stack's own recipe asks for.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from mpio.config.recovery import recovery
from mpio.model.cluster import Cluster, Corosync, O2cb, Rac, Sbd
from mpio.model.stack import LinuxStack
from mpio.planner.cluster import STACKS, kind_of, recommended
from mpio.planner.clusters import corosync as ring
from mpio.planner.clusters import o2cb, sbd
from mpio.planner.clusters.storage import Storage
from mpio.units import NS_PER_S, format_duration, seconds

ARTICLE = "SUSE: Implementing MPIO over iSCSI, considerations, common issues and clustering concerns"
_FAQ = "OCFS2 FAQ (ocfs2-tools ocfs2_faq.txt)"
_HP = "HP: OCFS2 Integration with Serviceguard for Linux, 2009"
_HDLM = "Hitachi Dynamic Link Manager for Linux, User's Guide"
_SLEHA = "SUSE Linux Enterprise High Availability guide"
_NS_PER_MS = 1_000_000
_PATH_S = {"USP and VSP class": 60, "AMS class": 30}
"""What HDLM reckons with for each path that fails, by class of array."""


class Judgement(StrEnum):
    """How a rule's demand compares with the exact bound."""

    TOO_WEAK = "too weak"  # keeping it does not prevent a false fence
    RIGHT = "right"
    TOO_STRONG = "too strong"  # it buys nothing, and a node that is really dead is noticed that much later


@dataclass(frozen=True, slots=True)
class RuleOfThumb:
    """One rule, applied to settings.

    Attributes:
        id: stable. rule: its text. setting: what it limits from below.
        wanted_ns: what it asks for here. found_ns: what is set; None if that is for ever.
        exact_ns: the smallest value that is safe; 0 if the setting has no part in it, None if none is.
        roomy_ns: what the stack's own recipe asks for, with room for load; None if there is none.
        why: one sentence about the judgement.
    """

    id: str
    rule: str
    setting: str
    wanted_ns: int
    found_ns: int | None
    exact_ns: int | None
    roomy_ns: int | None
    why: str
    source: str

    @property
    def judgement(self) -> Judgement:
        """By what the rule asks for, whatever is set."""
        if self.exact_ns is None or self.wanted_ns < self.exact_ns:
            return Judgement.TOO_WEAK
        if self.roomy_ns is not None and 2 * self.wanted_ns > 3 * self.roomy_ns:
            return Judgement.TOO_STRONG
        return Judgement.RIGHT

    @property
    def kept(self) -> bool:
        """Whether what is set keeps the rule."""
        return self.found_ns is None or self.found_ns >= self.wanted_ns

    @property
    def words(self) -> str:
        """The rule, what it asks for, what is set, the exact bound, the judgement and its reason."""
        if self.exact_ns is None:
            bound = "no value is safe"
        else:
            bound = f"safe from {format_duration(self.exact_ns)} on" if self.exact_ns else "any value is safe"
        found = "unlimited" if self.found_ns is None else format_duration(self.found_ns)
        return (f"{self.rule}: {self.setting} {format_duration(self.wanted_ns)} (it is {found}), {bound}: "
                f"{self.judgement}. {self.why}")

    def as_json(self) -> dict[str, object]:
        """All fields with the judgement, and the sentence."""
        return {
            "id": self.id, "rule": self.rule, "setting": self.setting, "wanted_ns": self.wanted_ns,
            "found_ns": self.found_ns, "exact_ns": self.exact_ns, "judgement": self.judgement.value,
            "kept": self.kept, "words": self.words, "source": self.source,
        }


def rules_of_thumb(
    stack: LinuxStack, clusters: Iterable[Cluster], storage: Storage, *, paths: int = 2,
    device_fails_s: float | None = None, reconfiguration_s: float | None = None,
) -> tuple[RuleOfThumb, ...]:
    """Every rule that speaks of these stacks.

    Args:
        stack: the host's settings.
        clusters: what runs above.
        storage: the stalls that the exact bounds are from.
        paths: of one LUN, for rules that count them.
        device_fails_s: f, the time until a device is reported failed; None for the recovery time in force.
        reconfiguration_s: how long another cluster manager on the same nodes takes to reconfigure, if there is one.
    """
    clusters = tuple(clusters)
    fails_ns = _fails_ns(stack) if device_fails_s is None else seconds(device_fails_s)
    found = [] if fails_ns is None else _polling(stack, fails_ns)
    for cluster in clusters:
        if STACKS[type(cluster)].heartbeat_ns(cluster, storage) is not None:
            found += _article(stack, cluster, storage, fails_ns)
        if isinstance(cluster, O2cb):
            found += _o2cb(cluster, storage, paths)
            if reconfiguration_s is not None:
                found.append(_idle(cluster, reconfiguration_s))
        if isinstance(cluster, Sbd) and cluster.devices:
            found += _sbd(cluster, clusters, storage)
        if isinstance(cluster, Rac):
            found += _rac(cluster, clusters, storage)
    return tuple(found)


def _fails_ns(stack: LinuxStack) -> int | None:
    worst_s = recovery(stack).worst_s
    return None if worst_s is None else worst_s * NS_PER_S


def _better_polling_ns(fails_ns: int) -> int:
    return 2 * (fails_ns + NS_PER_S)


def _polling(stack: LinuxStack, fails_ns: int) -> list[RuleOfThumb]:
    """Polling decides when a repaired or idle path is noticed; I/O in flight fails over by its own error."""
    why = "It has no part in the stall of I/O in flight; a longer one only makes a path's return later"
    found_ns = stack.polling_interval * NS_PER_S
    return [
        RuleOfThumb(name, rule, "polling_interval", wanted_ns, found_ns, 0, 0, why, ARTICLE)
        for name, rule, wanted_ns in (
            ("ART-1", "polling_interval is at least the time until a device fails and 1 s", fails_ns + NS_PER_S),
            ("ART-2", "polling_interval is better twice that", _better_polling_ns(fails_ns)),
        )
    ]


def _article(stack: LinuxStack, cluster: Cluster, storage: Storage, fails_ns: int | None) -> list[RuleOfThumb]:
    """What the article asks of a heartbeat, whichever it is."""
    bounds = _Bounds(cluster, storage)
    pings_s = stack.noop_out_interval + stack.noop_out_timeout
    sum_ns = (pings_s + stack.polling_interval) * NS_PER_S
    leaves_out = "It counts polling_interval, which has no part in the stall, but not the recovery timeout, which has"
    found = [bounds.rule(
        "ART-5", "noop_out_interval + noop_out_timeout + polling_interval stay below the heartbeat's timeout", sum_ns,
        leaves_out, ARTICLE,
    )]
    if fails_ns is None:
        return found
    knows = "It knows the time until a device fails, but not the pings that have to be missed before that time begins"
    return [
        bounds.rule("ART-3", "the heartbeat's timeout is at least twice the better polling_interval",
                    2 * _better_polling_ns(fails_ns), knows, ARTICLE),
        bounds.rule("ART-4", "the heartbeat's timeout is better three times that", 3 * _better_polling_ns(fails_ns),
                    knows, ARTICLE),
        *found,
    ]


def _o2cb(cluster: O2cb, storage: Storage, paths: int) -> list[RuleOfThumb]:
    bounds = _Bounds(cluster, storage)
    stall_ns = storage.longest_ns or 0
    flat = "It is one figure for every stack; the bound follows the stack's own timers"
    found = [
        bounds.rule("ART-6", "OCFS2 under load waits 60 s", seconds(60), flat, ARTICLE),
        bounds.rule("ART-7", "OCFS2 under load better waits 120 s", seconds(120), flat, ARTICLE),
        bounds.rule("T-7", "the default threshold of 2007 and before, 7, is enough", o2cb.self_fence_ns(7),
                    "It is the figure of a local disk", "OCFS2 1.2, SLES 10 manual"),
        bounds.rule("T-31", "the default threshold, 31, is enough", o2cb.self_fence_ns(31), flat, "o2cb.sysconfig(5)"),
        bounds.rule("T-61", "with multipath the threshold is 61", o2cb.self_fence_ns(61), flat, "o2cb.sysconfig(5)"),
    ]
    if storage.longest_ns is not None:
        found += [
            bounds.rule("FAQ", "the heartbeat waits as long as the I/O layer", stall_ns,
                        "It leaves out that a heartbeat begins up to 2 s after the last one", _FAQ),
            bounds.rule("HP-1", "the heartbeat waits 30 s longer than the I/O layer", stall_ns + seconds(30),
                        "The 30 s are room for load", _HP),
        ]
    return found + [
        bounds.rule(f"HDLM-{path_s}", f"the heartbeat waits {path_s} s for each path ({arrays})",
                    seconds(paths * path_s), "It reckons with one figure for any stack's path failure", _HDLM)
        for arrays, path_s in _PATH_S.items()
    ]


def _idle(cluster: O2cb, reconfiguration_s: float) -> RuleOfThumb:
    blip_ns = 2 * cluster.keepalive_delay_ms * _NS_PER_MS
    return RuleOfThumb(
        "HP-2", "O2CB's network is idle 20 s longer than the other cluster manager reconfigures",
        "o2cb.idle_timeout_ms", seconds(reconfiguration_s + 20), cluster.idle_timeout_ms * _NS_PER_MS,
        max(blip_ns, seconds(reconfiguration_s)), None, "So the other one decides first", _HP)


def _sbd(cluster: Sbd, clusters: tuple[Cluster, ...], storage: Storage) -> list[RuleOfThumb]:
    bounds = _Bounds(cluster, storage)
    found = []
    if storage.longest_ns is not None:
        found.append(bounds.rule(
            "SBD-1", "the watchdog waits as long as a path failure takes", storage.longest_ns,
            "It leaves out the servant's restart after a failed read, which takes 3 s more", f"sbd(8), {_SLEHA}"))
    msgwait_ns = cluster.msgwait * NS_PER_S
    dies_ns = sbd.self_death_ns(cluster)
    found.append(RuleOfThumb(
        "SBD-2", "msgwait is twice the watchdog", "sbd.msgwait", 2 * cluster.watchdog * NS_PER_S, msgwait_ns, dies_ns,
        None, "Exact is watchdog, I/O timeout, two loops and the reads: more than twice a watchdog below 6 s or with a "
        "long -I", f"sbd(8), {_SLEHA}"))
    corosync = next((item for item in clusters if isinstance(item, Corosync)), None)
    if corosync is not None:
        noticed_ns = msgwait_ns * 6 // 5
        roomy_ns = max(noticed_ns, seconds(60)) + ring.effective_token_ns(corosync) + ring.consensus_ns(corosync)
        found.append(RuleOfThumb(
            "SBD-3", "stonith-timeout is twice msgwait", "corosync.stonith_timeout", 2 * msgwait_ns,
            corosync.stonith_timeout * NS_PER_S, noticed_ns, roomy_ns,
            "The agent asks for 1.2 msgwait, crmsh for at least 60 s and a new ring", "sbd(8)"))
    return found


def _rac(cluster: Rac, clusters: tuple[Cluster, ...], storage: Storage) -> list[RuleOfThumb]:
    """Voting files on OCFS2: disktimeout beyond its own declaration of death and the I/O layer."""
    under = next((item for item in clusters if isinstance(item, O2cb)), None)
    if under is None or storage.longest_ns is None:
        return []
    dead_ns = under.heartbeat_threshold * o2cb.PERIOD_NS
    wanted_ns = max(dead_ns, storage.longest_ns)
    return [_Bounds(cluster, storage).rule(
        "RAC-1", "disktimeout is longer than OCFS2 takes for a dead node, and than the I/O layer", wanted_ns,
        "It must outlast both, as either holds up the voting file", "field practice for voting files on OCFS2")]


class _Bounds:
    """What is set, needed and recommended as the heartbeat timeout of one stack."""

    def __init__(self, cluster: Cluster, storage: Storage) -> None:
        stack = STACKS[type(cluster)]
        self.setting = stack.heartbeat_name
        self.found_ns = stack.heartbeat_ns(cluster, storage)
        self.exact_ns: int | None = None
        self.roomy_ns: int | None = None
        try:
            needed = stack.required(stack.shortest(cluster), storage)
        except ValueError:
            return  # a stall without end: nothing is safe
        self.exact_ns = stack.heartbeat_ns(needed, storage)
        for item in recommended(kind_of(cluster), storage):
            if type(item) is type(cluster):
                self.roomy_ns = stack.heartbeat_ns(item, storage)

    def rule(self, name: str, rule: str, wanted_ns: int, why: str, source: str) -> RuleOfThumb:
        return RuleOfThumb(name, rule, self.setting, wanted_ns, self.found_ns, self.exact_ns, self.roomy_ns, why,
                           source)
