"""Capacity, REPORT LUNS, target port groups and persistent reservations on the wire."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.errors import RemoteProtocolError
from mpio.model.identity import AluaState, TargetPortGroup
from mpio.model.task import lun_bytes
from mpio.proto.scsi import alua, reservation
from mpio.proto.scsi.alua import StatusCode
from mpio.proto.scsi.capacity import Capacity
from mpio.proto.scsi.luns import build_luns, luns_length, parse_luns
from mpio.proto.scsi.reservation import OutParameters, Registration, ReservationType

AO, AN, STANDBY = AluaState.ACTIVE_OPTIMIZED, AluaState.ACTIVE_NON_OPTIMIZED, AluaState.STANDBY


def test_capacity_on_the_wire() -> None:
    capacity = Capacity(0x1000, 512, 3, thin=True, reads_zero=True)
    assert capacity.build_10().hex() == "00000fff00000200"
    assert capacity.build_16().hex() == "0000000000000fff" "00000200" "0003c000" + "00" * 16
    assert Capacity(1 << 33, 4096).build_10().hex() == "ffffffff00001000"


@given(st.integers(1, 2**64), st.sampled_from([512, 4096]), st.integers(0, 15), st.booleans(), st.booleans())
def test_capacity_round_trip(blocks: int, size: int, exponent: int, thin: bool, zero: bool) -> None:
    capacity = Capacity(blocks, size, exponent, thin, zero)
    assert Capacity.parse_16(capacity.build_16()) == capacity
    short = Capacity.parse_10(capacity.build_10())
    assert short == (None if blocks >= 2**32 else Capacity(blocks, size))


@pytest.mark.parametrize("data", [b"", bytes(7), bytes(8), bytes(11), bytes(32), bytes(8) + b"\xff" * 24])
def test_capacities_that_make_no_sense_are_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Capacity.parse_16(data)
    with pytest.raises(RemoteProtocolError):
        Capacity.parse_10(data[:8])


def test_luns_on_the_wire() -> None:
    luns = [lun_bytes(0), lun_bytes(1), lun_bytes(256)]
    data = build_luns(luns)
    assert data.hex() == "00000018" "00000000" "0000000000000000" "0001000000000000" "4100000000000000"
    assert parse_luns(data) == luns
    assert parse_luns(data[:20]) == luns[:1]
    assert luns_length(data[:8]) == 32
    with pytest.raises(RemoteProtocolError):
        parse_luns(b"\0\0\0\x08")


def test_port_groups_on_the_wire() -> None:
    groups = [
        (TargetPortGroup(1, AO, preferred=True, ports=(1,)), StatusCode.NONE),
        (TargetPortGroup(2, STANDBY, preferred=False, ports=(2, 3)), StatusCode.SET_BY_TARGET),
    ]
    short = "80cf0001" "00000001" "00000001" "02cf0002" "00020002" "00000002" "00000003"
    assert alua.build_report(groups).hex() == "0000001c" + short
    assert alua.build_report(groups, transition_time_s=60).hex() == "00000020" "103c0000" + short


groups_strategy = st.lists(
    st.builds(TargetPortGroup, st.integers(0, 0xFFFF), st.sampled_from(AluaState), st.booleans(),
              st.lists(st.integers(0, 0xFFFF), max_size=5).map(tuple)),
    max_size=6, unique_by=lambda group: group.group_id,
)


@given(groups_strategy, st.none() | st.integers(0, 255))
def test_port_groups_round_trip(groups: list[TargetPortGroup], transition_s: int | None) -> None:
    data = alua.build_report([(group, StatusCode.NONE) for group in groups], transition_time_s=transition_s)
    assert alua.parse_report(data).groups == tuple(groups)
    assert alua.parse_report(data).transition_time_s == (transition_s or 0)
    assert alua.report_length(data[:4]) == len(data)


@given(st.binary(max_size=100))
def test_any_port_group_report_is_read_or_refused(data: bytes) -> None:
    try:
        report = alua.parse_report(len(data).to_bytes(4, "big") + data)
    except RemoteProtocolError:
        return
    assert len({group.group_id for group in report.groups}) == len(report.groups)


def test_groups_are_found_by_id_or_port() -> None:
    report = alua.PortGroupReport((TargetPortGroup(1, AO, False, (10,)), TargetPortGroup(2, AN, False, (20,))))
    assert report.group_of(group_id=2) is report.groups[1]
    assert report.group_of(relative_port=10) is report.groups[0]
    assert report.group_of(relative_port=11) is None


@pytest.mark.parametrize(
    ("state", "plain", "preferred"),
    [(AO, 50, 50), (AN, 10, 90), (AluaState.LBA_DEPENDENT, 5, 85), (STANDBY, 1, 81), (AluaState.UNAVAILABLE, 0, 80),
     (AluaState.OFFLINE, 0, 80), (AluaState.TRANSITIONING, 0, 80)],
)
def test_priorities(state: AluaState, plain: int, preferred: int) -> None:
    assert alua.priority(state, preferred=False) == plain
    assert alua.priority(state, preferred=True) == preferred


def test_set_lists() -> None:
    data = alua.build_set_list([(1, AO), (258, STANDBY)])
    assert data.hex() == "00000000" "00000001" "02000102"
    assert alua.parse_set_list(data) == [(1, 0), (258, 2)]
    for bad in (b"", bytes(3), bytes(6)):
        with pytest.raises(RemoteProtocolError):
            alua.parse_set_list(bad)


def test_reservations_on_the_wire() -> None:
    assert reservation.parameters(key=1, service_action_key=2).hex() == "0000000000000001" "0000000000000002" + "00" * 8
    assert reservation.build_keys(3, [0xAB]).hex() == "00000003" "00000008" "00000000000000ab"
    assert reservation.build_reservation(3, None).hex() == "0000000300000000"
    held = reservation.build_reservation(3, 0xAB, 5)
    assert held.hex() == "00000003" "00000010" "00000000000000ab" "00000000" "00050000"
    assert reservation.build_capabilities(can_persist=False, persists=False).hex() == "00080c80ea010000"
    assert reservation.build_capabilities(can_persist=True, persists=True).hex() == "00080d81ea010000"
    port = "iqn.a:b,i,0x0123456789ab"
    transport = "4500001c" + port.encode().hex() + "00" * 4
    full = reservation.build_full_status(9, [Registration(0xAB, port, 2, holder=True)], 5)
    assert full.hex() == (
        "00000009" "00000038" "00000000000000ab" "00000000" "0105" "00000000" "0002" "00000020" + transport
    )


def test_short_names_have_a_transport_id_of_24_bytes() -> None:
    assert reservation.transport_id("iqn.a").hex() == "45000014" + b"iqn.a".ljust(20, b"\0").hex()


@given(st.lists(st.integers(0, 2**64 - 1), max_size=9), st.integers(0, 2**32 - 1), st.integers(0, 100))
def test_keys_read_back_as_far_as_sent(keys: list[int], generation: int, allocation: int) -> None:
    data = reservation.build_keys(generation, keys)[:allocation]
    if len(data) < 8:
        with pytest.raises(RemoteProtocolError):
            reservation.parse_keys(data)
    else:
        assert reservation.parse_keys(data) == (generation, keys[: (len(data) - 8) // 8])


@given(st.integers(0, 2**64 - 1), st.sampled_from(ReservationType))
def test_reservation_reads_back(key: int, type_: ReservationType) -> None:
    assert reservation.parse_reservation(reservation.build_reservation(1, key, type_)) == (1, key, type_)
    assert reservation.parse_reservation(reservation.build_reservation(1, None)) is None


@given(st.binary(max_size=40))
def test_any_reservation_data_is_read_or_refused(data: bytes) -> None:
    for parse in (reservation.parse_reservation, reservation.parse_keys, OutParameters.parse):
        try:
            parse(data)
        except RemoteProtocolError:
            continue
