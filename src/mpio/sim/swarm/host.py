"""One host of a run: a map, its paths, its application, in a process with a clock of its own."""

import contextlib
import random
from collections import Counter

from mpio.check.queueing import QueueCheck
from mpio.engine.map import Fence, MultipathMap
from mpio.errors import MpioError
from mpio.events import Journal
from mpio.model.settings import Settings
from mpio.model.task import lun_bytes
from mpio.proto.scsi import cdb
from mpio.sim.swarm.exclusion import Exclusion
from mpio.sim.swarm.judge import Judge
from mpio.sim.swarm.life import LUN, PathContext, PathLife
from mpio.sim.swarm.link import Cable
from mpio.sim.swarm.schedule import Process, Schedule, Timer
from mpio.sim.swarm.strand import Promise, Routine, Strand, sleep, wait
from mpio.sim.swarm.workload import Worker, WorkSpec


class SwarmHost:
    """A host.

    Attributes:
        map: its map. journal: its own. queue: the check of the map's queues. lives: its paths by number, from 1.
        workers: its application. process: all of it.
    """

    def __init__(
        self, schedule: Schedule, number: int, settings: Settings, cables: list[Cable], judge: Judge,
        rng: random.Random, *, target_name: str, ppm: int,
    ) -> None:
        self.process = Process(schedule, ppm)
        self.journal = Journal()
        self.map = MultipathMap(settings, self.journal, f"host{number}")
        self.queue = QueueCheck(settings)
        self._judge = judge
        self.workers: list[Worker] = []
        self._timer = Timer(self.process, self._ring)
        exclusion = Exclusion(self.process, settings, lun_bytes(LUN))
        context = PathContext(
            self.map, settings, self.journal, self.process, self.tick, rng, self._pump, target_name, judge, exclusion)
        isid_head = bytes((0x80, number, *rng.randbytes(2)))
        self.lives: dict[int, PathLife] = {}
        for path_id, cable in enumerate(cables, start=1):
            self.map.add_path(path_id, f"path {path_id}", 0)
            self.lives[path_id] = PathLife(context, path_id, cable, isid_head + path_id.to_bytes(2, "big"))
        for life in self.lives.values():
            life.peers = self.lives

    def tick(self) -> int:
        """The time, told to the map as well."""
        self.map.now = now = self.process.clock()
        return now

    def add_workers(self, first: int, spec: WorkSpec, blocks_total: int, rng: random.Random,
                    counts: Counter[str]) -> None:
        """Give the host its application."""
        for number in range(first, first + spec.workers):
            self.workers.append(Worker(
                number, spec, self.map, self.process, self.tick, self._judge, self.queue, blocks_total,
                random.Random(rng.getrandbits(64)), counts, self._arm))

    def read_path(self, path_id: int, lba: int, count: int, block_size: int) -> "Promise[bytearray]":
        """Read through one path, as soon as it can be."""
        promise: Promise[bytearray] = Promise()

        def routine() -> Routine[None]:
            while not promise.done:
                session = self.lives[path_id].session
                if session is not None:
                    with contextlib.suppress(MpioError):
                        reply = yield from session.command(lun_bytes(LUN), cdb.read(lba, count), count * block_size)
                        if reply.status == 0 and len(reply.data) == count * block_size:
                            promise.keep(bytearray(reply.data))
                yield from sleep(_RETRY_NS)

        Strand(self.process, routine())
        return promise

    def close(self) -> "Promise[None]":
        """Log out of every path, then close the map."""
        promise: Promise[None] = Promise()

        def routine() -> Routine[None]:
            for life in self.lives.values():
                done: Promise[None] = Promise()
                Strand(self.process, _then(life.stop(), done))
                yield from wait(done)
            self.map.close(self.tick())
            promise.keep(None)

        Strand(self.process, routine())
        return promise

    # --- the map's actions and timer

    def _pump(self) -> None:
        deadline = self.map.next_deadline()
        if deadline is not None and deadline <= self.map.now:
            self.map.handle_timer(self.map.now)
        while (action := self.map.next_action()) is not None:
            life = self.lives[action.path_id]
            if isinstance(action, Fence):
                life.request_fence(action)
            else:
                life.drop(action.cause)
        self._arm()

    def _arm(self) -> None:
        self._timer.arm(self.map.next_deadline())

    def _ring(self) -> None:
        self.map.handle_timer(self.tick())
        self._pump()


_RETRY_NS = 10_000_000  # of a read by one path, whose first commands after a fault meet unit attentions


def _then(routine: Routine[None], done: Promise[None]) -> Routine[None]:
    yield from routine
    done.keep(None)
