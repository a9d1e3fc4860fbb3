"""Worked numbers: what the stacks' own documents and sources say comes out of the model."""

from dataclasses import replace

import pytest

from mpio.model.cluster import Cluster, Corosync, LinuxHa, Mmp, Ncs, O2cb, Qdisk, Rac, Sanlock, Sbd
from mpio.planner.cluster import (
    Act,
    Stake,
    Storage,
    Verdict,
    deadlines,
    inequalities,
    recommended,
    required,
    smallest,
    takeover_ns,
    tolerated_ns,
)
from mpio.planner.clusters import corosync, o2cb, sanlock, sbd
from mpio.planner.clusters.deadline import Deadline
from mpio.units import seconds

QUIET = Storage(stall_ns=0)


def s(value: float) -> int:
    return seconds(value)


def stalled(stall_s: float, **others: object) -> Storage:
    return replace(Storage(stall_ns=s(stall_s)), **others)  # type: ignore[arg-type]


def moment(cluster: Cluster, name: str, storage: Storage = QUIET) -> Deadline:
    return next(item for item in deadlines([cluster], storage) if item.id == name)


def verdict(name: str, clusters: list[Cluster], storage: Storage) -> Verdict:
    return next(item.verdict for item in inequalities(clusters, storage) if item.id == name)


# --- O2CB


@pytest.mark.parametrize(("threshold", "self_fence_s", "tolerated_s", "dead_s", "negotiation_s", "quorum_s"), [
    (7, 12, 10, 14, 6, 18),
    (31, 60, 58, 62, 30, 66),
    (46, 90, 88, 92, 45, 96),
    (61, 120, 118, 122, 60, 126),
    (91, 180, 178, 182, 90, 186),
])
def test_o2cb_by_threshold(
    threshold: int, self_fence_s: int, tolerated_s: int, dead_s: int, negotiation_s: int, quorum_s: int
) -> None:
    cluster = O2cb(heartbeat_threshold=threshold)
    assert moment(cluster, "o2cb.self_fence").earliest_ns == s(self_fence_s)
    assert tolerated_ns([cluster], QUIET) == s(tolerated_s)
    dead = moment(cluster, "o2cb.dead")
    assert (dead.earliest_ns, dead.latest_ns) == (s(dead_s), s(dead_s + 2))
    assert moment(cluster, "o2cb.negotiate").earliest_ns == s(negotiation_s)
    assert o2cb.quorum_delay_ns(threshold) == s(quorum_s)


@pytest.mark.parametrize(("timeout_s", "threshold"), [
    (12, 7), (22, 12), (60, 31), (90, 46), (120, 61), (150, 76), (180, 91), (240, 121),
])
def test_threshold_and_timeout_are_each_others_inverse(timeout_s: int, threshold: int) -> None:
    assert o2cb.threshold_for(s(timeout_s)) == threshold
    assert o2cb.self_fence_ns(threshold) == s(timeout_s)


def test_a_heartbeat_block_advertises_the_threshold_not_the_self_fence() -> None:
    assert o2cb.advertised_dead_ms(31) == 62_000
    assert o2cb.advertised_dead_ms(7) == 14_000


@pytest.mark.parametrize(("threshold", "idle_s", "service_s"), [(31, 30, 160), (61, 30, 280), (7, 10, 44)])
def test_o2cb_network_split(threshold: int, idle_s: int, service_s: int) -> None:
    cluster = O2cb(heartbeat_threshold=threshold, idle_timeout_ms=idle_s * 1000)
    assert moment(cluster, "o2cb.split_over").latest_ns == s(service_s)


def test_the_loser_of_a_split_fences_itself_as_the_faq_says() -> None:
    assert moment(O2cb(heartbeat_threshold=7, idle_timeout_ms=10_000), "o2cb.quorum").earliest_ns == s(28)


