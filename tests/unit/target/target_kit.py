"""A target with nexuses, driven without iSCSI."""

from typing import Unpack

from mpio.model.identity import AluaState
from mpio.model.task import Buffer, Status, lun_bytes
from mpio.proto.scsi.sense import POWER_ON_OR_RESET, Sense
from mpio.target.device import TargetDevice
from mpio.target.nexus import Nexus, NexusKey, PortGroup
from mpio.target.response import Response
from mpio.target.state import UnitOptions
from mpio.target.store import BlockStore, RamStore
from mpio.target.unit import LogicalUnit

NAME = "iqn.2026-01.example:t"
BLOCKS = 256


class Kit:
    """A device with two port groups, one LU (LUN 1), and nexuses a1 and b1 by group 1, a2 by group 2."""

    def __init__(self, *, store: BlockStore | None = None, explicit_alua: bool = False, settled: bool = True,
                 **options: Unpack[UnitOptions]) -> None:
        self.device = TargetDevice(NAME, explicit_alua=explicit_alua)
        for tpgt in (1, 2):
            self.device.add_group(PortGroup(tpgt))
        self.store = store or RamStore(BLOCKS * options.get("block_size", 512))
        self.unit: LogicalUnit = self.device.add_unit(1, self.store, **options)
        self.a1 = self.nexus("iqn.2026-01.example:a", 1)
        self.b1 = self.nexus("iqn.2026-01.example:b", 1)
        self.a2 = self.nexus("iqn.2026-01.example:a", 2)
        if settled:
            for nexus in (self.a1, self.b1, self.a2):
                assert self.sense(nexus, bytes(6)) == POWER_ON_OR_RESET

    def nexus(self, initiator: str, tpgt: int) -> Nexus:
        nexus = Nexus(NexusKey(initiator, b"\x80\0\0\0\0" + bytes((tpgt,)), tpgt), self.device.groups[tpgt])
        self.device.attach(nexus, POWER_ON_OR_RESET)
        return nexus

    def run(self, nexus: Nexus, cdb: bytes, data: Buffer = b"", lun: int = 1) -> Response:
        return self.device.execute(nexus, lun_bytes(lun), cdb, data)

    def good(self, nexus: Nexus, cdb: bytes, data: Buffer = b"") -> bytes:
        response = self.run(nexus, cdb, data)
        assert response.status == Status.GOOD, Sense.parse(response.sense)
        return bytes(response.data)

    def sense(self, nexus: Nexus, cdb: bytes, data: Buffer = b"", lun: int = 1) -> Sense:
        response = self.run(nexus, cdb, data, lun)
        assert response.status == Status.CHECK_CONDITION, response
        sense = Sense.parse(response.sense)
        assert sense is not None
        return sense

    def state(self, tpgt: int, state: AluaState) -> None:
        self.device.set_group_state(tpgt, state)
