"""The claims about nodes: each holds for a story in which it should, and breaks for one with a planted fault."""

import dataclasses
from collections.abc import Mapping, Sequence

import pytest

from mpio.check.heartbeats import ClusterFacts, Margins, ServiceWrite, judge_cluster
from mpio.check.stall import FaultTrace
from mpio.check.verdict import Result
from mpio.events import Event, Kind, Value
from mpio.units import seconds as s

ALL = {"no needless fence", "fenced where it had to be", "no split brain", "dead nodes were noticed",
       "heartbeat margin", "the service went on"}
WRITES = (ServiceWrite(1, 1, s(1), s(2)), ServiceWrite(1, 1, s(10), s(10.5)), ServiceWrite(2, 2, s(24), s(25)),
          ServiceWrite(2, 2, s(38), s(39)))


def event(t: float, source: int, kind: Kind, /, **fields: Value) -> Event:
    return Event(s(t), round(t * 100), f"node:{source}/heartbeat", kind, fields)


def cut(node: int, path: int, start: float, end: float, healed: float | None = None) -> FaultTrace:
    return FaultTrace("blackhole", path, s(start), None if healed is None else s(healed), s(end), "failover")


def fence(t: float, node: int = 1, cause: str = "storage") -> Event:
    return event(t, node, Kind.NODE_FENCED, node=node, cause=cause, reason=f"because of {cause}")


STORY = (fence(15.5), event(15.6, 1, Kind.NODE_HALTED, node=1, how="fenced"), event(20, 2, Kind.PEER_DEAD, node=1))
"""Node 1 loses all paths at 10.1 s, is fenced and called dead; node 2 takes over its service."""
OUTAGE = {1: (cut(1, 1, 10.1, 40), cut(1, 2, 10.1, 40)), 2: ()}


def facts(events: Sequence[Event] = STORY, traces: Mapping[int, Sequence[FaultTrace]] | None = None,
          margins: Mapping[int, Sequence[int | None]] | None = None, **changes: object) -> ClusterFacts:
    margins = margins or {1: [s(6)] * 40, 2: [s(5.5)] * 400}
    whole = ClusterFacts(
        events=events, nodes=(1, 2), paths=2, traces=OUTAGE if traces is None else traces, deadline_ns=s(6),
        dead_ns=s(8), sample_ns=s(0.25), fence_ns=s(1), period_ns=s(0.25), split_ns=s(5), stall_ns=s(4),
        margins={node: Margins(0, s(0.1), values) for node, values in margins.items()}, min_margin=0.1,
        has_service=True, writes=WRITES, service_found="", began_ns=0, ended_ns=s(40), complete=True)
    return dataclasses.replace(whole, **changes)  # type: ignore[arg-type]


def failing(found: ClusterFacts) -> set[str]:
    return {claim.name for claim in judge_cluster(found) if claim.result is Result.FAIL}


def detail(found: ClusterFacts, name: str) -> str:
    return next(claim.detail for claim in judge_cluster(found) if claim.name == name)


def test_a_story_as_it_should_be_passes() -> None:
    assert {claim.name: claim.result for claim in judge_cluster(facts())} == dict.fromkeys(ALL, Result.PASS)
    assert "node 1: it had no path" in detail(facts(), "no needless fence")
    assert "the others knew within 4.4 s" in detail(facts(), "dead nodes were noticed")


def test_without_a_service_nothing_is_claimed_of_it() -> None:
    assert {claim.name for claim in judge_cluster(facts(has_service=False, writes=()))} == ALL - {
        "the service went on"}


@pytest.mark.parametrize(("traces", "words"), [
    ({1: (), 2: ()}, "without any fault"),
    ({1: (cut(1, 1, 10.1, 40),), 2: ()}, "the deadline of 6 s must be above 4.25 s"),
    ({1: (cut(1, 1, 10.1, 40),), 2: OUTAGE[1]}, "by blackhole on path 1 alone"),  # it was the other one's outage
])
def test_a_fence_without_an_outage_is_needless(traces: Mapping[int, Sequence[FaultTrace]], words: str) -> None:
    found = facts(traces=traces)
    assert "no needless fence" in failing(found)
    assert "heartbeat margin" in failing(found)
    assert words in detail(found, "no needless fence")


