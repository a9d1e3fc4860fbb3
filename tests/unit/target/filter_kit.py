"""A target with filters and initiators at it, over real protocol engines, in a time of its own."""

from mpio.model.address import Portal
from mpio.model.settings import Settings
from mpio.model.task import Outcome, Status, Task, lun_bytes
from mpio.proto.iscsi import ConnectionState, InitiatorConnection, LoginParams
from mpio.proto.iscsi import initiator_events as ev
from mpio.proto.iscsi.target import TargetConnection
from mpio.proto.iscsi.target_login import TargetParams
from mpio.proto.iscsi.target_state import State
from mpio.proto.scsi import cdb
from mpio.proto.scsi.sense import Sense
from mpio.target.control import add_filter
from mpio.target.filters.chain import FilterChain
from mpio.target.node import TargetNode
from mpio.target.store import RamStore
from mpio.units import NS_PER_S

NAME = "iqn.2026-01.example:t"
HOST = "iqn.2026-01.example:host"
PORTALS = (Portal("192.0.2.1"), Portal("198.51.100.1", 3261))
BLOCK = 512
SETTINGS = Settings(noop_out_interval=0.0, noop_out_timeout=0.0)


class Line:
    """One initiator on one portal. `do` runs a command and gives the task, with whatever became of it so far."""

    def __init__(self, bench: "Bench", tpgt: int, isid: int, name: str, settings: Settings) -> None:
        self._bench = bench
        params = LoginParams(name, NAME, b"\x80\0\0\0\0" + bytes((isid,)), settings, 1, bytes(32))
        self.one = InitiatorConnection(params)
        self.other = TargetConnection(
            TargetParams(PORTALS[tpgt - 1], tpgt=tpgt, challenge_seed=bytes(range(32))), bench.node, bench.now)
        self.events: list[ev.ConnectionEvent] = []
        self.one.start(bench.now)

    def carry(self) -> bool:
        """Bytes both ways, once; whether there were any."""
        there, back = self.one.data_to_send(), self.other.data_to_send()
        for piece in there:
            self.other.receive(piece, self._bench.now)
        for piece in back:
            self.one.receive(piece, self._bench.now)
        if self.other.state is State.CLOSED and self.one.state is not ConnectionState.ENDED:
            self.one.receive_eof(self._bench.now)
        while (event := self.one.next_event()) is not None:
            self.events.append(event)
        return bool(there or back)

    def is_up(self) -> bool:
        return self.one.state is ConnectionState.FULL_FEATURE

    def do(self, request: bytes, data: bytes | None = None, read: int = 0, lun: int = 1) -> Task:
        buffer = memoryview(bytearray(read)) if read else None
        task = Task(lun_bytes(lun), request, lambda _task: None, data_out=data, read_buffer=buffer)
        self.one.submit(task, self._bench.now)
        self._bench.run()
        return task

    def good(self, request: bytes, data: bytes | None = None, read: int = 0, lun: int = 1) -> bytes:
        task = self.do(request, data, read, lun)
        assert (task.outcome, task.status) == (Outcome.COMPLETED, Status.GOOD), Sense.parse(task.sense)
        return bytes(task.read_buffer or b"")

    def write(self, lba: int, data: bytes) -> Task:
        return self.do(cdb.write(lba, len(data) // BLOCK), data)

    def read(self, lba: int = 0, blocks: int = 1, lun: int = 1) -> bytes:
        return self.good(cdb.read(lba, blocks), read=blocks * BLOCK, lun=lun)

    def sense(self, request: bytes = bytes(6), lun: int = 1) -> Sense | None:
        task = self.do(request, lun=lun)
        assert task.outcome is Outcome.COMPLETED
        return Sense.parse(task.sense)


class Bench:
    """A target with LUNs 1 and 2, and its clock."""

    def __init__(self) -> None:
        self.now = 1_000 * NS_PER_S
        self.node = TargetNode(NAME)
        for tpgt, portal in enumerate(PORTALS, start=1):
            self.node.add_portal(tpgt, portal)
        self.store = RamStore(1 << 20)
        self.node.add_lun(1, self.store)
        self.node.add_lun(2, RamStore(1 << 20))
        self.node.filters.clock = lambda: self.now
        self.lines: list[Line] = []

    def line(self, tpgt: int = 1, *, isid: int = 1, name: str = HOST, settings: Settings = SETTINGS) -> Line:
        """An initiator that has logged in, and has heard of the power on."""
        line = self.plain_line(tpgt, isid=isid, name=name, settings=settings)
        for lun in (1, 2):
            line.sense(lun=lun)
        return line

    def plain_line(self, tpgt: int, *, isid: int = 1, name: str = HOST, settings: Settings = SETTINGS) -> Line:
        """One that has only logged in."""
        line = Line(self, tpgt, isid, name, settings)
        self.lines.append(line)
        self.run()
        assert line.is_up(), line.events
        return line

    def add(self, name: str, **parameters: object) -> str:
        return add_filter(self.node, {"name": name, **parameters})

    def struck(self, key: str) -> int:
        return self.node.filters.filters[key].limits.struck

    def run(self) -> None:
        """Carry bytes until there are none."""
        while sum(line.carry() for line in self.lines):
            pass

    def wait(self, duration_s: float) -> None:
        """Let time go by."""
        self.run()
        end = self.now + round(duration_s * NS_PER_S)
        while True:
            engines: list[FilterChain | InitiatorConnection | TargetConnection] = [self.node.filters]
            engines += [end for line in self.lines for end in (line.one, line.other)]
            due = [deadline for engine in engines if (deadline := engine.next_deadline()) is not None]
            if not due or min(due) > end:
                break
            self.now = max(self.now, min(due))
            for engine in engines:
                engine.handle_timer(self.now)
            self.run()
        self.now = end
