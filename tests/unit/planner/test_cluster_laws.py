"""Laws that hold for any stall and any settings, whatever the stack."""

import dataclasses
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpio.model.cluster import Cluster, Corosync, LinuxHa, Mmp, Ncs, O2cb, Qdisk, Rac, Sanlock, Sbd
from mpio.planner.cluster import (
    KINDS,
    Act,
    Inequality,
    Since,
    Stake,
    Storage,
    Verdict,
    deadlines,
    defaults,
    inequalities,
    kind_of,
    recommended,
    required,
    smallest,
    takeover_ns,
    tolerated_ns,
)
from mpio.planner.clusters.inequality import condition, term
from mpio.units import NS_PER_S, seconds

LAW = settings(max_examples=100, deadline=None)

PEOPLES_KINDS = [kind for kind in KINDS if kind != "none"]
STALLS = st.integers(min_value=0, max_value=400 * NS_PER_S)
SHORT = st.integers(min_value=0, max_value=5 * NS_PER_S)

STORAGES = st.builds(
    Storage, stall_ns=STALLS, serial_ns=st.just(0) | STALLS, flaps=st.booleans(), outage_ns=st.just(0) | STALLS,
    fails_after_ns=st.none() | STALLS, latency_ns=SHORT, jitter_ns=SHORT,
    polling_interval_max_ns=st.sampled_from([0, 20 * NS_PER_S]), holds_host=st.booleans(),
    kernel=st.sampled_from([(4, 4), (6, 1)]), hz=st.sampled_from([100, 250, 300, 1000]),
)
CLUSTERS: dict[str, st.SearchStrategy[tuple[Cluster, ...]]] = {
    "ocfs2": st.tuples(st.builds(
        O2cb, heartbeat_threshold=st.integers(3, 200), idle_timeout_ms=st.integers(1, 60_000),
        keepalive_delay_ms=st.integers(1, 5_000), negotiate=st.booleans())),
    "sbd": st.tuples(
        st.builds(Sbd, watchdog=st.integers(1, 400), msgwait=st.integers(1, 800), loop=st.integers(1, 3),
                  io_timeout=st.integers(1, 60), restart_delay=st.integers(0, 10), devices=st.integers(0, 3),
                  pacemaker=st.booleans(), delay_start=st.integers(0, 100)),
        st.builds(Corosync, token_ms=st.integers(1, 30_000), consensus_ms=st.none() | st.integers(1, 30_000),
                  nodes=st.integers(2, 16), stonith_timeout=st.integers(0, 600),
                  stonith_watchdog_timeout=st.integers(0, 60), monitor_timeout=st.integers(1, 200),
                  stop_timeout=st.integers(1, 200), pcmk_delay_max=st.integers(0, 30), qdevice=st.booleans())),
    "sanlock": st.tuples(st.builds(Sanlock, io_timeout=st.integers(1, 80), watchdog_fire_timeout=st.integers(1, 60))),
    "ncs": st.tuples(st.builds(Ncs, heartbeat=st.integers(1, 5), tolerance=st.integers(1, 300),
                               master_watchdog=st.integers(1, 5), slave_watchdog=st.integers(1, 300))),
    "heartbeat": st.tuples(st.builds(LinuxHa, keepalive=st.floats(0.1, 5), warntime=st.floats(0.1, 60),
                                     deadtime=st.floats(0.1, 300), initdead=st.floats(0.1, 600))),
    "rac": st.tuples(st.builds(Rac, misscount=st.integers(4, 600), disktimeout=st.integers(1, 600),
                               asm_hbeatiowait=st.integers(1, 200))),
    "zfs": st.tuples(st.builds(Mmp, interval_ms=st.integers(100, 5_000), fail_intervals=st.integers(0, 100),
                               import_intervals=st.integers(1, 100))),
    "qdisk": st.tuples(st.builds(Qdisk, interval=st.integers(1, 5), tko=st.integers(1, 100),
                                 cman_timeout=st.integers(1, 200))),
}
ANY_CLUSTERS = st.one_of([CLUSTERS[kind] for kind in PEOPLES_KINDS if kind != "pacemaker"])


def _mendable(item: Inequality) -> bool:
    """What longer timers can mend: not what the stack's own form or another layer decides, nor that all is long."""
    return not item.inherent and item.id not in {"NC-02", "SL-04", "OC-07"}


def _broken(clusters: tuple[Cluster, ...], storage: Storage) -> list[str]:
    return [item.id for item in inequalities(clusters, storage) if _mendable(item) and item.verdict is Verdict.VIOLATED]


