"""Rules of thumb: their own worked figures, and where they stand beside the exact bound."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpio.model.cluster import Cluster, Corosync, LinuxHa, Mmp, Ncs, O2cb, Qdisk, Rac, Sanlock, Sbd
from mpio.model.stack import LinuxStack
from mpio.planner.cluster import Storage, Verdict, inequalities, required
from mpio.planner.clusters import o2cb
from mpio.planner.rules import Judgement, RuleOfThumb, rules_of_thumb
from mpio.units import NS_PER_S, seconds

DEFAULTS = Storage(stall_ns=seconds(25.8))
"""5/5/5 seconds and a one-way loss."""
SLOW = Storage(stall_ns=seconds(162.6))
"""10/15/120 seconds."""


def by_name(
    *clusters: Cluster, storage: Storage = DEFAULTS, stack: LinuxStack | None = None, paths: int = 2,
    device_fails_s: float | None = None, reconfiguration_s: float | None = None,
) -> dict[str, RuleOfThumb]:
    found = rules_of_thumb(stack or LinuxStack(), clusters, storage, paths=paths, device_fails_s=device_fails_s,
                           reconfiguration_s=reconfiguration_s)
    assert len({(rule.id, rule.setting) for rule in found}) == len(found)
    return {rule.id: rule for rule in found}


@pytest.mark.parametrize(("fails_s", "polling", "better_polling", "heartbeat", "better_heartbeat"), [
    (5, 6, 12, 24, 36), (10, 11, 22, 44, 66),
])
def test_the_articles_figures(
    fails_s: int, polling: int, better_polling: int, heartbeat: int, better_heartbeat: int
) -> None:
    rules = by_name(O2cb(), device_fails_s=fails_s)
    assert [rules[f"ART-{i}"].wanted_ns // NS_PER_S for i in (1, 2, 3, 4)] == [
        polling, better_polling, heartbeat, better_heartbeat]


def test_a_device_fails_after_the_recovery_time_in_force() -> None:
    assert by_name()["ART-1"].wanted_ns == seconds(6)
    plain = LinuxStack(fast_io_fail_tmo=None, replacement_timeout=120)
    assert by_name(stack=plain)["ART-1"].wanted_ns == seconds(121)
    assert "ART-1" not in by_name(stack=plain.replace(replacement_timeout=-1))
    assert set(by_name(Sanlock(), stack=plain.replace(replacement_timeout=-1))) == {"ART-5"}


def test_polling_rules_ask_for_what_nothing_needs() -> None:
    rules = by_name(stack=LinuxStack(polling_interval=6))
    assert [(rules[name].judgement, rules[name].kept) for name in ("ART-1", "ART-2")] == [
        (Judgement.TOO_STRONG, True), (Judgement.TOO_STRONG, False)]


@pytest.mark.parametrize(("storage", "name", "judgement"), [
    (DEFAULTS, "ART-3", Judgement.TOO_WEAK), (DEFAULTS, "ART-4", Judgement.RIGHT),
    (DEFAULTS, "ART-5", Judgement.TOO_WEAK), (DEFAULTS, "ART-6", Judgement.RIGHT),
    (DEFAULTS, "ART-7", Judgement.TOO_STRONG), (DEFAULTS, "T-7", Judgement.TOO_WEAK),
    (DEFAULTS, "T-31", Judgement.RIGHT), (DEFAULTS, "T-61", Judgement.TOO_STRONG),
    (DEFAULTS, "FAQ", Judgement.TOO_WEAK), (DEFAULTS, "HP-1", Judgement.RIGHT),
    (DEFAULTS, "HDLM-60", Judgement.TOO_STRONG), (DEFAULTS, "HDLM-30", Judgement.RIGHT),
    (SLOW, "ART-4", Judgement.TOO_WEAK), (SLOW, "ART-6", Judgement.TOO_WEAK), (SLOW, "ART-7", Judgement.TOO_WEAK),
    (SLOW, "T-61", Judgement.TOO_WEAK), (SLOW, "HP-1", Judgement.RIGHT), (SLOW, "HDLM-60", Judgement.TOO_WEAK),
])
def test_judgements_for_ocfs2(storage: Storage, name: str, judgement: Judgement) -> None:
    assert by_name(O2cb(), storage=storage)[name].judgement is judgement


@pytest.mark.parametrize(("name", "threshold"), [("FAQ", 31), ("HP-1", 46)])
def test_threshold_for_an_io_layer_of_sixty_seconds(name: str, threshold: int) -> None:
    rule = by_name(O2cb(), storage=Storage(stall_ns=seconds(60)))[name]
    assert o2cb.threshold_for(rule.wanted_ns) == threshold


@pytest.mark.parametrize(("paths", "threshold", "threshold_ams"), [(1, 31, 16), (2, 61, 31), (4, 121, 61)])
def test_threshold_by_number_of_paths(paths: int, threshold: int, threshold_ams: int) -> None:
    rules = by_name(O2cb(), paths=paths)
    assert o2cb.threshold_for(rules["HDLM-60"].wanted_ns) == threshold
    assert o2cb.threshold_for(rules["HDLM-30"].wanted_ns) == threshold_ams


def test_idle_timeout_beside_another_cluster_manager() -> None:
    rule = by_name(O2cb(), reconfiguration_s=28)["HP-2"]
    assert rule.wanted_ns == 48_000 * 1_000_000
    assert not rule.kept
    assert "HP-2" not in by_name(O2cb())


def test_rules_for_sbd() -> None:
    storage = Storage(stall_ns=seconds(15))
    rules = by_name(Sbd(), Corosync(), storage=storage)
    assert rules["SBD-1"].judgement is Judgement.TOO_WEAK
    assert rules["SBD-1"].exact_ns == seconds(18)
    assert rules["SBD-2"].judgement is Judgement.TOO_WEAK
    assert by_name(Sbd(watchdog=15, msgwait=30))["SBD-2"].judgement is Judgement.RIGHT
    assert rules["SBD-3"].judgement is Judgement.RIGHT
    assert by_name(Sbd(watchdog=90, msgwait=180), Corosync())["SBD-3"].judgement is Judgement.TOO_STRONG
    assert set(by_name(Sbd(devices=0), Corosync())) == {"ART-1", "ART-2"}


def test_voting_files_on_ocfs2() -> None:
    rule = by_name(O2cb(heartbeat_threshold=121), Rac())["RAC-1"]
    assert rule.wanted_ns == seconds(242)
    assert not rule.kept
    assert "RAC-1" not in by_name(Rac())


def test_an_endless_stall_makes_every_heartbeat_rule_too_weak() -> None:
    rules = by_name(O2cb(), Sbd(), Corosync(), storage=Storage(stall_ns=None))
    assert {rules[name].judgement for name in ("ART-3", "ART-4", "ART-5", "ART-6", "T-61", "HDLM-60")} == {
        Judgement.TOO_WEAK}
    assert "no value is safe" in rules["ART-3"].words
    assert "FAQ" not in rules
    assert "SBD-1" not in rules


ANY = st.lists(st.sampled_from([O2cb(), Sbd(), Corosync(), Sanlock(), Ncs(), LinuxHa(), Rac(), Mmp(), Qdisk()]),
               max_size=1)


@settings(max_examples=60, deadline=None)
@given(clusters=ANY, stall_s=st.integers(0, 300), holds_host=st.booleans())
def test_rules_say_what_they_judge(clusters: list[Cluster], stall_s: int, holds_host: bool) -> None:
    storage = Storage(stall_ns=seconds(stall_s), holds_host=holds_host)
    for rule in rules_of_thumb(LinuxStack(), clusters, storage):
        assert rule.rule in rule.words
        assert rule.why in rule.words
        assert rule.judgement in rule.words
        assert rule.as_json()["judgement"] == rule.judgement
        assert rule.source
        assert rule.exact_ns is not None
        assert (rule.judgement is Judgement.TOO_WEAK) == (rule.wanted_ns < rule.exact_ns)


@settings(max_examples=60, deadline=None)
@given(stall_s=st.integers(0, 300), threshold=st.integers(7, 200))
def test_the_exact_bound_is_where_the_inequality_turns(stall_s: int, threshold: int) -> None:
    storage = Storage(stall_ns=seconds(stall_s))
    exact_ns = by_name(O2cb(), storage=storage)["ART-3"].exact_ns
    assert exact_ns is not None
    cluster = O2cb(heartbeat_threshold=threshold)
    n1 = next(item for item in inequalities([cluster], storage) if item.id == "N1")
    assert (n1.verdict is not Verdict.VIOLATED) == (o2cb.self_fence_ns(threshold) >= exact_ns)
    assert required([cluster], storage) == (
        replace(cluster, heartbeat_threshold=max(threshold, o2cb.threshold_for(exact_ns))),)
