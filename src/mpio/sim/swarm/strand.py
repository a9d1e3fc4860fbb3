"""Routines that wait: generators driven by promises and timers of a process, in place of tasks of an event loop.

A promise that is kept resumes its routine at the same instant, but not before the engine that kept it has come to its
end: the order of asyncio.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Generic, TypeVar

from mpio.sim.swarm.schedule import Process

T = TypeVar("T")


class Promise(Generic[T]):
    """A value, or an exception, that comes once.

    Attributes:
        done: whether it has come.
    """

    def __init__(self) -> None:
        self.done = False
        self._value: T | None = None
        self._error: Exception | None = None
        self._then: list[Callable[[], None]] = []

    def keep(self, value: T) -> None:
        """The value is here. Only the first one counts."""
        if not self.done:
            self._value = value
            self._finish()

    def fail(self, error: Exception) -> None:
        """An exception in place of the value."""
        if not self.done:
            self._error = error
            self._finish()

    def _finish(self) -> None:
        self.done = True
        then, self._then = self._then, []
        for call in then:
            call()

    def then(self, call: Callable[[], None]) -> None:
        """Call when it is done."""
        if self.done:
            call()
        else:
            self._then.append(call)

    @property
    def failed(self) -> bool:
        """Whether an exception came."""
        return self._error is not None

    @property
    def value(self) -> T:
        """What was kept. Raises what it failed with."""
        assert self.done, "a promise was asked too early"
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Wait:
    """What a routine yields: until the promise is done, or so long."""

    until: Promise[object]
    timeout_ns: int | None


Routine = Generator[Wait, None, T]


def wait(promise: Promise[T], timeout_ns: int | None = None) -> Routine[T]:
    """The promise's value. Raises what it fails with, or TimeoutError."""
    yield Wait(promise, timeout_ns)  # type: ignore[arg-type]
    if not promise.done:
        raise TimeoutError
    return promise.value


def sleep(duration_ns: int) -> Routine[None]:
    """Let time pass."""
    yield Wait(Promise(), duration_ns)


class Strand:
    """A routine at work in a process. An exception out of it ends the run: routines handle what they expect."""

    def __init__(self, process: Process, routine: Routine[None]) -> None:
        self._process = process
        self._routine = routine
        self._ticket = 0
        self.ended = False
        process.soon(self._step, self._ticket, None)

    def interrupt(self, error: Exception) -> None:
        """Raise the error where the routine waits."""
        self._ticket += 1
        self._process.soon(self._step, self._ticket, error)

    def cancel(self) -> None:
        """End the routine where it waits."""
        self._ticket += 1
        self.ended = True
        self._routine.close()

    def _step(self, ticket: int, error: Exception | None) -> None:
        if ticket != self._ticket or self.ended:
            return
        self._ticket += 1
        try:
            pause = next(self._routine) if error is None else self._routine.throw(error)
        except StopIteration:
            self.ended = True
            return
        ticket = self._ticket
        pause.until.then(lambda: self._process.soon(self._step, ticket, None))
        if pause.timeout_ns is not None:
            self._process.later(pause.timeout_ns, self._step, ticket, None)
