"""Adaptive receive coalescing, as network cards do with interrupts: under many small answers, wake up for a few each.

A target that answers reads one by one wakes us for each, and the wake-up then costs more than the answer. While that
goes on, SO_RCVLOWAT asks the kernel to wait until a few answers are there. The mark is never above half of what the
target still owes, and a tick looks after it: if nothing came within one, the mark is taken back and the socket is
read. So the price is bounded: an answer that is shorter than expected (an error, say) may come to our notice one tick
late.

Whether it pays depends on the target and on what waking up costs on this machine: it saves CPU in any case, but
some targets work best if they get the next command right after each answer. So it is tried: with and without in turns
for a quarter of a second, and then for two seconds what brought clearly more.
"""

import asyncio
import socket
from collections.abc import Callable

from mpio.io.net import Stream

TICK_S = 0.002
WAKES_MANY = 6  # in a tick: 3 000 a second, where waking up is most of what the CPU is busy with
WAKES_FEW = 3
MARK_MAX_BYTES = 64 << 10  # larger answers need no help
SHARE_OF_OWED = 2  # the mark is at most half of what the target owes, so that its queue never runs dry
PERIODS = 8  # of a trial, with and without in turns
PERIOD_TICKS = 16
SETTLE_TICKS = 4  # at the beginning of a period, which do not count: the mark grows by and by
HOLD_TICKS = 1000  # from one trial to the next
GAIN = 1.05  # without must bring so many times as much: it costs more CPU, and the CPU may be wanted elsewhere


class Trial:
    """Finds out whether more comes in with coalescing or without.

    Attributes:
        coalesce: what is to be done now.
    """

    def __init__(self) -> None:
        self.coalesce = True
        self._begin()

    def _begin(self) -> None:
        self._ticks = 0
        self._bytes = [0, 0]  # without and with
        self._seconds = [0.0, 0.0]

    def tick(self, count: int, seconds: float) -> None:
        """A busy tick of so many seconds has brought `count` bytes."""
        self._ticks += 1
        if self._ticks > PERIODS * PERIOD_TICKS:
            if self._ticks >= HOLD_TICKS:
                self._begin()
            return
        if not 1 <= self._ticks % PERIOD_TICKS <= SETTLE_TICKS:
            self._bytes[self.coalesce] += count
            self._seconds[self.coalesce] += seconds
        if self._ticks == PERIODS * PERIOD_TICKS:
            without, with_ = self._bytes
            self.coalesce = without * self._seconds[1] < GAIN * with_ * self._seconds[0]
        elif self._ticks % PERIOD_TICKS == 0:
            self.coalesce = not self.coalesce


class Coalescer:
    """Sets one socket's low-water mark by what happens on it.

    Args:
        sock: the socket.
        owed_bytes: how many bytes the peer is known to owe in answers of up to so many bytes each.
        read_now: reads the socket, whatever the mark.
    """

    def __init__(self, sock: Stream, owed_bytes: Callable[[int], int], read_now: Callable[[], None]) -> None:
        self._sock = sock
        self._owed_bytes = owed_bytes
        self._read_now = read_now
        self._loop = asyncio.get_running_loop()
        self._wakes = 0
        self._bytes = 0
        self._mark = 1
        self._trial = Trial()
        self._ticked_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def received(self, count: int) -> None:
        """A read brought `count` bytes."""
        self._wakes += 1
        self._bytes += count
        if self._timer is None and self._wakes >= WAKES_FEW:
            self._ticked_s = self._loop.time()
            self._timer = self._loop.call_later(TICK_S, self._tick)

    def stop(self) -> None:
        """The socket is about to be closed."""
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        wakes, count = self._wakes, self._bytes
        self._wakes = self._bytes = 0
        self._timer = None
        if wakes == 0:
            self._set_mark(1)
            self._read_now()
            return
        now_s, before_s = self._loop.time(), self._ticked_s
        self._ticked_s = now_s
        self._timer = self._loop.call_later(TICK_S, self._tick)
        self._trial.tick(count, now_s - before_s)
        if not self._trial.coalesce:
            self._set_mark(1)
            return
        per_wake = count // wakes
        owed = self._owed_bytes(MARK_MAX_BYTES)
        if wakes > WAKES_MANY:
            self._set_mark(min(2 * per_wake, MARK_MAX_BYTES, owed // SHARE_OF_OWED))
        elif wakes < WAKES_FEW or self._mark > owed // SHARE_OF_OWED:
            self._set_mark(min(self._mark // 2, owed // SHARE_OF_OWED))

    def _set_mark(self, mark: int) -> None:
        mark = max(mark, 1)
        if mark != self._mark:
            self._mark = mark
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, mark)
