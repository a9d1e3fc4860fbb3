"""Deliberate bugs, planted in the engines one at a time while a swarm runs, in plain Python: nothing is compiled here.

Each is a way in which somebody could break an engine with the best intentions. `MUTATIONS` has them by name, each with
the number of seeds, from 0 on, within which the swarm has to find it.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import mock

from mpio.engine import map as map_module
from mpio.engine import recovery
from mpio.engine.damping import Damping, Due
from mpio.engine.map import MultipathMap
from mpio.engine.path import Path, PathInput, PathState
from mpio.engine.recovery import Recovery
from mpio.engine.request import Request, SplitRequest
from mpio.engine.watch import Watch
from mpio.errors import NoUsablePath
from mpio.model.task import Outcome, Status, Task
from mpio.proto.iscsi.initiator_tasks import InitiatorTasks
from mpio.proto.iscsi.keepalive import Keepalive, Verdict
from mpio.proto.iscsi.pdu import NO_TAG, SERIAL_MASK
from mpio.proto.iscsi.target import TargetConnection
from mpio.proto.iscsi.task_management import TaskManagement
from mpio.proto.scsi.sense import Sense, SenseKey
from mpio.target.node import TargetNode


@dataclass(frozen=True, slots=True)
class Mutation:
    """One bug.

    `about`: what somebody might have thought. `seeds_max`: within how many seeds it is found; two to five times as many
    as it took when that was written, since every change of an engine moves them.
    """

    about: str
    seeds_max: int
    plant: Callable[[], contextlib.AbstractContextManager[object]]


MUTATIONS: dict[str, Mutation] = {}

Method = Callable[..., Any]


Mutator = Callable[[int, Any, str], Callable[[Callable[[Any], Any]], Callable[[Any], Any]]]


def mutator(table: dict[str, Mutation]) -> Mutator:
    """What registers, in a table, functions that make the broken attribute from the sound one."""
    def mutation(seeds_max: int, owner: Any, name: str) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
        def register(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
            assert make.__doc__ is not None
            table[make.__name__] = Mutation(
                make.__doc__, seeds_max, lambda: mock.patch.object(owner, name, make(getattr(owner, name))))
            return make

        return register

    return mutation


mutation = mutator(MUTATIONS)


# --- writes sent again too early


@mutation(150, recovery, "_is_in_doubt")
def fence_skipped(_sound: Method) -> Method:
    """Writes in doubt are sent again at once."""
    return lambda _request: False


@mutation(50, Recovery, "want_fence")
def fence_taken_for_done(sound: Method) -> Method:
    """A fence counts as done when it is asked for."""
    def want_fence(self: Recovery, path: Path, now: int) -> None:
        sound(self, path, now)
        if path.fencing is not None and self.fences:
            self.fences.clear()
            self.fence_done(path, "reinstate", now)

    return want_fence


@mutation(150, InitiatorTasks, "end_all")
def sent_taken_for_not_sent(sound: Method) -> Method:
    """What was handed to the network counts as not sent when the connection ends."""
    def end_all(self: InitiatorTasks) -> None:
        self._handed_out_cmd_sn = self.cmd_sn - (1 << 16) & SERIAL_MASK
        sound(self)

    return end_all


@mutation(400, TargetNode, "open_session")
def old_session_lives_on(sound: Method) -> Method:
    """The target does not end the old session when the same initiator port logs in again."""
    def open_session(self: TargetNode, connection: Any, params: Any) -> int:
        for key in [key for key in self.sessions if key.isid == params.isid]:
            del self.sessions[key]
        return int(sound(self, connection, params))

    return open_session


@mutation(700, TargetConnection, "abort_tasks")
def reset_ends_no_tasks(_sound: Method) -> Method:
    """Resets and preemptions of the target leave the tasks of other sessions alone."""
    return lambda _self, _lun, _status=None: 0


# --- commands out of order


@mutation(60, InitiatorTasks, "submit")
def last_in_first_out(sound: Method) -> Method:
    """A command that finds the window shut goes before those that wait already."""
    def submit(self: InitiatorTasks, task: Task, now: int) -> None:
        waiting = len(self._waiting)
        sound(self, task, now)
        if waiting and len(self._waiting) > waiting:
            self._waiting.rotate(1)

    return submit


# --- answers that are not true


@mutation(50, MultipathMap, "_task_done")
def lost_answer_taken_for_good(sound: Method) -> Method:
    """A command whose connection ended counts as done."""
    def task_done(self: MultipathMap, task: Task) -> None:
        if task.outcome == Outcome.IN_DOUBT:
            task.outcome = Outcome.COMPLETED
        sound(self, task)

    return task_done


@mutation(50, MultipathMap, "_start")
def acknowledged_when_queued(sound: Method) -> Method:
    """A write that has to wait for a path is acknowledged at once, and done later."""
    def start(self: MultipathMap, request: Request, now: int) -> None:
        if not self._roster.usable and request.operation.changes_data and request.on_complete is not None:
            request.on_complete(request)
            request.on_complete = lambda _request: None
        sound(self, request, now)

    return start


@mutation(400, Recovery, "give_up")
def unknown_told_as_failed(_sound: Method) -> Method:
    """Writes in doubt that are given up end as if they had had no effect."""
    def give_up(self: Recovery, path: Path, cause: str, now: int) -> None:
        requests, path.doubts = path.doubts, []
        path.doubts_until = path.fence_at = None
        for request in requests:
            request.trouble = None
            self._host.finish(request, NoUsablePath(cause), now)

    return give_up


@mutation(600, recovery, "_trouble")
def history_forgotten(sound: Method) -> Method:
    """A write does not remember that an earlier copy may have landed."""
    def trouble(request: Request) -> Any:
        found = sound(request)
        found.may_have_landed = False
        return found

    return trouble


@mutation(150, MultipathMap, "_task_done")
def residual_ignored(sound: Method) -> Method:
    """GOOD is GOOD, whatever the residual says."""
    def task_done(self: MultipathMap, task: Task) -> None:
        if task.outcome == Outcome.COMPLETED and task.status == 0:
            task.residual = 0
        sound(self, task)

    return task_done


@mutation(50, MultipathMap, "_settle")
def refused_write_taken_for_done(sound: Method) -> Method:
    """A write that was refused with a unit attention counts as done: the attention was reported, after all."""
    def settle(self: MultipathMap, now: int) -> None:
        for task, path in self._ended:
            sense = Sense.parse(task.sense) if task.status == Status.CHECK_CONDITION else None
            if path is not None and sense is not None and sense.key == SenseKey.UNIT_ATTENTION:
                task.status = task.residual = 0
        sound(self, now)

    return settle


# --- requests that get lost


@mutation(50, MultipathMap, "requeue")
def requeue_forgets(sound: Method) -> Method:
    """Of several requests that are to be queued again, the last one is forgotten."""
    def requeue(self: MultipathMap, requests: Any) -> None:
        requests = list(requests)
        sound(self, requests[:-1] if len(requests) > 1 else requests)

    return requeue


@mutation(300, Recovery, "returned")
def held_forgotten(sound: Method) -> Method:
    """A path that comes back remembers one only of those that waited for it."""
    def returned(self: Recovery, path: Path, now: int) -> None:
        path.held = path.held[:1]
        sound(self, path, now)

    return returned


@mutation(50, SplitRequest, "ended")
def split_ends_early(_sound: Any) -> Any:
    """A split request ends with the first part that ends after the last one was sent."""
    return property(lambda self: self.remaining == 0)


@mutation(50, MultipathMap, "finish")
def weight_kept(sound: Method) -> Method:
    """What fails while it waits keeps its weight in the queue."""
    def finish(self: MultipathMap, request: Request, error: Any, now: int) -> None:
        before = self._queued_bytes
        sound(self, request, error, now)
        self._queued_bytes = max(before, self._queued_bytes)

    return finish


# --- paths


@mutation(200, map_module, "identity_mismatch")
def identity_ignored(_sound: Method) -> Method:
    """Whatever is behind a path, it is taken."""
    return lambda _own, _found, *, is_only_path: None


@mutation(50, MultipathMap, "handle_timer")
def checker_reinstates_without_login(sound: Method) -> Method:
    """A path that has failed is up again at the next look, session or not."""
    def handle_timer(self: MultipathMap, now: int) -> None:
        sound(self, now)
        for path in self.paths.values():
            if path.state is PathState.FAILED:
                self.change(path, PathInput.SESSION_UP, "reports path is up", now)

    return handle_timer


@mutation(100, Keepalive, "check")
def silence_forgiven(sound: Method) -> Method:
    """A silent peer is pinged again, and never given up."""
    def check(self: Keepalive, now: int) -> Verdict:
        verdict = Verdict(sound(self, now))
        if verdict is Verdict.DEAD:
            self.received(now)
            return Verdict.NOTHING
        return verdict

    return check


@mutation(100, Watch, "failed")
def faulty_not_checked(_sound: Method) -> Method:
    """A path that a command has failed is not checked any more."""
    def failed(_self: Watch, path: Path, _now: int) -> None:
        path.check_at = None

    return failed


@mutation(100, Damping, "due")
def held_for_ever(_sound: Method) -> Method:
    """A path that flapped never proves itself."""
    def due(self: Damping, now: int) -> Due:
        self.deadline = now + 1_000_000_000
        return Due.NOTHING

    return due


# --- the protocol


@mutation(50, InitiatorTasks, "_send_command")
def command_numbers_skipped(sound: Method) -> Method:
    """Now and then a command takes the number after the next."""
    def send_command(self: InitiatorTasks, task: Task) -> None:
        if self.cmd_sn % 64 == 63:
            self.cmd_sn = self.cmd_sn + 1 & SERIAL_MASK
        sound(self, task)

    return send_command


@mutation(100, TaskManagement, "answered")
def abort_not_believed(sound: Method) -> Method:
    """An answered ABORT TASK or reset does not end any task."""
    def answered(self: TaskManagement, tag: int, response: int, now: int) -> None:
        request = self._requests.get(tag)
        if request is not None:
            request.cmd_sn = request.cmd_sn - (1 << 20) & SERIAL_MASK
            request.referenced_tag = NO_TAG
        sound(self, tag, response, now)

    return answered


@mutation(50, InitiatorTasks, "_send_data_out")
def second_burst_from_the_start(sound: Method) -> Method:
    """Data that the target asks for are taken from the start of the buffer."""
    def send_data_out(self: InitiatorTasks, task: Task, data: Any, start: int, end: int, ttt: int) -> None:
        moved = data if ttt == NO_TAG else bytes(start) + bytes(data[:end - start])
        sound(self, task, moved, start, end, ttt)

    return send_data_out