@pytest.mark.parametrize(("stall_s", "least", "recipe", "dead_s"), [
    (10, 8, 21, 42), (20, 13, 26, 52), (30, 18, 31, 62), (150, 78, 114, 228),
])
def test_o2cb_smallest_and_recommended_threshold(stall_s: int, least: int, recipe: int, dead_s: int) -> None:
    busy = stalled(stall_s, latency_ns=s(0.5), jitter_ns=s(0.5))
    assert smallest("ocfs2", busy) == (O2cb(heartbeat_threshold=least),)
    cluster = O2cb(heartbeat_threshold=recipe)
    assert recommended("ocfs2", stalled(stall_s)) == (cluster,)
    dead = moment(cluster, "o2cb.dead")
    assert (dead.earliest_ns, dead.latest_ns) == (s(dead_s), s(dead_s + 2))


@pytest.mark.parametrize(("stall_s", "threshold"), [(162.6, 84), (25.8, 15)])
def test_the_threshold_for_a_measured_stack(stall_s: float, threshold: int) -> None:
    assert smallest("ocfs2", stalled(stall_s)) == (O2cb(heartbeat_threshold=threshold),)


@pytest.mark.parametrize(("threshold", "after_cut_s", "after_heartbeat_s"), [
    (7, 10.8, 12.2), (7, 12.2, None), (7, 10.7, None), (31, 61.9, None), (61, 119.1, None),
])
def test_measured_fences_lie_where_the_model_has_them(
    threshold: int, after_cut_s: float, after_heartbeat_s: float | None
) -> None:
    fence = moment(O2cb(heartbeat_threshold=threshold), "o2cb.self_fence", stalled(150, hz=250))
    assert fence.of_stall_ns is not None
    earliest, latest = fence.of_stall_ns
    assert earliest <= s(after_cut_s) <= latest
    if after_heartbeat_s is not None:
        assert fence.earliest_ns <= s(after_heartbeat_s) <= fence.latest_ns


@pytest.mark.parametrize(("threshold", "stall_s", "survives"), [
    (7, 3.1, True), (7, 15, False), (31, 19.5, True), (31, 145, False), (61, 145, False), (61, 43.6, True),
])
def test_measured_survivals(threshold: int, stall_s: float, survives: bool) -> None:
    found = verdict("N1", [O2cb(heartbeat_threshold=threshold)], stalled(stall_s))
    assert (found is not Verdict.VIOLATED) == survives


def test_nobody_fences_while_every_node_hangs() -> None:
    """Measured with T = 7: both nodes without storage for 60 s, and none of them fenced itself."""
    away = stalled(5, outage_ns=s(60))
    assert verdict("APD", [O2cb(heartbeat_threshold=7)], away) is Verdict.OK
    assert verdict("APD", [O2cb(heartbeat_threshold=7)], replace(away, kernel=(4, 4))) is Verdict.VIOLATED
    assert verdict("APD", [O2cb(heartbeat_threshold=7, negotiate=False)], away) is Verdict.VIOLATED
    failing = replace(away, fails_after_ns=s(30))
    assert verdict("APD", [O2cb(heartbeat_threshold=7)], failing) is Verdict.VIOLATED
    assert verdict("APD", [O2cb(heartbeat_threshold=61)], failing) is Verdict.OK
    assert required([O2cb(heartbeat_threshold=7)], away) == (O2cb(heartbeat_threshold=7),)
    assert required([O2cb(heartbeat_threshold=7)], failing) == (O2cb(heartbeat_threshold=32),)


def test_o2cb_does_not_exclude_split_brain_by_time_alone() -> None:
    """Both ends depend on T and lie 2 s apart; a late timer or a late answer takes more than that."""
    found = {item.id: item for item in inequalities([O2cb(heartbeat_threshold=7)], stalled(5))}
    assert found["S1"].verdict is Verdict.OK
    assert found["S2"].verdict is Verdict.VIOLATED
    late = next(item for item in inequalities([O2cb()], stalled(5, hz=1000)) if item.id == "S1")
    assert late.slack_ns == s(62 - 64.096 * 1.001)
    assert late.inherent


# --- SBD


