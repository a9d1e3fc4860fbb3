"""Timing sheets made by hand."""

from dataclasses import replace

from mpio.planner.budget import Budget, Term, total
from mpio.report.sheet import Asked, Check, Deadline, Finding, Rule, Rung, Setting, Sheet

S = 1_000_000_000


def term(name: str, worst_s: float, best_s: float | None = None, source: str = "somewhere") -> Term:
    return Term(name, round((worst_s if best_s is None else best_s) * S), round(worst_s * S), source)


SILENT = total("silent_loss", [
    term("silence before the ping", 5, source="noop_out_interval"),
    term("silence after the ping", 5, source="noop_out_timeout"),
    term("wait for the session", 5, source="fast_io_fail_tmo"),
    term("timers' lateness", 0.77, 0, "HZ 250"),
])
ONE_WAY = total("one_way_loss", [term("target's own ping", 10, 0, "nopin_interval"), *SILENT.terms])
HUNG = total("lun_hang", [term("command timeouts", 96, 60, "timeout")])
FOR_EVER = replace(total("all_down", [term("wait for a path", 15)], endless=True), fails_after_ns=75 * S)
NOTHING = Budget("idle_noticed", (), 0, 0)

RUNGS = (
    Rung("silent_loss", "path goes silent, both directions", SILENT, binds=True),
    Rung("one_way_loss", "path goes silent, one direction", ONE_WAY, binds=True),
    Rung("idle_noticed", "nothing to wait for", NOTHING, binds=True),
    Rung("lun_hang", "LUN hangs, pings answered", HUNG, binds=False),
    Rung("all_down", "all paths down, queueing", FOR_EVER, binds=False),
)
GOAL = Deadline("max-stall", 20 * S, "goal: no stall longer", "goal")
FENCE = Deadline("o2cb", 58 * S, "longest stall that OCFS2 tolerates", "cluster")
DEAD = Deadline("o2cb.dead", 62 * S, "the others take the node for dead", "event")


def plan() -> Sheet:
    """A plan that misses its goal in one scenario."""
    return Sheet(
        kind="plan", verdict="findings", headline="WOULD STALL", sentence="One failure stalls longer than 20 s.",
        asked=(Asked("--max-stall", "20 s"), Asked("--cluster", "ocfs2")),
        rungs=RUNGS, deadlines=(DEAD, FENCE, GOAL),
        checks=(
            Check("N1", "ok", "a stall plus one heartbeat period", 28 * S, 60 * S, "cluster heartbeat.c"),
            Check("C3", "violated", "noop + timeout + recovery", 26 * S, 20 * S),
            Check("C4", "ok", "no end to it", 5 * S, None),
            Check("C5", "tight", "exact", 5 * S, 5 * S),
        ),
        rules=(
            Rule("article.polling", "polling_interval at least 6", "polling_interval", "too weak", True, 6 * S, 12 * S,
                 7 * S, "polling has no part in it", "an old article"),
            Rule("article.never", "heartbeat at least 24", "o2cb", "too strong", False, 24 * S, None, None, "why not"),
        ),
        settings=(
            Setting("noop_out_interval", "2", "found soon", "iscsid.conf", old="5"),
            Setting("fast_io_fail_tmo", "5", "above a relogin", "multipath.conf", origin="built-in default"),
        ),
        findings=(Finding("error", "etc/iet/ietd.conf:3: no effect here", "put it in iscsid.conf"),
                  Finding("warning", "old"), Finding("note", "by the way")),
    )


def conflict() -> Sheet:
    return Sheet(kind="conflict", verdict="findings", headline="CONFLICT", sentence="Two goals exclude each other.",
                 conflict=("--max-stall 3s", "--set noop_out_interval=5"), ways_out=("raise --max-stall to 11 s",))
