"""Coverage-guided fuzzing of the SCSI layer: `python fuzz/fuzz_scsi.py [-runs=N] [CORPUS]`.

The first byte chooses what the rest is: parameter data for the initiator's parsers, or a series of commands for a
target. Anything raised but RemoteProtocolError by a parser is a finding. So is, in the target, a response that breaks
SAM (sense without CHECK CONDITION, data with an error), a nexus that writes past a reservation that is not its own, and
a unit that remembers without bound.
"""

import sys

import atheris

with atheris.instrument_imports(include=["mpio"]):
    from mpio.errors import MpioError, RemoteProtocolError
    from mpio.model.task import Status, lun_bytes
    from mpio.proto.scsi import inquiry, wwid
    from mpio.proto.scsi.alua import parse_report, parse_set_list
    from mpio.proto.scsi.capacity import Capacity
    from mpio.proto.scsi.cdb import parse_unmap_list
    from mpio.proto.scsi.copy import CopyList, CopyListError
    from mpio.proto.scsi.disposition import Disposition, dispose_sense
    from mpio.proto.scsi.luns import parse_luns
    from mpio.proto.scsi.probe import probe
    from mpio.proto.scsi.reservation import MoveParameters, OutParameters, parse_keys, parse_reservation
    from mpio.proto.scsi.sense import POWER_ON_OR_RESET, Sense
    from mpio.target.device import TargetDevice
    from mpio.target.nexus import Nexus, NexusKey, PortGroup
    from mpio.target.reservation import Access
    from mpio.target.state import ATTENTIONS_MAX
    from mpio.target.store import RamStore

PARSERS = (
    inquiry.StandardInquiry.parse, inquiry.BlockLimits.parse, inquiry.Provisioning.parse, inquiry.parse_identification,
    inquiry.parse_serial, inquiry.parse_supported_pages, Capacity.parse_10, Capacity.parse_16, parse_luns, parse_report,
    parse_set_list, parse_unmap_list, parse_keys, parse_reservation, OutParameters.parse, MoveParameters.parse,
    CopyList.parse,
)
COMMAND_BYTES = 18  # nexus and LUN, CDB, length of the data that follow
PROBE_STEPS_MAX = 500


def parse(data: bytes) -> None:
    """Every parser of parameter data."""
    for parser in PARSERS:
        try:
            parser(data)
        except (RemoteProtocolError, CopyListError):
            continue
    found = Sense.parse(data)
    assert isinstance(dispose_sense(found), Disposition)
    assert found is None or str(found)
    name = wwid.from_designators(inquiry.parse_identification(inquiry.build_page(0x83, data)))
    assert name is None or 1 < len(name) <= wwid.WWID_CHARS_MAX


def ask(data: bytes) -> None:
    """The initiator's probe, with answers cut from the data."""
    script = probe(1)
    try:
        _, allocation = next(script)
        for step in range(PROBE_STEPS_MAX):
            at = step * 40 % (len(data) or 1)
            status = (0, 2, 8)[data[at] % 3] if data else 0
            _, allocation = script.send((status, data[at : at + 18], data[at : at + min(allocation, 400)]))
    except (StopIteration, MpioError):
        return
    raise AssertionError("the probe does not end")


def serve(data: bytes) -> None:
    """Commands on three nexuses of one LU."""
    device = TargetDevice("iqn.2026-01.example:t", explicit_alua=True)
    groups = [device.add_group(PortGroup(tpgt)) for tpgt in (1, 2)]
    unit = device.add_unit(1, RamStore(1 << 20), removable=True)
    nexuses = [Nexus(NexusKey("iqn.2026-01.example:i", bytes((n,)) * 6, n % 2 + 1), groups[n % 2]) for n in range(3)]
    for nexus in nexuses:
        device.attach(nexus, POWER_ON_OR_RESET)
    at = 0
    while at + COMMAND_BYTES <= len(data):
        nexus, lun = nexuses[data[at] % 3], data[at] >> 7
        request, count = data[at + 1 : at + 17], data[at + 17] * 8
        at += COMMAND_BYTES
        forbidden = lun == 0 or unit.reservations.forbids(nexus.key, Access.WRITE)
        before = unit.store.read(0, 4096)
        response = device.execute(nexus, lun_bytes(1 - (lun == 0)), request, data[at : at + count])
        at += count
        assert (response.status == Status.CHECK_CONDITION) == bool(response.sense)
        assert not (response.status and response.data)
        assert not forbidden or unit.store.read(0, 4096) == before
        assert all(len(queue) <= ATTENTIONS_MAX for queue in unit.attentions.values())


def test_one_input(data: bytes) -> None:
    if data:
        (parse, ask, serve, serve)[data[0] % 4](data[1:])


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
