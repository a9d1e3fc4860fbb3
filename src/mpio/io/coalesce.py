"""Adaptive receive coalescing, as network cards do with interrupts: under many small answers, wake up for a few each.

A target that answers reads one by one wakes us for each, and the wake-up then costs more than the answer. While that
goes on, SO_RCVLOWAT asks the kernel to wait until a few answers are there. The mark is never above half of what the
target still owes, and a tick looks after it: if nothing came within one, the mark is taken back and the socket is
read. So the price is bounded: an answer that is shorter than expected (an error, say) may come to our notice one tick
late.

A target that sends several answers at a time anyway is left alone: nothing is to be gained there, and it may work best
if it gets the next commands right after each answer. So now and then the mark is taken back for some ticks, to see how
many answers a wake-up brings by itself.
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
ANSWERS_FEW = 3  # that a wake-up brings by itself: fewer are worth waiting for more
LOOK_TICKS = 8  # so long it is looked at
LOOK_AGAIN_TICKS = 250


class Coalescer:
    """Sets one socket's low-water mark by what happens on it.

    Args:
        sock: the socket.
        owed: how many answers of up to so many bytes each the peer is known to owe, and how many bytes in all.
        read_now: reads the socket, whatever the mark.
    """

    def __init__(
        self, sock: Stream, owed: Callable[[int], tuple[int, int]], read_now: Callable[[], None],
    ) -> None:
        self._sock = sock
        self._owed = owed
        self._read_now = read_now
        self._loop = asyncio.get_running_loop()
        self._wakes = 0
        self._bytes = 0
        self._mark = 1
        self._timer: asyncio.TimerHandle | None = None
        self._coalescing = False
        self._ticks = 0  # for so long
        self._seen_wakes = 0  # meanwhile, without a mark
        self._seen_bytes = 0

    def received(self, count: int) -> None:
        """A read brought `count` bytes."""
        self._wakes += 1
        self._bytes += count
        if self._timer is None and self._wakes >= WAKES_FEW:
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
            self._look()
            self._read_now()
            return
        self._timer = self._loop.call_later(TICK_S, self._tick)
        self._ticks += 1
        if self._coalescing:
            self._steer(wakes, count)
        else:
            self._watch(wakes, count)

    def _watch(self, wakes: int, count: int) -> None:
        """Without a mark: begin to coalesce if there are many wake-ups for few answers each."""
        self._seen_wakes += wakes
        self._seen_bytes += count
        if self._ticks == LOOK_TICKS:
            answers, owed = self._owed(MARK_MAX_BYTES)
            come_alone = self._seen_bytes * answers < ANSWERS_FEW * owed * self._seen_wakes
            many = self._seen_wakes > WAKES_MANY * LOOK_TICKS
            self._look()
            self._coalescing = come_alone and many

    def _steer(self, wakes: int, count: int) -> None:
        """Raise the mark while there are many wake-ups, lower it when there are few, and look again by and by."""
        if self._ticks > LOOK_AGAIN_TICKS:
            self._look()
            return
        most = self._owed(MARK_MAX_BYTES)[1] // SHARE_OF_OWED
        if wakes > WAKES_MANY:
            self._set_mark(min(2 * (count // wakes), MARK_MAX_BYTES, most))
        elif wakes < WAKES_FEW or self._mark > most:
            self._set_mark(min(self._mark // 2, most))

    def _look(self) -> None:
        """Begin to watch what comes without a mark."""
        self._coalescing = False
        self._ticks = self._seen_wakes = self._seen_bytes = 0
        self._set_mark(1)

    def _set_mark(self, mark: int) -> None:
        mark = max(mark, 1)
        if mark != self._mark:
            self._mark = mark
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, mark)