def test_poison_and_splits_are_causes_slots_are_not() -> None:
    quiet = {1: (), 2: ()}
    sent = event(15, 2, Kind.POISON_SENT, node=1, generation=7)
    split = [Event(s(9), 1, "drill", Kind.FAULT_INJECTED, {"network": "cluster", "node": 2}),
             Event(s(12), 2, "drill", Kind.FAULT_HEALED, {"network": "cluster", "node": 2})]
    rest = STORY[1:]
    assert "no needless fence" not in failing(facts([sent, fence(15.5, cause="poison"), *rest], quiet))
    assert "no needless fence" in failing(facts([fence(15.5, cause="poison"), *rest], quiet))
    assert "no needless fence" not in failing(facts([*split, fence(15.5, cause="quorum"), *rest], quiet))
    assert "no needless fence" in failing(facts([fence(15.5, cause="quorum"), *rest], quiet))
    other_network = [dataclasses.replace(item, fields=item.fields | {"network": "client"}) for item in split]
    assert "no needless fence" in failing(facts([*other_network, fence(15.5, cause="quorum"), *rest], quiet))
    assert "no needless fence" in failing(facts([*split, sent, fence(15.5, cause="slot"), *rest], quiet))


def test_an_outage_must_fence_in_time() -> None:
    assert "fenced where it had to be" in failing(facts([]))
    late = [fence(25), event(25, 1, Kind.NODE_HALTED, node=1), event(30, 2, Kind.PEER_DEAD, node=1)]
    assert "late" in detail(facts(late), "fenced where it had to be")
    short = {1: tuple(dataclasses.replace(trace, healed_ns=s(12)) for trace in OUTAGE[1]), 2: ()}
    assert "fenced where it had to be" not in failing(facts([], short))
    everybody = {1: OUTAGE[1], 2: OUTAGE[1]}
    assert "fenced where it had to be" not in failing(facts([], everybody))
    poisoned = facts([event(15, 2, Kind.POISON_SENT, node=1)], {1: (), 2: ()})
    assert "fenced where it had to be" in failing(poisoned)
    away = (cut(2, 1, 14, 40, 17), cut(2, 2, 14, 40, 17))
    in_vain = facts([event(15, 2, Kind.POISON_SENT, node=1)], {1: (), 2: away})
    assert "fenced where it had to be" not in failing(in_vain)  # its sender could not write it
    crashed = [event(9, 1, Kind.NODE_CRASHED, node=1), *STORY[1:]]
    assert "fenced where it had to be" not in failing(facts(crashed))


def test_a_split_must_be_decided() -> None:
    split = Event(s(9), 1, "drill", Kind.FAULT_INJECTED, {"fault": "blackhole", "network": "cluster", "node": 2})
    healed = Event(s(12), 2, "drill", Kind.FAULT_HEALED, {"fault": "blackhole", "network": "cluster", "node": 2})
    quiet = {1: (), 2: ()}
    assert "nobody was fenced" in detail(facts([split], quiet), "fenced where it had to be")
    assert failing(facts([split, healed], quiet)) == set()
    assert detail(facts([split, *STORY], quiet), "fenced where it had to be") == "a split was decided"
    gone = dataclasses.replace(split, t_ns=s(25), fields=split.fields | {"node": 1})
    assert "decided" not in detail(facts([*STORY, gone]), "fenced where it had to be")
    assert failing(facts([*STORY, gone])) == set()  # there was nobody left on that wire
    slow = dataclasses.replace(split, fields=split.fields | {"fault": "delay ms=50"})
    assert failing(facts([slow], quiet)) == set()