@LAW
@given(clusters=ANY_CLUSTERS, storage=STORAGES)
def test_required_keeps_every_condition(clusters: tuple[Cluster, ...], storage: Storage) -> None:
    assert _broken(required(clusters, storage), storage) == []


@LAW
@given(clusters=ANY_CLUSTERS, storage=STORAGES)
def test_required_leaves_alone_what_holds(clusters: tuple[Cluster, ...], storage: Storage) -> None:
    once = required(clusters, storage)
    assert required(once, storage) == once


@LAW
@given(clusters=ANY_CLUSTERS, storage=STORAGES)
def test_required_only_raises(clusters: tuple[Cluster, ...], storage: Storage) -> None:
    """But for two that are wrong by being set: a consensus by hand, a watchdog fencing beside a disk."""
    for before, after in zip(clusters, required(clusters, storage), strict=True):
        for item in dataclasses.fields(before):
            old, new = getattr(before, item.name), getattr(after, item.name)
            assert (new is None or new >= old if old is not None else new is None) or (
                item.name == "stonith_watchdog_timeout" and new == 0)


TIMERS = {
    "ocfs2": ["heartbeat_threshold"], "sbd": ["watchdog", "msgwait"], "sanlock": ["io_timeout"],
    "ncs": ["tolerance", "slave_watchdog"], "rac": ["misscount", "disktimeout", "asm_hbeatiowait"],
    "zfs": ["fail_intervals", "import_intervals"], "qdisk": ["tko", "cman_timeout"],
}


@pytest.mark.parametrize("kind", sorted(TIMERS))
@LAW
@given(storage=STORAGES)
def test_smallest_can_not_be_shortened(kind: str, storage: Storage) -> None:
    stall_s = seconds(20)  # beyond what the programs themselves accept as least
    storage = replace(storage, stall_ns=(storage.stall_ns or 0) + stall_s)
    found = smallest(kind, storage)
    for name in TIMERS[kind]:
        shorter = (replace(found[0], **{name: getattr(found[0], name) - 1}), *found[1:])
        assert _broken(shorter, storage), f"{name} of {found[0]} may be shorter"


@pytest.mark.parametrize("name", ["monitor_timeout", "stop_timeout"])
@LAW
@given(storage=STORAGES)
def test_smallest_operation_timeouts_can_not_be_shortened(name: str, storage: Storage) -> None:
    ring = smallest("pacemaker", replace(storage, stall_ns=(storage.stall_ns or 0) + NS_PER_S))[0]
    shorter = replace(ring, **{name: getattr(ring, name) - 1})
    assert _broken((shorter,), replace(storage, stall_ns=(storage.stall_ns or 0) + NS_PER_S))


@pytest.mark.parametrize("kind", PEOPLES_KINDS)
@LAW
@given(storage=STORAGES, nodes=st.integers(1, 16))
def test_recommended_keeps_every_condition_with_room(kind: str, storage: Storage, nodes: int) -> None:
    found = recommended(kind, storage, nodes)
    assert _broken(found, storage) == []
    assert [type(item) for item in found] == list(KINDS[kind])
    tight = [item.id for item in inequalities(found, storage)
             if item.verdict is Verdict.TIGHT and item.stake in (Stake.FENCE, Stake.FENCING)]
    assert tight == []


def _acted_upon(clusters: tuple[Cluster, ...], storage: Storage, stall_ns: int) -> set[str]:
    """The conditions that a stall of this length breaks, vendors' advice left out."""
    return {item.id for item in inequalities(clusters, replace(storage, stall_ns=stall_ns))
            if item.verdict is Verdict.VIOLATED and _mendable(item) and item.stake is not Stake.ADVICE}


@LAW
@given(clusters=ANY_CLUSTERS, storage=STORAGES)
def test_tolerated_is_where_the_conditions_turn(clusters: tuple[Cluster, ...], storage: Storage) -> None:
    quiet = replace(storage, serial_ns=0, flaps=False, outage_ns=0)
    limit_ns = tolerated_ns(clusters, quiet)
    if limit_ns is None:
        return
    unstalled = _acted_upon(clusters, quiet, 0)
    assert _acted_upon(clusters, quiet, limit_ns + 1) > unstalled or (limit_ns == 0 and unstalled)
    assert _acted_upon(clusters, quiet, max(0, limit_ns - 1)) == unstalled


@LAW
@given(clusters=ANY_CLUSTERS, storage=STORAGES)
def test_deadlines_are_in_order(clusters: tuple[Cluster, ...], storage: Storage) -> None:
    for cluster in clusters:
        found = deadlines([cluster], storage)
        tolerated = next((item.latest_ns for item in found if item.act is Act.TOLERATED), 0)
        for item in found:
            assert 0 <= item.earliest_ns <= item.latest_ns
            assert (item.of_stall_ns is None) == (item.since not in (Since.HEARTBEAT, Since.STALL))
            if item.act in (Act.FENCED, Act.DEAD) and item.of_stall_ns is not None:
                assert item.of_stall_ns[0] >= tolerated, "what is tolerated ends before anybody acts"