@pytest.mark.parametrize(("watchdog", "tolerated_s"), [(5, 2), (15, 12), (20, 17), (35, 32)])
def test_sbd_rides_out_the_watchdog_less_three_seconds(watchdog: int, tolerated_s: int) -> None:
    assert sbd.tolerated_ns(Sbd(watchdog=watchdog, msgwait=2 * watchdog)) == s(tolerated_s)


def test_sbd_with_a_long_io_timeout_outlives_the_stall() -> None:
    assert verdict("N2", [Sbd(watchdog=5, msgwait=40, io_timeout=25)], stalled(20)) is Verdict.OK
    assert verdict("SB-03", [Sbd(watchdog=15, msgwait=30, io_timeout=20)], QUIET) is Verdict.VIOLATED
    assert verdict("SB-03", [Sbd(watchdog=15, msgwait=38, io_timeout=20)], QUIET) is Verdict.OK


@pytest.mark.parametrize(("watchdog", "holds"), [(5, False), (6, True), (15, True)])
def test_twice_the_watchdog_is_enough_from_six_seconds_on(watchdog: int, holds: bool) -> None:
    cluster = Sbd(watchdog=watchdog, msgwait=2 * watchdog)
    assert verdict("SB-02", [cluster], QUIET) is Verdict.OK
    assert (verdict("SB-03", [cluster], QUIET) is Verdict.OK) == holds


def test_sbd_moments() -> None:
    fires = moment(Sbd(), "sbd.self_fence")
    assert (fires.earliest_ns, fires.latest_ns) == (s(5 + 3), s(5 + 4))
    assert sbd.restart_ns(Sbd()) == s(6)
    assert moment(Sbd(watchdog=15, msgwait=30), "sbd.warning").earliest_ns == s(9)
    assert moment(Sbd(watchdog=4, msgwait=8), "sbd.warning").earliest_ns == s(2)


