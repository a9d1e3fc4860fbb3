"""The probe script against canned targets that know less than ours. (Against ours: test_target_primary.)"""

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.errors import MpioError, RemoteProtocolError, TargetError
from mpio.model.identity import AluaState, PathIdentity, TargetPortGroup
from mpio.model.task import Status
from mpio.proto.scsi import inquiry as inq
from mpio.proto.scsi.alua import StatusCode, build_report
from mpio.proto.scsi.capacity import Capacity
from mpio.proto.scsi.inquiry import DesignatorType, StandardInquiry
from mpio.proto.scsi.probe import ATTENTIONS_MAX, Reply, probe
from mpio.proto.scsi.sense import INVALID_FIELD_IN_CDB, INVALID_OPCODE, LUN_NOT_SUPPORTED, POWER_ON_OR_RESET, Sense

NAA = bytes.fromhex("6001405aaaaaaaaaaaaaaaaaaaaaaaaa")


def run(answer: Callable[[bytes], Reply], lun: int = 7) -> PathIdentity:
    script = probe(lun, "iqn.2026-01.example:t", 2)
    cdb, allocation = next(script)
    for _ in range(200):
        status, sense, data = answer(cdb)
        try:
            cdb, allocation = script.send((status, sense, data[:allocation]))
        except StopIteration as end:
            found: PathIdentity = end.value
            return found
    raise AssertionError("the probe does not end")


def check(sense: Sense) -> Reply:
    return Status.CHECK_CONDITION, sense.build(), b""


def target(replies: dict[str, bytes], *, otherwise: Sense = INVALID_OPCODE) -> Callable[[bytes], Reply]:
    """Answers by the beginning of the CDB in hex, the longest that fits."""

    def answer(cdb: bytes) -> Reply:
        fitting = [key for key in replies if cdb.hex().startswith(key)]
        return (Status.GOOD, b"", replies[max(fitting, key=len)]) if fitting else check(otherwise)

    return answer


STANDARD = StandardInquiry(vendor="ACME", product="Box", revision="1").build()
PAGE_83 = inq.build_identification((inq.naa_designator(NAA),))
MINIMAL = {
    "120000": STANDARD, "120100": inq.build_supported_pages((0x83,)), "120183": PAGE_83,
    "25": Capacity(1000, 512).build_10(),
}


def test_the_least_that_a_target_must_know() -> None:
    found = run(target(MINIMAL))
    assert found == PathIdentity(
        wwid="36001405aaaaaaaaaaaaaaaaaaaaaaaaa", blocks=1000, block_size=512, vendor="ACME", product="Box",
        revision="1", target_name="iqn.2026-01.example:t", tpgt=2,
    )


def test_pages_80_and_83_are_tried_without_a_list_of_pages() -> None:
    replies = {key: value for key, value in MINIMAL.items() if key != "120100"}
    assert run(target(replies, otherwise=INVALID_FIELD_IN_CDB)).wwid.startswith("36001405")


def test_the_serial_number_is_the_last_resort() -> None:
    replies = MINIMAL | {"120100": inq.build_supported_pages((0x80,)), "120180": inq.build_serial("77")}
    assert run(target(replies)).wwid == "SACME_Box_77"
    with pytest.raises(TargetError, match="LUN 7 has no world-wide name"):
        run(target(MINIMAL | {"120183": inq.build_identification(())}))


def test_the_group_of_the_port_comes_from_the_report_if_page_83_does_not_tell() -> None:
    page = inq.build_identification(
        (inq.naa_designator(NAA), inq.port_designator(DesignatorType.RELATIVE_PORT, 4))
    )
    group = TargetPortGroup(9, AluaState.STANDBY, False, tuple(range(2, 90)))
    report = build_report([(group, StatusCode.NONE)])
    replies = MINIMAL | {"120000": StandardInquiry(tpgs=1).build(), "120183": page, "a30a": report}
    found = run(target(replies))
    assert (found.relative_port, found.port_group, found.tpgs) == (4, 9, 1)
    assert run(target(replies | {"a30a": report[:9]})).port_group is None


def test_long_pages_are_asked_for_again() -> None:
    many = inq.build_identification(
        (*[inq.t10_designator("ACME", "x" * 80)] * 6, inq.naa_designator(NAA))
    )
    assert run(target(MINIMAL | {"120183": many})).wwid.startswith("36001405")


def test_large_units_need_read_capacity_16() -> None:
    large = Capacity(1 << 40, 4096)
    assert run(target(MINIMAL | {"9e10": large.build_16()})).size_bytes == 1 << 52
    with pytest.raises(TargetError, match=r"larger than READ CAPACITY\(10\)"):
        run(target(MINIMAL | {"25": large.build_10()}))


def test_write_protection_is_in_the_mode_header() -> None:
    assert run(target(MINIMAL | {"1a": bytes.fromhex("03009000")})).write_protected
    assert not run(target(MINIMAL | {"1a": bytes.fromhex("03001000")})).write_protected


@pytest.mark.parametrize("reply", [(Status.GOOD, b"", StandardInquiry(3, 0x1F).build()), check(LUN_NOT_SUPPORTED)])
def test_an_absent_lun_is_named(reply: Reply) -> None:
    with pytest.raises(TargetError, match="LUN 7 does not exist on this target"):
        run(lambda _: reply)


def test_what_is_not_a_disk_is_refused() -> None:
    with pytest.raises(TargetError, match="not a disk"):
        run(target(MINIMAL | {"120000": StandardInquiry(0, 5).build()}))


def test_unit_attentions_are_eaten_but_not_for_ever() -> None:
    answer = target(MINIMAL)
    left = dict.fromkeys(range(ATTENTIONS_MAX - 1))

    def attentive(cdb: bytes) -> Reply:
        if left:
            left.popitem()
            return check(POWER_ON_OR_RESET)
        return answer(cdb)

    assert run(attentive).blocks == 1000
    with pytest.raises(TargetError, match="answers INQUIRY with unit attention: power on"):
        run(lambda _: check(POWER_ON_OR_RESET))


def test_a_status_without_sense_is_told() -> None:
    with pytest.raises(TargetError, match="answers INQUIRY with status 08h"):
        run(lambda _: (Status.BUSY, b"", b""))


def test_nonsense_is_refused() -> None:
    with pytest.raises(RemoteProtocolError):
        run(target(MINIMAL | {"120183": inq.build_serial("not page 83")}))
    with pytest.raises(RemoteProtocolError):
        run(target(MINIMAL | {"25": bytes(8)}))


@given(st.lists(st.tuples(st.sampled_from([0, 2, 8]), st.binary(max_size=20), st.binary(max_size=300)), min_size=1))
def test_any_answers_end_the_probe(replies: list[Reply]) -> None:
    turn = iter(range(10**9))
    with contextlib.suppress(MpioError):
        run(lambda _: replies[next(turn) % len(replies)])