def test_a_node_called_dead_while_it_can_write_is_a_split_brain() -> None:
    early = [fence(15.5), event(15.6, 2, Kind.PEER_DEAD, node=1), event(15.7, 1, Kind.NODE_HALTED, node=1)]
    assert "no split brain" in failing(facts(early))
    assert "no split brain" in failing(facts([fence(15.5), event(20, 2, Kind.PEER_DEAD, node=1)]))


@pytest.mark.parametrize(("writes", "broken"), [
    (WRITES, False),
    ((ServiceWrite(1, 1, s(1), s(2)), ServiceWrite(1, 1, s(9), None), ServiceWrite(2, 2, s(24), s(25))), False),
    ((ServiceWrite(1, 1, s(1), s(2)), ServiceWrite(1, 1, s(9), None), ServiceWrite(2, 2, s(15), s(25))), True),
    ((ServiceWrite(2, 1, s(1), None), ServiceWrite(1, 2, s(24), s(25))), True),  # node 2 was never halted
    ((ServiceWrite(1, 1, s(1), s(24.5)), ServiceWrite(2, 2, s(24), s(25))), True),
    ((ServiceWrite(1, 1, s(1), s(2)), ServiceWrite(2, 1, s(24), s(25))), True),
])
def test_terms_of_the_service_must_not_overlap(writes: Sequence[ServiceWrite], broken: bool) -> None:
    assert ("no split brain" in failing(facts(writes=writes))) == broken


def test_a_count_that_is_missing_is_a_split_brain() -> None:
    assert "no split brain" in failing(facts(service_found="the counter holds 4, and 7 had been acknowledged"))


def test_the_living_must_notice_the_dead() -> None:
    assert "dead nodes were noticed" in failing(facts(STORY[:2]))
    late = [*STORY[:2], event(30, 2, Kind.PEER_DEAD, node=1)]
    assert "dead nodes were noticed" in failing(facts(late))
    both = [*STORY[:2], fence(16, 2), event(16, 2, Kind.NODE_HALTED, node=2)]
    assert "dead nodes were noticed" not in failing(facts(both))


def test_what_still_had_time_at_the_end_is_unknown() -> None:
    soon = {claim.name: claim.result for claim in judge_cluster(facts(STORY[:2], ended_ns=s(16)))}
    assert soon["dead nodes were noticed"] is Result.UNKNOWN
    soon = {claim.name: claim.result for claim in judge_cluster(facts([], ended_ns=s(13)))}
    assert soon["fenced where it had to be"] is Result.UNKNOWN


def test_the_margin_counts_where_it_may_not_go_down() -> None:
    low = {1: [s(6)] * 40, 2: [s(5.5), s(0.5), s(5.5)]}
    assert "heartbeat margin" in failing(facts(margins=low))
    assert "node 2, 100 ms after" in detail(facts(margins=low), "heartbeat margin")
    in_the_outage = {1: [s(6)] * 101 + [s(3), s(0.1), -5], 2: [s(5.5)] * 400}
    assert "heartbeat margin" not in failing(facts(margins=in_the_outage))
    between_looks = [*STORY, event(30, 2, Kind.HEARTBEAT_RESUMED, margin_ns=s(0.2))]
    assert "heartbeat margin" in failing(facts(between_looks))
    never = {claim.name: claim.result for claim in judge_cluster(facts(margins={1: [None], 2: []}))}
    assert never["heartbeat margin"] is Result.UNKNOWN


def test_a_service_that_stays_away_is_told() -> None:
    assert "the service went on" in failing(facts(writes=WRITES[:2]))
    never = {claim.name: claim.result for claim in judge_cluster(facts(writes=()))}
    assert never["the service went on"] is Result.UNKNOWN


def test_a_run_that_was_broken_off_claims_no_more_than_it_saw() -> None:
    results = {claim.name: claim.result for claim in judge_cluster(facts([], {1: (), 2: ()}, complete=False))}
    assert results["no needless fence"] is Result.UNKNOWN
    assert results["no split brain"] is Result.UNKNOWN