@LAW
@given(clusters=ANY_CLUSTERS, storage=STORAGES, more=STALLS)
def test_a_longer_stall_never_helps(clusters: tuple[Cluster, ...], storage: Storage, more: int) -> None:
    longer = replace(storage, stall_ns=(storage.stall_ns or 0) + more)
    assert set(_broken(clusters, storage)) <= set(_broken(clusters, longer))


@LAW
@given(clusters=ANY_CLUSTERS, storage=STORAGES)
def test_inequalities_add_up_and_say_so(clusters: tuple[Cluster, ...], storage: Storage) -> None:
    for item in inequalities(clusters, storage):
        assert item.left_ns == sum(part.value_ns for part in item.left)
        if item.right_ns is None:
            assert (item.id, item.slack_ns) == ("APD", None)
        else:
            assert item.right_ns == sum(part.value_ns for part in item.right)
            assert item.slack_ns == item.right_ns - item.left_ns
        assert item.source
        shown = item.as_json()
        assert shown["verdict"] == item.verdict
        assert shown["words"] == item.words
        assert (item.claim in item.words) != (item.verdict is Verdict.VIOLATED)
        for part in (*item.left, *item.right):
            assert part.value_ns > 0
            assert part.name in item.words


@pytest.mark.parametrize("kind", PEOPLES_KINDS)
def test_no_timer_outlasts_a_stall_without_end(kind: str) -> None:
    endless = Storage(stall_ns=None, holds_host=True, queue_ns=None)
    with pytest.raises(ValueError, match="without end"):
        smallest(kind, endless)
    with pytest.raises(ValueError, match="without end"):
        recommended(kind, endless)
    violated = [item for item in inequalities(defaults(kind), endless) if item.verdict is Verdict.VIOLATED]
    assert any(item.slack_ns is None and "a wait without end" in item.words for item in violated)


def test_a_limit_without_end_holds_anything() -> None:
    never = condition("X", "x", Stake.FENCE, "it holds", [term("a", 5, "here")], [term("b", None, "there")], "here")
    assert (never.verdict, never.slack_ns) == (Verdict.OK, None)
    assert never.words == "it holds: a 5 ns ≤ a wait without end"


@pytest.mark.parametrize(("left", "strict", "verdict", "words"), [
    (8, False, Verdict.OK, "it holds: a 8 s ≤ b 10 s, 2 s to spare"),
    (9, False, Verdict.TIGHT, "it holds: a 9 s ≤ b 10 s, 1 s to spare"),
    (10, False, Verdict.TIGHT, "it holds: a 10 s ≤ b 10 s, nothing to spare"),
    (10, True, Verdict.VIOLATED, f"{Stake.FENCE}: a 10 s < b 10 s does not hold, nothing to spare"),
    (11, False, Verdict.VIOLATED, f"{Stake.FENCE}: a 11 s ≤ b 10 s does not hold, 1 s short"),
])
def test_verdicts(left: int, strict: bool, verdict: Verdict, words: str) -> None:
    found = condition("X", "x", Stake.FENCE, "it holds", [term("a", seconds(left), "here")],
                      [term("b", seconds(10), "here")], "here", margin_ns=seconds(2), strict=strict)
    assert found.verdict is verdict
    assert found.words == words


def test_kinds() -> None:
    for kind in PEOPLES_KINDS:
        assert kind_of(defaults(kind)[0]) == kind
    assert defaults("none") == smallest("none", Storage(stall_ns=None)) == ()
    assert recommended("none", Storage(stall_ns=None)) == ()
    with pytest.raises(ValueError, match="expected one of none, ocfs2"):
        defaults("vms")


@pytest.mark.parametrize(("clusters", "takeover_s"), [
    ([O2cb()], 64), ([Sanlock()], 140), ([Corosync()], 6.6), ([Ncs()], 9), ([LinuxHa()], 30), ([Sbd()], 10),
    ([Sbd(), Corosync()], 16.6), ([Sbd(devices=0), Corosync(stonith_watchdog_timeout=10)], 16.6), ([Mmp()], None),
    ([Sbd(devices=0)], None), ([O2cb(), Rac()], 64),
])
def test_takeover(clusters: list[Cluster], takeover_s: float | None) -> None:
    expected_ns = None if takeover_s is None else seconds(takeover_s)
    assert takeover_ns(clusters, Storage(stall_ns=0)) == expected_ns