@pytest.mark.parametrize(("stall_s", "watchdog", "msgwait", "stonith_timeout"), [
    (10, 15, 30, 67), (20, 25, 50, 67), (30, 35, 70, 91), (150, 155, 310, 379),
])
def test_sbd_recommended(stall_s: int, watchdog: int, msgwait: int, stonith_timeout: int) -> None:
    pill, ring = recommended("sbd", stalled(stall_s))
    assert isinstance(pill, Sbd)
    assert isinstance(ring, Corosync)
    assert (pill.watchdog, pill.msgwait, ring.stonith_timeout) == (watchdog, msgwait, stonith_timeout)
    assert pill.delay_start == -(-(3 + 3.6 + msgwait) // 1)
    assert takeover_ns([pill, ring], QUIET) == s(3 + 3.6 + msgwait)


@pytest.mark.parametrize(("watchdog", "stall_s", "survives"), [
    (5, 10, False), (5, 20, False), (5, 30, False), (5, 150, False),
    (15, 10, True), (15, 20, False), (15, 30, False), (15, 150, False),
])
@pytest.mark.parametrize("pacemaker", [False, True])
def test_sbd_and_single_path_failures(watchdog: int, stall_s: int, survives: bool, pacemaker: bool) -> None:
    """With its cluster servants well the node lives on all the same, but can't be fenced meanwhile."""
    cluster = Sbd(watchdog=watchdog, msgwait=2 * watchdog, pacemaker=pacemaker)
    found = next(item for item in inequalities([cluster], stalled(stall_s)) if item.id == "N2")
    assert (found.verdict is not Verdict.VIOLATED) == survives
    assert found.stake is (Stake.FENCING if pacemaker else Stake.FENCE)


def test_sbd_polling_rule() -> None:
    slow = stalled(1, polling_interval_max_ns=s(20))
    assert verdict("SB-05", [Sbd(watchdog=20, msgwait=40)], slow) is Verdict.VIOLATED
    assert verdict("SB-05", [Sbd(watchdog=21, msgwait=42)], slow) is Verdict.OK
    pill, _ = recommended("sbd", slow)
    assert isinstance(pill, Sbd)
    assert pill.watchdog == 25


def test_sbd_beside_pacemaker() -> None:
    pill, ring = Sbd(watchdog=15, msgwait=30), Corosync(stonith_timeout=35, stonith_watchdog_timeout=10)
    assert verdict("SB-04", [pill, ring], QUIET) is Verdict.VIOLATED
    assert verdict("SB-14", [pill, ring], QUIET) is Verdict.VIOLATED
    assert required([pill, ring], QUIET) == (pill, replace(ring, stonith_timeout=36, stonith_watchdog_timeout=0))
    early = replace(pill, delay_start=10)
    assert verdict("SB-06", [early, ring], QUIET) is Verdict.VIOLATED
    assert required([early, ring], QUIET)[0] == replace(pill, delay_start=37)


def test_sbd_without_a_disk() -> None:
    pill, ring = Sbd(watchdog=5, devices=0), Corosync(nodes=3, qdevice=True)
    assert verdict("SB-13", [pill, ring], QUIET) is Verdict.VIOLATED
    assert verdict("SB-13q", [pill, ring], QUIET) is Verdict.VIOLATED
    assert required([pill, ring], QUIET) == (
        replace(pill, watchdog=31), replace(ring, stonith_watchdog_timeout=62, stonith_timeout=75))
    assert deadlines([pill], QUIET) == ()


# --- Corosync, Pacemaker


def test_corosync_effective_values() -> None:
    four = Corosync(nodes=4)
    assert corosync.effective_token_ns(four) == s(4.3)
    assert corosync.consensus_ns(four) == s(4.3 * 1.2)
    assert corosync.effective_token_ns(Corosync()) == s(3)
    assert corosync.consensus_ns(Corosync()) == s(3.6)
    assert verdict("PC-04", [Corosync(nodes=3, consensus_ms=3_600)], QUIET) is Verdict.VIOLATED
    assert required([Corosync(nodes=3, consensus_ms=3_600)], QUIET) == (Corosync(nodes=3),)
    assert verdict("PC-03", [Corosync(token_ms=1_000)], QUIET) is Verdict.VIOLATED


@pytest.mark.parametrize(("token_ms", "retransmit_ms", "hold_ms", "link_ms", "pause_ms"), [
    (3_000, 714, 561, 1_500, 2_400), (1_000, 238, 180, 500, 800),
])
def test_corosync_parts_of_a_token(
    token_ms: int, retransmit_ms: int, hold_ms: int, link_ms: int, pause_ms: int
) -> None:
    cluster = Corosync(token_ms=token_ms)
    assert corosync.retransmit_ns(cluster) // 1_000_000 == retransmit_ms
    assert corosync.hold_ns(cluster) // 1_000_000 == hold_ms
    assert moment(cluster, "corosync.link").earliest_ns == s(link_ms / 1000)
    assert moment(cluster, "corosync.pause", stalled(1, holds_host=True)).earliest_ns == s(pause_ms / 1000)


@pytest.mark.parametrize(("stall_s", "n1", "moves"), [(10, True, False), (20, True, False), (30, True, False),
                                                      (150, False, True)])
def test_filesystem_agent(stall_s: int, n1: bool, moves: bool) -> None:
    cluster: list[Cluster] = [Corosync(monitor_timeout=40, stop_timeout=60)]
    assert (verdict("N1", cluster, stalled(stall_s)) is not Verdict.VIOLATED) == n1
    assert (verdict("PC-07", cluster, stalled(stall_s)) is Verdict.VIOLATED) == moves
    fails = moment(cluster[0], "corosync.monitor")
    assert (fails.earliest_ns, fails.latest_ns) == (s(40), s(60))


def test_a_frozen_host_loses_its_token() -> None:
    frozen = stalled(10, holds_host=True)
    assert verdict("SY-02", [Corosync()], frozen) is Verdict.VIOLATED
    raised = required([Corosync(nodes=4)], frozen)[0]
    assert isinstance(raised, Corosync)
    assert corosync.effective_token_ns(raised) == s(10.001)
    assert verdict("SY-02", [raised], frozen) is Verdict.OK
    assert recommended("pacemaker", frozen, 2) == (Corosync(token_ms=11_000),)


# --- sanlock


@pytest.mark.parametrize(("io_timeout", "renewal", "warning", "failed", "fires", "dead", "tolerated", "free", "held"), [
    (5, 10, 30, 40, (90, 100), 100, 28, 30, 135),
    (10, 20, 60, 80, (130, 140), 140, 58, 60, 210),
    (20, 40, 120, 160, (210, 220), 220, 118, 120, 360),
    (30, 60, 180, 240, (290, 300), 300, 178, 180, 510),
])
def test_sanlock_table(
    io_timeout: int, renewal: int, warning: int, failed: int, fires: tuple[int, int], dead: int, tolerated: int,
    free: int, held: int,
) -> None:
    cluster = Sanlock(io_timeout=io_timeout)
    assert sanlock.renewal_interval_ns(cluster) == s(renewal)
    assert moment(cluster, "sanlock.warning").earliest_ns == s(warning)
    assert moment(cluster, "sanlock.failed").earliest_ns == s(failed)
    watchdog = moment(cluster, "sanlock.self_fence")
    assert (watchdog.earliest_ns, watchdog.latest_ns) == (s(fires[0]), s(fires[1]))
    assert moment(cluster, "sanlock.dead").latest_ns == s(dead)
    assert tolerated_ns([cluster], QUIET) == s(tolerated)
    assert sanlock.acquire_ns(cluster, held=False) == s(free)
    assert sanlock.acquire_ns(cluster, held=True) == s(held)


@pytest.mark.parametrize(("stall_s", "least", "recipe"), [(10, 2, 10), (20, 4, 10), (30, 6, 10), (150, 26, 30)])
def test_sanlock_smallest_and_recommended(stall_s: int, least: int, recipe: int) -> None:
    assert smallest("sanlock", stalled(stall_s)) == (Sanlock(io_timeout=least),)
    assert recommended("sanlock", stalled(stall_s)) == (Sanlock(io_timeout=recipe),)


@pytest.mark.parametrize(("stall_s", "survives"), [(10, True), (20, True), (30, True), (150, False)])
def test_sanlock_default_and_path_failures(stall_s: int, survives: bool) -> None:
    assert (verdict("N2", [Sanlock()], stalled(stall_s)) is not Verdict.VIOLATED) == survives


@pytest.mark.parametrize(("fire_timeout", "grace_s"), [(60, 40), (59, 15), (30, 15), (29, 0)])
def test_sanlock_grace(fire_timeout: int, grace_s: int) -> None:
    assert sanlock.grace_ns(Sanlock(watchdog_fire_timeout=fire_timeout)) == s(grace_s)


@pytest.mark.parametrize(("retries", "holds"), [(16, True), (17, False)])
def test_vdsm_queues_for_as_long_as_a_lease_lives(retries: int, holds: bool) -> None:
    queueing = stalled(15, queue_ns=retries * s(5))
    assert (verdict("SL-04", [Sanlock()], queueing) is Verdict.OK) == holds
    assert verdict("SL-04", [Sanlock()], stalled(15, queue_ns=None)) is Verdict.VIOLATED


# --- NCS, Linux-HA, Oracle, ZFS, qdiskd


@pytest.mark.parametrize(("stall_s", "value"), [(10, 17), (20, 32), (30, 47), (150, 227)])
def test_ncs(stall_s: int, value: int) -> None:
    assert verdict("NC-01", [Ncs()], stalled(stall_s)) is Verdict.VIOLATED
    assert verdict("NC-01m", [Ncs()], stalled(stall_s)) is Verdict.VIOLATED
    assert recommended("ncs", stalled(stall_s)) == (Ncs(tolerance=value, slave_watchdog=value),)


@pytest.mark.parametrize(("stall_s", "verdict_"), [(6, Verdict.OK), (7, Verdict.VIOLATED)])
def test_ncs_needs_more_than_stall_and_heartbeat(stall_s: int, verdict_: Verdict) -> None:
    assert verdict("NC-01", [Ncs()], stalled(stall_s)) is verdict_


@pytest.mark.parametrize(("queue_ns", "verdict_"), [(0, Verdict.OK), (s(60), Verdict.VIOLATED),
                                                    (None, Verdict.VIOLATED)])
def test_ncs_wants_no_queueing(queue_ns: int | None, verdict_: Verdict) -> None:
    assert verdict("NC-02", [Ncs()], stalled(1, queue_ns=queue_ns)) is verdict_


def test_linux_ha_recipe() -> None:
    assert all(item.verdict is Verdict.OK for item in inequalities([LinuxHa()], stalled(150)))
    frozen = stalled(16, holds_host=True)
    assert verdict("N1", [LinuxHa()], frozen) is Verdict.OK
    assert verdict("LH-01", [LinuxHa()], frozen) is Verdict.VIOLATED
    assert required([LinuxHa()], frozen) == (LinuxHa(deadtime=36),)
    assert verdict("N1", [LinuxHa()], replace(frozen, stall_ns=s(29))) is Verdict.VIOLATED
    assert recommended("heartbeat", stalled(30)) == (LinuxHa(warntime=32, deadtime=64, initdead=128),)
    assert verdict("LH-01w", [LinuxHa(warntime=16)], QUIET) is Verdict.VIOLATED
    assert verdict("LH-01i", [LinuxHa(initdead=59)], QUIET) is Verdict.VIOLATED


@pytest.mark.parametrize(("stall_s", "reconfiguring", "steady", "asm_15", "asm_120"), [
    (10, True, True, True, True), (20, True, True, False, True), (30, False, True, False, True),
    (150, False, True, False, False),
])
def test_oracle(stall_s: int, reconfiguring: bool, steady: bool, asm_15: bool, asm_120: bool) -> None:
    storage = stalled(stall_s)
    assert (verdict("OR-01", [Rac()], storage) is Verdict.OK) == reconfiguring
    assert (verdict("OR-02", [Rac()], storage) is Verdict.OK) == steady
    assert (verdict("OR-03", [Rac(asm_hbeatiowait=15)], storage) is Verdict.OK) == asm_15
    assert (verdict("OR-03", [Rac()], storage) is Verdict.OK) == asm_120
    assert moment(Rac(), "rac.reconfiguring").earliest_ns == s(27)


@pytest.mark.parametrize(("stall_s", "misscount", "disktimeout"), [(20, 30, 200), (30, 34, 200), (150, 154, 225)])
def test_oracle_recommended(stall_s: int, misscount: int, disktimeout: int) -> None:
    found = recommended("rac", stalled(stall_s))[0]
    assert isinstance(found, Rac)
    assert (found.misscount, found.disktimeout) == (misscount, disktimeout)


@pytest.mark.parametrize("stall_s", [10, 20, 30, 150])
def test_zfs_and_qdiskd_defaults_carry_no_path_failure(stall_s: int) -> None:
    assert verdict("ZF-01", [Mmp()], stalled(stall_s)) is Verdict.VIOLATED
    assert verdict("N1", [Qdisk()], stalled(stall_s)) is Verdict.VIOLATED
    assert recommended("zfs", stalled(stall_s)) == (
        Mmp(fail_intervals=stall_s + 1, import_intervals=2 * (stall_s + 1)),)
    assert recommended("qdisk", stalled(stall_s)) == (Qdisk(tko=stall_s + 1, cman_timeout=2 * (stall_s + 1)),)


def test_zfs_moments() -> None:
    assert moment(Mmp(), "mmp.suspended").earliest_ns == s(10)
    assert moment(Mmp(), "mmp.import").earliest_ns == s(20)
    assert inequalities([Mmp(fail_intervals=0)], stalled(1000)) == ()


def test_the_least_deadline_of_a_host_decides() -> None:
    together: list[Cluster] = [O2cb(), Sbd(watchdog=15, msgwait=30), Sanlock()]
    assert tolerated_ns(together, QUIET) == s(12)
    assert tolerated_ns([], QUIET) is None
    assert min(item.earliest_ns for item in deadlines(together, QUIET) if item.act is Act.FENCED) == s(60)
